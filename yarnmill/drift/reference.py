"""The reference of a bundle: how inputs and scores were distributed where the model was trained.

It is the file ``reference.json`` of the bundle, beside the example, so the bundle's id covers it and bundles without
one stay what they are.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from yarnmill.bundle.manifest import Signature
from yarnmill.drift.profile import Profile
from yarnmill.drift.scale import Scale, Values, scale_of
from yarnmill.drift.series import Column, SeriesName, Side, series_names, series_values
from yarnmill.errors import BadDataError
from yarnmill.records import Record, parse_json

REFERENCE_NAME: Final = "reference.json"


class Series(Record, frozen=True, kw_only=True):
    """One series: by what it is counted, and the counts of the reference."""

    side: Side
    name: str
    scale: Scale
    profile: Profile

    def __post_init__(self) -> None:
        """Refuse counts by another scale."""
        if len(self.profile.counts) != self.scale.cells:
            raise ValueError(f"{self.name}: {len(self.profile.counts)} counts for {self.scale.cells} cells")


class Reference(Record, frozen=True, kw_only=True):
    """The content of ``reference.json``: every series of the signature, in its order."""

    rows: int
    series: tuple[Series, ...]
    schema_version: int = 1

    def count(
        self, signature: Signature, inputs: Mapping[str, Column], outputs: Mapping[str, Column], rows: int
    ) -> tuple[Profile, ...]:
        """Return the profiles of some rows, one a series.

        Parameters
        ----------
        signature
            What the reference belongs to.
        inputs, outputs
            Columns by name, ``(rows, *shape)``.
        rows
            How many.
        """
        values = _all_values(signature, inputs, outputs, rows)
        return tuple(one.scale.count(each) for one, each in zip(self.series, values, strict=True))


def make_reference(
    signature: Signature, inputs: Mapping[str, Column], outputs: Mapping[str, Column], rows: int
) -> Reference:
    """Return the reference that a sample gives; parameters as :meth:`Reference.count`."""
    named = zip(series_names(signature), _all_values(signature, inputs, outputs, rows), strict=True)
    return Reference(rows=rows, series=tuple(_series(name, values) for name, values in named))


def parse_reference(data: bytes, signature: Signature, *, source: str) -> Reference:
    """Return the reference in ``reference.json``; BadDataError if it is none, or one of another signature."""
    reference = parse_json(data, Reference, source=source)
    if reference.schema_version != 1:
        raise BadDataError(f"{source}: schema version {reference.schema_version}", expected="version 1")
    known = [(one.side, one.name, one.scale.kind) for one in reference.series]
    expected = list(series_names(signature))
    if known != expected:
        odd = next((one for one in [*known, *expected] if one not in known or one not in expected), known)
        raise BadDataError(
            f"{source}: not the series of the signature, such as {odd}",
            expected="every input and output of the signature, in its order",
            mend=f"leave {REFERENCE_NAME} away and bring reference.parquet, some rows of the training data",
        )
    return reference


def merge_profiles(one: Iterable[Profile], other: Iterable[Profile]) -> tuple[Profile, ...]:
    """Return the profiles of the rows of both, series by series."""
    return tuple(each.merge(more) for each, more in zip(one, other, strict=True))


def _series(named: SeriesName, values: Values) -> Series:
    scale = scale_of(named.kind, values)
    return Series(side=named.side, name=named.name, scale=scale, profile=scale.count(values))


def _all_values(
    signature: Signature, inputs: Mapping[str, Column], outputs: Mapping[str, Column], rows: int
) -> Iterable[Values]:
    yield from series_values(signature.inputs, inputs, rows)
    yield from series_values(signature.outputs, outputs, rows)
