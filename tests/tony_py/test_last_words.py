from tony_py.executor.program import LastWords

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in <module>',
    "    f()",
    "ValueError: first",
]


def hear(*lines: str) -> LastWords:
    words = LastWords()
    for line in lines:
        words.hear(line)
    return words


def test_the_first_traceback_is_kept_whole_whatever_follows() -> None:
    words = hear("loading", *TRACEBACK, "more", *TRACEBACK[:3], "OSError: second", *["noise"] * 100)
    assert words.traceback == "\n".join(TRACEBACK)
    assert words.lines == ["noise"] * 30


def test_a_rank_before_every_line_is_no_obstacle() -> None:
    assert hear(*(f"[rank1]: {line}" for line in TRACEBACK)).traceback == "\n".join(TRACEBACK)


def test_a_long_traceback_keeps_its_head_and_its_error() -> None:
    words = hear(TRACEBACK[0], *(f"  frame {at}" for at in range(1000)), "RecursionError: too deep")
    lines = words.traceback.split("\n")
    assert lines[:2] == [TRACEBACK[0], "  frame 0"]
    assert lines[-2:] == ["  frame 999", "RecursionError: too deep"]
    assert len(lines) < 50


def test_no_traceback_is_no_traceback() -> None:
    assert hear("all is", "well").traceback == ""
