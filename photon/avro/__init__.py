"""Photon ML's formats: its Avro records and the layout of its saved models, on streams and records alone.

Nothing here knows where a file lives or who reads it: functions take binary streams and plain records. The
schemas are those that Photon ML publishes, so its programs read what is written here and the other way round.
"""
