"""``yarnmill blobs`` as a whole command."""

import hashlib
import json
from pathlib import Path

import pytest

from yarnmill import fs
from yarnmill.blobs import open_store
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
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["id"], found["size_bytes"]) == (blob_id, 7)
    assert run(yarnmill, ["blobs", "get", blob_id, str(tmp_path / "copy"), "--root", root]) == 0
    assert (tmp_path / "copy").read_bytes() == b"weights"
    assert run(yarnmill, ["blobs", "stat", blob_id, "--root", root]) == 0
    assert run(yarnmill, ["blobs", "verify", "--root", root]) == 0


def test_damage_is_told_by_exit_status_21(
    root: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blob_id = hashlib.sha256(b"weights").hexdigest()
    run(yarnmill, ["blobs", "put", str(model), "--root", root])
    url = fs.join(root, "blobs", blob_id[:2], blob_id)
    fs.write_bytes(url, fs.read_bytes(url).replace(b"weights", b"Weights"), overwrite=True)
    assert run(yarnmill, ["blobs", "get", blob_id, str(tmp_path / "copy"), "--root", root]) == 21
    assert not (tmp_path / "copy").exists()
    capsys.readouterr()
    assert run(yarnmill, ["blobs", "verify", "--root", root, "--output", "json"]) == 21
    shown = capsys.readouterr()
    assert [damage["blob"] for damage in json.loads(shown.out)["damaged"]] == [blob_id]
    assert "1 damaged of 1 blobs" in shown.err
    assert f"yarnmill blobs quarantine --root {root}" in shown.err
    assert run(yarnmill, ["blobs", "quarantine", "0" * 64, "--root", root]) == 0
    assert "set aside: none" in capsys.readouterr().out
    assert run(yarnmill, ["blobs", "quarantine", blob_id, "--root", root, "--plan"]) == 0
    assert blob_id in capsys.readouterr().out
    assert run(yarnmill, ["blobs", "quarantine", "--root", root, "--output", "json"]) == 0
    (aside,) = json.loads(capsys.readouterr().out)
    assert b"Weights" in fs.read_bytes(aside["aside"])
    assert run(yarnmill, ["blobs", "put", str(model), "--root", root]) == 0
    assert run(yarnmill, ["blobs", "verify", "--root", root]) == 0


def test_a_named_blob_lives_and_ends(
    root: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(status: int, *arguments: str) -> str:
        assert run(yarnmill, ["blobs", *arguments, "--root", root]) == status
        shown = capsys.readouterr()
        return shown.err if status else shown.out

    put = ("put", str(model), "--name", "ml/models/rank/1", "--type", "text/plain", "--owner", "ana", "--ttl", "30 d")
    blob_id = said(0, *put, "--meta", "stage=trial").split()[0]
    assert "ml/models/rank/1" in said(4, *put)
    assert said(0, "ls", "ml/models/ra") == said(0, "ls") == "ml/models/rank/1  7\n"
    assert said(0, "ls", "ml/models/q") == ""
    shown = said(0, "stat", "ml/models/rank/1")
    assert shown.startswith(blob_id)
    assert {"  type: text/plain", "  owner: ana", "  meta stage: trial"} <= set(shown.splitlines())
    assert json.loads(said(0, "expire", blob_id, "never", "--output", "json"))["expires_at_ms"] is None
    assert "  expires: never" in said(0, "stat", blob_id)
    assert json.loads(said(0, "rm", "ml/models/rank/1", "--output", "json")) == {"id": blob_id, "deleted": True}
    assert "was deleted" in said(3, "get", blob_id, str(tmp_path / "copy"))
    assert said(0, "ls") == ""
    assert json.loads(said(0, "restore", blob_id, "--output", "json"))["id"] == blob_id
    said(0, "get", "ml/models/rank/1", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"weights"
    assert json.loads(said(0, "get", blob_id, str(tmp_path / "again"), "--output", "json"))["size_bytes"] == 7
    assert "standard output is the blob's" in said(2, "get", blob_id, "-", "--output", "json")


def test_garbage_goes_only_when_it_was_said(root: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert run(yarnmill, ["blobs", *arguments, "--root", root]) == 0
        return capsys.readouterr().out

    blob_id = said("put", str(model)).split()[0]
    said("rm", blob_id)
    assert said("gc") == "to collect: none\n"
    assert "the same with --collect removes them" in said("gc", "--kept", "0 s")
    said("restore", blob_id)
    said("rm", blob_id)
    plan = json.loads(said("gc", "--kept", "0 s", "--output", "json"))
    assert [(one["blob"], one["reason"], one["size_bytes"] > 7) for one in plan["plan"]] == [(blob_id, "deleted", True)]
    assert plan["collected"] == []
    assert "1 collected" in said("gc", "--kept", "0 s", "--collect")
    assert said("gc", "--kept", "0 s") == "to collect: none\n"
    assert run(yarnmill, ["blobs", "restore", blob_id, "--root", root]) == 3


def test_small_blobs_are_packed(root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert run(yarnmill, ["blobs", *arguments, "--root", root]) == 0
        return capsys.readouterr().out

    files = [tmp_path / str(number) for number in range(3)]
    for file in files:
        file.write_text(file.name)
    said("put", *map(str, files))
    listed = said("ls").split("\n")
    assert said("pack") == "nothing to pack\n"
    now = ("pack", "--age", "0 s", "--least", "2")
    assert said(*now, "--plan").startswith("would pack 3 blobs")
    assert said(*now).startswith("packed 3 blobs")
    assert said(*now) == "nothing to pack\n"
    assert sorted(said("ls").split("\n")) == sorted(listed)
    assert "3 blobs" in said("verify")


@pytest.mark.parametrize(
    "options",
    [
        ["--name", "a/b"],
        ["--name", "a/b/c", "MODEL"],
        ["--meta", "x"],
        ["--ttl", "soon"],
        ["--name", "a/b/\udcff"],
        ["--meta", "x=\udcff"],
        ["--owner", "\udcff"],
    ],
)
def test_what_cannot_be_said_of_a_blob_is_refused(options: list[str], root: str, model: Path) -> None:
    words = [str(model) if word == "MODEL" else word for word in options]
    assert run(yarnmill, ["blobs", "put", str(model), *words, "--root", root]) == 2
    assert list(open_store(root).ids()) == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["stat", "0" * 64], 3),
        (["stat", "../x"], 2),
        (["get", "x", "y"], 2),
        (["ls", "ml"], 2),
        (["ls", "/models"], 2),
        (["verify"], 3),
    ],
)
def test_a_mistake_is_one_message(
    tmp_path: Path, arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(yarnmill, ["blobs", *arguments, "--root", f"file://{tmp_path}"]) == status
    assert capsys.readouterr().err.startswith("error (")


def test_an_error_says_the_name_that_was_asked_for(
    root: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> str:
        assert run(yarnmill, ["blobs", *arguments, "--root", root]) == 3
        return capsys.readouterr().err

    assert "no blob ml/models/rank/1" in told("stat", "ml/models/rank/1")
    run(yarnmill, ["blobs", "put", str(model), "--name", "ml/models/rank/1", "--root", root])
    run(yarnmill, ["blobs", "rm", "ml/models/rank/1", "--root", root])
    assert "blob ml/models/rank/1 was deleted" in told("get", "ml/models/rank/1", str(tmp_path / "copy"))


def test_a_damaged_blob_hides_none_of_its_neighbours(
    root: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        run(yarnmill, ["blobs", "put", str(model), "--name", f"ml/models/{number}", "--root", root])
    fs.write_bytes(fs.join(root, "names", "ml", "models", "1="), b"", overwrite=True)
    capsys.readouterr()
    assert run(yarnmill, ["blobs", "ls", "ml/models/", "--root", root]) == 21
    shown = capsys.readouterr()
    assert shown.out == "ml/models/0  7\nml/models/2  7\n"
    assert "1 damaged and not listed, ml/models/1 the first" in shown.err
    assert run(yarnmill, ["blobs", "ls", "--root", root, "--output", "json"]) == 21
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_pack_of_nothing_is_never_written(root: str, model: Path) -> None:
    assert run(yarnmill, ["blobs", "put", str(model), "--root", root]) == 0
    assert run(yarnmill, ["blobs", "pack", "--least", "0", "--root", root]) == 2


def test_an_unknown_file_system_is_refused(model: Path) -> None:
    assert run(yarnmill, ["blobs", "put", str(model), "--root", "ftp://host/blobs"]) == 2
