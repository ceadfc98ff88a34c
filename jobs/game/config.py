"""What all of Photon's drivers are told: where rows are, which shards they feed, where the output goes."""

import datetime as dt
from typing import Any

from jobs.game.coordinates import ShardOption, parse_shards
from jobs.game.examples import Columns
from jobs.game.files import input_folders, qualified
from jobs.game.grammar import Days, Words, parse_arguments, parse_days
from jobs.game.options import Option
from jobs.job import JobConfig, Url
from yarnmill.errors import ConfigurationError

_COLUMN_NAMES = ("response", "offset", "weight", "uid", "metadataMap")


class GameConfig(JobConfig, frozen=True, kw_only=True):
    """What every driver is told.

    Parameters
    ----------
    input_data_directories
        URLs of folders of Avro files, or of folders ``yyyy/MM/dd`` of them.
    input_data_days
        Which of those; unset: the directories themselves.
    override_output_directory
        Whether an earlier output may be replaced.
    application_name
        Of the Spark application; empty: the job's.
    """

    input_data_directories: tuple[Url, ...]
    input_data_days: Days | None = None
    override_output_directory: bool = False
    application_name: str = ""

    @property
    def may_replace(self) -> bool:
        """Whether an earlier output may be replaced."""
        return self.override_output_directory

    @property
    def title(self) -> str:
        """Name of the Spark application."""
        return self.application_name

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of the rows to read."""
        return input_folders(self.input_data_directories, self.input_data_days)


class RowsConfig(GameConfig, frozen=True, kw_only=True):
    """What the drivers that read whole rows are told besides.

    Parameters
    ----------
    shards
        The feature shards.
    columns
        Names of the records' fields.
    index_directory
        Stored index maps.
    bags_directory
        Lists of features to choose from.
    evaluators
        Photon's names of what to judge by, the first of which selects models.
    output_files
        Most files of scores, or of a random effect.
    """

    shards: tuple[ShardOption, ...]
    columns: Columns = Columns()
    index_directory: Url | None = None
    bags_directory: Url | None = None
    evaluators: tuple[str, ...] = ()
    output_files: int | None = None


def game_settings(words: Words, now: dt.datetime) -> dict[str, Any]:
    """Return the fields of :class:`GameConfig` that a command line says."""
    return {
        "output": qualified(words.text("root-output-directory")),
        "input_data_directories": tuple(map(qualified, words.list("input-data-directories"))),
        "input_data_days": days_of(words, "input-data", now),
        "override_output_directory": words.flag("override-output-directory"),
        "application_name": words.text("application-name"),
    }


def days_of(words: Words, which: str, now: dt.datetime) -> Days | None:
    """Return the range of days of ``input-data`` or ``validation-data``."""
    dates, days = words.maybe(f"{which}-date-range"), words.maybe(f"{which}-days-range")
    return parse_days(dates, days, words.text("time-zone", "UTC"), now, f"--{which}")


def rows_settings(words: Words, now: dt.datetime) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields of :class:`RowsConfig` that a command line says, and notes on what has no effect."""
    shards, notes = parse_shards(words.given["feature-shard-configurations"])
    if words.given.keys() >= {"off-heap-index-map-directory", "feature-bags-directory"}:
        raise ConfigurationError(
            "--off-heap-index-map-directory and --feature-bags-directory: both given", expected="one of them"
        )
    settings = game_settings(words, now) | {
        "shards": shards,
        "columns": _columns(words),
        "index_directory": _maybe_url(words, "off-heap-index-map-directory"),
        "bags_directory": _maybe_url(words, "feature-bags-directory"),
        "evaluators": words.list("validation-evaluators"),
        "output_files": words.integer("output-files-limit"),
    }
    return settings, notes


def _maybe_url(words: Words, name: str) -> str | None:
    path = words.maybe(name)
    return None if path is None else qualified(path)


def _columns(words: Words) -> Columns:
    options = [Option(name=name, becomes="a field's name") for name in _COLUMN_NAMES]
    found, _ = parse_arguments(words.text("input-column-names"), options, "--input-column-names")
    if "metadataMap" in found:
        found["metadata"] = found.pop("metadataMap")
    return Columns(**found)
