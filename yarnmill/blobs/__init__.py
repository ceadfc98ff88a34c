"""The immutable blob store: bytes written once, named by their hash, verified on read."""
