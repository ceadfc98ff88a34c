"""Models whose requests several versions share, and what each version of one did."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from flask import Blueprint, render_template

from serving.console.asking import ROWS, number_of, text_of
from serving.console.console import Console, seen_projects
from serving.console.rates import quantile
from serving.metrics import Metrics
from serving.openapi.operation import for_people
from serving.refusals import BadRequestError
from yarnmill.registry import Rule

if TYPE_CHECKING:
    from yarnmill.experiments.comparison import Comparison

_ARM: Final = "yarnmill_arm_seconds_bucket"
_ALONE: Final = "yarnmill_request_seconds_bucket"
_MIRROR: Final = "yarnmill_mirror_seconds_bucket"
_ALPHA: Final = 0.05
_SLOW_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_SLOW: Final = 0.1


class Latency(NamedTuple):
    """Seconds to an answer: half of them came sooner than ``median_s``, 99 of 100 sooner than ``p99_s``."""

    median_s: float | None
    p99_s: float | None


def add_experiments(pages: Blueprint, console: Console) -> None:
    """Add the list of experiments, and the comparison of one's versions."""

    @pages.get("/experiments")
    @for_people
    def experiments() -> str:
        """Show the models here whose rule names several versions."""
        after, projects = text_of("after"), seen_projects()
        slots = console.table.snapshot.slots
        shared = sorted(name for name, slot in slots.items() if len(slot.wanted.routes) > 1 and name > after)
        if projects is not None:
            own = {one.name for project in projects for one in console.registry.versions.models(project)}
            shared = [name for name in shared if name in own]
        return render_template(
            "console/experiments.html",
            environment=console.environment,
            rows=[slots[name].wanted for name in shared[:ROWS]],
            following=shared[ROWS - 1] if len(shared) > ROWS else None,
        )

    @pages.get("/experiments/<model>")
    @for_people
    def experiment(model: str) -> str:
        """Show what each version of a model did here, with intervals that hold however often somebody looks."""
        environment, slow_s, beside = console.environment, _slow(text_of("slow")), number_of("beside")
        rule = console.registry.endpoints.get(model, environment).rule
        comparison = _compared(console.metrics, model, rule, beside, slow_s) if rule.destinations else None
        return render_template(
            "console/experiment.html",
            model=model,
            environment=environment,
            rule=rule,
            comparison=comparison,
            latencies={} if comparison is None else _latencies(console.metrics, model, comparison),
            slow_s=slow_s,
            choices=_SLOW_S,
            alpha=_ALPHA,
        )


def _slow(text: str) -> float:
    try:
        slow_s = float(text) if text else _SLOW
    except ValueError:
        slow_s = -1.0
    if slow_s not in _SLOW_S:
        raise BadRequestError(f"slow: {text[:40]!r}", expected=f"one of {', '.join(map(str, _SLOW_S))}")
    return slow_s


def _compared(metrics: Metrics, model: str, rule: Rule, beside: int | None, slow_s: float) -> "Comparison":
    # They load SciPy: a tier whose pages nobody opens does without.
    from yarnmill.experiments.comparison import compare  # noqa: PLC0415
    from yarnmill.experiments.sources import Tiers  # noqa: PLC0415
    from yarnmill.experiments.tallies import Growth  # noqa: PLC0415

    def own(_url: str) -> str:
        label = f'model="{model}"'  # parsing takes most of the time, and there may be hundreds of models
        return "\n".join(line for line in metrics.render().decode().splitlines() if label in line) + "\n"

    growth = Growth(model, Tiers(("this tier",), own))
    growth.look()
    growth.since_the_start()
    return compare(growth, rule, beside=beside, slow_s=slow_s, alpha=_ALPHA)


def _latencies(metrics: Metrics, model: str, comparison: "Comparison") -> dict[int, Latency]:
    """Return the latencies of each version, as far as the tier counts them by version."""
    histograms: defaultdict[tuple[str, str], dict[float, float]] = defaultdict(dict)
    for (name, labels), count in metrics.totals((_ARM, _ALONE, _MIRROR)).read().items():
        of = dict(labels)
        if of["model"] == model:
            histograms[name, of.get("version", "")][float(of["le"])] = count
    answering = [arm for arm in comparison.arms if arm.share is not None]
    found = {}
    for arm in comparison.arms:
        key = (_MIRROR, "") if arm.share is None else (_ARM, str(arm.version)) if len(answering) > 1 else (_ALONE, "")
        bounds = sorted(histograms[key])
        buckets = [histograms[key][bound] for bound in bounds]
        found[arm.version] = Latency(quantile(0.5, bounds, buckets), quantile(0.99, bounds, buckets))
    return found
