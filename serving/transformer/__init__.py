"""Features at request time: from the JSON of a request to what a model takes, as a YAML file declares it.

It knows neither HTTP nor the registry: whoever runs a transformer gives it the snapshots that it looks into.
"""
