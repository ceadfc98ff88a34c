"""The model bundle: a folder whose ``bundle.json`` names, and whose id covers, every byte of a model."""
