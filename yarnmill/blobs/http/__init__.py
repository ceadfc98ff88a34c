"""The HTTP face of a blob store: Ambry's REST, and a subset of S3's, for clients that know these.

It knows the store's contract alone, not what keeps the bytes. Each interface adds its routes to the application by
functions of its own, so that another can stand beside it.
"""
