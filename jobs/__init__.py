"""The programs that ``spark-submit`` runs: one entry file, one module a job.

A job does not know how it was launched: it takes a configuration file and writes an output folder
with ``report.json`` last.
"""
