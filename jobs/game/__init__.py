"""Photon ML's drivers, by their own options: training, scoring, feature indexing and feature bags.

Option lists and grammar are Photon's (:mod:`jobs.game.options`, :mod:`jobs.game.grammar`); what runs underneath is
:mod:`photon.spark`. Every option is the same, has become something else, or is refused by name.
"""
