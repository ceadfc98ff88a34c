"""Distributed training on YARN: a typed application becomes a plan, the plan a Skein application."""
