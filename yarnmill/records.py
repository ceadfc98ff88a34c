"""Typed records at the edge: YAML and JSON in, frozen structs out, errors with key path and file.

Every contract of the platform is a frozen :class:`Record`. Unknown fields are refused by name; a
wrong type is reported with its key path and the file it stands in.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, TypeVar, get_args

import msgspec
import yaml

from yarnmill.errors import BadDataError, ConfigurationError, YarnMillError
from yarnmill.units import Mebibytes, Seconds


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """Base of every contract: frozen, keyword only, unknown fields refused."""


T = TypeVar("T")
_AT = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`$")


def _from_text(expected: type, value: object) -> object:
    """Read a quantity; ValueError is what msgspec turns into a message with the key path."""
    if expected not in (Mebibytes, Seconds) or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not a quantity such as '2 GiB' or '10 min'")
    try:
        return expected.parse(value)
    except ConfigurationError as problem:
        raise ValueError(f"{problem.what}, expected {problem.expected}") from None


def _to_plain(value: object) -> object:
    if isinstance(value, Mebibytes):
        return int(value)
    if isinstance(value, Seconds):
        return float(value)
    raise NotImplementedError(f"no rule to write {value!r}")


def key_path_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """Split msgspec's message into what it says and the dotted key path it says it of."""
    text = str(error)
    match = _AT.search(text)
    path = match["path"] if match else ""
    what = _AT.sub("", text)
    unknown = re.match(r"Object contains unknown field `(?P<field>[^`]*)`", what)
    if unknown:
        path = f"{path}.{unknown['field']}".lstrip(".")
        what = "unknown key"
    missing = re.match(r"Object missing required field `(?P<field>[^`]*)`", what)
    if missing:
        path = f"{path}.{missing['field']}".lstrip(".")
        what = "missing key"
    return what, path


def convert(value: object, record: type[T], *, source: str, error: type[YarnMillError] = ConfigurationError) -> T:
    """Return plain data (from YAML or JSON) as ``record``.

    Parameters
    ----------
    value
        Dictionaries, lists, strings, numbers.
    record
        The type to build.
    source
        The file or command-line option the data came from: named in the error.
    error
        Class to raise: a configuration is a user's mistake, a damaged record is bad data.

    Raises
    ------
    YarnMillError
        Of class ``error``, with key path and source, if the data does not fit the record.
    """
    try:
        return msgspec.convert(value, record, dec_hook=_from_text, strict=True)
    except msgspec.ValidationError as problem:
        what, path = key_path_of(problem)
        where = f"{source}: {path}" if path else source
        raise error(f"{where}: {what}", expected=_known_keys(record, path) if what.endswith(" key") else "") from None


def _known_keys(record: object, path: str) -> str:
    """Return the keys that may stand where ``path`` does, found by walking the record's types along it."""
    holder: object = record
    for name in re.split(r"\.|\[[^\]]*\]\.?", path)[:-1]:
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(_struct_in(holder) or Record)}
        holder = fields.get(name, holder)
    found = _struct_in(holder)
    return f"one of the keys {', '.join(found.__struct_fields__)}" if found else ""


def _struct_in(annotation: object) -> type[msgspec.Struct] | None:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _struct_in(inner))), None)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # eight times as fast, if there
    """YAML 1.1, but ``1e-6`` is the number that everybody takes it for, and not a word for want of a point."""


class _Dumper(yaml.SafeDumper):
    """What writes for that loader: a word that looks like such a number, ``12e45``, is quoted."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def parse_yaml(text: str, record: type[T], *, source: str) -> T:
    """Return a YAML document as ``record``; errors name ``source`` and the key path."""
    return convert(parse_yaml_mapping(text, source=source), record, source=source)


def parse_yaml_mapping(text: str, *, source: str) -> dict[str, Any]:
    """Return a YAML document as a plain mapping; an empty document is an empty mapping."""
    try:
        value = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as problem:
        raise ConfigurationError(f"{source}: not YAML: {problem}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{source}: holds a {type(value).__name__}", expected="a mapping of keys to values")
    return value


def parse_json(data: bytes, record: type[T], *, source: str) -> T:
    """Return JSON bytes as ``record``; a document that does not fit is bad data, named by ``source``."""
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as problem:
        raise BadDataError(f"{source}: not JSON: {problem}") from None
    return convert(value, record, source=source, error=BadDataError)


def to_plain(value: object) -> Any:  # noqa: ANN401  # plain data has no narrower type
    """Return a record as dictionaries, lists, strings and numbers."""
    return msgspec.to_builtins(value, enc_hook=_to_plain)


def canonical_json(value: object) -> bytes:
    """Return the one byte form of a record: sorted keys, two spaces, a newline at the end."""
    plain = msgspec.json.encode(value, enc_hook=_to_plain, order="sorted")
    return msgspec.json.format(plain, indent=2) + b"\n"


def compact_json(value: object) -> bytes:
    """Return a record as JSON for a wire: ten times quicker than the canonical form where there is much of it."""
    return msgspec.json.encode(value, enc_hook=_to_plain)


def render_yaml(value: object) -> str:
    """Return a record as YAML in field order: byte-stable, fit for a golden file."""
    return yaml.dump(to_plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def fingerprint(parts: Iterable[object]) -> str:
    """Return the SHA-256 (hex) over the canonical forms of ``parts``: equal inputs, equal text."""
    digest = hashlib.sha256()
    for part in parts:
        data = canonical_json(part)
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
