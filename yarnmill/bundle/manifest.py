"""The records of a bundle: manifest, signature, lineage.

A bundle's id is the SHA-256 of its ``bundle.json`` in canonical form. The manifest lists every file
with size and SHA-256, so the id names every byte.
"""

import datetime as dt
import hashlib
import re
from typing import Final, Literal

from yarnmill.records import Record, canonical_json, parse_json, to_plain

MANIFEST_NAME: Final = "bundle.json"
TRANSFORMER_NAME: Final = "transformer.yaml"
"""The file that declares what stands between a request and the model, if anything does."""
ONNX_NAME: Final = "model.onnx"
"""The file of an ONNX graph; where a bundle has it, that is what answers."""
HOW_FORMS_ANSWER: Final = {"onnx": "as ONNX", "native": "natively"}
"""Words for the forms that a model of another flavour may answer in."""
SCHEMA_VERSION: Final = 3
"""Version 2 has an example among its files, and comparisons; 3 inputs that may be missing. Older bundles stay as they
are."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")

Flavour = Literal["glmix", "onnx", "tensorflow", "torch", "sklearn", "xgboost", "lightgbm", "python", "features"]
"""``features``: a snapshot of a feature table, which takes entity keys and gives features."""
NATIVE_FLAVOURS: Final[tuple[Flavour, ...]] = ("tensorflow", "torch")
"""Flavours whose models have a form of their own; they are called as the library is that answers for it."""
Dtype = Literal["int64", "int32", "float32", "float64", "string", "bag"]
"""``bag``: a mapping of terms to values a row; its shape is empty."""


class Field(Record, frozen=True, kw_only=True):
    """One named input or output. ``shape`` is that of one row: ``()`` for a number, ``(20,)`` for a vector.

    A ``required`` input must be in every request; one that is not takes ``default``. ``missing``: single numbers of it
    may be missing, which is NaN to the model.
    """

    name: str
    dtype: Dtype
    shape: tuple[int, ...] = ()
    required: bool = True
    default: float | None = None
    missing: bool = False

    def __post_init__(self) -> None:
        """Refuse missing values where there is no NaN."""
        if self.missing and self.dtype not in {"float32", "float64"}:
            raise ValueError(f"{self.name}: {self.dtype} has no NaN to stand for what is missing")


class Signature(Record, frozen=True, kw_only=True):
    """What a model takes and gives, row by row."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]


class BundleFile(Record, frozen=True, kw_only=True):
    """One file: its path in the bundle (with ``/``), size and SHA-256 (hex)."""

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse a path that could leave the bundle's folder: a manifest may come from anywhere."""
        parts = self.path.split("/")
        if not self.path or {"", ".", ".."} & set(parts) or "\\" in self.path or "\0" in self.path:
            raise ValueError(f"{self.path!r} is no path inside a bundle")
        if self.path == MANIFEST_NAME:
            raise ValueError(f"{self.path!r} cannot list itself")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.sha256!r} is no SHA-256")


class Lineage(Record, frozen=True, kw_only=True):
    """Where a model comes from."""

    inputs: tuple[str, ...]
    code_version: str
    run_id: str
    application_id: str
    configuration: dict[str, str]
    parent: str | None = None


class Comparison(Record, frozen=True, kw_only=True):
    """How far apart two forms of one model answered the same rows.

    Parameters
    ----------
    form, reference
        What was measured and against what, such as ``onnx`` and ``native``.
    rows
        How many rows both answered.
    largest_difference
        Of any two numbers: absolute where the reference is below 1, relative to it above.
    metrics
        What each form reached on labelled rows, such as ``auc`` and ``reference_auc``; empty without labels.
    """

    form: str
    reference: str
    rows: int
    largest_difference: float
    metrics: dict[str, float] = {}


def said_form(flavour: Flavour, form: str) -> str:
    """Return a flavour, and how it answers where there are several ways: ``torch, as ONNX`` or ``torch, natively``."""
    return flavour if form == flavour else f"{flavour}, {HOW_FORMS_ANSWER[form]}"


class Manifest(Record, frozen=True, kw_only=True):
    """The content of ``bundle.json``."""

    flavour: Flavour
    signature: Signature
    files: tuple[BundleFile, ...]
    lineage: Lineage
    metrics: dict[str, float]
    environment: dict[str, str]
    created_at: dt.datetime
    comparisons: tuple[Comparison, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def form(self) -> str:
        """What answers: ``onnx`` or ``native`` for flavours whose models may be either, else the flavour itself."""
        if any(file.path == ONNX_NAME for file in self.files):
            return "onnx"
        return "native" if self.flavour in NATIVE_FLAVOURS else self.flavour

    def __post_init__(self) -> None:
        """Refuse what a later version of the platform wrote: what it means is not known here."""
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"schema version {self.schema_version} is not one of 1 to {SCHEMA_VERSION}")
        if self.schema_version < 3 and any(field.missing for field in self.signature.inputs):
            raise ValueError(f"inputs that may be missing in schema version {self.schema_version}")


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the canonical bytes of ``bundle.json``, in the form of the manifest's own schema version."""
    plain = to_plain(manifest)
    if manifest.schema_version < 2:
        del plain["comparisons"]
    if manifest.schema_version < 3:
        for field in (*plain["signature"]["inputs"], *plain["signature"]["outputs"]):
            del field["missing"]
    return canonical_json(plain)


def bundle_id(data: bytes) -> str:
    """Return the id of the bundle whose ``bundle.json`` holds ``data``."""
    return hashlib.sha256(data).hexdigest()


def parse_manifest(data: bytes, *, source: str) -> Manifest:
    """Return the manifest in ``bundle.json``; BadDataError, naming ``source``, if it does not fit."""
    return parse_json(data, Manifest, source=source)
