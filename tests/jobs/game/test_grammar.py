"""Photon's command lines: what they say, and what is refused by name."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.game.coordinates import (
    CoordinateOption,
    EveryCoordinate,
    ShardOption,
    coordinate_json,
    grid,
    in_order,
    parse_coordinates,
    parse_shards,
    search_spaces,
)
from jobs.game.grammar import Days, parse_days, parse_words
from jobs.game.options import (
    COORDINATE_ARGUMENTS,
    INDEXING,
    OPTIONS,
    SCORING,
    SHARD_ARGUMENTS,
    TRAINING,
    options_of,
)
from jobs.game.summaries import check_summaries, is_below_output, summaries_place
from jobs.game.training import first_model_of, from_arguments
from jobs.game_scoring import from_arguments as scoring_arguments
from photon.avro.layout import ID_INFO_NAME, METADATA_NAME, EffectInfo, render_id_info, render_metadata
from photon.settings import checked
from yarnmill.errors import ConfigurationError, ConflictError

NOW = dt.datetime(2026, 3, 10, 2, 30, tzinfo=dt.UTC)
INDEX = ["--input-data-directories", "a,b", "--root-output-directory", "o", "--feature-shard-configurations", "name=s"]


def test_every_option_has_one_fate() -> None:
    for option in (*OPTIONS, *SHARD_ARGUMENTS, *COORDINATE_ARGUMENTS):
        assert sum(map(bool, (option.becomes, option.dropped, option.refused))) == 1, option.name
    names = [name for option in OPTIONS for name in (option.name, *option.was)]
    assert len(set(names)) == len(names)
    assert all(option.drivers for option in OPTIONS)
    assert {option.name for option in options_of(SCORING) if option.required} == {
        "input-data-directories",
        "root-output-directory",
        "feature-shard-configurations",
    }


def test_words_are_read_in_both_spellings() -> None:
    words = parse_words(INDEXING, [*INDEX, "--num-storage-partitions=3", "--override-output-directory", "TRUE"])
    assert words.list("input-data-directories") == ("a", "b")
    assert words.integer("num-storage-partitions") == 3
    assert words.flag("override-output-directory")
    assert words.integer("min-input-partitions") is None
    assert words.notes == ()
    twice = parse_words(INDEXING, [*INDEX, "--feature-shard-configurations", "name=t"])
    assert twice.given["feature-shard-configurations"] == ("name=s", "name=t")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--num-storage-partition", "3"], "feature-indexing: no option 'num-storage-partition'"),
        (["--root-output-directory", "p"], "--root-output-directory: given twice"),
        (["stray"], "'stray': no option"),
        (["--min-input-partitions"], "--min-input-partitions: no value"),
        (["--training-task", "LOGISTIC_REGRESSION"], "no option 'training-task'"),
    ],
)
def test_what_cannot_be_meant_is_named(more: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_words(INDEXING, [*INDEX, *more])
    with pytest.raises(ConfigurationError, match="--input-data-directories: missing"):
        parse_words(INDEXING, INDEX[2:])


def test_what_has_no_effect_is_said_and_what_is_refused_is_refused_by_name() -> None:
    base = ["--input-data-directories", "a", "--root-output-directory", "o", "--feature-shard-configurations", "name=s"]
    words = parse_words(SCORING, [*base, "--spill-scores-to-disk", "true", "--log-level", "DEBUG"])
    assert [note.split(":")[0] for note in words.notes] == [
        "--spill-scores-to-disk has no effect",
        "--log-level has no effect",
    ]
    training = [
        *base,
        *("--training-task", "LOGISTIC_REGRESSION", "--coordinate-configurations", "name=g,feature.shard=s"),
        *("--coordinate-update-sequence", "g", "--coordinate-descent-iterations", "1"),
    ]
    # A flag that says no asks for nothing.
    assert parse_words(TRAINING, [*training, "--compute-variance", "false"]).notes == ()
    with pytest.raises(ConfigurationError, match="--compute-variance true: refused") as refused:
        parse_words(TRAINING, [*training, "--compute-variance", "true"])
    assert "variance-computation-type" in refused.value.expected


def test_shards_and_coordinates() -> None:
    shards, notes = parse_shards(
        ["name=global,feature.bags=features|more|features", "name=bias", "name=user,feature.bags=u,intercept=false"]
    )
    assert notes == ()
    assert shards == (
        ShardOption(name="global", bags=("features", "more")),
        ShardOption(name="bias"),
        ShardOption(name="user", bags=("u",), intercept=False),
    )
    coordinates, notes = parse_coordinates(
        [
            (
                "name=per-user,random.effect.type=userId,feature.shard=user,min.partitions=8,optimizer=TRON,"
                "tolerance=1.0E-5,max.iter=10,regularization=L2,reg.weights=1|100|10"
            ),
            "name=fixed,feature.shard=global,optimizer=LBFGS,regularization=L2,reg.weights=0.5",
        ]
    )
    assert [note.split(": ")[1] for note in notes] == ["tolerance has no effect", "max.iter has no effect"]
    assert coordinates[0] == CoordinateOption(
        name="per-user",
        shard="user",
        entity="userId",
        min_partitions=8,
        optimizer="TRON",
        max_iterations=10,
        tolerance=1e-5,
        regularization="L2",
        weights=(1.0, 100.0, 10.0),
    )
    ordered = in_order(coordinates, ("fixed", "per-user"), shards)
    assert [one.name for one in ordered] == ["fixed", "per-user"]
    fits = grid(ordered, "logistic", 3)
    assert [[one.l2 for one in fit.coordinates] for fit in fits] == [[0.5, 100.0], [0.5, 10.0], [0.5, 1.0]]
    assert [one.kind for one in fits[0].coordinates] == ["fixed", "random"]
    assert fits[0].max_sweeps == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name=g", "feature.shard is missing"),
        ("name=g,feature.shard=s,feature.shard=t", "feature.shard is given twice"),
        ("name=g,feature.shard=s,regularisation=L2", "perhaps regularization"),
        ("name=g,feature.shard=s,regularization=L2", "L2 without reg.weights"),
        ("name=g,feature.shard=s,regularization=L2,reg.weights=-1", r"reg\.weights -1"),
        ("name=g,feature.shard=s,regularization=ELASTIC_NET,reg.weights=1", "ELASTIC_NET without reg.alpha"),
        ("name=g,feature.shard=s,regularization=ELASTIC_NET,reg.weights=1,reg.alpha=2", "reg.alpha 2"),
        ("name=g,feature.shard=s,reg.alpha.range=0.5-2", "reg.alpha.range 0.5-2"),
        ("name=g,feature.shard=s,active.data.bound=0", "active.data.upper.bound 0"),
        ("name=g,feature.shard=s,reg.weight.range=10-1", "reg.weight.range 10-1"),
        ("name=g,feature.shard=s,optimizer=SGD", "optimizer SGD"),
        ("name=g,feature.shard=s,min.partitions=many", "min.partitions many"),
    ],
)
def test_coordinates_that_cannot_be_meant_are_named(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_coordinates([text])
    assert said.replace("\\", "") in str(raised.value)


def test_the_update_sequence_is_checked() -> None:
    shards, _ = parse_shards(["name=s,feature.bags=b"])
    coordinates, _ = parse_coordinates(["name=g,feature.shard=s", "name=h,feature.shard=t"])
    with pytest.raises(ConfigurationError, match="'x' has no configuration"):
        in_order(coordinates, ("g", "x"), shards)
    with pytest.raises(ConfigurationError, match="'g' is configured twice"):
        in_order(coordinates, ("g", "g"), shards)
    with pytest.raises(ConfigurationError, match="name=h: no shard 't'"):
        in_order(coordinates, ("g", "h"), shards)
    with pytest.raises(ConfigurationError, match="neither bags nor intercept"):
        parse_shards(["name=s,intercept=false"])


@given(
    st.lists(st.floats(0.001, 100.0), min_size=1, max_size=3), st.lists(st.floats(0.001, 100.0), min_size=1, max_size=3)
)
def test_a_grid_is_every_combination_once(first: list[float], second: list[float]) -> None:
    fixed = CoordinateOption(name="f", shard="s", regularization="L2", weights=tuple(first))
    random = CoordinateOption(name="r", shard="s", entity="e", regularization="L2", weights=tuple(second))
    found = [tuple(one.l2 for one in fit.coordinates) for fit in grid((fixed, random), "linear", 1)]
    assert sorted(found) == sorted({(one, other) for one in first for other in second})
    assert found == sorted(found, reverse=True)


def test_days() -> None:
    february = Days(first=dt.date(2026, 2, 1), last=dt.date(2026, 2, 28))
    assert parse_days("20260201-20260228", None, "UTC", NOW, "--input-data") == february
    assert parse_days(None, "2-1", "UTC", NOW, "--input-data") == Days(
        first=dt.date(2026, 3, 8), last=dt.date(2026, 3, 9)
    )
    # At half past two in UTC it is still yesterday in California.
    assert parse_days(None, "0-0", "America/Los_Angeles", NOW, "--x") == Days(
        first=dt.date(2026, 3, 9), last=dt.date(2026, 3, 9)
    )
    assert parse_days(None, None, "UTC", NOW, "--x") is None
    for dates, days, zone, said in (
        ("20260201-20260228", "2-1", "UTC", "both given"),
        ("20260230-20260301", None, "UTC", "20260230"),
        ("20260301-20260201", None, "UTC", "begins after its end"),
        (None, "1-2", "UTC", "begins after its end"),
        (None, "1", "UTC", "two ends"),
        (None, "2-1", "Mars/Olympus", "--time-zone Mars/Olympus"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            parse_days(dates, days, zone, NOW, "--x")
        assert said in str(raised.value)


def test_ranges_are_written_as_photon_writes_them() -> None:
    text = "name=g,feature.shard=s,regularization=L2,reg.weights=1,reg.weight.range=1.0E-2-2.5e+3"
    (one,), _ = parse_coordinates([text])
    assert one.weight_range == (0.01, 2500.0)


def test_samples_of_rows_and_features_are_the_engines_own_settings() -> None:
    coordinates, _ = parse_coordinates(
        [
            "name=f,feature.shard=s,down.sampling.rate=0.25",
            (
                "name=r,feature.shard=s,random.effect.type=e,regularization=L2,reg.weights=1,"
                "active.data.lower.bound=3,active.data.upper.bound=64,features.to.samples.ratio=0.5"
            ),
        ]
    )
    (fit,) = grid(coordinates, "logistic", 1)
    fixed, random = fit.coordinates
    assert (fixed.down_sampling_rate, random.down_sampling_rate) == (0.25, 1.0)
    assert (random.active_rows_lower_bound, random.active_rows_upper_bound) == (3, 64)
    assert random.features_to_samples_ratio == 0.5
    assert checked(fit, source="x") == fit


def test_an_elastic_net_is_a_share_of_l1_and_normalisation_is_every_coordinates() -> None:
    coordinates, _ = parse_coordinates(
        [
            "name=f,feature.shard=s,regularization=ELASTIC_NET,reg.alpha=0.25,reg.weights=8|4",
            "name=r,feature.shard=s,random.effect.type=e,regularization=L1,reg.weights=3",
        ]
    )
    fits = grid(coordinates, "logistic", 1, EveryCoordinate(normalisation="standardization"))
    assert [(one.coordinates[0].l2, one.coordinates[0].l1) for one in fits] == [(6.0, 2.0), (3.0, 1.0)]
    assert [(one.coordinates[1].l2, one.coordinates[1].l1) for one in fits] == [(0.0, 3.0)] * 2
    assert {own.normalisation for one in fits for own in one.coordinates} == {"standardization"}
    json = coordinate_json(coordinates[0], fits[0].coordinates[0]).configuration
    assert (json.regularization_weight, json.regularization_context.elastic_net_param) == (8.0, 0.25)
    assert [space.alpha for space in search_spaces(coordinates)] == [(0.0, 1.0), ()]
    assert checked(fits[0], source="x") == fits[0]


def test_a_training_is_told_as_photon_is(tmp_path: Path) -> None:
    arguments = [
        *("--input-data-directories", str(tmp_path), "--root-output-directory", str(tmp_path / "o")),
        *("--training-task", "POISSON_REGRESSION", "--feature-shard-configurations", "name=s,feature.bags=b"),
        *("--coordinate-configurations", "name=g,feature.shard=s", "--coordinate-update-sequence", "g"),
        *("--coordinate-descent-iterations", "2", "--data-validation", "VALIDATE_SAMPLE"),
    ]
    every = ["--normalization", "STANDARDIZATION", "--variance-computation-type", "FULL"]
    config, notes = from_arguments([*arguments, *every], NOW)
    assert (config.task, config.checks, config.normalisation) == ("poisson", "sample", "standardization")
    assert [(one.normalisation, one.variances) for one in config.fits[0].coordinates] == [("standardization", "full")]
    assert (config.may_replace, config.search, config.locked_effects, notes) == (False, None, (), ())
    for more, said in (
        (["--normalization", "HALVES"], "--normalization HALVES"),
        (["--variance-computation-type", "HALF"], "--variance-computation-type HALF"),
        (["--incremental-training", "true"], "no model to be the prior"),
        (["--partial-retrain-locked-coordinates", "g"], "no model to take them from"),
        (["--model-input-directory", "m", "--partial-retrain-locked-coordinates", "g"], "'g' is configured as well"),
        (["--hyper-parameter-tuning", "BAYESIAN"], "nothing to search"),
        (["--feature-bags-directory", "a", "--off-heap-index-map-directory", "b"], "both given"),
        (["--model-sparsity-threshold", "nan"], "--model-sparsity-threshold nan"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            from_arguments([*arguments, *more], NOW)
        assert said in str(raised.value)


def test_a_model_of_another_task_is_no_start(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "fixed-effect" / "g"
    folder.mkdir(parents=True)
    (folder / ID_INFO_NAME).write_bytes(render_id_info(EffectInfo("g", "s", None)))
    (tmp_path / "model" / METADATA_NAME).write_bytes(render_metadata("logistic", ()))
    arguments = [
        *("--input-data-directories", str(tmp_path), "--root-output-directory", str(tmp_path / "o")),
        *("--training-task", "LINEAR_REGRESSION", "--feature-shard-configurations", "name=s,feature.bags=b"),
        *("--coordinate-configurations", "name=g,feature.shard=s", "--coordinate-update-sequence", "g"),
        *("--coordinate-descent-iterations", "1", "--model-input-directory", str(tmp_path / "model")),
    ]
    config, _ = from_arguments(arguments, NOW)
    with pytest.raises(ConfigurationError, match=r"--model-input-directory: .*model is logistic\nexpected: linear, as"):
        first_model_of(config)


def test_what_has_no_effect_beside_the_other_options_is_said(tmp_path: Path) -> None:
    common = ["--input-data-directories", "a", "--root-output-directory", str(tmp_path / "o")]
    common += ["--feature-shard-configurations", "name=s,feature.bags=b", "--validation-evaluators", "AUC"]
    arguments = [
        *(*common, "--training-task", "LOGISTIC_REGRESSION", "--coordinate-descent-iterations", "1"),
        *("--coordinate-configurations", "name=g,feature.shard=s,reg.weights=10,reg.alpha=0.5"),
        *("--coordinate-configurations", "name=h,feature.shard=s", "--coordinate-update-sequence", "g"),
        *("--hyper-parameter-tuning-iterations", "3", "--validation-data-days-range", "2-1", "--time-zone", "UTC"),
        *("--save-per-group-evaluation-result", "true"),
    ]
    _, notes = from_arguments(arguments, NOW)
    assert [note.split(" has no effect")[0] for note in notes] == [
        "--validation-evaluators",
        "--validation-data-days-range",
        "--hyper-parameter-tuning-iterations",
        "--save-per-group-evaluation-result",
        "--coordinate-configurations name=g: reg.alpha",
        "--coordinate-configurations name=g: reg.weights",
        "--coordinate-configurations name=h",
    ]
    _, notes = from_arguments([*arguments, "--validation-data-directories", "v"], NOW)
    assert "--validation-evaluators" not in "".join(notes)
    scoring = [*common, "--model-input-directory", "m", "--data-validation", "VALIDATE_FULL"]
    _, notes = scoring_arguments(scoring, NOW)
    assert [note.split(" has no effect")[0] for note in notes] == ["--data-validation"]


def test_summaries_replace_summaries_alone_and_may_lie_below_the_output(tmp_path: Path) -> None:
    output, place = f"file://{tmp_path}/o", tmp_path / "summary"
    assert summaries_place(f"{output}/all/summary/", output) == "all/summary"
    assert is_below_output("all/summary")
    assert summaries_place(f"{output}2", output) == f"{output}2"
    with pytest.raises(ConfigurationError, match="the output"):
        summaries_place(f"{output}/", output)
    check_summaries(f"file://{place}", may_replace=False)
    (place / "shard").mkdir(parents=True)
    (place / "shard" / "part-00000.avro").touch()
    (place / "shard" / "_SUCCESS").touch()
    check_summaries(f"file://{place}", may_replace=True)
    with pytest.raises(ConflictError, match="already there"):
        check_summaries(f"file://{place}", may_replace=False)
    (place / "shard" / "thesis.tex").touch()
    with pytest.raises(ConflictError, match=r"shard/thesis\.tex: no summary of features"):
        check_summaries(f"file://{place}", may_replace=True)
