"""Experiments: what each version of a model did, how sure that is, and when a version may have more of the traffic."""
