from pathlib import Path
from threading import Thread

import pytest

from tony_py.logs import Lines, LogFile, is_of_task, parse_logs
from tony_py.tailing import LocalLogs, follow_logs

# As NodeManagers and `yarn logs` of Hadoop 3.4.3 write them.
ONE = b"""Container: container_1_0006_01_000002 on localhost:24746
LogAggregationType: LOCAL
====================================================================
LogType:worker.log
LogLastModifiedTime:Wed Nov 25 18:38:40 +0000 2026
LogLength:597
LogContents:
39
err 39
End of LogType:worker.log.This log file belongs to a running container and so may not be complete.
***************************************************************************

"""
TWO = b"""Container: container_1_0006_01_000003 on node_24746
LogAggregationType: AGGREGATED
====================================================================
LogType:worker.log
LogLastModifiedTime:Wed Nov 25 18:40:07 +0000 2026
LogLength:28
LogContents:
End of LogType:
no, not yet

End of LogType:worker.log
*******************************************************************************

Container: container_1_0006_01_000003 on node_24746
LogAggregationType: AGGREGATED
====================================================================
LogType:prelaunch.err
LogLastModifiedTime:Wed Nov 25 18:40:07 +0000 2026
LogLength:0
LogContents:

End of LogType:prelaunch.err
******************************************************************************

"""


def test_the_end_of_a_file_comes_with_its_place_in_the_file() -> None:
    (part,) = parse_logs(ONE, 10)
    assert part == LogFile("container_1_0006_01_000002", "worker.log", 587, b"39\nerr 39\n")


def test_whole_files_are_told_apart_by_their_lengths_whatever_they_hold() -> None:
    whole, empty = parse_logs(TWO)
    assert whole.data == b"End of LogType:\nno, not yet\n"
    assert (empty.name, empty.data) == ("prelaunch.err", b"")
    assert list(parse_logs(b"no logs here")) == []
    (torn,) = parse_logs(ONE[: ONE.index(b"39\n") + 3], 100)  # the connection broke
    assert torn.data == b"39\n"


def test_lines_wait_for_their_ends_and_letters_for_all_their_bytes() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.take("eins\nzw\u00f6".encode()[:-1])
    assert said == ["eins"]
    lines.take("\u00f6".encode()[1:] + b"lf\r\nd")
    assert said == ["eins", "zw\u00f6lf"]
    lines.finish()
    assert said[-1] == "d"


def test_tasks_are_asked_for_by_name_or_type() -> None:
    assert is_of_task("worker:1", [])
    assert is_of_task("worker:1", ["worker:1", "ps"])
    assert is_of_task("ps:0", ["worker:1", "ps"])
    assert not is_of_task("worker:2", ["worker:1", "ps"])


@pytest.mark.slow
def test_files_that_grow_are_followed_line_by_line(tmp_path: Path) -> None:
    first = tmp_path / "container_000001_worker_0"
    second = tmp_path / "container_000002_parameter-server_1"
    for folder in (first, second):
        folder.mkdir()
    (first / "log").write_text("one\ntw")
    said: list[tuple[str, str]] = []
    looks: list[int] = []

    def is_over() -> bool:
        looks.append(len(said))
        if len(looks) == 2:
            with (first / "log").open("a") as log:
                log.write("o\nthree")
            (second / "log").write_text("other\n")
        return len(looks) > 3

    follower = Thread(target=follow_logs, args=(LocalLogs(tmp_path), [], lambda *each: said.append(each), is_over))
    follower.start()
    follower.join(30)
    assert said == [("worker:0", "one"), ("worker:0", "two"), ("parameter-server:1", "other"), ("worker:0", "three")]
    only: list[tuple[str, str]] = []
    follow_logs(LocalLogs(tmp_path), ["parameter-server"], lambda *each: only.append(each), lambda: True)
    assert only == [("parameter-server:1", "other")]
