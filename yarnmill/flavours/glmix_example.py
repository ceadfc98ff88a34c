"""Rows for the example and the reference of a GLMix model: of its training set, or made where that has no rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from photon.model import MODEL_NAME, ModelRecord, RandomEffect, load_model
from yarnmill import fs
from yarnmill.bundle.manifest import Signature
from yarnmill.flavours.columns import columns_of
from yarnmill.flavours.glmix import INDEX_NAME
from yarnmill.flavours.predictor import Column
from yarnmill.records import parse_json
from yarnmill.trainingset import SPLITS, split_url

ROWS: Final = 8
_BATCH: Final = 1024  # rows decoded at a time: of most training sets the first few do
_PARTS: Final = ("ids", "features", "shards")


def glmix_example(folder: Path, signature: Signature) -> dict[str, Column]:
    """Return the inputs of some rows that a prepared model can be asked.

    An imported model has no training rows: its example is one row of the first entities and terms that it knows.
    """
    # Held-out rows first: they are the fewest to look through.
    for split in reversed(SPLITS):
        batch = next(_known_rows(_split_url(folder, split), signature), None)
        if batch is not None:
            return columns_of(batch.slice(0, ROWS), signature)
    return _made_row(folder, signature)


def held_out_rows(folder: Path, signature: Signature, most: int) -> dict[str, Column] | None:
    """Return the inputs of rows that a prepared model was not trained on, from every file; None if there are none."""
    for split in SPLITS[:0:-1]:
        files = _files(_split_url(folder, split))
        share = -(-most // max(len(files), 1))
        batches = [batch for file in files for batch in _first(_rows_of_file(file, signature), share)]
        if batches:
            rows = pa.Table.from_batches(batches).slice(0, most).combine_chunks()
            return columns_of(rows.to_batches()[0], signature)
    return None


def _first(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the first rows of some batches, and read no further."""
    for batch in batches:
        yield batch.slice(0, rows)
        rows -= batch.num_rows
        if rows <= 0:
            return


def _split_url(folder: Path, split: str) -> str:
    path = folder / MODEL_NAME
    return split_url(parse_json(path.read_bytes(), ModelRecord, source=str(path)).training_set, split)


def _known_rows(url: str, signature: Signature) -> Iterator[pa.RecordBatch]:
    for file in _files(url):
        yield from _rows_of_file(file, signature)


def _files(url: str) -> list[str]:
    return [child.url for child in fs.children(url) if child.name.endswith(".parquet")] if fs.exists(url) else []


def _rows_of_file(url: str, signature: Signature) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in which every required input is known."""
    with fs.open_read(url) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(_BATCH, columns=list(_PARTS)):
            known = batch.filter(_is_known(batch, signature))
            if known.num_rows:
                yield known


def _is_known(batch: pa.RecordBatch, signature: Signature) -> pa.Array:
    known = pa.array(np.full(batch.num_rows, fill_value=True))
    for field in signature.inputs:
        for part in ("ids", "features"):
            values = batch.column(part)
            if field.required and values.type.get_field_index(field.name) >= 0:
                known = pc.and_(known, pc.is_valid(values.field(field.name)))
    return known


def _made_row(folder: Path, signature: Signature) -> dict[str, Column]:
    effects = load_model(folder).effects
    entities = {effect.entity: effect.entities for effect in effects if isinstance(effect, RandomEffect)}
    columns: dict[str, Column] = {}
    for field in signature.inputs:
        if field.dtype == "bag":
            maps = sorted((folder / INDEX_NAME).glob(f"*/{field.name}/terms.npy"))
            terms = [str(term) for path in maps for term in np.load(path, mmap_mode="r")[:1]]
            columns[field.name] = [dict.fromkeys(terms, 1.0)]
        elif field.name in entities:
            known = np.asarray(entities[field.name][:1])
            columns[field.name] = known if len(known) else np.zeros(1, known.dtype)
        else:
            columns[field.name] = np.full(1, field.default or 0.0)
    return columns
