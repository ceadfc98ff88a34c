"""How numba compiles the loops of this package: on the first call and never at import.

The code is kept in the user's cache, since every Python worker of Spark would else spend seconds on it.

Code that was kept by several processes meets in one, and there the linker takes a name that it has already for the
same function. numba makes a function's name of its module, its qualified name, its types and a number, which counts
what a process compiled: functions made by one factory, such as the loops over the rows of the different losses, can
so be taken for one another. Here each has a qualified name of its own.

Compiled functions make no arrays: they are given room to work in. So none needs numba's reference counts,
which are atomic operations at every touch of an array and would cost as much as the arithmetic of a small entity
(``_nrt=False``).
"""

import hashlib
import inspect
import secrets
import sys
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, Final, TypeVar, cast

from numba import njit

_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "_nrt": False}
_INNER: Final = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Return a function that others of its kind call, and Python never: its way in would take as long to compile."""
    return cast("F", njit(**_INNER)(_named_apart(function)))


def compiled_freely(function: F) -> F:
    """Return such a function that may add up in any order, as is quickest: for sums of many terms."""
    return cast("F", njit(**_INNER, fastmath={"reassoc", "contract", "nsz"})(_named_apart(function)))


def compiled_and_kept(*sources: ModuleType) -> Callable[[F], F]:
    """Return a decorator of a function that Python calls; ``sources`` are the modules its code comes from."""

    def decorate(function: F) -> F:
        # numba looks at the function's own file alone for changes; the other files are part of the name instead.
        files = "".join(inspect.getsource(source) for source in (*sources, sys.modules[__name__]))
        function.__qualname__ = f"{function.__qualname__}_{hashlib.sha256(files.encode()).hexdigest()[:16]}"
        _named_apart(function)
        try:
            return cast("F", _kept_apart(njit(**_OPTIONS, cache=True)(function)))
        except RuntimeError:  # no folder to keep it in, as in a container without a home
            return cast("F", njit(**_OPTIONS)(function))

    return decorate


_CODE_OF: Final[dict[tuple[str, str], CodeType]] = {}
"""The functions so far, by module and qualified name."""


def _named_apart(function: F) -> F:
    """Add to a function's name those of the compiled functions that it holds, which tell it from its siblings."""
    held = [cell.cell_contents.py_func.__qualname__ for cell in function.__closure__ or ()]
    function.__qualname__ = "_".join([function.__qualname__, *held])
    name = (function.__module__, function.__qualname__)
    if _CODE_OF.setdefault(name, function.__code__) != function.__code__:
        raise TypeError(f"{'.'.join(name)}: two compiled functions of this name, which may be taken for one another")
    return function


def _kept_apart(function: Any) -> Any:  # noqa: ANN401  # numba's own
    """Give each piece of code that is kept a file of its own.

    numba numbers them by what its index has. Two processes that compile for different types at once take the same
    number, and the code of one loss function would then be run for another; there is no public way to name them.
    """
    cache_file = function._cache._cache_file  # noqa: SLF001
    numbered = cache_file._data_name  # noqa: SLF001

    def name(number: int) -> str:
        return f"{numbered(number).removesuffix('.nbc')}-{secrets.token_hex(8)}.nbc"

    cache_file._data_name = name  # noqa: SLF001
    return function
