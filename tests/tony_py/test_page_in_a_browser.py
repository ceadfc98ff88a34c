"""The status page as people see it: in a wide window, on a telephone, and while the run goes on."""

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tony_py.driver.dashboard import StatusServer
from tony_py.history import Event
from tony_py.status import RunStatus, TaskStatus

LONG = "container_e17_1795630333387_0047_01_000002_and_something_that_has_no_space_at_all_to_break_at"


def run(step: int) -> RunStatus:
    """Return a run with what is hard to lay out: long words, a traceback, many tasks."""
    tasks = [
        TaskStatus(
            task=f"worker:{at}", state="running", since=90.0, container_id=LONG, host="gpu-07.example", step=step
        )
        for at in range(12)
    ]
    trace = 'Traceback (most recent call last):\n  File "train.py", line 1\nValueError: ' + "x" * 300
    return RunStatus(
        application_id="application_1795630333387_0047",
        name="a-name-that-is-rather-long-for-an-application",
        framework="torch",
        queue="root.research.nightly",
        phase="running",
        started_at=0.0,
        at=100.0 + step,
        output="hdfs:///o",
        tasks=tuple(tasks),
        events=(Event(at=50.0, event="restart", task="worker:1", kind="user", detail=f"retry 1 of 2\n{trace}"),),
    )


@pytest.fixture
def page() -> Iterator[str]:
    steps = itertools.count(1)
    with StatusServer(lambda: run(next(steps))) as server:
        yield server.url


@pytest.mark.parametrize("width", [1200, 900, 700, 400, 320])
def test_nothing_stands_out_of_the_window(browser: Any, page: str, width: int) -> None:
    browser.open(page, width=width)
    assert browser.value("document.documentElement.scrollWidth") <= width
    widest = "Math.max(...[...document.querySelectorAll('body *')].map(e => e.getBoundingClientRect().right))"
    assert browser.value(widest) <= width
    header, columns = struct.unpack(">8s8xI", browser.picture()[:20])
    assert (header, columns) == (b"\x89PNG\r\n\x1a\n", width)
    assert browser.complaints() == []


def test_it_refreshes_itself_in_place_and_what_was_opened_stays_open(browser: Any, page: str) -> None:
    browser.open(page, width=1200)
    shown = "document.querySelector('tbody td[data-label=progress]').textContent"
    before = msgspec.json.encode(browser.value(shown)).decode()
    browser.value("window.same = true; document.querySelector('details').open = true")
    assert browser.wait(f"{shown} !== {before}")
    assert browser.value("window.same && document.querySelector('details').open")
    assert browser.complaints() == []


def test_it_says_when_the_application_no_longer_answers(browser: Any) -> None:
    with StatusServer(lambda: run(1)) as server:
        browser.open(server.url, width=1200)
    assert browser.wait("document.querySelector('footer').className === 'stale'")
    assert "tony_py history application_1795630333387_0047" in browser.value(
        "document.querySelector('footer').textContent"
    )
    assert browser.value("document.querySelectorAll('tbody tr').length") == 12


def test_colours_follow_the_readers_wish(browser: Any, page: str) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(page, width=1200)
        grounds.add(browser.value("getComputedStyle(document.documentElement).backgroundColor"))
    assert len(grounds) == 2
