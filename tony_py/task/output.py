"""What the program leaves as its result: files in the folder that becomes the application's output."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from .files import Content, Store, open_store, stored

_TRIES = 5


def save_output(name: str, content: Content) -> None:
    """Put bytes, a local file or a local folder into the application's output, whole, over what bears the name.

    The output becomes visible when every task has ended well; numbers in its ``metrics.json`` (a JSON object)
    become the run's metrics.

    Raises
    ------
    OSError
        If it could not be written.
    """
    if "/" in name or not name:
        raise ValueError(f"{name!r} is no plain name; save a folder to have folders")
    _replace(_of_this_application(), name, content)


def read_output(name: str) -> bytes:
    """Return a file that another task, of an earlier stage for instance, has put into the application's output.

    Raises
    ------
    OSError
        If it is not there.
    """
    return b"".join(_of_this_application().read(name))


def _of_this_application() -> Store:
    url = os.environ.get("TONY_OUTPUT", "")
    if not url:
        raise OSError(
            "TONY_OUTPUT is not set: this program was not started by tony_py; "
            "to try it out, export TONY_OUTPUT=/some/folder"
        )
    return open_store(url)


def _replace(store: Store, name: str, content: Content) -> None:
    fresh = f".{Path(name).name}.{secrets.token_hex(6)}.tmp"
    try:
        stored(store, fresh, content)
        for _ in range(_TRIES):
            if store.publish(fresh, name):
                return
            store.delete(name)  # what this program wrote before it was started over
    except BaseException:
        with suppress(OSError):
            store.delete(fresh)
        raise
    store.delete(fresh)
    raise FileExistsError(f"{store.url}/{name}: another task writes it again and again; let one rank write it")
