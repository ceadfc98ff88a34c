"""The folder that a bundle is written into: fresh, and gone if it came to nothing."""

import os
from pathlib import Path

import pytest

from yarnmill.cli.bundle_fresh import fresh_folder
from yarnmill.errors import BadDataError, ConflictError


def write(folder: Path, problem: BaseException | None) -> None:
    with fresh_folder(folder):
        (folder / "native").mkdir()
        (folder / "native" / "weights").touch()
        (folder / "link").symlink_to(os.devnull)
        if problem is not None:
            raise problem


@pytest.mark.parametrize("problem", [BadDataError("of another shape"), KeyboardInterrupt()])
def test_what_came_to_nothing_can_be_tried_again(tmp_path: Path, problem: BaseException) -> None:
    there, new = tmp_path / "there", tmp_path / "a" / "new"
    there.mkdir()
    for folder in (there, new):
        with pytest.raises(type(problem)):
            write(folder, problem)
    assert list(there.iterdir()) == []  # it was there before
    assert not new.exists()
    write(new, None)
    assert sorted(path.name for path in new.iterdir()) == ["link", "native"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("theirs")
    for folder in (tmp_path, file):
        with pytest.raises(ConflictError, match="something is there already"):
            write(folder, None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "theirs"
