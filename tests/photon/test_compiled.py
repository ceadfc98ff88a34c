"""How compiled code is kept: processes that compile at once must not take one another's code for their own."""

import sys
from types import ModuleType

from photon.compiled import compiled_and_kept

THIS: ModuleType = sys.modules[__name__]


def twice(number: float) -> float:
    return 2 * number


def test_no_two_pieces_of_code_are_kept_under_one_name() -> None:
    first, second = (compiled_and_kept(THIS)(twice) for _ in range(2))  # as two processes have them
    assert first(2) == second(2.5) - 1 == 4
    names = {one._cache._cache_file._data_name(1) for one in (first, second, first)}  # type: ignore[attr-defined]  # noqa: SLF001
    assert len(names) == 3
    assert all(name.endswith(".nbc") for name in names)
