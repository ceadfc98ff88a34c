"""The training set as arrays: each worker reads its share of the Parquet on HDFS. Plain PyArrow and NumPy."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
from fsspec import AbstractFileSystem
from hdfs_native.fsspec import HdfsFileSystem
from numpy.typing import NDArray

COLUMNS = {
    "user_id": ds.field("ids", "user_id"),
    "film_id": ds.field("ids", "film_id"),
    "indices": ds.field("shards", "global", "indices"),
    "values": ds.field("shards", "global", "values"),
    "response": ds.field("response"),
    "weight": ds.field("weight"),
}


@dataclass(frozen=True)
class Rows:
    """Rows of one split: ids, the dense vector of shard ``global``, response (0 or 1) and weight."""

    user_id: NDArray[np.int64]
    film_id: NDArray[np.int64]
    features: NDArray[np.float32]
    response: NDArray[np.float32]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.response)


def hdfs(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of an ``hdfs://`` URL, by HADOOP_CONF_DIR if the URL names no host, and the path."""
    parts = urlsplit(url)
    authority = parts.netloc
    if not authority:
        core_site = Path(os.environ["HADOOP_CONF_DIR"]) / "core-site.xml"
        settings = {p.findtext("name"): p.findtext("value") or "" for p in ET.parse(core_site).iter("property")}  # noqa: S314
        authority = urlsplit(settings["fs.defaultFS"]).netloc
    host, _, port = authority.partition(":")
    return HdfsFileSystem(host, int(port) if port else None), parts.path


def read_dimension(url: str) -> int:
    """Return the number of columns of shard ``global``."""
    filesystem, path = hdfs(url)
    record = json.loads(filesystem.cat_file(f"{path}/training_set.json"))
    return next(shard["dimension"] for shard in record["shards"] if shard["name"] == "global")


def read_known_ids(url: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all users and films of the training split, ascending; every worker reads these two columns whole."""
    filesystem, path = hdfs(url)
    dataset = _dataset(filesystem, f"{path}/data/split=train")
    table = dataset.to_table(columns={name: COLUMNS[name] for name in ("user_id", "film_id")})
    return np.unique(table["user_id"].to_numpy()), np.unique(table["film_id"].to_numpy())


def read_rows(url: str, split: str, dimension: int, *, share: int = 0, shares: int = 1) -> Rows:
    """Return this worker's rows: whole row groups, or every n-th row when there are fewer groups than workers."""
    filesystem, path = hdfs(url)
    dataset = _dataset(filesystem, f"{path}/data/split={split}")
    pieces = [piece for fragment in dataset.get_fragments() for piece in fragment.split_by_row_group()]
    by_piece = len(pieces) >= shares
    mine = pieces[share::shares] if by_piece else pieces
    tables = [piece.to_table(schema=dataset.schema, columns=COLUMNS) for piece in mine]
    table = pa.concat_tables(tables)
    if not by_piece:
        table = table.take(np.arange(share, table.num_rows, shares))
    return Rows(
        user_id=table["user_id"].to_numpy().copy(),  # Arrow's own memory is not writable
        film_id=table["film_id"].to_numpy().copy(),
        features=_dense(table, dimension),
        response=table["response"].to_numpy().astype(np.float32),
        weight=table["weight"].to_numpy().astype(np.float32),
    )


def _dataset(filesystem: AbstractFileSystem, path: str) -> ds.Dataset:
    return ds.dataset(path, format="parquet", filesystem=pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)))


def _dense(table: pa.Table, dimension: int) -> NDArray[np.float32]:
    indices, values = (table[name].combine_chunks() for name in ("indices", "values"))
    rows = np.repeat(np.arange(table.num_rows), np.diff(indices.offsets.to_numpy()))
    dense = np.zeros((table.num_rows, dimension), dtype=np.float32)
    dense[rows, indices.flatten().to_numpy()] = values.flatten().to_numpy()
    return dense
