"""Every default of the platform, with its unit and one line of meaning. Data only, no code."""
