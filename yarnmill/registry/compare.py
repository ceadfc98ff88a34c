"""Two versions side by side: what differs in metrics, configuration, inputs, libraries and labels."""

from collections.abc import Iterator, Mapping

from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import Manifest
from yarnmill.bundle.store import read_bundle_manifest
from yarnmill.records import Record
from yarnmill.registry.records import ModelVersion


class Compared(Record, frozen=True, kw_only=True):
    """One line of a comparison; ``-`` stands for what a version lacks."""

    kind: str
    name: str
    one: str
    other: str
    change: str


def compare(one: ModelVersion, other: ModelVersion) -> list[Compared]:
    """Return every metric of two versions, and everything else that differs.

    The configuration is read from the bundles; of a retired version it is no longer there and left out.
    """
    lines = list(_metrics(one.metrics, other.metrics))
    manifests = [_manifest(version) for version in (one, other)]
    if manifests[0] is not None and manifests[1] is not None:
        first, second = (manifest.lineage.configuration for manifest in manifests if manifest is not None)
        lines += _texts("configuration", first, second)
    facts = [
        {"flavour": version.flavour, "code": version.code_version, "parent": version.parent or ""}
        for version in (one, other)
    ]
    lines += _texts("version", *facts)
    lines += _texts("input", *(dict.fromkeys(version.inputs, "read") for version in (one, other)))
    lines += _texts("library", one.libraries, other.libraries)
    lines += _texts("label", one.labels, other.labels)
    return lines


def _manifest(version: ModelVersion) -> Manifest | None:
    if version.retired_at is not None:
        return None
    return read_bundle_manifest(open_store(version.blobs_url), version.bundle_id)


def _metrics(one: Mapping[str, float], other: Mapping[str, float]) -> Iterator[Compared]:
    for name in sorted(one.keys() | other.keys()):
        both = name in one and name in other
        yield Compared(
            kind="metric",
            name=name,
            one=f"{one[name]:.6g}" if name in one else "-",
            other=f"{other[name]:.6g}" if name in other else "-",
            change=f"{other[name] - one[name]:+.6g}" if both else "",
        )


def _texts(kind: str, one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Compared]:
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) == other.get(name):
            continue
        change = "added" if name not in one else "gone" if name not in other else "changed"
        yield Compared(kind=kind, name=name, one=one.get(name, "-"), other=other.get(name, "-"), change=change)
