"""What differs between two bundles, and which changes of a signature break whoever asks the first of them."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from yarnmill.bundle.diff import FileChange, ValueChange, compare_bundles
from yarnmill.bundle.manifest import BundleFile, Field, Manifest, Signature, manifest_bytes
from yarnmill.cli.main import run, yarnmill

USER = Field(name="user_id", dtype="int64")
AGE = Field(name="age", dtype="float32", required=False, default=0.0)
SCORE = Field(name="score", dtype="float32")


def changed(manifest: Manifest, **fields: object) -> Manifest:
    return msgspec.structs.replace(manifest, **fields)


def test_a_bundle_does_not_differ_from_itself(manifest: Manifest) -> None:
    difference = compare_bundles(manifest, manifest)
    assert difference.is_same
    assert difference.compatible
    assert (difference.files, difference.fields, difference.values) == ((), (), ())


def test_files_are_told_by_their_bytes(manifest: Manifest) -> None:
    example, graph, empty, weights = manifest.files
    other = BundleFile(path=graph.path, size_bytes=7000, sha256="a" * 64)
    added = BundleFile(path="notes.txt", size_bytes=3, sha256="b" * 64)
    difference = compare_bundles(manifest, changed(manifest, files=(example, other, empty, added)))
    assert not difference.is_same
    assert difference.files == (
        FileChange(path="model.onnx", change="changed", before_bytes=5000, after_bytes=7000),
        FileChange(path="native/weights.bin", change="removed", before_bytes=weights.size_bytes, after_bytes=None),
        FileChange(path="notes.txt", change="added", before_bytes=None, after_bytes=3),
    )


@pytest.mark.parametrize(
    ("before", "after", "is_compatible", "what"),
    [
        ((USER,), (USER, AGE), True, "float32[], optional"),
        ((USER,), (USER, msgspec.structs.replace(AGE, required=True)), False, "float32[]"),
        ((USER, AGE), (USER,), False, "float32[], optional"),
        ((USER,), (msgspec.structs.replace(USER, required=False),), True, "required true → false"),
        ((AGE,), (msgspec.structs.replace(AGE, required=True),), False, "required false → true"),
        ((USER,), (msgspec.structs.replace(USER, dtype="string"),), False, "dtype int64 → string"),
        ((USER,), (msgspec.structs.replace(USER, shape=(3,)),), False, "shape [] → [3]"),
        ((AGE,), (msgspec.structs.replace(AGE, default=1.0),), True, "default 0.0 → 1.0"),
    ],
)
def test_inputs_may_gain_optional_ones(
    manifest: Manifest, before: tuple[Field, ...], after: tuple[Field, ...], what: str, *, is_compatible: bool
) -> None:
    one, other = (changed(manifest, signature=Signature(inputs=each, outputs=(SCORE,))) for each in (before, after))
    difference = compare_bundles(one, other)
    assert difference.compatible is is_compatible
    assert [(field.kind, field.what) for field in difference.fields] == [("input", what)]


@pytest.mark.parametrize(
    ("after", "is_compatible"),
    [((SCORE, USER), True), ((USER,), False), ((msgspec.structs.replace(SCORE, dtype="float64"),), False)],
)
def test_outputs_may_gain(manifest: Manifest, after: tuple[Field, ...], *, is_compatible: bool) -> None:
    one, other = (changed(manifest, signature=Signature(inputs=(AGE,), outputs=each)) for each in ((SCORE,), after))
    assert compare_bundles(one, other).compatible is is_compatible


def test_where_they_come_from_and_what_they_reached(manifest: Manifest) -> None:
    lineage = msgspec.structs.replace(manifest.lineage, run_id="run-2", configuration={"l2": "2.0", "l1": "1.0"})
    difference = compare_bundles(manifest, changed(manifest, lineage=lineage, metrics={"test_auc": 0.8}))
    assert difference.compatible
    assert difference.values == (
        ValueChange(section="lineage", name="run_id", before="run-1", after="run-2"),
        ValueChange(section="configuration", name="l1", before=None, after="1.0"),
        ValueChange(section="configuration", name="l2", before="1.0", after="2.0"),
        ValueChange(section="metrics", name="test_auc", before=0.75, after=0.8),
    )


def test_the_command_ends_as_diff_does(
    folder: Path, manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    signature = Signature(inputs=manifest.signature.inputs, outputs=(SCORE,))
    (other / "bundle.json").write_bytes(manifest_bytes(changed(manifest, signature=signature, metrics={})))
    assert run(yarnmill, ["bundle", "diff", str(folder), str(folder)]) == 0
    assert "the same bundle" in capsys.readouterr().out
    assert run(yarnmill, ["bundle", "diff", str(folder), str(other)]) == 1
    text = capsys.readouterr().out
    assert "compatible: NO" in text
    assert "test_auc" in text
    assert run(yarnmill, ["bundle", "diff", str(folder), str(other), "--output", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["compatible"] is False
