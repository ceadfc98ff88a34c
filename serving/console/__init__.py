"""The web console: pages for people over the registry, the control API's own acts, and the tier's counters.

It decides nothing: who may do what is :mod:`serving.control`'s business, how a version comes to answer the registry's.
Pages work without scripts; htmx (`static/`) keeps parts of them fresh.
"""
