"""Avro files in folders, cut into ranges that are read side by side; Avro files written by executors.

Spark's own Avro reader is a package that no PySpark carries, so files are read and written by fastavro in the
Python workers. A range of bytes is a task (:mod:`photon.avro.container`): one big file feeds many of them.
"""

import datetime as dt
import getpass
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from jobs.game.grammar import Days
from photon.avro.container import Fields, naming, read_records, write_records
from photon.avro.schemas import Schema
from yarnmill import fs
from yarnmill.errors import NotFoundError
from yarnmill.records import Record

RANGE_BYTES: Final = 32 * 1024 * 1024
"""Bytes of a file that one task reads: deflated Avro grows tenfold in memory."""

RANGE_SCHEMA: Final = "number long, url string, start long, stop long"
_SCHEME: Final = re.compile(r"^[a-z][a-z0-9+.-]+:")


class Range(Record, frozen=True, kw_only=True):
    """A range of bytes of a file; ``number`` counts the ranges of a reading."""

    number: int
    url: str
    start: int
    stop: int


def qualified(path: str) -> str:
    """Return a path as a URL: one without a scheme is on the cluster's HDFS if there is one, as Hadoop has it."""
    if _SCHEME.match(path):
        return path
    if not os.environ.get("HADOOP_CONF_DIR"):
        return fs.as_url(path)
    root = fs.default_hdfs_url()
    return fs.join(root, path) if path.startswith("/") else fs.join(root, "user", getpass.getuser(), path)


def input_folders(directories: Sequence[str], days: Days | None) -> tuple[str, ...]:
    """Return the folders to read: the directories, or their ``yyyy/MM/dd`` within the days, as far as they are there.

    Raises
    ------
    NotFoundError
        If a directory has no folder within the days.
    """
    folders: list[str] = []
    for directory in dict.fromkeys(directories):
        if days is None:
            folders.append(directory)
            continue
        count = (days.last - days.first).days + 1
        wanted = [days.first + dt.timedelta(days=number) for number in range(count)]
        daily = [fs.join(directory, f"{day:%Y}", f"{day:%m}", f"{day:%d}") for day in wanted]
        found = [folder for folder in daily if fs.exists(folder)]
        if not found:
            raise NotFoundError(
                f"{directory}: no day from {days.first} to {days.last}", expected="folders yyyy/MM/dd below it"
            )
        folders += found
    return tuple(folders)


def avro_files(folders: Sequence[str]) -> tuple[fs.FileInfo, ...]:
    """Return the ``.avro`` files of folders, hidden ones left out; NotFoundError if a folder has none."""
    files: list[fs.FileInfo] = []
    for folder in folders:
        found = [
            child
            for child in fs.children(folder)
            if not child.is_folder and child.name.endswith(".avro") and not child.name.startswith(("_", "."))
        ]
        if not found:
            raise NotFoundError(f"{folder}: no .avro file", expected="a folder of Avro files, or a range of days")
        files += found
    return tuple(files)


def ranges(files: Sequence[fs.FileInfo], least: int = 1, *, first: int = 0) -> tuple[Range, ...]:
    """Return ranges that cover the files, ``least`` of them if their sizes allow, numbered from ``first`` on."""
    total = sum(file.size_bytes for file in files)
    size = max(1, min(RANGE_BYTES, -(-total // max(1, least))))
    cut = [
        (file.url, start, min(start + size, file.size_bytes))
        for file in files
        for start in range(0, max(1, file.size_bytes), size)
    ]
    return tuple(
        Range(number=number, url=url, start=start, stop=stop) for number, (url, start, stop) in enumerate(cut, first)
    )


def read_ranges(
    spark: SparkSession,
    cut: Sequence[Range],
    to_batches: Callable[[Range, Iterator[Fields]], Iterator[pa.RecordBatch]],
    schema: str,
) -> DataFrame:
    """Return what ``to_batches`` makes of the records of each range; one task a range."""

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                one = Range(**row)
                with naming(one.url), fs.open_read(one.url) as stream:
                    yield from to_batches(one, read_records(stream, start=one.start, end=one.stop))

    rows = spark.sparkContext.parallelize([(one.number, one.url, one.start, one.stop) for one in cut], len(cut))
    return spark.createDataFrame(rows, RANGE_SCHEMA, verifySchema=False).mapInArrow(read, schema)


def write_parts(
    rows: DataFrame, folder: str, schema: Schema, to_records: Callable[[Iterator[pa.RecordBatch]], Iterator[Fields]]
) -> int:
    """Write ``part-*.avro`` below ``folder``, one file a partition, then ``_SUCCESS``; return the number of records.

    A part appears whole and under a name of its partition alone, so a task that runs twice writes it twice
    the same.
    """

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        part = context.partitionId() if context is not None else 0
        written = _Counted(to_records(iter(batches)))
        with fs.open_write(fs.join(folder, f"part-{part:05d}.avro"), overwrite=True) as stream:
            write_records(stream, schema, written)
        yield pa.RecordBatch.from_pydict({"records": [written.count]})

    fs.make_folder(folder)
    count = sum(int(row.records) for row in rows.mapInArrow(write, "records long").collect())
    fs.write_bytes(fs.join(folder, "_SUCCESS"), b"", overwrite=True)
    return count


class _Counted:
    """Records on their way, counted."""

    def __init__(self, records: Iterator[Fields]) -> None:
        self._records, self.count = records, 0

    def __iter__(self) -> Iterator[Fields]:
        for record in self._records:
            self.count += 1
            yield record
