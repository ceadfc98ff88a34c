"""What GameTrainingDriver is told, from Photon's options."""

import datetime as dt
from collections.abc import Sequence
from typing import Final, Literal, cast

from jobs.evaluating import evaluators_of, question_of
from jobs.game.config import RowsConfig, days_of, rows_settings
from jobs.game.coordinates import (
    NORMALISATIONS,
    CoordinateOption,
    EveryCoordinate,
    grid,
    in_order,
    not_updated,
    parse_coordinates,
    search_spaces,
    without_locked,
)
from jobs.game.examples import ExampleForm
from jobs.game.files import input_folders, qualified
from jobs.game.grammar import Days, Words, parse_choice, parse_words
from jobs.game.models import SavedModel, read_saved_model
from jobs.game.options import TRAINING
from jobs.game.summaries import summaries_place
from jobs.job import Url
from photon.avro.layout import EffectInfo
from photon.avro.models import SPARSITY_THRESHOLD, task_of_option
from photon.checks import Checks
from photon.earlier import check_task
from photon.evaluation import Question
from photon.loss import Task
from photon.settings import FitSettings, Normalisation, Variances, checked
from photon.tuning import TuningSettings, checked_tuning
from yarnmill.errors import ConfigurationError

Tuning = Literal["NONE", "RANDOM", "BAYESIAN"]
OutputMode = Literal["NONE", "BEST", "EXPLICIT", "TUNED", "ALL"]

_TUNINGS: Final = ("NONE", "RANDOM", "BAYESIAN")
_MODES: Final = ("NONE", "BEST", "EXPLICIT", "TUNED", "ALL")
_VARIANCES: Final[dict[str, Variances]] = {"NONE": "none", "SIMPLE": "simple", "FULL": "full"}
_LEVELS: Final[dict[str, Checks]] = {"VALIDATE_FULL": "full", "VALIDATE_SAMPLE": "sample", "VALIDATE_DISABLED": "off"}


class Config(RowsConfig, frozen=True, kw_only=True):
    """What to fit.

    Parameters
    ----------
    task
        Ours.
    coordinates
        In their update order, the fixed effect first.
    iterations
        Sweeps over the coordinates.
    validation_directories, validation_days
        Rows that judge and do not train.
    output_mode
        Which models are saved.
    summary_directory
        Where feature summaries go, a URL or a path below the output; unset: none are made.
    sparsity_threshold
        Coefficients no larger than this are not saved.
    checks
        How many rows are checked before the fit.
    normalisation
        Of the features of every coordinate, inside the fit alone.
    variances
        Of the coefficients of every coordinate that trains.
    tuning, tuning_fits
        How penalties are searched after the grid, and with how many fits.
    saves_groups
        Whether the results of every group are written.
    initial_model, locked
        A saved model that coordinates of its names start from, and those of its coordinates that stay as they are.
    incremental
        Whether the saved model is a prior too.
    """

    task: Task
    coordinates: tuple[CoordinateOption, ...]
    iterations: int
    validation_directories: tuple[Url, ...] = ()
    validation_days: Days | None = None
    output_mode: OutputMode = "BEST"
    summary_directory: str | None = None
    sparsity_threshold: float = SPARSITY_THRESHOLD
    checks: Checks = "off"
    normalisation: Normalisation = "none"
    variances: Variances = "none"
    tuning: Tuning = "NONE"
    tuning_fits: int = 0
    saves_groups: bool = False
    initial_model: Url | None = None
    locked: tuple[str, ...] = ()
    incremental: bool = False

    @property
    def fits(self) -> tuple[FitSettings, ...]:
        """Settings of every fit, in order."""
        every = EveryCoordinate(
            normalisation=self.normalisation, variances=self.variances, prior_weight=float(self.incremental)
        )
        return grid(self.coordinates, self.task, self.iterations, every)

    @property
    def question(self) -> Question:
        """What validation rows are asked of every fit."""
        return question_of(evaluators_of(self.evaluators, self.task, ()), self.task)

    @property
    def search(self) -> TuningSettings | None:
        """The search after the grid, whose fits count as its first trials; None without one."""
        if self.tuning == "NONE":
            return None
        return TuningSettings(
            search="random" if self.tuning == "RANDOM" else "bayesian",
            coordinates=search_spaces(self.coordinates),
            trials=len(self.fits) + self.tuning_fits,
        )

    @property
    def form(self) -> ExampleForm:
        """What is read of a record."""
        keys = dict.fromkeys(one.entity for one in self.coordinates if one.entity is not None)
        keys |= dict.fromkeys(one.entity for one in self.locked_effects if one.entity is not None)
        return ExampleForm(
            columns=self.columns, shards=self.shards, keys=tuple(keys | dict.fromkeys(self.question.entities))
        )

    @property
    def locked_effects(self) -> tuple[EffectInfo, ...]:
        """The locked coordinates as their model has them; ConfigurationError if it lacks one."""
        if self.initial_model is None or not self.locked:
            return ()
        found = {effect.name: effect for effect in read_saved_model(self.initial_model).effects}
        missing = [name for name in self.locked if name not in found]
        if missing:
            raise ConfigurationError(
                f"--partial-retrain-locked-coordinates: {self.initial_model} has no {missing[0]!r}",
                expected=f"some of {', '.join(found)}",
            )
        return tuple(found[name] for name in self.locked)

    @property
    def validation_folders(self) -> tuple[str, ...]:
        """Folders of the rows that judge."""
        return input_folders(self.validation_directories, self.validation_days)


def from_arguments(arguments: Sequence[str], now: dt.datetime) -> tuple[Config, tuple[str, ...]]:
    """Return what Photon's options say, and notes on those without effect.

    Raises
    ------
    ConfigurationError
        If an option is unknown, refused, missing, or does not fit the others.
    """
    words = parse_words(TRAINING, arguments)
    settings, shard_notes = rows_settings(words, now)
    coordinates, notes = parse_coordinates(words.given["coordinate-configurations"])
    _check_choices(words)
    locked = words.list("partial-retrain-locked-coordinates")
    sequence = without_locked(words.list("coordinate-update-sequence"), locked, coordinates)
    config = Config(
        **settings,
        task=cast("Task", task_of_option(words.text("training-task"))),
        coordinates=in_order(coordinates, sequence, settings["shards"]),
        iterations=words.integer("coordinate-descent-iterations") or 1,
        validation_directories=tuple(map(qualified, words.list("validation-data-directories"))),
        validation_days=days_of(words, "validation-data", now),
        output_mode=cast("OutputMode", parse_choice(words.text("output-mode", "BEST"), _MODES, "--output-mode")),
        summary_directory=(
            summaries_place(qualified(path), settings["output"])
            if (path := words.maybe("data-summary-directory"))
            else None
        ),
        sparsity_threshold=words.number("model-sparsity-threshold", SPARSITY_THRESHOLD),
        normalisation=NORMALISATIONS[
            parse_choice(words.text("normalization", "NONE"), tuple(NORMALISATIONS), "--normalization")
        ],
        variances=_VARIANCES[
            parse_choice(
                words.text("variance-computation-type", "NONE"), tuple(_VARIANCES), "--variance-computation-type"
            )
        ],
        tuning=cast(
            "Tuning", parse_choice(words.text("hyper-parameter-tuning", "NONE"), _TUNINGS, "--hyper-parameter-tuning")
        ),
        tuning_fits=words.integer("hyper-parameter-tuning-iterations") or 0,
        saves_groups=words.flag("save-per-group-evaluation-result"),
        incremental=words.flag("incremental-training"),
        initial_model=qualified(model) if (model := words.maybe("model-input-directory")) else None,
        locked=locked,
        checks=_LEVELS[
            parse_choice(words.text("data-validation", "VALIDATE_DISABLED"), tuple(_LEVELS), "--data-validation")
        ],
    )
    for fit in config.fits:
        checked(fit, source=TRAINING)
    if config.search is not None:
        _check_search(config, config.search)
    return config, (*words.notes, *shard_notes, *notes, *not_updated(coordinates, sequence))


def _check_search(config: Config, search: TuningSettings) -> None:
    checked_tuning(search, config.fits[0], source="--hyper-parameter-tuning")
    if not config.tuning_fits:
        raise ConfigurationError(
            f"--hyper-parameter-tuning {config.tuning}: no number of fits",
            mend="--hyper-parameter-tuning-iterations 20",
        )
    if not config.validation_directories:
        raise ConfigurationError(
            f"--hyper-parameter-tuning {config.tuning}: nothing to judge by", mend="--validation-data-directories"
        )


def _check_choices(words: Words) -> None:
    """Check that what speaks of an earlier model has one."""
    if words.maybe("model-input-directory") is not None:
        return
    if words.maybe("partial-retrain-locked-coordinates") is not None:
        raise ConfigurationError(
            "--partial-retrain-locked-coordinates: no model to take them from", mend="--model-input-directory"
        )
    if words.flag("incremental-training"):
        raise ConfigurationError(
            "--incremental-training: no model to be the prior",
            mend="--model-input-directory, of a model with variances",
        )


def locked_model_of(config: Config) -> SavedModel:
    """Return the model of the locked coordinates, with these alone; none, if none is locked."""
    return _part_of_model(config, config.locked_effects)


def first_model_of(config: Config) -> SavedModel:
    """Return the earlier model with the coordinates that are to train again alone; none without one.

    Raises
    ------
    ConfigurationError
        If the model is of another task, or a coordinate has the name of another kind of effect.
    """
    configured = {one.name: one for one in config.coordinates}
    saved = None if config.initial_model is None else read_saved_model(config.initial_model)
    found = () if saved is None else saved.effects
    if saved is not None and saved.task is not None:
        check_task(saved.task, config.task, name=f"--model-input-directory: {saved.url}")
    for effect in found:
        if effect.name in configured and effect.entity != configured[effect.name].entity:
            raise ConfigurationError(
                f"--coordinate-configurations name={effect.name}: {configured[effect.name].entity or 'no'} id",
                expected=f"{effect.entity or 'none'}, as in {config.initial_model}, or another name",
            )
    return _part_of_model(config, tuple(effect for effect in found if effect.name in configured))


def _part_of_model(config: Config, effects: tuple[EffectInfo, ...]) -> SavedModel:
    url = config.initial_model or ""
    return SavedModel(url=url, task=read_saved_model(url).task if url else None, effects=effects)
