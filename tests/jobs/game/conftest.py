"""A small world in Photon's own format: clicks of users on items, as Avro records with three feature bags."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

NAME_TERM_VALUE = {
    "type": "record",
    "name": "FeatureAvro",
    "namespace": "com.linkedin.photon.avro.generated",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "term", "type": ["null", "string"]},
        {"name": "value", "type": ["float", "double"]},
    ],
}
CLICK = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "uid", "type": ["null", "string"]},
        {"name": "response", "type": ["int", "double"]},
        {"name": "weight", "type": ["null", "double"]},
        {"name": "offset", "type": ["null", "double"]},
        {"name": "features", "type": {"type": "array", "items": NAME_TERM_VALUE}},
        {"name": "userFeatures", "type": {"type": "array", "items": "com.linkedin.photon.avro.generated.FeatureAvro"}},
        {"name": "userId", "type": "long"},
        {"name": "metadataMap", "type": ["null", {"type": "map", "values": "string"}]},
    ],
}


@dataclass(frozen=True)
class Clicks:
    """The rows as plain data, and how to write them."""

    records: list[dict[str, Any]]

    def write(self, folder: Path, *, files: int = 2, records: Sequence[dict[str, Any]] | None = None) -> str:
        rows = list(self.records if records is None else records)
        folder.mkdir(parents=True)
        (folder / "_SUCCESS").touch()
        size = -(-len(rows) // files)
        for part in range(files):
            with (folder / f"part-{part}.avro").open("wb") as stream:
                chunk = rows[part * size : (part + 1) * size]
                fastavro.writer(stream, fastavro.parse_schema(CLICK), chunk, codec="deflate", sync_interval=2000)
        return f"file://{folder}"


def made_clicks(rows: int, seed: int) -> Clicks:
    random = np.random.default_rng(seed)
    effects = np.random.default_rng(1)
    slopes = {f"f{j}": effects.normal() for j in range(6)}
    users, items = effects.normal(size=(13, 2)), effects.normal(size=9)
    records = []
    for row in range(rows):
        features = {f"f{j}": float(random.normal()) for j in range(6) if random.random() < 0.6}
        age, user, item = float(random.normal()), int(random.integers(13)), int(random.integers(9))
        offset = float(random.normal(scale=0.2)) if row % 3 else None
        margin = 0.3 + sum(slopes[name] * value for name, value in features.items())
        margin += users[user, 0] + users[user, 1] * age + items[item] + (offset or 0.0)
        records.append(
            {
                "uid": f"r{row}",
                "response": int(random.random() < 1 / (1 + np.exp(-margin))),
                "weight": float(random.uniform(0.5, 2.0)) if row % 2 else None,
                "offset": offset,
                "features": [
                    {"name": name, "term": "x" if name > "f2" else None, "value": value}
                    for name, value in features.items()
                ],
                "userFeatures": [{"name": "age", "term": "", "value": age}],
                "userId": user,
                "metadataMap": {"itemId": f"item{item}"},
            }
        )
    return Clicks(records)


@pytest.fixture(scope="session")
def clicks() -> Clicks:
    return made_clicks(500, 7)


@pytest.fixture(scope="session")
def later_clicks() -> Clicks:
    return made_clicks(300, 8)
