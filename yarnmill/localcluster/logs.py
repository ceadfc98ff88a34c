"""The daemons' logs: the line that says why one failed, and following them."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_LEVEL: Final = re.compile(r"^\S+ \S+ (?:ERROR|FATAL) (?P<text>.*)$")
_THROWN: Final = re.compile(r"^(?:Caused by: |Exception in thread \S+ )?(?P<text>[\w.$]+(?:Exception|Error)\b.*)$")
_JVM: Final = re.compile(r"^(?:Error occurred during|Error: |Unrecognized VM|Invalid )")
_FOLLOW_POLL_S: Final = 0.25


def size_of(path: Path) -> int:
    """Return the size of a log in bytes: where the next start will write; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def read_from(path: Path, offset: int) -> str:
    """Return what was written after ``offset``; all of a log that was rolled over since."""
    return _bytes_from(path, offset if size_of(path) >= offset else 0).decode(errors="replace")


def _bytes_from(path: Path, offset: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as stream:
        stream.seek(offset)
        return stream.read()


def cause_in(text: str) -> str:
    """Return the line that says best why a daemon failed, or an empty text.

    The innermost exception of the last failure is the cause; without one, the last line at ERROR or
    FATAL, or what the JVM itself complained of.
    """
    last_error = last_thrown = ""
    lines = text.splitlines()
    for line in lines:
        if match := _LEVEL.match(line):
            last_error, last_thrown = match["text"], ""
        elif match := _THROWN.match(line):
            last_thrown = match["text"]
    return last_thrown or last_error or _jvm_complaint(lines)


def _jvm_complaint(lines: list[str]) -> str:
    """Return what a JVM says that does not even start: a heading, and its reason on the next line."""
    for number, line in enumerate(lines):
        if _JVM.match(line):
            return ": ".join(lines[number : number + 2])
    return ""


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log; none if there is no log."""
    if not path.exists():
        return []
    return path.read_text(errors="replace").splitlines()[-lines:] if lines else []


def new_lines(path: Path, offset: int) -> tuple[list[str], int]:
    """Return the whole lines after ``offset`` and the offset behind them; all of a log that rolled over."""
    start = offset if size_of(path) >= offset else 0
    whole, newline, _ = _bytes_from(path, start).rpartition(b"\n")
    return whole.decode(errors="replace").splitlines(), start + len(whole + newline)


def follow(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield every line that is written from now on, for ever."""
    offsets = {path: size_of(path) for path in paths}
    while True:
        for path in paths:
            lines, offsets[path] = new_lines(path, offsets[path])
            for line in lines:
                yield path, line
        time.sleep(_FOLLOW_POLL_S)
