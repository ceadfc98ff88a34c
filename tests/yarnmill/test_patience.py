"""Calls in a thread of their own: what they give, what they raise, and what never comes back."""

import gc
import threading
import weakref
from contextlib import suppress

import pytest
from waiting import eventually

from yarnmill.patience import Patience


def raise_own() -> None:
    raise TimeoutError("the call's own")


def test_calls_give_and_raise_what_they_would_without() -> None:
    patience = Patience(60.0)
    assert [patience.call(lambda number=number: number * 2) for number in range(3)] == [0, 2, 4]  # type: ignore[misc]
    with pytest.raises(ZeroDivisionError):
        patience.call(lambda: 1 / 0)
    with pytest.raises(TimeoutError, match="the call's own"):
        patience.call(raise_own)
    assert not patience.is_over
    thread = patience._thread  # noqa: SLF001  # what must not stay
    assert thread is not None
    patience.end()
    thread.join(20)
    assert not thread.is_alive()


def test_what_never_comes_back_is_given_up_and_so_is_all_after_it() -> None:
    patience, at_last, made = Patience(0.05), threading.Event(), list[int]()
    with pytest.raises(TimeoutError, match=r"no answer for 0\.05 s"):
        patience.call(at_last.wait)
    assert patience.is_over
    with pytest.raises(TimeoutError, match="an earlier call"):
        patience.call(lambda: made.append(1))
    at_last.set()
    thread = patience._thread  # noqa: SLF001  # as above
    assert eventually(lambda: thread is not None and not thread.is_alive())
    assert made == []


def test_nothing_that_a_failed_call_was_about_lives_on() -> None:
    class Held:
        def fail(self) -> None:
            raise OSError("broken")

    patience, held = Patience(60.0), Held()
    gone = weakref.ref(held)
    gc.disable()
    try:
        with suppress(OSError):
            patience.call(held.fail)
        del held
        assert eventually(lambda: gone() is None, 5.0)
    finally:
        gc.enable()
        patience.end()
