import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from oozie.render import render_properties, render_workflow
from oozie.schema import validate
from oozie.workflow import definitions, parse_workflow, read_workflow
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError

GOLDEN = Path(__file__).parent / "golden"
SPARK = "{driver_memory: 1 GiB, executors: 1, executor_cores: 1, executor_memory: 1 GiB, executor_memory_overhead: 512}"


def described(steps: str, meaning: str = "A chain.") -> str:
    return f"name: chain\nmeaning: {meaning!r}\nparameters: []\nspark: {SPARK}\nsteps:\n{steps}"


@pytest.mark.parametrize("name", definitions())
def test_a_definition_renders_to_its_golden_file_and_is_valid_to_oozie(name: str) -> None:
    xml = render_workflow(read_workflow(name))
    assert xml == (GOLDEN / f"{name}.xml").read_text()
    validate(xml.encode(), source=name)


def test_steps_follow_each_other_and_every_failure_ends_the_workflow() -> None:
    workflow = read_workflow("movielens_glmix")
    root = ET.fromstring(render_workflow(workflow))  # noqa: S314  # our own text
    space = "{uri:oozie:workflow:1.0}"
    start = root.find(f"{space}start")
    assert start is not None
    order, follows = [start.get("to")], {}
    for action in root.iter(f"{space}action"):
        ok, error = action.find(f"{space}ok"), action.find(f"{space}error")
        assert ok is not None
        assert error is not None
        assert error.get("to") == "fail"
        follows[action.get("name")] = ok.get("to")
    while order[-1] in follows:
        order.append(follows[order[-1]])
    assert order == [step.name for step in workflow.steps] + ["end"]


def test_text_that_means_something_in_xml_arrives_as_it_was() -> None:
    awkward = "a<b & \"c\" -- 'd'"
    steps = f"  - {{kind: shell, name: say, command: [echo, {awkward!r}]}}\n".replace("\\'", "''")
    workflow = parse_workflow(described(steps, meaning="x -- y"), source="x.yaml")
    xml = render_workflow(workflow)
    validate(xml.encode(), source="x.yaml")
    texts = [element.text for element in ET.fromstring(xml).iter("{uri:oozie:shell-action:1.0}argument")]  # noqa: S314
    assert texts == [workflow.steps[0].command[1]]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  []", "steps: none"),
        ("  - {kind: shell, name: end, command: [a]}", "steps[0].name"),
        ("  - {kind: shell, name: 'a b', command: [a]}", "steps[0].name"),
        ("  - {kind: shell, name: a, command: [a]}\n  - {kind: shell, name: a, command: [a]}", "steps[1].name"),
        ("  - {kind: shell, name: a, command: []}", "steps[0].command"),
        ("  - {kind: shell, name: a, comand: [a]}", "comand"),
        ("  - {kind: spork, name: a}", "steps[0]"),
    ],
)
def test_a_fault_in_a_description_is_told_with_its_place(steps: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_workflow(described(steps), source="x.yaml")
    assert "x.yaml" in str(raised.value)
    assert said in str(raised.value)


def test_a_workflow_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="movielens_glmix"):
        read_workflow("movielens_glmixx")


def test_oozies_schema_refuses_what_oozie_would_refuse() -> None:
    xml = render_workflow(read_workflow("movielens_glmix"))
    with pytest.raises(BadDataError, match=r"wf: .*mister.*line \d+"):
        validate(xml.replace("<master>yarn</master>", "<mister>yarn</mister>", 1).encode(), source="wf")
    with pytest.raises(BadDataError, match="not XML"):
        validate(b"<workflow-app>", source="wf")


def test_properties_name_every_parameter_once() -> None:
    workflow = read_workflow("movielens_glmix")
    lines = render_properties(workflow).splitlines()
    for parameter in workflow.parameters:
        assert lines.count(f"{parameter.name}={parameter.default or ''}") == 1
