"""Bringing a file to the disk while it is written: errors of it are the writer's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from yarnmill import fs
from yarnmill.writeback import Writeback

LARGE = 9 << 20


@pytest.fixture
def nowhere() -> Iterator[int]:
    """What may be written to and has no disk: the system refuses to bring it there."""
    ends = os.pipe()
    yield ends[1]
    for end in ends:
        os.close(end)


def test_an_error_on_the_way_is_told_at_the_end(nowhere: int) -> None:
    writeback = Writeback(nowhere)
    writeback.wrote(LARGE)
    with pytest.raises(OSError, match="Invalid argument"):
        writeback.finish()


def test_an_error_on_the_way_is_told_to_the_next_write(nowhere: int) -> None:
    writeback = Writeback(nowhere)
    writeback.wrote(LARGE)
    with pytest.raises(OSError, match="Invalid argument"):
        write_on(writeback)
    writeback.stop()


def write_on(writeback: Writeback) -> None:
    while True:  # until what is under way has failed
        writeback.wrote(LARGE)


def test_what_is_small_waits_for_the_end(nowhere: int) -> None:
    writeback = Writeback(nowhere)
    writeback.wrote(1 << 20)
    writeback.stop()


def test_a_large_file_is_whole(tmp_path: Path) -> None:
    piece = os.urandom(1 << 20)
    with fs.open_write(tmp_path / "large") as stream:
        for _ in range(40):
            stream.write(piece)
    assert (tmp_path / "large").read_bytes() == piece * 40
