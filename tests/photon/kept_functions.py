"""Two functions that are kept, of one factory: ``python kept_functions.py NAME…`` calls each and prints what it gives.

What the factory makes is too long to become part of what calls it, so that it has a name for the linker.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

from photon.compiled import compiled, compiled_and_kept

THIS = sys.modules[__name__]


@compiled
def one(number: float) -> float:
    return number + 1.0


@compiled
def ten(number: float) -> float:
    return number + 10.0


def repeated(step: Callable[[float], float]) -> Any:
    @compiled
    def apply(number: float, times: int) -> float:
        for _ in range(times):
            number = step(number)
            if number > 1e10:
                number += math.sin(number) + math.cos(number) + math.tan(number) + math.log(number) + math.exp(number)
            if number > 1e20:
                number += math.sin(number) - math.cos(number) + math.tan(number) - math.log(number) + math.exp(number)
            if number > 1e30:
                number -= math.sin(number) + math.cos(number) - math.tan(number) + math.log(number) - math.exp(number)
            if number > 1e40:
                number *= math.sin(number) * math.cos(number) + math.tan(number) + math.log(number) * math.exp(number)
            if number > 1e50:
                number *= math.sin(number) + math.cos(number) * math.tan(number) * math.log(number) + math.exp(number)
            if number > 1e60:
                number /= math.sin(number) * math.cos(number) * math.tan(number) + math.log(number) * math.exp(number)
        return number

    return apply


ones, tens = repeated(one), repeated(ten)


@compiled_and_kept(THIS)
def with_one(number: float) -> float:
    return ones(number, 2) + ones(number + 1.0, 3)  # type: ignore[no-any-return]


@compiled_and_kept(THIS)
def with_ten(number: float) -> float:
    return tens(number, 2) + tens(number + 1.0, 3)  # type: ignore[no-any-return]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        sys.stdout.write(f"{vars(THIS)[name](0.0)}\n")
