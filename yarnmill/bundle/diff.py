"""What differs between two bundles, from their manifests alone; and whether whoever asks one can ask the other.

The rule of compatibility: requests and readers of the first must go on working with the second. So inputs may gain
optional ones or become optional, outputs may gain, and nothing else of the signature may change.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from yarnmill.bundle.manifest import Field, Lineage, Manifest, bundle_id, manifest_bytes
from yarnmill.records import Record

Change = Literal["added", "removed", "changed"]
Section = Literal["bundle", "lineage", "configuration", "metrics", "environment"]
Values = Mapping[str, str | float | None]


class FileChange(Record, frozen=True, kw_only=True):
    """A file that only one of the two has, or that has other bytes; None where it is not."""

    path: str
    change: Change
    before_bytes: int | None
    after_bytes: int | None


class FieldChange(Record, frozen=True, kw_only=True):
    """An input or output that is not the same in both."""

    kind: Literal["input", "output"]
    name: str
    change: Change
    what: str
    compatible: bool


class ValueChange(Record, frozen=True, kw_only=True):
    """A value that is not the same in both; None where it is not there."""

    section: Section
    name: str
    before: str | float | None
    after: str | float | None


class Difference(Record, frozen=True, kw_only=True):
    """All that differs between two bundles."""

    before: str
    after: str
    compatible: bool
    files: tuple[FileChange, ...]
    fields: tuple[FieldChange, ...]
    values: tuple[ValueChange, ...]

    @property
    def is_same(self) -> bool:
        """Whether they are one bundle."""
        return self.before == self.after


def compare_bundles(before: Manifest, after: Manifest) -> Difference:
    """Return what differs between two bundles."""
    fields = (
        *_field_changes("input", before.signature.inputs, after.signature.inputs),
        *_field_changes("output", before.signature.outputs, after.signature.outputs),
    )
    return Difference(
        before=bundle_id(manifest_bytes(before)),
        after=bundle_id(manifest_bytes(after)),
        compatible=all(field.compatible for field in fields),
        files=tuple(_file_changes(before, after)),
        fields=fields,
        values=tuple(_value_changes(before, after)),
    )


def _file_changes(before: Manifest, after: Manifest) -> Iterator[FileChange]:
    old, new = ({file.path: file for file in manifest.files} for manifest in (before, after))
    for path in sorted(old.keys() | new.keys()):
        one, other = old.get(path), new.get(path)
        if one != other:
            yield FileChange(
                path=path,
                change=_change(one, other),
                before_bytes=one.size_bytes if one else None,
                after_bytes=other.size_bytes if other else None,
            )


def _field_changes(
    kind: Literal["input", "output"], before: Sequence[Field], after: Sequence[Field]
) -> Iterator[FieldChange]:
    old, new = ({field.name: field for field in fields} for fields in (before, after))
    for name in dict.fromkeys([*old, *new]):
        one, other = old.get(name), new.get(name)
        if one != other:
            yield FieldChange(
                kind=kind,
                name=name,
                change=_change(one, other),
                what=_what_changed(one, other),
                compatible=_is_compatible(kind, one, other),
            )


def _is_compatible(kind: str, before: Field | None, after: Field | None) -> bool:
    if after is None:
        return False
    if before is None:
        return kind == "output" or not after.required
    same_values = (before.dtype, before.shape) == (after.dtype, after.shape)
    return same_values and (before.required or not after.required)


def _what_changed(before: Field | None, after: Field | None) -> str:
    if before is None or after is None:
        return _described(before or after)
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in Field.__struct_fields__)
    return ", ".join(f"{name} {_text(one)} → {_text(other)}" for name, one, other in pairs if one != other)


def _described(field: Field | None) -> str:
    return "" if field is None else f"{field.dtype}{list(field.shape)}{'' if field.required else ', optional'}"


def _text(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value).lower()


def _value_changes(before: Manifest, after: Manifest) -> Iterator[ValueChange]:
    pairs: dict[Section, tuple[Values, Values]] = {
        "bundle": (_bundle_values(before), _bundle_values(after)),
        "lineage": (_lineage_values(before.lineage), _lineage_values(after.lineage)),
        "configuration": (before.lineage.configuration, after.lineage.configuration),
        "metrics": (before.metrics, after.metrics),
        "environment": (before.environment, after.environment),
    }
    for section, (old, new) in pairs.items():
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield ValueChange(section=section, name=name, before=old.get(name), after=new.get(name))


def _bundle_values(manifest: Manifest) -> Values:
    return {
        "flavour": manifest.flavour,
        "created_at": manifest.created_at.isoformat(),
        "schema_version": str(manifest.schema_version),
    }


def _lineage_values(lineage: Lineage) -> Values:
    return {
        "inputs": ", ".join(lineage.inputs),
        "code_version": lineage.code_version,
        "run_id": lineage.run_id,
        "application_id": lineage.application_id,
        "parent": lineage.parent,
    }


def _change(before: object, after: object) -> Change:
    return "added" if before is None else "removed" if after is None else "changed"
