"""What the job ``train_glmix`` is told, and what of it cannot be meant: checked before anything is sent."""

from jobs.earlier_model import EarlierModel, read_earlier_model
from jobs.evaluating import check_keys, evaluators_of, question_of
from jobs.job import JobConfig, Url
from jobs.priors import estimates_priors
from jobs.trials import MlflowConfig
from photon.checks import Checks
from photon.empirical_bayes import EmpiricalBayesSettings, checked_estimation
from photon.evaluation import Question
from photon.loss import TWEEDIE_POWER, Task
from photon.settings import CoordinateSettings, FitSettings, checked
from photon.spark.estimable import check_estimable_on_spark
from photon.tuning import TuningSettings, checked_tuning
from yarnmill.errors import ConfigurationError
from yarnmill.trainingset import TrainingSet, read_training_set


class Config(JobConfig, frozen=True, kw_only=True):
    """What to fit, on which training set.

    Parameters
    ----------
    training_set
        URL of a training set.
    task
        ``logistic``, ``linear``, ``poisson``, ``smoothed_hinge``, ``gamma`` or ``tweedie``.
    coordinates
        The effects, in update order.
    earlier_model
        URL of an earlier output of this job or of ``import_photon_model``. Entities of no row in this training set
        keep their coefficients, and their variances where ``variances`` are wanted. Beside ``estimate`` it is where
        the estimation starts.
    max_sweeps, tolerance, acceleration, tweedie_power
        See :class:`photon.settings.FitSettings`.
    evaluators
        Photon's names of what to judge by, such as ``AUC`` or ``PRECISION@5:user_id``; the first selects models.
        Unset: the task's own loss, before it AUC where labels are 0 and 1.
    evaluate_per
        Entity keys within whose entities the unset evaluators are taken as well.
    calibration_bins
        Bins of the calibration and lift tables of ``evaluation.json``.
    save_group_results
        Whether the results of every group are written below the output.
    refit_on_validation
        Whether the written model is fitted on train and validation together, from the first fit on.
    empirical_bayes
        End and draws of the estimation of priors, where a coordinate has ``estimate``:
        :class:`photon.empirical_bayes.EmpiricalBayesSettings`.
    tuning
        A search for penalties: every trial is a fit of train, judged on validation. Unset: those of the coordinates.
    mlflow
        Where trials are recorded; unset: nowhere.
    checks
        Whether ``full``, a ``sample`` of a tenth or none (``off``) of the rows are checked before the fit.
    partitions
        Blocks of each coordinate; unset: as many as Spark shuffles into.
    """

    training_set: Url
    coordinates: tuple[CoordinateSettings, ...]
    earlier_model: Url | None = None
    task: Task = "logistic"
    max_sweeps: int = 10
    tolerance: float = 1e-4
    tweedie_power: float = TWEEDIE_POWER
    acceleration: int = 3
    evaluators: tuple[str, ...] = ()
    evaluate_per: tuple[str, ...] = ()
    calibration_bins: int = 10
    save_group_results: bool = False
    refit_on_validation: bool = True
    empirical_bayes: EmpiricalBayesSettings = EmpiricalBayesSettings()
    tuning: TuningSettings | None = None
    mlflow: MlflowConfig | None = None
    checks: Checks = "full"
    partitions: int | None = None

    @property
    def fit_settings(self) -> FitSettings:
        """The settings that photon takes."""
        return FitSettings(
            task=self.task,
            coordinates=self.coordinates,
            max_sweeps=self.max_sweeps,
            tolerance=self.tolerance,
            tweedie_power=self.tweedie_power,
            acceleration=self.acceleration,
        )

    @property
    def question(self) -> Question:
        """What the scores of held-out rows are asked."""
        evaluators = evaluators_of(self.evaluators, self.task, self.evaluate_per)
        return question_of(evaluators, self.task, bins=self.calibration_bins)


def inputs(config: Config) -> tuple[str, ...]:
    """Return the training set and the earlier model, after checking that the configuration fits them.

    Raises
    ------
    ConfigurationError
        If a coordinate names a shard or an entity key that the training set does not have.
    NotFoundError
        If there is no training set, or no earlier model where one is named.
    """
    check_config(config, read_training_set(config.training_set))
    model = earlier_model_of(config)
    return (config.training_set,) if model is None else (config.training_set, model.url)


def earlier_model_of(config: Config) -> EarlierModel | None:
    """Return the earlier model that is named; ConfigurationError if none is and a coordinate needs one."""
    if config.earlier_model is not None:
        return read_earlier_model(config.earlier_model, config.task, config.coordinates)
    for place, one in enumerate(config.coordinates):
        if one.locked or one.prior_weight > 0.0:
            name = "locked" if one.locked else "prior_weight"
            raise ConfigurationError(
                f"coordinates[{place}].{name}: no earlier model",
                expected="earlier_model: the URL of an output of train_glmix",
            )
    return None


def check_config(config: Config, training_set: TrainingSet) -> None:
    """Raise ConfigurationError if the configuration makes no sense, or not for this training set."""
    checked(config.fit_settings, source="train_glmix")
    shards = [shard.name for shard in training_set.shards]
    for place, coordinate in enumerate(config.coordinates):
        if coordinate.shard not in shards:
            raise ConfigurationError(
                f"coordinates[{place}].shard: {config.training_set} has no shard {coordinate.shard!r}",
                expected=f"one of {', '.join(shards)}",
            )
    if estimates_priors(config.coordinates):
        check_estimable_on_spark(config.fit_settings, {shard.name: shard.dimension for shard in training_set.shards})
        checked_estimation(config.empirical_bayes, source="train_glmix: empirical_bayes")
        if config.tuning is not None:
            raise ConfigurationError(
                "tuning: set, while a prior is estimated",
                expected="a search for penalties, or priors from the data",
                mend="drop tuning, or give every random effect l2 in place of estimate",
            )
    if config.tuning is not None:
        checked_tuning(config.tuning, config.fit_settings, source="train_glmix: tuning")
    named = [(f"coordinates[{place}].entity", one.entity) for place, one in enumerate(config.coordinates)]
    named += [(f"evaluate_per[{place}]", key) for place, key in enumerate(config.evaluate_per)]
    if config.calibration_bins < 1:
        raise ConfigurationError(f"calibration_bins: {config.calibration_bins}", expected="1 or more")
    for where, key in named:
        if key is not None and key not in training_set.keys:
            raise ConfigurationError(
                f"{where}: {config.training_set} has no entity key {key!r}",
                expected=f"one of {', '.join(training_set.keys)}",
            )
    check_keys(config.question.evaluators, training_set.keys, config.training_set)
