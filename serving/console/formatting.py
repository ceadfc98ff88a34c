"""How values read on a page."""

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, request, url_for
from markupsafe import Markup

from serving.console.charts import number_text
from yarnmill.experiments.intervals import Interval

_SHORT_ID: Final = 12


def add_filters(pages: Blueprint) -> None:
    """Add the filters that the templates use."""
    for name, function in (
        ("moment", moment),
        ("number", number_text),
        ("percent", percent),
        ("milliseconds", milliseconds),
        ("metric", metric),
        ("interval", interval),
        ("short_id", short_id),
        ("told", told),
    ):
        pages.add_app_template_filter(function, name)
    pages.add_app_template_global(here)


def here(parameter: str = "", value: str | int | None = None) -> str:
    """Return the address of the current page, or that with another value of a parameter; None: without it."""
    changed = {parameter: value} if parameter else {}
    asked: dict[str, Any] = {**(request.view_args or {}), **request.args.to_dict(), **changed}
    return url_for(request.endpoint or "", **asked)


def moment(at: dt.datetime | None) -> Markup | str:
    """Return a moment in UTC, for people and for programs."""
    if at is None:
        return "-"
    utc = at.astimezone(dt.UTC)
    return Markup('<time datetime="{}">{}</time>').format(  # format escapes
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S}"
    )


def percent(part: float | None) -> str:
    """Return a part of 1 in percent."""
    return "-" if part is None else f"{number_text(part * 100)} %"


def milliseconds(seconds: float | None) -> str:
    """Return seconds in milliseconds."""
    return "-" if seconds is None else f"{number_text(seconds * 1000)} ms"


def metric(value: float | None) -> str:
    """Return a metric with six digits."""
    return "-" if value is None else f"{value:.6g}"


def interval(found: Interval | None, scale: float = 1.0, *, digits: int = 4, signed: bool = False) -> Markup | str:
    """Return an estimate with its interval; ``-`` if nothing is known."""
    if found is None or math.isnan(found.estimate):
        return "-"
    form = f"{'+' if signed else ''}.{digits}g"
    one, low, high = (format(value * scale, form) for value in (found.estimate, found.lower, found.upper))
    return Markup("{} <small>[{}, {}]</small>").format(one, low, high)


def short_id(text: str) -> str:
    """Return the beginning of a hash."""
    return text[:_SHORT_ID]


def told(values: Mapping[str, object]) -> str:
    """Return what the audit has of a thing, on one line."""
    return ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()
    )
