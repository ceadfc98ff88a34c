"""Every option of Photon ML's four drivers, and what becomes of it here.

The lists are those of Photon ML 19 (GameTrainingDriver, GameScoringDriver, FeatureIndexingDriver,
NameAndTermFeatureBagsDriver). ``docs/from-photon-ml.md`` shows them, and a test compares the two.
"""

from typing import Final, Literal

from yarnmill.records import Record

Driver = Literal["game-training", "game-scoring", "feature-indexing", "name-and-term-feature-bags"]
Kind = Literal["text", "list", "map", "integer", "number", "flag", "dates", "days"]

TRAINING: Final[Driver] = "game-training"
SCORING: Final[Driver] = "game-scoring"
INDEXING: Final[Driver] = "feature-indexing"
BAGS: Final[Driver] = "name-and-term-feature-bags"

ALL: Final = (TRAINING, SCORING, INDEXING, BAGS)
BOTH: Final = (TRAINING, SCORING)


class Option(Record, frozen=True, kw_only=True):
    """An option, or an argument inside of one.

    Parameters
    ----------
    name
        As written, without dashes.
    kind
        How its value is written.
    drivers
        Which drivers have it; empty for an argument.
    becomes
        What it is here; empty if it has no effect or is refused.
    dropped
        Why it has no effect: it is taken, and this is said.
    refused
        Why it is refused.
    required, repeated
        Whether it must, and may more than once, be given.
    was
        Other names of it, of other versions.
    needs
        Options without one of which it has no effect, which is said; those that its driver does not have do not count.
    """

    name: str
    kind: Kind = "text"
    drivers: tuple[Driver, ...] = ()
    becomes: str = ""
    dropped: str = ""
    refused: str = ""
    required: bool = False
    repeated: bool = False
    was: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


OPTIONS: Final = (
    Option(
        name="input-data-directories",
        kind="list",
        drivers=ALL,
        required=True,
        becomes="the same; the folders' `.avro` files, each read by as many tasks as it has blocks for",
    ),
    Option(
        name="input-data-date-range",
        kind="dates",
        drivers=ALL,
        becomes="the same: `yyyyMMdd-yyyyMMdd`, folders `yyyy/MM/dd`, days without a folder left out",
    ),
    Option(name="input-data-days-range", kind="days", drivers=ALL, becomes="the same: days ago, `90-1`"),
    Option(
        name="time-zone",
        drivers=ALL,
        becomes="the same: an IANA name; default UTC",
        needs=("input-data-days-range", "validation-data-days-range"),
    ),
    Option(
        name="off-heap-index-map-directory",
        drivers=BOTH,
        becomes="a folder that our `feature-indexing` wrote (Parquet); a PalDB store is refused: only Java reads it",
    ),
    Option(
        name="off-heap-index-map-partitions",
        kind="integer",
        drivers=BOTH,
        dropped="an index map here knows its own files",
    ),
    Option(
        name="feature-bags-directory",
        drivers=BOTH,
        becomes="the same: `<bag>` as a text file or a folder of them, lines `name<TAB>term`",
    ),
    Option(
        name="input-column-names",
        kind="map",
        drivers=BOTH,
        becomes="the same: `response`, `offset`, `weight`, `uid`, `metadataMap`; an unnamed response may be `label`",
    ),
    Option(
        name="validation-evaluators",
        kind="list",
        drivers=BOTH,
        was=("evaluators",),
        becomes="the same; the first selects the model",
        needs=("validation-data-directories",),
    ),
    Option(name="root-output-directory", drivers=ALL, required=True, becomes="the same; whole at once, or not there"),
    Option(
        name="override-output-directory",
        kind="flag",
        drivers=ALL,
        becomes="the same for what we wrote; folders of others are never deleted",
    ),
    Option(
        name="output-files-limit",
        kind="integer",
        drivers=BOTH,
        becomes="the same: most files a random effect, or of scores",
    ),
    Option(
        name="feature-shard-configurations",
        kind="map",
        drivers=(TRAINING, SCORING, INDEXING),
        required=True,
        repeated=True,
        becomes="the same: see its arguments",
    ),
    Option(
        name="data-validation",
        drivers=BOTH,
        becomes="checks: `full`, `sample` (a tenth) or `off` in training; scores are always checked to be finite",
    ),
    Option(
        name="logging-level",
        drivers=BOTH,
        dropped="the log is Spark's: conf/spark/log4j2.properties sets its level",
        was=("log-level",),
    ),
    Option(name="application-name", drivers=ALL, becomes="the same"),
    Option(
        name="model-input-directory",
        drivers=BOTH,
        becomes="scoring: the model, required; training: where coordinates start, and what locked ones stay",
    ),
    Option(name="training-task", drivers=(TRAINING,), required=True, becomes="task"),
    Option(name="validation-data-directories", kind="list", drivers=(TRAINING,), becomes="the same"),
    Option(
        name="validation-data-date-range",
        kind="dates",
        drivers=(TRAINING,),
        becomes="the same",
        needs=("validation-data-directories",),
    ),
    Option(
        name="validation-data-days-range",
        kind="days",
        drivers=(TRAINING,),
        becomes="the same",
        needs=("validation-data-directories",),
    ),
    Option(
        name="min-validation-partitions",
        kind="integer",
        drivers=(TRAINING,),
        dropped="validation rows live in the blocks of the training rows",
        was=("minimum-validation-partitions",),
    ),
    Option(
        name="output-mode",
        drivers=(TRAINING,),
        becomes="the same: `NONE`, `BEST`, `EXPLICIT`, `TUNED`, `ALL`",
    ),
    Option(
        name="partial-retrain-locked-coordinates",
        kind="list",
        drivers=(TRAINING,),
        becomes="the same: their scores are offsets of the rows, their files are copied; the fixed effect must train",
    ),
    Option(
        name="coordinate-configurations",
        kind="map",
        drivers=(TRAINING,),
        required=True,
        repeated=True,
        becomes="coordinates: see its arguments",
    ),
    Option(
        name="coordinate-update-sequence",
        kind="list",
        drivers=(TRAINING,),
        required=True,
        becomes="the order of coordinates, the fixed effect first",
    ),
    Option(
        name="coordinate-descent-iterations",
        kind="integer",
        drivers=(TRAINING,),
        required=True,
        becomes="max_sweeps; fewer if a sweep no longer lowers the objective",
    ),
    Option(
        name="normalization",
        drivers=(TRAINING,),
        becomes="normalisation of every coordinate, by Photon's four names; the model is of the features as they are",
    ),
    Option(
        name="data-summary-directory",
        drivers=(TRAINING,),
        becomes="the same: `<shard>/part-*.avro`, in as many files as it takes; a folder with anything else stays",
    ),
    Option(
        name="tree-aggregate-depth",
        kind="integer",
        drivers=(TRAINING,),
        dropped="Spark's own depth is used",
    ),
    Option(
        name="hyper-parameter-tuner",
        drivers=(TRAINING,),
        dropped="there is one tuner, and it does tune: Photon's default, DUMMY, does not",
    ),
    Option(
        name="hyper-parameter-tuning",
        drivers=(TRAINING,),
        becomes="`NONE`, `RANDOM` (scrambled Sobol sequence), `BAYESIAN` (Optuna's TPE): after the grid, told of it",
    ),
    Option(
        name="hyper-parameter-tuning-iterations",
        kind="integer",
        drivers=(TRAINING,),
        becomes="the same: fits beside those of the grid",
        needs=("hyper-parameter-tuning",),
    ),
    Option(
        name="variance-computation-type",
        drivers=(TRAINING,),
        becomes="variances of every coordinate that trains: `NONE`, `SIMPLE`, `FULL`; of every coefficient written",
    ),
    Option(
        name="compute-variance",
        kind="flag",
        drivers=(TRAINING,),
        refused="Photon itself has replaced it: --variance-computation-type NONE, SIMPLE or FULL",
    ),
    Option(
        name="model-sparsity-threshold",
        kind="number",
        drivers=(TRAINING,),
        becomes="the same, default 1e-4: smaller coefficients are not written to the Avro model",
    ),
    Option(
        name="ignore-threshold-for-new-models",
        kind="flag",
        drivers=(TRAINING,),
        refused="active.data.lower.bound holds for every entity: one below it keeps its earlier model, or has none",
    ),
    Option(
        name="incremental-training",
        kind="flag",
        drivers=(TRAINING,),
        becomes="prior_weight 1: means and variances of --model-input-directory are a prior, in place of L2",
    ),
    Option(
        name="save-per-group-evaluation-result",
        kind="flag",
        drivers=(TRAINING,),
        becomes="the same: `group-eval/<i>/<metric>/<id>`, of the models below `models/`",
        needs=("validation-data-directories",),
    ),
    Option(name="model-id", drivers=(SCORING,), becomes="the same; default `N/A`"),
    Option(
        name="log-data-and-model-stats",
        kind="flag",
        drivers=(SCORING,),
        dropped="counts of rows and entities always stand in the report",
    ),
    Option(
        name="spill-scores-to-disk",
        kind="flag",
        drivers=(SCORING,),
        dropped="what does not fit in memory is always spilled",
    ),
    Option(
        name="random-effect-types",
        kind="list",
        drivers=(SCORING,),
        dropped="the saved model says which ids its random effects are per",
    ),
    Option(
        name="min-input-partitions",
        kind="integer",
        drivers=(INDEXING, BAGS),
        becomes="the same: files are cut finer if need be",
        was=("minimum-input-partitions",),
    ),
    Option(
        name="num-storage-partitions",
        kind="integer",
        drivers=(INDEXING,),
        becomes="most files of an index map",
        was=("num-partitions",),
    ),
    Option(name="feature-bags-keys", kind="list", drivers=(BAGS,), required=True, becomes="the same"),
)

SHARD_ARGUMENTS: Final = (
    Option(name="name", required=True, becomes="the shard's name"),
    Option(name="feature.bags", kind="list", becomes="fields of the records, joined with `|`; none: intercept alone"),
    Option(name="intercept", kind="flag", becomes="the same; default true"),
)
"""Arguments of ``--feature-shard-configurations``."""

COORDINATE_ARGUMENTS: Final = (
    Option(name="name", required=True, becomes="name"),
    Option(name="feature.shard", required=True, becomes="shard"),
    Option(name="random.effect.type", becomes="entity; without it the coordinate is a fixed effect"),
    Option(name="min.partitions", kind="integer", becomes="fewest blocks of all coordinates; the largest one counts"),
    Option(
        name="optimizer",
        becomes="checked (`LBFGS`, `TRON`, `OWLQN`, `LBFGSB`); the solver is chosen by dimension, all have one optimum",
    ),
    Option(
        name="max.iter", kind="integer", dropped="every solve goes on until it has converged, and says if it has not"
    ),
    Option(
        name="tolerance", kind="number", dropped="every solve ends 1e-10 above the optimum, relative to the objective"
    ),
    Option(
        name="regularization",
        becomes="the same: `NONE`, `L2`, `L1`, `ELASTIC_NET`; l2 = λ(1 - m), l1 = λm, for λ of reg.weights",
    ),
    Option(
        name="reg.weights",
        kind="list",
        becomes="λ, not divided by n; several, joined with `|`: one fit each, all combined",
    ),
    Option(name="reg.alpha", kind="number", becomes="m, the share of L1 in an elastic net; required by it"),
    Option(name="reg.alpha.range", becomes="the range of m that hyper-parameter-tuning searches; default 0 to 1"),
    Option(
        name="reg.weight.range",
        becomes="the range that hyper-parameter-tuning searches, by logarithm; default 1e-4 to 1e4",
    ),
    Option(
        name="down.sampling.rate",
        kind="number",
        becomes="down_sampling_rate of a fixed effect: of the negatives where labels are classes, weighted up",
    ),
    Option(name="active.data.lower.bound", kind="integer", becomes="active_rows_lower_bound of a random effect"),
    Option(
        name="active.data.upper.bound",
        kind="integer",
        becomes="active_rows_upper_bound of a random effect; the other rows are scored and do not train",
        was=("active.data.bound",),
    ),
    Option(
        name="passive.data.bound",
        kind="integer",
        refused="Photon itself dropped it in version 14: passive rows are always scored",
    ),
    Option(name="features.to.samples.ratio", kind="number", becomes="features_to_samples_ratio of a random effect"),
)
"""Arguments of ``--coordinate-configurations``."""


def options_of(driver: Driver) -> tuple[Option, ...]:
    """Return the options of one driver."""
    return tuple(option for option in OPTIONS if driver in option.drivers)


def render_tables() -> str:
    """Return all options and arguments with what becomes of them, as the guide shows them."""
    parts = [
        _table("option", OPTIONS),
        "Arguments of `--feature-shard-configurations`:\n",
        _table("argument", SHARD_ARGUMENTS),
        "Arguments of `--coordinate-configurations`:\n",
        _table("argument", COORDINATE_ARGUMENTS),
    ]
    return "\n".join(parts)


def _table(head: str, options: tuple[Option, ...]) -> str:
    rows = [f"| {head} | here |", "|---|---|"]
    for option in options:
        dashes = "--" if option.drivers else ""
        names = ", ".join(f"`{dashes}{name}`" for name in (option.name, *option.was))
        rows.append(f"| {names}{_of(option)} | {_fate(option)} |")
    return "\n".join([*rows, ""])


def _of(option: Option) -> str:
    """Return which drivers have an option, if not all that read rows."""
    if option.drivers in ((), ALL, BOTH, (TRAINING, SCORING, INDEXING)):
        return ""
    names = {TRAINING: "training", SCORING: "scoring", INDEXING: "indexing", BAGS: "bags"}
    return f" ({', '.join(names[driver] for driver in option.drivers)})"


def _fate(option: Option) -> str:
    if option.refused:
        return f"**refused**: {option.refused}"
    text = f"no effect: {option.dropped}" if option.dropped else option.becomes
    return text.replace("|", "\\|")  # a cell ends at a bare one
