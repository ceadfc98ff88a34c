"""A thread that writes what requests leave to one table of the log, and never makes one of them wait.

What waits and what is being written are bounded together: while the store is down the same files are tried again, and
what has no room meanwhile is refused to whoever brings it. A file has its name before it is first tried, so that trying
again writes no row twice.
"""

import datetime as dt
import logging
import os
import re
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, Generic, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from serving.metrics import Metrics
from serving.models import one_line
from serving.predictionlog.entries import Entry
from yarnmill import fs
from yarnmill.config import LogSettings
from yarnmill.errors import ConflictError, YarnMillError
from yarnmill.predictions import SCHEMAS, Table, hour_url

_LONGEST_PAUSE_S: Final = 30.0
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9-]")
_log = logging.getLogger(__name__)

E = TypeVar("E", bound=Entry)
RowGroups = Callable[[Sequence[E]], Iterator[pa.Table]]


class _Part(NamedTuple, Generic[E]):
    """One file: its URL and its entries."""

    url: str
    entries: list[E]

    @property
    def rows(self) -> int:
        return sum(entry.rows for entry in self.entries)


class LogWriter(Generic[E]):
    """Writes one table. To be made after the fork: its thread belongs to a process.

    Parameters
    ----------
    table
        Which.
    row_groups
        Turns entries into the row groups of a file; it may leave out what cannot be written.
    settings
        Where, how often, how much.
    metrics
        Where rows are counted: written, dropped and failed, which are those that were given up.
    """

    def __init__(self, table: Table, row_groups: RowGroups[E], settings: LogSettings, metrics: Metrics) -> None:
        self._table = table
        self._row_groups = row_groups
        self._url = settings.url
        self._flush_s = float(settings.flush)
        self._most_rows = settings.most_rows
        self._most_bytes = int(settings.memory) << 20
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting: list[E] = []
        self._waiting_rows = self._held_bytes = 0
        self._parts: deque[_Part[E]] = deque()
        self._files = 0
        self._process = f"{_NOT_IN_NAMES.sub('-', socket.gethostname())}-{os.getpid()}-{secrets.token_hex(4)}"
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self.trouble = ""
        """Why the last file could not be written; empty if it could."""
        self._thread = threading.Thread(target=self._work, name=table, daemon=True)
        self._thread.start()

    def offer(self, entry: E) -> bool:
        """Leave an entry, and return at once; False if there is no room for it."""
        with self._lock:
            held_bytes = self._held_bytes + entry.held_bytes
            if held_bytes > self._most_bytes or self._stopping.is_set():
                return False
            self._waiting.append(entry)
            self._held_bytes = held_bytes
            self._waiting_rows += entry.rows
            # Half of the room is left for what comes while the other half is written.
            is_much = self._waiting_rows >= self._most_rows or held_bytes * 2 >= self._most_bytes
        if is_much:
            self._wake.set()
        return True

    def close(self) -> None:
        """Take no more, and begin to write what is there for the last time."""
        with self._lock:
            self._stopping.set()
        self._wake.set()

    def wait(self, timeout_s: float) -> None:
        """Wait for the last write, and count what was not written in time as failed."""
        self._thread.join(timeout_s)
        with self._lock:
            lost = self._waiting_rows + sum(part.rows for part in tuple(self._parts))
        if lost:
            trouble = self.trouble or "the store did not answer in time"
            _log.error("%d rows of %s are lost: %s", lost, self._table, trouble)
            self._metrics.count_log(self._table, "failed", lost)

    def _work(self) -> None:
        failures = 0
        is_last = False
        while not is_last:
            if failures:
                self._stopping.wait(min(self._flush_s, 2.0**failures, _LONGEST_PAUSE_S))
            else:
                self._wake.wait(self._flush_s)
            self._wake.clear()
            is_last = self._stopping.is_set()
            failures = 0 if self._write_all() else min(failures + 1, 16)

    def _write_all(self) -> bool:
        """Write what failed before, then what has come since; return whether nothing is left of it."""
        if not self._write_parts():
            return False
        self._parts.extend(self._taken())
        return self._write_parts()

    def _taken(self) -> list[_Part[E]]:
        with self._lock:
            entries, self._waiting, self._waiting_rows = self._waiting, [], 0
        entries.sort(key=lambda entry: entry.time_s)
        hours = groupby(entries, lambda entry: entry.time_s // 3600)
        return [self._part(list(of_hour)) for _, of_hour in hours]

    def _part(self, entries: list[E]) -> _Part[E]:
        first = dt.datetime.fromtimestamp(entries[0].time_s, dt.UTC)
        self._files += 1
        name = f"{first:%Y%m%dT%H%M%S}Z-{self._process}-{self._files}.parquet"
        return _Part(fs.join(hour_url(self._url, self._table, first), name), entries)

    def _write_parts(self) -> bool:
        while self._parts:
            part = self._parts[0]
            try:
                written = self._write(part)
            except (OSError, YarnMillError) as problem:
                self._report(one_line(problem))
                self._metrics.count_log_trouble(self._table)
                return False
            except Exception:  # noqa: BLE001  # nothing that a request left may end the thread
                _log.exception("%s: rows that cannot be written", part.url)
                written = 0
            else:
                self._report("")
            self._parts.popleft()
            with self._lock:
                self._held_bytes -= sum(entry.held_bytes for entry in part.entries)
            self._metrics.count_log(self._table, "written", written)
            self._metrics.count_log(self._table, "failed", part.rows - written)
        return True

    def _write(self, part: _Part[E]) -> int:
        """Write a file; return its rows."""
        schema, rows = SCHEMAS[self._table], 0
        try:
            with fs.open_write(part.url) as stream, _parquet(stream, schema) as writer:
                for group in self._row_groups(part.entries):
                    writer.write_table(group, row_group_size=group.num_rows)
                    rows += group.num_rows
        except ConflictError:
            # A rename whose answer was lost has been done: nobody else knows this name.
            if not fs.exists(part.url):
                raise
        return rows

    def _report(self, trouble: str) -> None:
        if trouble and not self.trouble:
            _log.error("%s cannot be written, and are kept as far as there is room: %s", self._table, trouble)
        elif self.trouble and not trouble:
            _log.info("%s are written again", self._table)
        self.trouble = trouble


def _parquet(stream: object, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        stream,
        schema,
        compression="zstd",  # Spark reads it natively
        use_dictionary=[path for field in schema for path in _repeating(field.name, field.type)],
        write_page_index=True,  # with it Spark skips pages, not only row groups
    )


def _repeating(path: str, dtype: pa.DataType) -> Iterator[str]:
    """Yield the columns below a path that dictionaries make smaller: not measures, nor times."""
    if pa.types.is_struct(dtype):
        for field in dtype:
            yield from _repeating(f"{path}.{field.name}", field.type)
    elif pa.types.is_map(dtype):
        yield f"{path}.key_value.key"
        yield from _repeating(f"{path}.key_value.value", dtype.item_type)
    elif pa.types.is_string(dtype) or path == "version":
        yield path
