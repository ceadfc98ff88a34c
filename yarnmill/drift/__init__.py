"""Drift: whether what a model is asked, and what it answers, is still distributed as in training.

Columns become series, series become counts that can be added up over workers, hours and machines, and counts are
measured against those that a reference sample had. Nothing here knows of bundles' files, of Flask or of Spark.
"""
