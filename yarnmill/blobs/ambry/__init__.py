"""Blobs kept by an Ambry cluster, asked through its frontend's REST."""

from yarnmill.blobs.ambry.store import AmbryBlobStore

__all__ = ["AmbryBlobStore"]
