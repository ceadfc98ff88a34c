"""From a bundle to something that predicts: one module a flavour, one protocol for all.

The serving tier and the batch scoring job stand on this package, so both give the same answer. It
knows bundles and the libraries that run models; it does not know Spark, HTTP or YARN.
"""
