"""Every default of the platform, with its unit and one line of meaning; locks; Hadoop's settings. No Python."""
