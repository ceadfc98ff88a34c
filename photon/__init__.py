"""GLMix: generalized linear mixed models by block coordinate descent, in plain NumPy.

Three layers that each know one thing (row loss · objective · optimiser), and descent on top.
``photon.spark`` is the only part that knows Spark; nothing here knows storage, YARN or serving.
"""
