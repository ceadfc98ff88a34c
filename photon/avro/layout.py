"""The folder of a saved GAME model, and the two small files in it that are no Avro.

::

    model-metadata.json                               task, and how each coordinate was optimised
    fixed-effect/<coordinate>/id-info                 the feature shard
    fixed-effect/<coordinate>/coefficients/part-*     one BayesianLinearModelAvro
    random-effect/<coordinate>/id-info                the id that it is per, then the feature shard
    random-effect/<coordinate>/coefficients/part-*    one BayesianLinearModelAvro an entity, in any number of files
"""

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from photon.avro.models import photon_task, task_of_option
from yarnmill.errors import BadDataError
from yarnmill.records import Record

METADATA_NAME: Final = "model-metadata.json"
FIXED_FOLDER: Final = "fixed-effect"
RANDOM_FOLDER: Final = "random-effect"
ID_INFO_NAME: Final = "id-info"
COEFFICIENTS_FOLDER: Final = "coefficients"

_MODEL_TYPE: Final = re.compile(r'"modelType"\s*:\s*"(?P<option>[^"]+)"')


class OptimizerJson(Record, frozen=True, kw_only=True, rename="camel"):
    """How a coordinate was optimised, in Photon's words."""

    optimizer_type: str
    maximum_iterations: int
    tolerance: float


class RegularizationJson(Record, frozen=True, kw_only=True, rename="camel"):
    """Kind of the penalty: ``L1``, ``L2``, ``ELASTIC_NET`` or ``NONE``; the share of L1 in an elastic net."""

    regularization_type: str
    elastic_net_param: float | None = None


class OptimizationJson(Record, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One coordinate's optimisation; a random effect has no down-sampling."""

    optimizer_config: OptimizerJson
    regularization_context: RegularizationJson
    regularization_weight: float
    down_sampling_rate: float | None = None


class CoordinateJson(Record, frozen=True, kw_only=True):
    """One coordinate of ``model-metadata.json``."""

    name: str
    configuration: OptimizationJson


def render_metadata(task: str, coordinates: tuple[CoordinateJson, ...]) -> bytes:
    """Return ``model-metadata.json``."""
    content = {
        "modelType": photon_task(task).option,
        "optimizationConfigurations": {"values": coordinates},
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def task_of_metadata(data: bytes) -> str:
    """Return our task from ``model-metadata.json``; read as Photon reads it, for its own is not always JSON."""
    found = _MODEL_TYPE.search(data.decode("utf-8", errors="replace"))
    if found is None:
        raise BadDataError(f"{METADATA_NAME}: no modelType", expected='"modelType": "LOGISTIC_REGRESSION" or its like')
    return task_of_option(found["option"])


@dataclass(frozen=True, slots=True)
class EffectInfo:
    """A saved coordinate: its name, its feature shard, and the id that a random effect is per."""

    name: str
    shard: str
    entity: str | None = None

    @property
    def folder(self) -> str:
        """Path below the model's folder."""
        return f"{FIXED_FOLDER if self.entity is None else RANDOM_FOLDER}/{self.name}"


def render_id_info(effect: EffectInfo) -> bytes:
    """Return the content of ``id-info``."""
    lines = (effect.shard,) if effect.entity is None else (effect.entity, effect.shard)
    return "".join(f"{line}\n" for line in lines).encode()


def parse_id_info(data: bytes, name: str, *, is_random: bool) -> EffectInfo:
    """Return what ``id-info`` of the coordinate ``name`` says; BadDataError if it is not its form."""
    lines = data.decode().split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if len(lines) != (2 if is_random else 1) or not all(lines):
        expected = "two lines, the id and the feature shard" if is_random else "one line, the feature shard"
        raise BadDataError(f"{ID_INFO_NAME} of {name!r}: {len(lines)} lines", expected=expected)
    return EffectInfo(name, lines[-1], lines[0] if is_random else None)
