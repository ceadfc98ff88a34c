"""The guides for those who come from TonY and tf-yarn: their tables say what the code does, their commands work."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from guides import run_script, script_of, with_commands

from tony_py.tonyconf.keys import KEYS, Key
from yarnmill.cli.tony import tony_py
from yarnmill.localcluster.cluster import ClusterState


def table(head: str, rows: list[str]) -> str:
    return "\n".join([head, "|---|---|", *rows, ""])


def by_reason(reason_of: Callable[[Key], str]) -> list[str]:
    found: dict[str, list[str]] = {}
    for key in KEYS:
        if reason_of(key):
            found.setdefault(reason_of(key), []).append(key.name)
    return [f"| {', '.join(f'`{name}`' for name in names)} | {reason} |" for reason, names in found.items()]


def test_the_tables_of_keys_are_those_of_the_code(repository: Path) -> None:
    guide = (repository / "docs" / "from-tony.md").read_text()
    kept = [f"| {', '.join(f'`{n}`' for n in (k.name, *k.was))} | {k.becomes} |" for k in KEYS if k.becomes]
    assert table("| kept | becomes |", kept) in guide
    assert table("| of no effect | because |", by_reason(lambda key: key.dropped)) in guide
    assert table("| refused | because |", by_reason(lambda key: key.refused)) in guide


def test_every_option_of_the_command_line_is_in_the_guide(repository: Path) -> None:
    guide = (repository / "docs" / "from-tony.md").read_text()
    options = [name for each in tony_py.commands["submit"].params for name in each.opts if name.startswith("-")]
    tonys = {name.lstrip("-") for name in options if name.startswith("-") and f"-{name.lstrip('-')}" in options}
    tonys = {name for name in tonys if f"--{name}" in options and f"-{name}" in options}
    assert len(tonys) == 12
    assert all(f"`--{name}`" in guide for name in tonys)


@pytest.mark.parametrize("name", ["from-tony", "from-tf-yarn"])
def test_every_file_that_a_guide_names_is_there(repository: Path, name: str) -> None:
    guide = (repository / "docs" / f"{name}.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", guide)
    assert links
    assert all((repository / "docs" / link).exists() for link in links)


@pytest.mark.usefixtures("training_python")
@pytest.mark.parametrize("name", ["from-tony", "from-tf-yarn"])
def test_every_command_of_a_guide_works(repository: Path, cluster: ClusterState, name: str) -> None:
    assert str(cluster)
    guide = (repository / "docs" / f"{name}.md").read_text()
    script = script_of(guide)
    done = run_script(script, repository, with_commands(os.environ))
    if name == "from-tf-yarn":
        assert "up to date" in done.stderr.splitlines()[-1]
