"""Where the counters of serving tiers are read: at each of them, or at a Prometheus that scrapes them all."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import requests
from prometheus_client.parser import text_string_to_metric_families

from yarnmill.errors import ConfigurationError
from yarnmill.experiments.tallies import Look, Reading, Series

_TIMEOUT_S: Final = 5.0
_OWN_LABELS: Final = frozenset({"model", "version", "status", "outcome", "le"})
"""Labels of the tiers' series. All others are what Prometheus knows the tier by, such as job and instance."""

_ALWAYS_THERE: Final = "yarnmill_models_loaded"
"""A series that every tier has, whoever was asked for."""

_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Tiers:
    """Serving tiers that are asked themselves.

    Parameters
    ----------
    urls
        Theirs: every replica, for each counts on its own.
    read
        Returns what a tier says at a URL; OSError if it does not answer.
    """

    def __init__(self, urls: Sequence[str], read: Callable[[str], str] | None = None) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        self._read = _read if read is None else read

    @property
    def tiers(self) -> int:
        """How many there are."""
        return len(self._urls)

    def look(self, model: str) -> Look:
        """See :class:`yarnmill.experiments.tallies.Source`."""
        readings, troubles = {}, []
        for url in self._urls:
            try:
                text = self._read(f"{url.rstrip('/')}/metrics")
            except OSError as problem:
                troubles.append(f"{url}: {problem}")
                continue
            readings[url] = Reading(_series_of(text, model))
        return Look(readings, tuple(troubles))


def _read(url: str) -> str:
    answer = requests.get(url, timeout=_TIMEOUT_S)
    answer.raise_for_status()
    return answer.text


def _series_of(text: str, model: str) -> dict[Series, float]:
    found: dict[Series, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("model") == model and not sample.name.endswith("_created"):
                found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


class _Sample(msgspec.Struct, frozen=True):
    """One element of an instant vector."""

    metric: dict[str, str]
    value: tuple[float, str]


class _Vector(msgspec.Struct, frozen=True):
    result: list[_Sample]


class _Answer(msgspec.Struct, frozen=True):
    """What Prometheus' HTTP API answers to a query."""

    status: str
    data: _Vector | None = None
    error: str = ""


class Prometheus:
    """Serving tiers as a Prometheus server knows them: those that it scrapes, however many stand behind one address.

    Parameters
    ----------
    url
        Its address.
    labels
        Labels that all series of the tiers have there, such as ``job``; none takes all tiers that it knows.

    Raises
    ------
    ConfigurationError
        If the URL or a label cannot be meant.
    """

    def __init__(self, url: str, labels: Mapping[str, str]) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"{url!r} is no address of a Prometheus", expected="such as http://HOST:9090")
        for name in labels:
            if not _LABEL.fullmatch(name):
                raise ConfigurationError(f"{name!r} is no label's name", expected="such as job or instance")
        self._url = url
        self._select = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())

    @property
    def tiers(self) -> int:
        """One: it answers or it does not."""
        return 1

    def look(self, model: str) -> Look:
        """See :class:`yarnmill.experiments.tallies.Source`."""
        try:
            samples = self._ask(self._query(model))
        except (OSError, msgspec.DecodeError) as problem:
            return Look({}, (f"{self._url}: {problem}",))
        # timestamp() leaves the name away: the moment of a tier's last scrape, whatever the model.
        scraped = {_tier(one): float(one.value[1]) for one in samples if "__name__" not in one.metric}
        if not scraped:
            return Look({}, (f"{self._url}: it scrapes no serving tier{self._select and f' with {self._select}'}",))
        series: dict[str, dict[Series, float]] = defaultdict(dict)
        for one in samples:
            name = one.metric.get("__name__", "_created")
            if not name.endswith("_created"):
                own = sorted((label, text) for label, text in one.metric.items() if label in _OWN_LABELS)
                series[_tier(one)][name, tuple(own)] = float(one.value[1])
        readings = {tier: Reading(series[tier], at_s) for tier, at_s in scraped.items()}
        return Look(readings, now_s=samples[0].value[0])

    def _query(self, model: str) -> str:
        name = '__name__=~"yarnmill_(requests|request_seconds|arm|mirror)_.+"'
        wanted = ",".join(part for part in (name, f"model={json.dumps(model)}", self._select) if part)
        return f"{{{wanted}}} or timestamp({_ALWAYS_THERE}{{{self._select}}})"

    def _ask(self, query: str) -> list[_Sample]:
        answer = requests.post(f"{self._url.rstrip('/')}/api/v1/query", data={"query": query}, timeout=_TIMEOUT_S)
        if answer.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            answer.raise_for_status()
        found = msgspec.json.decode(answer.content, type=_Answer)
        if found.data is None:
            raise OSError(f"status {answer.status_code}: {found.error}")
        return found.data.result


def _tier(sample: _Sample) -> str:
    """Return what a tier is called there: its labels."""
    known = sorted(item for item in sample.metric.items() if item[0] not in {"__name__", *_OWN_LABELS})
    return ",".join(f"{label}={text}" for label, text in known)
