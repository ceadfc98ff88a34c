"""What runs in the process of a native model, under a Python where its library is and YarnMill is not.

The folder of these modules comes first on that process's path, so no module may carry the name of another package.
They import the standard library, NumPy and the one library; they know nothing of bundles or signatures but that
the model's files lie below ``native/``. What each has is ``native_description``, a plain value of JSON::

    {"library": "2.21.0", "inputs": [{"name": "x", "dtype": "float32", "shape": [null, 2]}], "outputs": [...]}

``dtype`` and ``shape`` are null where the program does not say, and so are ``outputs``. Without its library, or with
files that this cannot read, it is ``{"missing": "tensorflow"}`` or ``{"unreadable": "why"}`` instead, and nothing else
may be asked.
"""
