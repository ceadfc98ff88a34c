"""S3's documents in XML: written from names and texts, read without trusting them."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias, Union

from lxml import etree

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_UNNAMED: Final = ("Error",)
"""Documents that S3 writes without a namespace."""

_NO_TEXT: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Fields: TypeAlias = Sequence[Union[tuple[str, str], "Element"]]


class Element(NamedTuple):
    """An element of elements; one that holds text alone is a name and a text."""

    name: str
    fields: Fields


def document(root: Element, *, declared: bool = True) -> bytes:
    """Return a document; without its declaration, for one that was sent before it."""
    top = etree.Element(root.name, {} if root.name in _UNNAMED else {"xmlns": _NAMESPACE})
    _fill(top, root.fields)
    return (_DECLARATION if declared else b"") + etree.tostring(top, encoding="UTF-8", xml_declaration=False)


def declaration() -> bytes:
    """Return what a document begins with; white space may follow for as long as its root is not known."""
    return _DECLARATION


def _fill(parent: etree._Element, fields: Fields) -> None:
    for field in fields:
        child = etree.SubElement(parent, field[0])
        if isinstance(field, Element):
            _fill(child, field.fields)
        else:
            child.text = _NO_TEXT.sub("\ufffd", field[1])


def is_text(text: str) -> bool:
    """Return whether XML can hold a text."""
    return _NO_TEXT.search(text) is None


def parse_elements(body: bytes, root: str, child: str) -> list[dict[str, str]]:
    """Return the children of one name of a document's root, each as the texts of its own children.

    Raises
    ------
    ValueError
        If it is no such document.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        top = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as problem:
        raise ValueError(str(problem)) from None
    if _local(top) != root:
        raise ValueError(f"its root is {_local(top)!r}")
    return [{_local(each): each.text or "" for each in part} for part in top if _local(part) == child]


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""
