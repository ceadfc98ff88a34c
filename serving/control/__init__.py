"""The control API: Merlin's REST API over the registry, for clients that already speak it.

It knows the registry and Flask; it does not know how a version is brought to run, nor the models that are open here.
"""
