"""The status page: a record in, one self-contained HTML document out. Knows no sockets."""
