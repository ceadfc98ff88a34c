"""Hadoop's rules: files over files, final properties, the command line over all, references in values."""

from pathlib import Path

import pytest

from tony_py.tonyconf.documents import parse_document
from tony_py.tonyconf.settings import Property, Settings, layered
from yarnmill.errors import ConfigurationError, NotFoundError


def document(text: str, source: str = "tony.xml") -> list[Property]:
    return parse_document(f"<configuration>{text}</configuration>".encode(), source)


def entry(name: str, value: str, final: str = "") -> str:
    return f"<property><name>{name}</name><value>{value}</value>{final}</property>"


def settings(*entries: Property, environ: dict[str, str] | None = None, overrides: tuple[str, ...] = ()) -> Settings:
    return Settings(layered([entries], overrides)[0], environ or {}, {"user.name": "ada"})


def test_a_property_is_read_in_both_forms_with_its_line() -> None:
    found = document(
        "<!-- comment -->\n<property><name> a </name>\n<value> 1\n</value><description>text</description></property>\n"
        '<property name="b" value="2" final="true"/><property><name>c</name></property>'
    )
    assert found == [
        Property(name="a", value="1", source="tony.xml:2"),
        Property(name="b", value="2", is_final=True, source="tony.xml:5"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"<configuration>", ["tony.xml", "not XML"]),
        (b"<conf/>", ["tony.xml", "<conf> is its first element", "<configuration>"]),
        (b"<configuration><prop/></configuration>", ["tony.xml:1", "<prop>", "<property>"]),
        (b"<configuration>\n<property><value>1</value></property></configuration>", ["tony.xml:2", "without a name"]),
        (
            b"<configuration><property><name>a</name><vale>1</vale></property></configuration>",
            ["<vale> in a property", "<value>"],
        ),
        (b'<!DOCTYPE c [<!ENTITY e SYSTEM "/etc/passwd">]><configuration>&e;</configuration>', ["tony.xml"]),
    ],
)
def test_a_document_that_is_none_is_refused_with_its_place(text: bytes, words: list[str]) -> None:
    try:
        found = parse_document(text, "tony.xml")
    except ConfigurationError as error:
        assert all(word in str(error) for word in words)  # noqa: PT017  # an entity may also be left out
    else:
        assert found == []
        assert b"ENTITY" in text


def test_an_included_file_stands_where_it_is_included(tmp_path: Path) -> None:
    (tmp_path / "shared.xml").write_text(f"<configuration>{entry('a', '1')}{entry('b', '1')}</configuration>")
    include = '<xi:include href="shared.xml" xmlns:xi="http://www.w3.org/2001/XInclude"/>'
    found = document(f"{include}{entry('b', '2')}", str(tmp_path / "tony.xml"))
    assert [(each.name, each.value) for each in found] == [("a", "1"), ("b", "1"), ("b", "2")]
    assert [each.source for each in found] == [
        f"{tmp_path}/{at}" for at in ("shared.xml:1", "shared.xml:1", "tony.xml:1")
    ]
    instead = include.replace("shared", "missing").replace(
        "/>", f"><xi:fallback>{entry('c', '3')}</xi:fallback></xi:include>"
    )
    assert [each.name for each in document(instead, str(tmp_path / "tony.xml"))] == ["c"]
    with pytest.raises(NotFoundError, match=r"missing\.xml"):
        document(include.replace("shared", "missing"), str(tmp_path / "tony.xml"))
    (tmp_path / "shared.xml").write_text(f"<configuration>{include}</configuration>")
    with pytest.raises(ConfigurationError, match="include each other in a circle"):
        document(include, str(tmp_path / "tony.xml"))


def test_a_later_file_wins_unless_the_key_is_final() -> None:
    site = document(entry("a", "2") + entry("b", "2"), "tony-site.xml")
    values, ignored = layered([document(entry("a", "1", "<final>true</final>") + entry("b", "1")), site], [])
    assert {name: each.value for name, each in values.items()} == {"a": "1", "b": "2"}
    assert [(each.key, each.reason) for each in ignored] == [("a", "tony-site.xml:1: tony.xml:1 has made it final")]


def test_the_command_line_wins_over_final_ones_as_with_tony() -> None:
    values, _ = layered([document(entry("a", "1", "<final>true</final>"))], ["a=2", "b = 3=4"])
    assert {name: each.value for name, each in values.items()} == {"a": "2", "b": "3=4"}
    with pytest.raises(ConfigurationError, match="--conf b: no name=value"):
        layered([], ["b"])


def test_the_command_line_adds_to_lists_of_variables_and_resources() -> None:
    name = "tony.execution.envs"
    found = settings(Property(name=name, value="A=1,2,B=x"), overrides=(f"{name}=C=3", f"{name}=A=4"))
    assert found.pairs(name) == {"A": "4", "B": "x", "C": "3"}
    assert settings(overrides=("tony.containers.envs=A",)).pairs("tony.containers.envs") == {"A": ""}
    with pytest.raises(ConfigurationError, match="'a-b' is no name of a variable"):
        settings(overrides=(f"{name}=a-b=1",)).pairs(name)


def test_an_older_name_is_the_newer_one() -> None:
    found = settings(Property(name="tony.task.heartbeat-interval", value="5"))
    assert found.number("tony.task.heartbeat-interval-ms", 0) == 5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${other}/x", "1/x"),
        ("${chain}", "<1>"),
        ("/home/${user.name}", "/home/ada"),
        ("${env.TEAM}", "ads"),
        ("${env.NONE}", "${env.NONE}"),
        ("${env.NONE-none}", "none"),
        ("${env.EMPTY-none}", ""),
        ("${env.EMPTY:-none}", "none"),
        ("$HOME ${HOME} ${unknown.key}", "$HOME ${HOME} ${unknown.key}"),
    ],
)
def test_references_are_replaced_as_hadoop_does(value: str, expected: str) -> None:
    entries = [("other", "1"), ("chain", "<${other}>"), ("key", value)]
    found = settings(*(Property(name=name, value=text) for name, text in entries), environ={"TEAM": "ads", "EMPTY": ""})
    assert found.text("key") == expected


def test_a_circle_of_references_ends() -> None:
    found = settings(Property(name="a", value="${b}"), Property(name="b", value="${a}"))
    with pytest.raises(ConfigurationError, match="circle"):
        found.text("a")


@pytest.mark.parametrize(
    ("value", "mebibytes"), [("2g", 2048), ("2G", 2048), ("512m", 512), ("1024", 1024), ("", 2048)]
)
def test_memory_as_tony_writes_it(value: str, mebibytes: int) -> None:
    assert settings(Property(name="a", value=value)).memory("a", "2g") == mebibytes


@pytest.mark.parametrize("kind", ["number", "flag", "memory"])
def test_a_wrong_value_is_named_with_key_and_source(kind: str) -> None:
    found = settings(Property(name="a", value="many", source="tony.xml:7"))
    reads = {
        "number": lambda: found.number("a", 1),
        "flag": lambda: found.flag("a"),
        "memory": lambda: found.memory("a", "2g"),
    }
    with pytest.raises(ConfigurationError, match=r"tony\.xml:7: a: 'many' cannot be meant"):
        reads[kind]()
