"""Quantities mean what they say, or are refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yarnmill.errors import ConfigurationError
from yarnmill.units import Mebibytes, Seconds, render_bytes, render_seconds, render_time


@pytest.mark.parametrize(
    ("text", "mebibytes"), [("2 GiB", 2048), ("512MiB", 512), ("1.5g", 1536), ("1 TiB", 1 << 20), (7, 7)]
)
def test_memory_is_mebibytes(text: str | int, mebibytes: int) -> None:
    assert Mebibytes.parse(text) == mebibytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10 min", 600), ("250 ms", 0.25), ("500 us", 0.0005), ("1.5h", 5400), ("2 d", 172_800), (3, 3)],
)
def test_durations_are_seconds(text: str | int, seconds: float) -> None:
    assert Seconds.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "GiB", "2 parsecs", "-1 GiB", "1 2", "0", "0.5 MiB", 0, -3, 1.5])
def test_what_is_no_memory_is_refused(text: str | float) -> None:
    with pytest.raises(ConfigurationError):
        Mebibytes.parse(text)


@pytest.mark.parametrize("text", ["", "soon", "-1 s", -1, "1 month", float("nan"), "365001 d", "9" * 400 + " d"])
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ConfigurationError):
        Seconds.parse(text)


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_a_whole_number_of_mebibytes_is_itself(number: int) -> None:
    assert Mebibytes.parse(number) == Mebibytes.parse(f"{number} MiB") == number
    assert Mebibytes.parse(f"{number} GiB") == 1024 * number


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")])
def test_sizes_are_read_by_people(size: int, text: str) -> None:
    assert render_bytes(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "0.2 s"), (75.2, "1 min 15 s"), (3 * 3600 + 61, "3 h 1 min")])
def test_times_are_read_by_people(seconds: float, text: str) -> None:
    assert render_seconds(seconds) == text


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01 00:00:00 UTC"),
        (253_402_300_799_000, "9999-12-31 23:59:59 UTC"),
        (253_402_300_800_000, "after the year 9999"),
        (1 << 62, "after the year 9999"),
    ],
)
def test_moments_are_read_by_people(at_ms: int, text: str) -> None:
    assert render_time(at_ms) == text
