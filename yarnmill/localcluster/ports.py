"""Loopback ports of one cluster: chosen once, remembered, kept while they are free."""

import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from yarnmill.errors import ConfigurationError
from yarnmill.records import canonical_json, parse_json

_FIRST: Final = 15000
_LAST: Final = 32000
"""Below the range from which kernels take the near end of outgoing connections."""


def is_free(port: int) -> bool:
    """Return whether a server may bind ``port`` on loopback now."""
    with socket.socket() as probe:
        # As Java's servers do it: connections of a predecessor that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose(names: Iterable[str], remembered: Mapping[str, int], *, seed: str) -> dict[str, int]:
    """Return a free port for every name.

    Parameters
    ----------
    names
        What needs a port.
    remembered
        Ports of an earlier start; each is kept if it is still free.
    seed
        Where to begin looking: two homes begin at different places, so two clusters that start at
        the same time do not meet.

    Raises
    ------
    ConfigurationError
        If the machine has not enough free ports.
    """
    wanted = list(names)
    chosen = {name: remembered[name] for name in wanted if name in remembered and is_free(remembered[name])}
    candidates = _candidates(seed, set(chosen.values()))
    for name in wanted:
        if name not in chosen:
            chosen[name] = next(candidates)
    return {name: chosen[name] for name in wanted}


def _candidates(seed: str, taken: set[int]) -> Iterator[int]:
    span = _LAST - _FIRST
    start = zlib.crc32(seed.encode()) % span
    for step in range(span):
        port = _FIRST + (start + step) % span
        if port not in taken and is_free(port):
            yield port
    raise ConfigurationError(f"no free port on loopback from {_FIRST} to {_LAST}", mend="yarnmill doctor")


def load(path: Path) -> dict[str, int]:
    """Return the remembered ports; none if there are none."""
    with suppress(FileNotFoundError):
        return parse_json(path.read_bytes(), dict[str, int], source=str(path))
    return {}


def save(path: Path, ports: Mapping[str, int]) -> None:
    """Remember the ports."""
    path.write_bytes(canonical_json(dict(ports)))
