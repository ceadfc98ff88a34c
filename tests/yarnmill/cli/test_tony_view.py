"""What a person who pressed Ctrl-C is asked in a terminal, and what the answers mean."""

import os
import signal
from collections.abc import Iterator
from io import StringIO
from threading import Timer

import pytest
from rich.console import Console

from yarnmill.cli.tony_view import LiveView


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Yield a descriptor to press keys at: standard input is the terminal that they come from."""
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)  # a real terminal: pytest's own standard input is none
        yield master
    os.close(master)


@pytest.fixture
def view() -> LiveView:
    return LiveView(Console(file=StringIO(), highlight=False))


@pytest.mark.parametrize(
    ("keys", "decision"),
    [(b"d\n", "detach"), (b" Detach\n", "detach"), (b"k\n", "kill"), (b"\n", "stay"), (b"?\n", "stay")],
)
def test_an_answer(
    view: LiveView, keyboard: int, capsys: pytest.CaptureFixture[str], keys: bytes, decision: str
) -> None:
    os.write(keyboard, keys)
    assert view.interrupted() == decision
    assert "[d]etach and let it run, [k]ill it, or [Enter] to stay" in capsys.readouterr().err
    view.__exit__(None, None, None)


def test_nobody_answers(view: LiveView, keyboard: int) -> None:
    os.write(keyboard, b"\x04")
    assert view.interrupted() == "kill"


def test_a_second_interrupt_kills(view: LiveView, keyboard: int) -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    impatience = Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    impatience.start()
    assert view.interrupted() == "kill"
    impatience.join()
    os.write(keyboard, b"d\n")
    assert view.interrupted() == "detach"
    assert signal.set_wakeup_fd(before) == before
