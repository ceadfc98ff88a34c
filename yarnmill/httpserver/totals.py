"""Some series read as numbers, summed over all workers, for whoever looks at them every few seconds.

:func:`yarnmill.httpserver.series.render_series` makes text of everything, and parses the key of each series each time.
Here a key is parsed once, only what was asked for is read, and requests get their turn between two files.
"""

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yarnmill.httpserver.series import shared_folder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A series: its name, and its labels in order."""

_SUMMED: Final = ("counter_*.db", "histogram_*.db")
_LARGEST: Final = ("gauge_livemax_*.db",)
_BREATH_S: Final = 0.001
_BUCKET: Final = "_bucket"
_BOUND: Final = "le"


class Totals:
    """Counters and buckets of histograms, summed, and gauges of which the largest counts.

    A bucket has what is in it alone, not what is in those below it.

    Parameters
    ----------
    registry
        This process's series: all there are unless workers share a folder.
    names
        Of the samples that are wanted.
    """

    def __init__(self, registry: "CollectorRegistry", names: Collection[str]) -> None:
        self._registry = registry
        self._names = frozenset(names)
        self._keys: dict[str, Series | None] = {}

    def read(self) -> dict[Series, float]:
        """Return the totals of this moment."""
        folder = shared_folder()
        return self._of_process() if folder is None else self._of_all(folder)

    def _of_all(self, folder: Path) -> dict[Series, float]:
        found: dict[Series, float] = {}
        for series, value in self._values(folder, _SUMMED):
            found[series] = found.get(series, 0.0) + value
        for series, value in self._values(folder, _LARGEST):
            found[series] = max(found.get(series, value), value)
        return found

    def _values(self, folder: Path, patterns: Iterable[str]) -> Iterator[tuple[Series, float]]:
        from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415  # see series: not before the folder is there

        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            try:
                entries = list(MmapedDict.read_all_values_from_file(path))  # type: ignore[no-untyped-call]
            except FileNotFoundError:  # gauges of a worker that ended meanwhile
                continue
            for key, value, _timestamp, _position in entries:
                series = self._series(key)
                if series is not None:
                    yield series, value
            time.sleep(_BREATH_S)

    def _series(self, key: str) -> Series | None:
        if key not in self._keys:
            _family, name, labels, _help = json.loads(key)
            self._keys[key] = _series_of(name, labels) if name in self._names else None
        return self._keys[key]

    def _of_process(self) -> dict[Series, float]:
        found: dict[Series, float] = {}
        below: dict[Series, float] = {}
        for sample in (one for family in self._registry.collect() for one in family.samples):
            if sample.name not in self._names:
                continue
            value = sample.value
            if sample.name.endswith(_BUCKET):  # here each has all that are below it, and they come in order
                histogram = _series_of(sample.name, {**sample.labels, _BOUND: ""})
                value, below[histogram] = value - below.get(histogram, 0.0), value
            found[_series_of(sample.name, sample.labels)] = value
        return found


def _series_of(name: str, labels: Mapping[str, str]) -> Series:
    return name, tuple(sorted(labels.items()))
