"""TonY's own configuration: ``tony.xml``, ``--conf k=v`` and its command line, read as an application of this package.

What is read, layered and mapped is pure; only :mod:`tony_py.tonyconf.local` looks at files.
"""
