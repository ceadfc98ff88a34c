"""What workers said of versions, from any of them, within bounds."""

import logging
import os
from pathlib import Path

import pytest

from serving.journal import Journal, log_of_version


@pytest.fixture
def log() -> logging.Logger:
    log = logging.getLogger("tests.journal")
    log.setLevel(logging.INFO)
    log.handlers.clear()
    return log


def test_a_worker_reads_what_others_said_and_what_a_killed_one_left(tmp_path: Path, log: logging.Logger) -> None:
    ended = Journal(tmp_path)
    log.addHandler(ended)
    log_of_version(log, logging.INFO, "rater", 1, "answers")
    log.removeHandler(ended)
    left = tmp_path / f"{os.getpid()}.journal"
    left.write_bytes(left.read_bytes() + b'[1, "cut')
    left.rename(tmp_path / "1.journal")
    here = Journal(tmp_path)
    log.addHandler(here)
    log_of_version(log, logging.ERROR, "rater", 1, "refused: no blob")
    log_of_version(log, logging.INFO, "rater", 2, "answers")
    log.info("what is of no version is not kept")
    said = ["model rater version 1 answers", "model rater version 1 refused: no blob"]
    assert [one.text for one in here.lines("rater", 1)] == said
    assert [one.text for one in Journal(tmp_path).lines("rater", 1)] == said[:1]
    assert here.lines("film", 1) == []


def test_the_oldest_lines_are_forgotten_on_disk_too(tmp_path: Path, log: logging.Logger) -> None:
    journal = Journal(tmp_path, kept_lines=5)
    log.addHandler(journal)
    sizes = []
    for number in range(40):
        log_of_version(log, logging.INFO, "rater", number, "answers")
        sizes.append(len((tmp_path / f"{os.getpid()}.journal").read_bytes().splitlines()))
    assert max(sizes) == 10
    assert sizes[-1] >= 5
    kept = [number for number in range(40) if journal.lines("rater", number)]
    assert kept == [35, 36, 37, 38, 39]
