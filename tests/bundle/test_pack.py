"""Packing is deterministic, and nothing in a bundle changes unseen."""

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yarnmill.bundle.manifest import (
    BundleFile,
    Field,
    Flavour,
    Lineage,
    Manifest,
    Signature,
    bundle_id,
    manifest_bytes,
    parse_manifest,
)
from yarnmill.bundle.pack import pack, read_manifest, verify_bundle
from yarnmill.errors import BadDataError, ConflictError, NotFoundError
from yarnmill.records import canonical_json, parse_json, to_plain

Pack = Callable[[Path, Signature], Manifest]


@pytest.fixture
def pack_as(manifest: Manifest) -> Pack:
    """Return a packer that takes all but folder and signature from the model's own manifest."""

    def packer(folder: Path, signature: Signature) -> Manifest:
        flavour: Flavour = manifest.flavour
        lineage: Lineage = manifest.lineage
        when: dt.datetime = manifest.created_at
        return pack(
            folder,
            flavour=flavour,
            signature=signature,
            lineage=lineage,
            metrics=manifest.metrics,
            environment=manifest.environment,
            created_at=when,
        )

    return packer


def test_the_manifest_lists_every_file_in_order(folder: Path, manifest: Manifest) -> None:
    assert [file.path for file in manifest.files] == [
        "example.json",
        "model.onnx",
        "native/empty",
        "native/weights.bin",
    ]
    assert [file.size_bytes for file in manifest.files][1:] == [5000, 0, 7]
    assert read_manifest(folder) == verify_bundle(folder) == manifest


def test_the_same_files_are_the_same_bundle(folder: Path, manifest: Manifest, pack_as: Pack, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(folder, twin, ignore=shutil.ignore_patterns("bundle.json"))
    assert bundle_id(manifest_bytes(pack_as(twin, manifest.signature))) == bundle_id(manifest_bytes(manifest))
    assert (twin / "bundle.json").read_bytes() == (folder / "bundle.json").read_bytes()


def test_packing_again_changes_nothing(folder: Path, manifest: Manifest, pack_as: Pack) -> None:
    assert pack_as(folder, manifest.signature) == manifest


def test_another_manifest_is_never_overwritten(folder: Path, manifest: Manifest, pack_as: Pack) -> None:
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(ConflictError, match=r"bundle\.json"):
        pack_as(folder, manifest.signature)


def test_an_empty_folder_is_no_model(manifest: Manifest, pack_as: Pack, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadDataError, match="no file to pack"):
        pack_as(tmp_path / "nothing", manifest.signature)
    with pytest.raises(NotFoundError, match="no such folder"):
        pack_as(tmp_path / "nowhere", manifest.signature)


def test_a_link_is_refused(folder: Path, manifest: Manifest, pack_as: Pack) -> None:
    (folder / "bundle.json").unlink()
    (folder / "native" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(BadDataError, match="link"):
        pack_as(folder, manifest.signature)


def test_a_signature_without_inputs_or_with_doubles_is_refused(folder: Path, pack_as: Pack) -> None:
    number = Field(name="x", dtype="float64")
    with pytest.raises(BadDataError, match="no output"):
        pack_as(folder, Signature(inputs=(number,), outputs=()))
    with pytest.raises(BadDataError, match="twice"):
        pack_as(folder, Signature(inputs=(number, number), outputs=(number,)))


@pytest.mark.usefixtures("manifest")
def test_every_change_is_named(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"Graph" * 1000)
    (folder / "native" / "weights.bin").unlink()
    (folder / "extra").write_bytes(b"?")
    with pytest.raises(BadDataError) as refused:
        verify_bundle(folder)
    for name in ("model.onnx has the SHA-256", "native/weights.bin is missing", "extra is not in the manifest"):
        assert name in refused.value.what


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"bundle\.json"):
        read_manifest(tmp_path)


INPUTS = {"user_id": [7], "global": [[0.5] * 20]}
OUTPUTS = {"probability": [0.25]}


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, "no example"),
        ({"inputs": INPUTS}, "no outputs in its"),
        ({"inputs": {"user_id": [7]}, "outputs": OUTPUTS}, "inputs: no global"),
        ({"inputs": {**INPUTS, "age": [1]}, "outputs": OUTPUTS}, "inputs: unknown age"),
        ({"inputs": INPUTS, "outputs": {"score": [0.5]}}, "outputs: no probability"),
        ({"inputs": INPUTS, "outputs": {"probability": [0.5, 0.5]}}, "outputs.probability has 2 rows"),
        ({"inputs": {"user_id": [], "global": []}}, "user_id has 0 rows|global has 0 rows"),
    ],
)
def test_a_model_without_a_fitting_example_is_no_bundle(
    folder: Path, manifest: Manifest, pack_as: Pack, example: dict[str, object] | None, message: str
) -> None:
    (folder / "bundle.json").unlink()
    (folder / "example.json").unlink()
    if example is not None:
        (folder / "example.json").write_bytes(canonical_json(example))
    with pytest.raises(BadDataError, match=message) as refused:
        pack_as(folder, manifest.signature)
    assert "example.json" in str(refused.value)


OLD = {
    "created_at": "2026-01-02T00:00:00Z",
    "environment": {},
    "files": [{"path": "model.onnx", "sha256": "0" * 64, "size_bytes": 3}],
    "flavour": "onnx",
    "lineage": {
        "application_id": "",
        "code_version": "0",
        "configuration": {},
        "inputs": [],
        "parent": None,
        "run_id": "r",
    },
    "metrics": {"auc": 0.75},
    "schema_version": 1,
    "signature": {
        "inputs": [{"default": None, "dtype": "int64", "name": "x", "required": True, "shape": []}],
        "outputs": [{"default": None, "dtype": "float32", "name": "y", "required": True, "shape": []}],
    },
}


@pytest.mark.parametrize("later", [{}, {"schema_version": 2, "comparisons": []}])
def test_a_bundle_of_an_earlier_version_is_read_and_keeps_its_id(later: dict[str, object]) -> None:
    stored = canonical_json({**OLD, **later})
    old = parse_manifest(stored, source="old")
    assert (old.schema_version, old.comparisons) == (later.get("schema_version", 1), ())
    assert manifest_bytes(old) == stored
    with pytest.raises(BadDataError, match="schema version 4"):
        parse_manifest(canonical_json({**OLD, "schema_version": 4}), source="new")
    signature = to_plain(old.signature)
    signature["inputs"][0].update(dtype="float32", missing=True)
    with pytest.raises(BadDataError, match="inputs that may be missing in schema version"):
        parse_manifest(canonical_json({**OLD, **later, "signature": signature}), source="odd")


def test_any_changed_word_of_the_manifest_is_another_bundle(manifest: Manifest) -> None:
    data = manifest_bytes(manifest)
    assert parse_manifest(data, source="x") == manifest
    assert bundle_id(data) != bundle_id(data.replace(b"0.75", b"0.76"))


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a/../../b", "a//b", "./a", "a\\b", "a\0", "bundle.json"])
def test_a_manifest_cannot_name_a_file_outside_its_folder(manifest: Manifest, path: str) -> None:
    plain = to_plain(manifest)
    plain["files"][0]["path"] = path
    with pytest.raises(BadDataError, match=r"evil: files\[0\]|evil"):
        parse_manifest(canonical_json(plain), source="evil")


@given(st.text())
def test_an_accepted_path_stays_below_its_folder(path: str) -> None:
    data = canonical_json({"path": path, "size_bytes": 0, "sha256": "0" * 64})
    try:
        file = parse_json(data, BundleFile, source="any")
    except BadDataError:
        return
    assert os.path.normpath(f"/bundle/{file.path}").startswith("/bundle/")
