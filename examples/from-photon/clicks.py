"""Clicks of users on items in Photon ML's own format: TrainingExampleAvro with a bag more, for the guide.

    python clicks.py FOLDER

writes ``FOLDER/train/2026/02/<day>/part-0.avro`` for two days, and ``FOLDER/validation/part-0.avro``.
"""

import sys
from pathlib import Path

import fastavro
import numpy as np

FEATURE = {
    "type": "record",
    "name": "FeatureAvro",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "term", "type": "string"},
        {"name": "value", "type": "double"},
    ],
}
CLICK = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "uid", "type": ["null", "string"]},
        {"name": "response", "type": "double"},
        {"name": "features", "type": {"type": "array", "items": FEATURE}},
        {"name": "userFeatures", "type": {"type": "array", "items": "FeatureAvro"}},
        {"name": "weight", "type": ["null", "double"], "default": None},
        {"name": "offset", "type": ["null", "double"], "default": None},
        {"name": "userId", "type": "long"},
        {"name": "metadataMap", "type": ["null", {"type": "map", "values": "string"}], "default": None},
    ],
}
COUNTRIES = ("at", "fr", "it")


def clicks(rows: int, seed: int) -> list[dict[str, object]]:
    """Return rows whose margins are a sum of a global, a user's and an item's effect."""
    random, effects = np.random.default_rng(seed), np.random.default_rng(1)
    country, user, item = effects.normal(size=3), effects.normal(size=(40, 2)), effects.normal(size=12)
    found = []
    for row in range(rows):
        c, u, i, age = random.integers(3), random.integers(40), random.integers(12), random.normal()
        margin = country[c] + 0.5 * age + user[u, 0] + user[u, 1] * age + item[i]
        found.append(
            {
                "uid": f"{seed}-{row}",
                "response": float(random.random() < 1.0 / (1.0 + np.exp(-margin))),
                "features": [{"name": "country", "term": COUNTRIES[c], "value": 1.0}],
                "userFeatures": [{"name": "age", "term": "", "value": float(age)}],
                "userId": int(u),
                "metadataMap": {"itemId": f"item-{i}"},
            }
        )
    return found


def main(folder: Path) -> None:
    """Write three files."""
    for place, rows, seed in (("train/2026/02/27", 800, 1), ("train/2026/02/28", 800, 2), ("validation", 600, 3)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        with (folder / place / "part-0.avro").open("wb") as stream:
            fastavro.writer(stream, fastavro.parse_schema(CLICK), clicks(rows, seed), codec="deflate")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
