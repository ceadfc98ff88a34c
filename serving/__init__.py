"""The tier that answers: bundles from the blob store, predictions over REST.

It knows HTTP, the registry, bundles and flavours; it does not know Spark, YARN, or what trained a model.
"""
