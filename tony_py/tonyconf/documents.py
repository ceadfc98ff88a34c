"""Hadoop's configuration files: ``<configuration>`` with properties, their final ones, and included files."""

from collections.abc import Iterator
from typing import Final

from lxml import etree

from tony_py.tonyconf.settings import Property
from yarnmill import fs
from yarnmill.errors import ConfigurationError, NotFoundError

_XINCLUDE: Final = "{http://www.w3.org/2001/XInclude}"
_DEPTH: Final = 10


def parse_document(data: bytes, source: str) -> list[Property]:
    """Return the properties of a configuration file in their order.

    Parameters
    ----------
    data
        The file.
    source
        Its path or URL: named in errors, and where ``<xi:include>`` starts from.

    Raises
    ------
    ConfigurationError
        If it is not XML, or something stands in it that Hadoop does not know.
    NotFoundError
        If a file that it includes is not there.
    """
    return list(_document(data, source, _DEPTH))


def _document(data: bytes, source: str, depth: int) -> Iterator[Property]:
    if not depth:
        raise ConfigurationError(f"{source}: files include each other in a circle")
    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.LxmlError as problem:
        raise ConfigurationError(f"{source}: not XML: {problem}", expected="a Hadoop configuration file") from None
    if root.tag != "configuration":
        raise ConfigurationError(f"{source}: <{root.tag!s}> is its first element", expected="<configuration>")
    yield from _properties(root, source, depth)


def _properties(parent: etree._Element, source: str, depth: int) -> Iterator[Property]:
    for element in parent.iterchildren("*"):
        where = f"{source}:{element.sourceline}"
        if element.tag == "property":
            found = _property(element, where)
            if found is not None:
                yield found
        elif element.tag == f"{_XINCLUDE}include":
            yield from _included(element, source, depth)
        else:
            raise ConfigurationError(f"{where}: <{element.tag!s}>", expected="<property>")


def _included(element: etree._Element, source: str, depth: int) -> Iterator[Property]:
    href = element.get("href", "")
    path = href if href.startswith("/") or ":/" in href else f"{source.rpartition('/')[0] or '.'}/{href}"
    try:
        data = fs.read_bytes(path)
    except NotFoundError:
        fallback = element.find(f"{_XINCLUDE}fallback")
        if fallback is None:
            raise
        yield from _properties(fallback, source, depth)
    else:
        yield from _document(data, path, depth - 1)


def _property(element: etree._Element, where: str) -> Property | None:
    """Return a property; None if it has no value: TonY's own defaults are written so."""
    parts = {str(name): str(value) for name, value in element.attrib.items()}
    parts |= {str(child.tag): child.text or "" for child in element.iterchildren("*")}
    unknown = sorted(set(parts) - {"name", "value", "final", "source", "description", "tag"})
    if unknown:
        raise ConfigurationError(f"{where}: <{unknown[0]}> in a property", expected="<name>, <value> and <final>")
    if not parts.get("name", "").strip():
        raise ConfigurationError(f"{where}: a property without a name", expected="<name> and <value>")
    if "value" not in parts:
        return None
    is_final = parts.get("final", "").strip().lower() == "true"
    return Property(name=parts["name"].strip(), value=parts["value"].strip(), is_final=is_final, source=where)
