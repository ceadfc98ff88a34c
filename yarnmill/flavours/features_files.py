"""From a feature snapshot, which is Parquet, to the arrays of :mod:`yarnmill.flavours.features`.

Everything is read in batches and appended: of a hundred million entities some batches are in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from photon.entities import Keys
from photon.model import mapped
from photon.rows import Longs
from photon.scoring import positions
from yarnmill import fs
from yarnmill.bundle.manifest import Signature
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.featuresnapshot import (
    KEYS_NAME,
    ROWS_NAME,
    SNAPSHOT_NAME,
    TERMS_NAME,
    VALUE,
    FeatureSnapshot,
    SnapshotKey,
    read_snapshot,
)
from yarnmill.flavours.features import (
    CELLS_FILE,
    CODES_FILE,
    NUMBERS_FILE,
    PTR_FILE,
    TERMS_FILE,
    VALUES_FILE,
    bag_folder,
    key_file,
    signature_of,
)
from yarnmill.flavours.predictor import Column
from yarnmill.records import canonical_json

EXAMPLE_ROWS: Final = 8
_BATCH_ROWS: Final = 65_536
_READ_BYTES: Final = 1 << 20
_LARGEST_CELL: Final = 2**63 - 1


def prepare_features(output_url: str, folder: Path) -> Signature:
    """Fill a local folder with a snapshot, ready to be memory-mapped, and return its signature.

    Raises
    ------
    NotFoundError
        If no snapshot stands at the URL.
    BadDataError
        If its rows are not sorted by distinct keys, or have numbers that are not finite.
    """
    record = read_snapshot(output_url)
    (folder / SNAPSHOT_NAME).write_bytes(canonical_json(record))
    (folder / KEYS_NAME).mkdir()
    rows_url = fs.join(output_url, ROWS_NAME)
    only = len(record.keys) == 1
    for place, key in enumerate(record.keys):
        source = rows_url if only else fs.join(output_url, KEYS_NAME, str(place))
        _write_sorted(source, key.name if only else VALUE, key.dtype == "string", folder / key_file(place))
    bags = [place for place, one in enumerate(record.features) if one.dtype == "bag"]
    for place in bags:
        (folder / bag_folder(place)).mkdir(parents=True)
        terms_url = fs.join(output_url, TERMS_NAME, str(place))
        _write_sorted(terms_url, VALUE, is_text=True, path=folder / bag_folder(place) / TERMS_FILE)
    _write_numbers(rows_url, record, folder / NUMBERS_FILE)
    for place in bags:
        _write_bag(rows_url, record.features[place].name, folder / bag_folder(place))
    if not only:
        _write_cells(rows_url, record.keys, folder)
    return signature_of(record)


def features_example(folder: Path, signature: Signature) -> dict[str, Column]:
    """Return the keys of some entities of a prepared snapshot."""
    places = [np.zeros(0, np.int64)] * len(signature.inputs)
    known = [mapped(folder / key_file(place)) for place in range(len(places))]
    if len(known) == 1:
        places[0] = np.arange(min(EXAMPLE_ROWS, len(known[0])))
    else:
        cells = np.asarray(mapped(folder / CELLS_FILE)[:EXAMPLE_ROWS])
        for place in range(len(known) - 1, -1, -1):
            cells, places[place] = np.divmod(cells, len(known[place]))
    return {field.name: np.asarray(known[n][places[n]]) for n, field in enumerate(signature.inputs)}


class _ArrayFile:
    """A ``.npy`` file that grows; NumPy leaves room in the header for the rows, which are known at the end."""

    def __init__(self, path: Path, dtype: npt.DTypeLike, row: tuple[int, ...] = ()) -> None:
        self._dtype, self._row, self.rows = np.dtype(dtype), row, 0
        self._stream = path.open("wb")
        self._write_header()

    def append(self, values: npt.NDArray[Any]) -> None:
        """Append rows."""
        self._stream.write(np.ascontiguousarray(values, self._dtype).tobytes())
        self.rows += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.seek(0)
        self._write_header()
        self._stream.close()

    def _write_header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.rows, *self._row)}
        np.lib.format.write_array_header_1_0(self._stream, header)


def _batches(url: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of Parquet files, in order of the files' names."""
    files = [child.url for child in fs.children(url) if child.name.endswith(".parquet")]
    if not files:
        raise NotFoundError(f"{url}: no Parquet there", expected="a finished snapshot of features")
    for file in sorted(files):
        with fs.open_read(file) as stream, fs.translated(file):
            # Without either setting Arrow holds whole columns of a row group, and what it has read until the end.
            rows = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_BYTES)
            yield from rows.iter_batches(_BATCH_ROWS, columns=list(columns))


def _write_sorted(url: str, column: str, is_text: bool, path: Path) -> None:  # noqa: FBT001  # a column's own
    """Write distinct values that are sorted already."""
    dtype: npt.DTypeLike = np.int64
    if is_text:
        lengths = (pc.max(pc.utf8_length(batch.column(0))).as_py() for batch in _batches(url, [column]))
        dtype = f"U{max((length or 0 for length in lengths), default=0) or 1}"
    with _ArrayFile(path, dtype) as written:
        for values in _ascending((_array(batch.column(0), dtype) for batch in _batches(url, [column])), url, column):
            written.append(values)


def _ascending(batches: Iterable[Keys], url: str, column: str) -> Iterator[Keys]:
    """Yield batches of values, each larger than the one before it."""
    last = None
    for values in batches:
        ordered = values if last is None else np.concatenate([last, values])
        is_larger = np.greater(ordered[1:], ordered[:-1])
        if not is_larger.all():
            at = int(np.argmin(is_larger))
            raise BadDataError(
                f"{url}: {column} {ordered[at + 1]} stands after {ordered[at]}",
                expected="distinct values in ascending order",
                mend="run the job that makes the snapshot again",
            )
        yield values
        last = values[-1:] if len(values) else last


def _array(values: pa.Array, dtype: npt.DTypeLike) -> Keys:
    return np.array(values.to_pylist(), dtype) if np.dtype(dtype).kind == "U" else values.to_numpy(zero_copy_only=False)


def _write_numbers(url: str, record: FeatureSnapshot, path: Path) -> None:
    names = [one.name for one in record.numbers]
    columns = names or [record.keys[0].name]  # the rows have to be counted in any case
    with _ArrayFile(path, np.float64, (len(names),)) as written:
        for batch in _batches(url, columns):
            values = np.empty((batch.num_rows, len(names)))
            for place, name in enumerate(names):
                column = batch.column(place)
                values[:, place] = column.to_numpy(zero_copy_only=False)
                _check_finite(column.drop_null().to_numpy(), url, name)
            written.append(values)


def _check_finite(known: npt.NDArray[Any], url: str, name: str) -> None:
    if not np.isfinite(known).all():
        raise BadDataError(
            f"{url}: {name!r} has NaN or infinite numbers",
            expected="finite numbers, or null where nothing is known",
            mend="write the table's partitions anew",
        )


def _write_bag(url: str, name: str, folder: Path) -> None:
    terms = np.asarray(mapped(folder / TERMS_FILE))
    with (
        _ArrayFile(folder / PTR_FILE, np.int64) as ptr,
        _ArrayFile(folder / CODES_FILE, np.int32) as codes,
        _ArrayFile(folder / VALUES_FILE, np.float64) as values,
    ):
        ptr.append(np.zeros(1, np.int64))
        for batch in _batches(url, [name]):
            bags = batch.column(0)
            ends = bags.offsets.to_numpy()
            lengths = np.where(bags.is_valid().to_numpy(zero_copy_only=False), np.diff(ends), 0)
            ptr.append(codes.rows + np.cumsum(lengths, dtype=np.int64))
            own = pa.array(np.arange(ends[0], ends[-1]))  # a null bag has no entries in Parquet
            amounts = bags.items.take(own).to_numpy(zero_copy_only=False)
            _check_finite(amounts, url, name)
            codes.append(positions(terms, _array(bags.keys.take(own), terms.dtype)))
            values.append(amounts)


def _write_cells(url: str, keys: Sequence[SnapshotKey], folder: Path) -> None:
    known = [np.asarray(mapped(folder / key_file(place))) for place in range(len(keys))]
    if np.prod([float(len(one)) for one in known]) > _LARGEST_CELL:
        raise BadDataError(
            f"{url}: more pairs of {', '.join(key.name for key in keys)} than a 64-bit number tells apart",
            expected="fewer distinct keys, or one key that names the pair",
        )
    names = [key.name for key in keys]
    cells = (_cells(batch, known) for batch in _batches(url, names))
    with _ArrayFile(folder / CELLS_FILE, np.int64) as written:
        for values in _ascending(cells, url, f"the pair of {', '.join(names)} at"):
            written.append(values)


def _cells(batch: pa.RecordBatch, known: Sequence[Keys]) -> Longs:
    cells: Longs = np.zeros(batch.num_rows, np.int64)
    for place, keys in enumerate(known):
        cells = cells * len(keys) + positions(keys, _array(batch.column(place), keys.dtype))
    return cells
