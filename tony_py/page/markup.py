"""HTML by construction: text is escaped unless it is markup already."""

from html import escape

_VOID = frozenset({"meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element; plain text among ``children`` is escaped.

    ``class_`` stands for ``class``, and ``_`` within the name of an attribute for ``-``; None leaves one out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Return pieces one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child, quote=True) for child in children))
