"""What Merlin has and this platform does otherwise is refused by name, with what there is instead."""

import re
from typing import TYPE_CHECKING

import click
import pytest

from serving.control.unoffered import UNOFFERED
from yarnmill.cli.main import yarnmill

if TYPE_CHECKING:
    from conftest import Merlin

ADDRESSES = [
    (method, re.sub(r"<[^>]*>", "1", path)) for path, (methods, *_) in UNOFFERED.items() for method in methods.split()
]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_each_is_refused_with_a_reason(asked: "Merlin", method: str, path: str) -> None:
    assert "; there is " in asked.refused(method, path, status=501)
    assert "; there is " in asked.refused(method, path, b"{", status=501)


def test_the_commands_that_are_named_are_there() -> None:
    named = {found for _, _, instead in UNOFFERED.values() for found in re.findall(r"yarnmill [a-z ]+[a-z]", instead)}
    assert len(named) >= 3
    for text in named:
        command: click.Command | None = yarnmill
        for word in text.split()[1:]:
            if isinstance(command, click.Group):
                command = command.get_command(click.Context(command), word)
        assert command is not None, text
        assert not isinstance(command, click.Group), text
