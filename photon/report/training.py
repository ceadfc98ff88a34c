"""The report of a training run on a cluster: history by sweep and coordinate, metrics beside baselines, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from photon.descent import Step, Sweep
from photon.evaluation.calibration import Bin
from photon.report.figures import Series, lines, number
from photon.report.page import Fact, Section, figure, folded, page, table
from photon.report.penalties import penalty_in_words
from photon.report.sections import Coefficient, calibration_and_lift, coefficients, convergence
from photon.settings import FitSettings


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a run leaves to look at.

    Parameters
    ----------
    name
        What was trained on.
    settings
        Task and coordinates.
    rows
        Rows of each part of the data.
    sweeps, steps
        The history of the last descent.
    converged
        Whether it ended because it had settled.
    metrics, baselines
        Figures of the model, and of each baseline by the same names.
    bins
        Calibration tables by what was measured.
    coefficients
        The largest coefficients of the fixed effect.
    timings_s
        Seconds of each part of the run.
    """

    name: str
    settings: FitSettings
    rows: Mapping[str, int]
    sweeps: Sequence[Sweep]
    steps: Sequence[Step]
    converged: bool
    metrics: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    bins: Mapping[str, Sequence[Bin]]
    coefficients: Sequence[Coefficient]
    timings_s: Mapping[str, float]


def render_training(found: TrainingReport) -> str:
    """Return the page about a run."""
    sections = [
        _metrics(found),
        convergence([(sweep.number, sweep.objective) for sweep in found.sweeps]),
        _heldout(found.sweeps),
        _steps(found.steps),
        _moves(found.sweeps),
        _coordinates(found.settings),
        coefficients(found.coefficients, "the fixed effect") if found.coefficients else None,
        *calibration_and_lift(found.bins, found.settings.task),
    ]
    facts = [Fact(f"{name} rows", f"{count:,}") for name, count in found.rows.items() if count]
    end = number(found.sweeps[-1].objective) if found.sweeps else ""
    facts.append(Fact("sweeps", str(len(found.sweeps)), "converged" if found.converged else "ended by max_sweeps"))
    facts.append(Fact("objective", end))
    facts.append(Fact("time", f"{sum(found.timings_s.values()):.1f} s", _longest(found.timings_s)))
    footer = "The joint objective is a sum over rows plus penalties; losses are weighted means."
    shown = [one for one in sections if one is not None]
    return page(found.name, f"GLMix training · {found.settings.task}", facts, shown, footer)


def _longest(timings_s: Mapping[str, float]) -> str:
    if not timings_s:
        return ""
    name = max(timings_s, key=lambda one: timings_s[one])
    return f"{name.replace('_', ' ')} {timings_s[name]:.1f} s"


def _metrics(found: TrainingReport) -> Section | None:
    names = [name for name in found.metrics if "_sweep_" not in name and name != "objective"]
    if not names:
        return None
    head = ["metric", "model", *(name.replace("_", " ") for name in found.baselines)]
    rows = [
        [
            name.replace("_", " "),
            number(found.metrics[name]),
            *(number(each[name]) if name in each else "" for each in found.baselines.values()),
        ]
        for name in names
    ]
    note = "The model beside its baselines, on the same rows: the fixed effect fitted alone, and the mean response."
    return Section("Metrics", note, table(head, rows, numeric=range(1, len(head))))


def _heldout(sweeps: Sequence[Sweep]) -> Section | None:
    names = dict.fromkeys(name for sweep in sweeps for name, _ in sweep.losses)
    series = [
        Series(name, [one.number for one in sweeps], [dict(one.losses).get(name, float("nan")) for one in sweeps])
        for name in names
    ]
    if not series or len(sweeps) < 2:
        return None
    return Section(
        "Loss of rows that do not train",
        "Mean loss after each sweep. Where it rises while the objective falls, penalties are too small.",
        figure(lines(series, "sweep", "mean loss"), "Weighted means.", title="Mean loss by sweep"),
    )


def _steps(steps: Sequence[Step]) -> Section | None:
    if not steps:
        return None
    head = ["sweep", "coordinate", "data loss", "penalty", "gradient norm", "passes", "not converged", "seconds"]
    rows = [
        [
            str(step.sweep),
            step.coordinate,
            f"{step.fitness.data_loss:,.6g}",
            number(step.fitness.penalty),
            number(step.fitness.gradient_norm),
            str(step.fitness.evaluations),
            f"{step.fitness.unconverged:,}",
            number(step.duration_s),
        ]
        for step in steps
    ]
    shown = table(head, rows, numeric=range(2, len(head)))
    return Section(
        "History",
        "Every update of every coordinate: what the rows that train cost with the scores of all coordinates, the "
        "coordinate's own penalty, passes over the data, and problems whose optimiser stopped early.",
        shown if len(rows) <= 12 else folded(f"{len(rows)} updates", shown),
    )


def _moves(sweeps: Sequence[Sweep]) -> Section | None:
    if not any(sweep.move for sweep in sweeps):
        return None
    rows = [
        [str(one.number), f"{one.objective:,.8g}", ", ".join(number(each) for each in one.move) or "none"]
        for one in sweeps
    ]
    return Section(
        "Steps along the last ones",
        "After each sweep the model moves on along its own step and those before, as far as lowers the objective most.",
        table(["sweep", "objective", "lengths"], rows, numeric=(1, 2)),
    )


def _coordinates(settings: FitSettings) -> Section:
    head = ["coordinate", "kind", "shard", "per", "l2", "l1", "penalty"]
    rows = [
        [one.name, one.kind, one.shard, one.entity or "", number(one.l2), number(one.l1), penalty_in_words(one)]
        for one in settings.coordinates
    ]
    note = "The effects in the order of their updates, with the penalties of the model that was kept."
    return Section("Coordinates", note, table(head, rows, numeric=(4, 5)))
