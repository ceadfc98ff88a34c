"""What the tier's own pages answer, and TensorFlow Serving's bodies and answers."""

from typing import Annotated, Any, Literal

import msgspec

from yarnmill.bundle.manifest import Signature

Rows = Annotated[list[Any], msgspec.Meta(min_length=1)]


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all answers."""


class Taken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all bodies: unknown keys are refused."""


class Refusal(Shown, frozen=True, kw_only=True):
    """Why there is no other answer: what is wrong, what was expected, what mends it."""

    error: str


class Alive(Shown, frozen=True, kw_only=True):
    """That the server lives, as KServe says it."""

    status: Literal["alive"]


class Health(Shown, frozen=True, kw_only=True):
    """The process lives."""

    status: Literal["ok"]


class ExperimentRule(Shown, frozen=True, kw_only=True):
    """Which versions share a model's requests, in percent."""

    shares: dict[str, float]
    mirror: int | None
    layer: str | None


class ModelEntry(Shown, frozen=True, kw_only=True):
    """A model that is deployed here; ``answering_version`` is what answers while ``version`` does not yet."""

    model: str
    version: int
    bundle_id: str
    state: Literal["AVAILABLE", "LOADING", "END"]
    answering_version: int | None
    open: bool
    rule: ExperimentRule | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET


class Models(Shown, frozen=True, kw_only=True):
    """Every model that is deployed here."""

    models: list[ModelEntry]


class Readiness(Shown, frozen=True, kw_only=True):
    """Whether every model has a version that answers; what is amiss comes first among ``models``."""

    ready: bool
    registry: str
    endpoints: int
    answering: int
    open: int
    models: list[ModelEntry]


class VersionState(Shown, frozen=True, kw_only=True):
    """Why a version is in its state."""

    error_code: Literal["OK", "FAILED_PRECONDITION"]
    error_message: str


class VersionStatus(Shown, frozen=True, kw_only=True):
    """The state of one version."""

    version: str
    state: Literal["AVAILABLE", "LOADING", "END"]
    status: VersionState


class ModelStatus(Shown, frozen=True, kw_only=True):
    """TensorFlow Serving's status of a model, and KServe's: whether any of the versions answers."""

    model_version_status: list[VersionStatus]
    name: str
    ready: bool


class ModelSpec(Shown, frozen=True, kw_only=True):
    """Which version is meant."""

    name: str
    signature_name: str
    version: str


class OurMetadata(Shown, frozen=True, kw_only=True):
    """What TensorFlow Serving has no field for."""

    bundle_id: str
    signature: Signature


class ModelMetadata(Shown, frozen=True, kw_only=True):
    """A version's signature: TensorFlow's ``SignatureDef``, and complete."""

    model_spec: ModelSpec
    metadata: dict[str, Any]
    yarnmill: OurMetadata


class ByRow(Taken, frozen=True, kw_only=True):
    """Rows: an object of inputs each, or the only input's value."""

    instances: Rows
    signature_name: Literal["serving_default", ""] = "serving_default"


class ByColumn(Taken, frozen=True, kw_only=True):
    """Columns: a list for each input, or the only input's."""

    inputs: Any
    signature_name: Literal["serving_default", ""] = "serving_default"


class Free(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever the transformer that stands before a model reads, if one does."""


class Predictions(Shown, frozen=True, kw_only=True):
    """A value for each row, or an object of outputs if the model has several."""

    predictions: list[Any]


class PredictedColumns(Shown, frozen=True, kw_only=True):
    """The only output's values, or a list for each output."""

    outputs: Any


class Examples(Taken, frozen=True, kw_only=True):
    """Examples: an object of features each; those of the context belong to all."""

    examples: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    context: dict[str, Any] = {}
    signature_name: Literal["serving_default", ""] = "serving_default"


class Results(Shown, frozen=True, kw_only=True):
    """For each example a number, or pairs of a class and its score."""

    result: list[Any]
