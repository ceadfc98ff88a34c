"""A report as HTML: facts, sections, tables and figures, all in one file."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from photon.report.style import STYLE


@dataclass(frozen=True, slots=True)
class Fact:
    """A name, a value, and what stands small below it."""

    name: str
    value: str
    below: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence of what is seen, and its body as HTML."""

    title: str
    note: str
    body: str


def page(title: str, over: str, facts: Sequence[Fact], sections: Sequence[Section], footer: str) -> str:
    """Return the whole page."""
    shown = "".join(
        f"<div><dt>{_text(fact.name)}</dt><dd>{_text(fact.value)}"
        f"{f'<small>{_text(fact.below)}</small>' if fact.below else ''}</dd></div>"
        for fact in facts
    )
    body = "".join(
        f'<section><h2>{_text(one.title)}</h2><p class="note">{_text(one.note)}</p>{one.body}</section>'
        for one in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><p class="over">{_text(over)}</p><h1>{_text(title)}</h1><dl class="facts">{shown}</dl></header>\n'
        f"<main>{body}</main>\n<footer>{_text(footer)}</footer>\n</body>\n</html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[int] = ()) -> str:
    """Return a table; cells are text, unless they begin with ``<svg``; ``numeric`` columns stand to the right."""

    def kind(column: int) -> str:
        return ' class="n"' if column in numeric else ' class="name"' if column == 0 else ""

    top = "".join(f"<th{kind(place) if place in numeric else ''}>{_text(name)}</th>" for place, name in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(place)}>{_cell(cell)}</td>" for place, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="sheet"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(drawn: str, caption: str, *, title: str = "") -> str:
    """Return a figure on a sheet with its caption."""
    head = f"<h3>{_text(title)}</h3>" if title else ""
    return f'<div class="sheet"><figure>{head}{drawn}<figcaption>{_text(caption)}</figcaption></figure></div>'


def side_by_side(parts: Sequence[str], *, small: bool = False) -> str:
    """Return parts beside each other where there is room."""
    return f'<div class="{"small" if small else "side"}">{"".join(parts)}</div>'


def folded(said: str, inner: str) -> str:
    """Return something that a click unfolds."""
    return f"<details><summary>{_text(said)}</summary>{inner}</details>"


def _cell(text: str) -> str:
    return text if text.startswith("<svg") else _text(text)


def _text(value: str) -> str:
    return html.escape(value, quote=False)
