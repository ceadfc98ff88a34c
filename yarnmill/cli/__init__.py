"""The command ``yarnmill``: the only place that wires the parts together and prints."""
