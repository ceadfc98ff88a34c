"""Programs that answer over HTTP as processes: gunicorn with threads behind a port bound before anything starts.

It does not know what is answered.
"""
