"""The platform's example data: 100,004 real film ratings as an observation table and two feature tables.

It knows tables and files. It does not know Spark, models, or the commands that call it.
"""
