"""Every key of an application file with its form, its default and its meaning, read off the records themselves."""

import inspect
import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from tony_py.application import Application
from yarnmill.records import Record
from yarnmill.units import Mebibytes, Seconds

_FORMS: Final[dict[Any, str]] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    Mebibytes: "memory",
    Seconds: "time",
}
_SECTION: Final = "Parameters\n----------\n"


class Key(Record, frozen=True, kw_only=True):
    """One key: its name, what may stand there, what stands there otherwise, and what it means."""

    name: str
    form: str
    default: str
    meaning: str


class Section(Record, frozen=True, kw_only=True):
    """The keys below one path; ``path`` is empty for the top, and ``types.<name>`` for each type."""

    path: str
    meaning: str
    keys: tuple[Key, ...]


def sections() -> list[Section]:
    """Return all keys, the top's first."""
    return list(_sections(Application, ""))


def render_sections() -> str:
    """Return all keys as Markdown tables."""
    return "\n".join(_render(section) for section in sections())


def _sections(record: type[msgspec.Struct], path: str) -> Iterator[Section]:
    meanings = _meanings(record)
    fields = msgspec.structs.fields(record)
    keys = tuple(
        Key(name=field.name, form=_form(field.type), default=_default(field), meaning=meanings[field.name])
        for field in fields
    )
    summary = inspect.cleandoc(record.__doc__ or "").split("\n\n", maxsplit=1)[0]
    yield Section(path=path, meaning=_plain(summary), keys=keys)
    shared: set[type[msgspec.Struct]] = set()
    for field in fields:
        below = _record_in(field.type)
        if below is None or below in shared:
            continue
        names = [path, field.name]
        if get_origin(field.type) is dict:
            names.append("<name>")
        elif isinstance(field.type, UnionType):  # several keys of one form
            shared.add(below)
            names = [path, "<name>"]
        yield from _sections(below, ".".join(filter(None, names)))


def _record_in(annotation: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401  # any annotation
    """Return the record that stands at a key, itself or by name."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _record_in(inner))), None)


def _form(annotation: Any) -> str:  # noqa: ANN401  # any annotation
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, UnionType):
        return " or ".join(dict.fromkeys(_form(each) for each in inner if each is not type(None)))
    if origin is Literal:
        return " · ".join(f"`{value}`" for value in inner)
    if origin is dict:
        return "name: keys below" if _record_in(annotation) else f"name: {_form(inner[1])}"
    if _record_in(annotation):
        return "budget" if annotation.__name__ == "Budget" else "keys below"
    return "list of texts" if origin is tuple else _FORMS[annotation]


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "must be set"
    value = None if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, msgspec.Struct) and type(value).__name__ == "Budget":
        parts = [f"{name}: {getattr(value, name):g}" for name in value.__struct_fields__]
        return f"`{{{', '.join(parts)}}}`"
    if value is None or isinstance(value, msgspec.Struct) or value in {"", ()}:
        return ""
    return f"`{_literal(value)}`"


def _literal(value: object) -> str:
    """Return a default as it would be written."""
    match value:
        case bool():
            return str(value).lower()
        case Mebibytes():
            return f"{int(value)} MiB"
        case Seconds():
            return f"{value:g} s" if value else "0"
        case _:
            return str(value)


def _meanings(record: type[msgspec.Struct]) -> dict[str, str]:
    """Return what the docstring says of each key, names that share a line included."""
    _, found, text = inspect.cleandoc(record.__doc__ or "").partition(_SECTION)
    meanings: dict[str, str] = {}
    if not found:
        return meanings
    for names, lines in re.findall(r"^(\S.*)\n((?:(?:    .*)?\n?)*)", text, re.MULTILINE):
        for name in names.split(", "):
            meanings[name] = _plain(inspect.cleandoc(lines))
    return meanings


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _render(section: Section) -> str:
    title = f"### `{section.path}`" if section.path else "### The file"
    rows = [
        f"| `{key.name}` | {_cell(key.form)} | {_cell(key.default)} | {_cell(key.meaning)} |" for key in section.keys
    ]
    head = ["| key | form | default | meaning |", "|---|---|---|---|"]
    return "\n".join([title, "", section.meaning, "", *head, *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
