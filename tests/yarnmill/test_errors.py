"""One tree of errors: what, expected, mend, and an exit code that a scheduler can act on."""

import pickle

import click
import pytest

from yarnmill import errors
from yarnmill.cli.main import run
from yarnmill.errors import (
    BadDataError,
    ClusterUnavailableError,
    ConfigurationError,
    ConflictError,
    GoneError,
    JobFailedError,
    NotFoundError,
    StorageFullError,
    YarnMillError,
)

CODES = {
    YarnMillError: 1,
    ConfigurationError: 2,
    NotFoundError: 3,
    GoneError: 3,
    ConflictError: 4,
    ClusterUnavailableError: 10,
    StorageFullError: 10,
    JobFailedError: 20,
    BadDataError: 21,
}


@pytest.mark.parametrize(("error", "code"), CODES.items())
def test_each_class_has_its_exit_code_and_survives_a_process(error: type[YarnMillError], code: int) -> None:
    raised = error("x is wrong", expected="y", mend="do z")
    back = pickle.loads(pickle.dumps(raised))  # noqa: S301  # our own bytes
    assert type(back) is error
    assert (back.exit_code, str(back)) == (code, "x is wrong\nexpected: y\nto mend it: do z")


def test_no_class_is_left_out() -> None:
    known = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, YarnMillError)}
    assert known == set(CODES)


@pytest.mark.parametrize(("error", "code"), CODES.items())
def test_a_command_prints_the_error_and_ends_with_its_code(
    error: type[YarnMillError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def fail() -> None:
        raise error("x is wrong", mend="do z")

    assert run(fail, []) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "x is wrong\nto mend it: do z" in shown.err
    assert "Traceback" not in shown.err
