"""A subset of S3's REST for clients that know only that: boto3, what is built on it, curl.

The endpoint is ``http://host:port/s3/ACCOUNT`` with path-style addresses: a bucket is a container of the account, a key
the name of a named blob, so ``/s3/ACCOUNT/CONTAINER/KEY`` is the blob that Ambry's face has under
``/named/ACCOUNT/CONTAINER/KEY``. What holds of named blobs holds here: none is overwritten, a name is never had again.

Requests are signed by AWS Signature Version 4, which works only if the server can make the client's secret out of what
it keeps, and of a token it keeps nothing but the hash. So the secret is not the token: it is the HMAC of that hash by
the signing key of the tokens file, and the access key id is the beginning of the hash. ``yarnmill blobs token s3``
prints the pair. Nothing more is stored; neither the pair nor the hash tells the token; the pair ends with the token's
entry, and all pairs end with the key. Whoever has the whole file can sign, as they can sign URLs.

The ETag of a blob is its SHA-256.
"""
