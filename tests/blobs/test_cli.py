"""``yarnmill blobs`` as a whole command."""

import hashlib
import json
from pathlib import Path

import pytest

from yarnmill import fs
from yarnmill.cli.main import run, yarnmill


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    return path


def test_a_file_goes_in_and_comes_out(
    root: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blob_id = hashlib.sha256(b"weights").hexdigest()
    assert run(yarnmill, ["blobs", "put", str(model), "--root", root]) == 0
    assert capsys.readouterr().out == f"{blob_id}  {model}\n"
    assert run(yarnmill, ["blobs", "ls", "--root", root, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"id": blob_id, "size_bytes": 7}]
    assert run(yarnmill, ["blobs", "get", blob_id, str(tmp_path / "copy"), "--root", root]) == 0
    assert (tmp_path / "copy").read_bytes() == b"weights"
    assert run(yarnmill, ["blobs", "stat", blob_id, "--root", root]) == 0
    assert run(yarnmill, ["blobs", "verify", "--root", root]) == 0


def test_damage_is_told_by_exit_status_21(
    root: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blob_id = hashlib.sha256(b"weights").hexdigest()
    run(yarnmill, ["blobs", "put", str(model), "--root", root])
    fs.write_bytes(fs.join(root, "sha256", blob_id[:2], blob_id), b"Weights", overwrite=True)
    assert run(yarnmill, ["blobs", "get", blob_id, str(tmp_path / "copy"), "--root", root]) == 21
    assert not (tmp_path / "copy").exists()
    capsys.readouterr()
    assert run(yarnmill, ["blobs", "verify", "--root", root, "--output", "json"]) == 21
    shown = capsys.readouterr()
    assert [damage["blob"] for damage in json.loads(shown.out)["damaged"]] == [blob_id]
    assert "1 damaged of 1 blobs" in shown.err


@pytest.mark.parametrize(
    ("arguments", "status"), [(["stat", "0" * 64], 3), (["stat", "../x"], 2), (["get", "x", "y"], 2)]
)
def test_a_mistake_is_one_message(
    tmp_path: Path, arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(yarnmill, ["blobs", *arguments, "--root", f"file://{tmp_path}"]) == status
    assert capsys.readouterr().err.startswith("error (")


def test_an_unknown_file_system_is_refused(model: Path) -> None:
    assert run(yarnmill, ["blobs", "put", str(model), "--root", "ftp://host/blobs"]) == 2
