"""How compiled code is kept: processes that compile at once must not take one another's code for their own."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numba
import pytest

from photon.compiled import compiled, compiled_and_kept

THIS: ModuleType = sys.modules[__name__]


def twice(number: float) -> float:
    return 2 * number


def kept_anew() -> Any:
    """Return it as another process has it."""
    return compiled_and_kept(THIS)(FunctionType(twice.__code__, globals()))


def index_of(function: Any) -> Any:
    """Return what numba keeps it by."""
    return function._cache._cache_file  # noqa: SLF001


def test_no_two_pieces_of_code_are_kept_under_one_name() -> None:
    first, second = kept_anew(), kept_anew()
    assert first(2) == second(2.5) - 1 == 4
    names = {index_of(one)._data_name(1) for one in (first, second, first)}  # noqa: SLF001
    assert len(names) == 3
    assert all(name.endswith(".nbc") for name in names)


def compile_in_step(folder: Path, number: float, together: Barrier) -> None:
    """Compile for a number's type in empty caches while another does, and ask for what was kept there."""
    for round_ in range(8):  # who writes last is left to chance
        numba.config.CACHE_DIR = str(folder / str(round_))  # type: ignore[attr-defined]
        function = kept_anew()
        for step in ("_load_index", "_save_index"):  # looked for, missed, looked again for a free name, named, kept
            setattr(index_of(function), step, partial(taken_together, getattr(index_of(function), step), together))
        function(number)
        together.wait(60)
        found = kept_anew()(number)
        assert found == 2 * number
        assert type(found) is type(number)


def taken_together(step: Callable[..., Any], together: Barrier, *given: Any) -> Any:
    done = step(*given)
    together.wait(60)
    return done


@pytest.mark.slow
def test_those_who_compile_at_once_in_an_empty_cache_are_given_their_own_code(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(2)
    processes = [context.Process(target=compile_in_step, args=(tmp_path, number, together)) for number in (3, 2.75)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]


def called(cache: Path, *names: str) -> list[float]:
    """Call functions of :mod:`kept_functions` in a process of their own."""
    program = Path(__file__).with_name("kept_functions.py")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, str(program), *names]
    return [float(line) for line in subprocess.check_output(command, env=environment, text=True).split()]


@pytest.mark.slow
@pytest.mark.parametrize("order", [("with_one", "with_ten"), ("with_ten", "with_one")])
def test_what_two_processes_kept_is_told_apart_in_a_third(tmp_path: Path, order: tuple[str, str]) -> None:
    right = {"with_one": [6.0], "with_ten": [51.0]}
    for name, given in right.items():
        assert called(tmp_path, name) == given  # the first that its process compiles, as is the other
    assert called(tmp_path, *order) == [*right[order[0]], *right[order[1]]]


def test_two_functions_of_one_name_are_refused() -> None:
    def function(number: float) -> float:
        return 3 * number

    compiled(function)

    def another(number: float) -> float:
        return 4 * number

    another.__qualname__ = function.__qualname__
    with pytest.raises(TypeError, match="two compiled functions of this name"):
        compiled(another)
