"""A model that was saved elsewhere: it says itself what it takes and gives, and is published like any other."""

import json
from pathlib import Path

import pytest
from registered import fresh_sqlite

from yarnmill.bundle.manifest import Field
from yarnmill.cli.main import run, yarnmill
from yarnmill.flavours.prepare import read_signature

ROWS = {"inputs": {"text": ["good", "other"], "features": [[1.0, 2.0], [0.5, 0.5]]}}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    return path


def command(tmp_path: Path, *words: str) -> int:
    home = tmp_path / "home"
    settings = ["--home", str(home), "--set", f"storage.blobs=file://{tmp_path}/blobs"]
    return run(yarnmill, [*words, *settings, "--set", "bundles.allow_code=true"])


@pytest.mark.parametrize("library", ["tensorflow", "torch"])
def test_a_saved_model_becomes_an_output_that_can_be_packed(
    native_models: Path, home: Path, tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str], library: str
) -> None:
    source = native_models / library / ("" if library == "tensorflow" else "model.pt")
    output = tmp_path / "output"
    assert command(tmp_path, "bundle", "adopt", str(source), str(output), "--rows", str(rows)) == 0
    assert capsys.readouterr().out.strip() == library
    text, features = Field(name="text", dtype="string"), Field(name="features", dtype="float32", shape=(2,))
    signature = read_signature(str(output))
    assert set(signature.inputs) == {text, features}
    assert {(one.dtype, one.shape) for one in signature.outputs} == {
        ("float32", ()),
        ("string", ()),
        ("float32", (2,)),
    }
    example = json.loads((output / "example.json").read_text())
    assert sorted(map(str, example["outputs"].values())) == [
        "['liked', 'böse']",
        "[6.0, 1.0]",
        "[[6.0, 12.0], [1.0, 2.0]]",
    ]
    if library == "torch":  # one is enough: the rest is the same
        fresh_sqlite(home / "registry.db")
        assert command(tmp_path, "models", "publish", str(output), "--model", "liked", "--flavour", library) == 0
        assert "liked: answers natively" in capsys.readouterr().err
        assert command(tmp_path, "versions", "show", "liked/1") == 0
        shown = capsys.readouterr().out
        assert "torch, natively" in shown
        assert "torch 2." in shown


@pytest.mark.parametrize(
    ("name", "status", "message"), [("none.pt", 3, "no model there"), ("model.pt", 21, "rows of different shapes")]
)
def test_what_cannot_be_adopted(
    native_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, status: int, message: str
) -> None:
    source, rows = native_models / "torch" / name, tmp_path / "rows.json"
    rows.write_text('{"inputs": {"text": ["good", "fine"], "features": [[1, 2], [3]]}}')
    assert command(tmp_path, "bundle", "adopt", str(source), str(tmp_path / "output"), "--rows", str(rows)) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


def test_there_have_to_be_rows_and_a_fresh_folder(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, "bundle", "adopt", "model.pt", str(tmp_path / "output"), "--rows", "nowhere.json") == 3
    assert "nowhere.json: no such file" in capsys.readouterr().err
    assert command(tmp_path, "bundle", "adopt", "model.pt", str(tmp_path), "--rows", str(rows)) == 4
    assert "not empty" in capsys.readouterr().err
