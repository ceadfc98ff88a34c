"""The document of the tier's API, made of what stands at the routes: addresses, docstrings, types.

It knows no model, no registry; it does not know what a route does.
"""
