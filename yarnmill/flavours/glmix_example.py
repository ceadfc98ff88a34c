"""Rows for the example of a GLMix model: of its training set, or made from the model where that has no rows."""

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
    path = folder / MODEL_NAME
    training_set = parse_json(path.read_bytes(), ModelRecord, source=str(path)).training_set
    # Held-out rows first: they are the fewest to look through.
    for split in reversed(SPLITS):
        batch = _first_rows(split_url(training_set, split), signature)
        if batch is not None:
            return columns_of(batch, signature)
    return _made_row(folder, signature)


def _first_rows(url: str, signature: Signature) -> pa.RecordBatch | None:
    """Return the first rows of a split in which every required input is known."""
    if not fs.exists(url):
        return None
    for child in fs.children(url):
        if not child.name.endswith(".parquet"):
            continue
        with fs.open_read(child.url) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_BATCH, columns=list(_PARTS)):
                known = batch.filter(_is_known(batch, signature)).slice(0, ROWS)
                if known.num_rows:
                    return known
    return None


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
