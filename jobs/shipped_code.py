"""The code that a job runs with: what is shipped to the nodes, and the version that names it.

The version is the hash of the shipped files' content, so the same sources give the same version on
the client and, read out of the shipped zip, in the driver.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from yarnmill.archives import Entry, package_entries, zip_bytes

PACKAGES: Final = ("jobs", "photon", "yarnmill")

# What no job imports: a change of a command must not make finished training runs look out of date.
_LEFT_AT_HOME: Final = tuple(f"yarnmill/{name}/" for name in ("cli", "localcluster", "movielens", "sparksubmit"))


@lru_cache(maxsize=1)
def code_archive() -> bytes:
    """Return the zip that ``--py-files`` ships: equal sources, equal bytes."""
    return zip_bytes(_entries())


def code_version() -> str:
    """Return the SHA-256 (hex) of :func:`code_archive`."""
    return hashlib.sha256(code_archive()).hexdigest()


def _entries() -> Iterator[Entry]:
    for entry in package_entries(PACKAGES):
        if entry.name.endswith(".py") and not entry.name.startswith(_LEFT_AT_HOME):
            yield Entry(name=entry.name, data=entry.data)
