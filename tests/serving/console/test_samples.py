"""Samples that workers take for each other, and the rates, quantiles and charts that are made of them."""

import math
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.console.charts import chart, charts_of, number_text
from serving.console.rates import History, Rates, between, history, latest, quantile
from serving.console.samples import KEPT_SLOTS, SLOT_S, ModelSample, Sample, Samples
from serving.metrics import Metrics
from yarnmill.drift.comparison import VersionDrift

BOUNDS = (0.01, 0.1, 1.0, math.inf)


class Moment:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def at(seconds: float, answered: float, refused: float = 0.0, buckets: tuple[float, ...] = (0, 0, 0, 0)) -> Sample:
    one = ModelSample(answered=answered, refused=refused, buckets=buckets)
    return Sample(at_s=seconds, bounds=BOUNDS, total=one, models={"rater": one})


def test_a_sample_has_what_was_counted_of_every_model() -> None:
    metrics, moment = Metrics(), Moment()
    metrics.count_answer("rater", 2, 0.003)
    metrics.count_answer("rater", 2, 99.0)
    metrics.count_refusal("rater", 400, "bad request")
    metrics.count_refusal("rater", 503, "unavailable")
    metrics.count_refusal(None, 404, "unknown model")
    metrics.show_drift([("rater", VersionDrift(version=1, bundle_id="b"))])
    samples = Samples(metrics, clock=moment)
    assert samples.take()
    (found,) = samples.recent()
    rater = found.models["rater"]
    assert (rater.answered, rater.refused, rater.failed) == (2, 1, 1)
    assert dict(zip(found.bounds, rater.buckets, strict=True))[0.005] == 1
    assert rater.buckets[-1] == 1
    assert sum(rater.buckets) == 2
    assert (rater.drifted, rater.psi) == (0.0, 0.0)
    assert found.total.requests == 5
    assert found.models["(other)"].drifted is None


def test_one_worker_takes_what_all_have(tmp_path: Path) -> None:
    moment = Moment()
    one, other = (Samples(Metrics(), tmp_path / "samples", clock=moment) for _ in range(2))
    assert [one.take(), other.take(), one.take()] == [True, False, False]
    moment.now += SLOT_S
    assert [other.take(), one.take()] == [True, False]
    assert [sample.at_s for sample in one.recent()] == [1_000_000, 1_000_000 + SLOT_S]
    assert one.recent() == other.recent()
    fresh = Samples(Metrics(), tmp_path / "samples", clock=moment)  # a worker that comes again
    assert len(fresh.recent()) == 2


def test_samples_are_of_a_quarter_of_an_hour_however_long_a_tier_runs(tmp_path: Path) -> None:
    moment = Moment()
    samples = Samples(Metrics(), tmp_path, clock=moment)
    (tmp_path / f"{int(moment.now // SLOT_S)}.claimed").touch()  # of a worker that was killed
    assert not samples.take()
    for _ in range(KEPT_SLOTS + 20):
        moment.now += SLOT_S
        samples.take()
    assert len(samples.recent()) == KEPT_SLOTS
    assert len(list(tmp_path.iterdir())) == KEPT_SLOTS + 1
    moment.now += 10 * KEPT_SLOTS * SLOT_S
    assert samples.recent() == []


def test_rates_are_of_the_minute_before_and_stop_at_a_gap() -> None:
    seen = [at(5.0 * number, answered=10.0 * number, refused=float(number)) for number in range(30)]
    past = history(seen, "rater")
    assert len(past.times) == 29
    assert past.now == latest(seen, "rater")
    assert past.now.rate == pytest.approx(11 / 5)
    assert past.now.refused == past.now.errors == pytest.approx(1 / 11)
    assert history(seen, None) == past
    burst = [*seen, at(155.0, answered=1000.0)]
    assert latest(burst, "rater").rate == pytest.approx((1000 - 17 * 11 - 17) / 65, rel=0.2)
    after_a_gap = [*seen, at(500.0, answered=1000.0)]
    assert latest(after_a_gap, "rater") == Rates()
    assert latest(seen, "nobody").rate == 0.0
    assert latest(seen[:1], "rater") == Rates()
    assert history([], None).now == Rates()


def test_counts_that_fell_and_moments_without_requests_say_nothing() -> None:
    assert between(ModelSample(answered=5), ModelSample(answered=3), 5.0, BOUNDS) == Rates()
    assert between(ModelSample(answered=5), ModelSample(answered=5), 5.0, BOUNDS) == Rates(rate=0.0)
    assert between(ModelSample(), ModelSample(answered=5), 0.0, BOUNDS) == Rates()


@given(
    st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any),
    st.floats(0.001, 0.999),
)
def test_a_quantile_is_in_the_bucket_that_has_its_rank(buckets: list[int], q: float) -> None:
    found = quantile(q, BOUNDS, buckets)
    assert found is not None
    rank, uptos = q * sum(buckets), list(accumulate(buckets))
    number = next(at for at, upto in enumerate(uptos) if upto >= rank and buckets[at])
    lower, upper = (0.0, *BOUNDS)[number], BOUNDS[number]
    assert lower <= found <= (lower if math.isinf(upper) else upper)


def test_quantiles_are_spread_evenly_as_prometheus_does() -> None:
    assert quantile(0.5, BOUNDS, (10, 10, 0, 0)) == pytest.approx(0.01)
    assert quantile(0.75, BOUNDS, (10, 10, 0, 0)) == pytest.approx(0.055)
    assert quantile(0.99, BOUNDS, (0, 0, 0, 7)) == 1.0
    assert quantile(0.5, BOUNDS, (0, 0, 0, 0)) is None


def test_a_chart_has_round_ticks_and_breaks_where_nothing_is_known() -> None:
    times = tuple(float(number) for number in range(5))
    past = History(times, (Rates(rate=0.0), Rates(rate=170.0), Rates(), Rates(rate=30.0), Rates(rate=60.0)))
    drawn = chart("Requests", past, {"all": lambda one: one.rate})
    assert [tick.text for tick in drawn.y_ticks] == ["0", "100", "200"]
    assert drawn.lines[0].path.count("M") == 2
    assert drawn.lines[0].path.count("L") == 2
    assert drawn.lines[0].last == "60"
    assert drawn.summary == "Requests: all now 60"
    assert [tick.text for tick in drawn.x_ticks] == ["00:00:00", "00:00:04"]


@given(st.lists(st.none() | st.floats(0, 1e9), max_size=30))
def test_no_point_leaves_a_chart(values: list[float | None]) -> None:
    past = History(tuple(5.0 * at for at in range(len(values))), tuple(Rates(rate=one) for one in values))
    drawn = chart("Requests", past, {"all": lambda one: one.rate})
    points = [pair.split(",") for pair in drawn.lines[0].path.replace("h0", "").replace("L", "M").split("M") if pair]
    assert len(points) == sum(one is not None for one in values)
    assert all(46 <= float(x) <= 372 and 10 <= float(y) <= 128 for x, y in points)
    assert len(drawn.y_ticks) <= 5


def test_charts_of_nothing_are_empty() -> None:
    assert [[line.path for line in one.lines] for one in charts_of(History((), ()))] == [[""], ["", ""], ["", ""]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.004, "<0.01"), (0.0123, "0.0123"), (85.53, "85.5"), (12345.6, "12,346")],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number_text(value) == text
