"""The Flask tier: models from the blob store, answers over REST."""
