from pathlib import Path

import pytest

from yarnmill.localcluster import logs

BIND = """\
2026-11-21 10:00:00,001 INFO org.apache.hadoop.hdfs.server.namenode.NameNode: STARTUP_MSG
2026-11-21 10:00:01,500 ERROR org.apache.hadoop.hdfs.server.namenode.NameNode: Failed to start namenode.
java.net.BindException: Port in use: localhost:20001
\tat org.apache.hadoop.http.HttpServer2.constructBindException(HttpServer2.java:1507)
Caused by: java.io.IOException: Failed to bind to localhost/127.0.0.1:20001
\tat org.eclipse.jetty.server.ServerConnector.openAcceptChannel(ServerConnector.java:349)
Caused by: java.net.BindException: Address already in use
\t... 8 more
2026-11-21 10:00:01,510 INFO org.apache.hadoop.util.ExitUtil: Exiting with status 1
"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (BIND, "java.net.BindException: Address already in use"),
        ("2026-11-21 10:00:00,001 FATAL o.a.h.X: disk is full\n", "o.a.h.X: disk is full"),
        (
            "Error occurred during initialization of VM\nToo small maximum heap\n",
            "Error occurred during initialization of VM: Too small maximum heap",
        ),
        ("2026-11-21 10:00:00,001 INFO o.a.h.X: all is well\n", ""),
        ("", ""),
    ],
)
def test_the_line_that_says_why(text: str, cause: str) -> None:
    assert logs.cause_in(text) == cause


def test_an_earlier_failure_does_not_hide_the_last_one() -> None:
    later = "2026-11-21 11:00:00,000 ERROR o.a.h.X: later\njava.io.IOException: the later cause\n"
    assert logs.cause_in(BIND + later) == "java.io.IOException: the later cause"


def test_only_what_this_start_wrote_is_read(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert logs.size_of(log) == 0
    assert logs.read_from(log, 0) == ""
    log.write_text("old\n")
    offset = logs.size_of(log)
    with log.open("a") as stream:
        stream.write("new\n")
    assert logs.read_from(log, offset) == "new\n"


def test_a_log_that_rolled_over_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("short\n")
    assert logs.read_from(log, 1000) == "short\n"


def test_the_tail(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("1\n2\n3\n")
    assert logs.tail(log, 2) == ["2", "3"]
    assert logs.tail(log, 0) == []
    assert logs.tail(tmp_path / "none", 2) == []


def test_following_reads_whole_lines_once_and_survives_a_roll_over(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\ntwo\nhal")
    lines, offset = logs.new_lines(log, 0)
    assert lines == ["one", "two"]
    with log.open("a") as stream:
        stream.write("f\n")
    lines, offset = logs.new_lines(log, offset)
    assert lines == ["half"]
    assert logs.new_lines(log, offset) == ([], offset)
    log.write_text("rolled\n")
    assert logs.new_lines(log, offset) == (["rolled"], 7)
