"""Tables about a fitted model: coefficients, variances, fit. They print as text and show as HTML in a notebook."""

import html
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from photon.fitted import FittedEffect, FittedModel
from photon.model import RandomEffect
from photon.rows import Floats
from yarnmill.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Summary:
    """A model in tables.

    Parameters
    ----------
    title
        Formula and task.
    facts
        Name and value of what holds for the whole model.
    fixed
        Estimate, standard error, z and p of each coefficient of the fixed effect.
    random
        Group, column, variance, standard deviation and correlations of each random effect.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    fixed: pd.DataFrame
    random: pd.DataFrame

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.facts)
        lines = [self.title, "", *(f"{name:<{width}}  {value}" for name, value in self.facts)]
        if len(self.random):
            lines += ["", "Random effects", self.random.to_string(index=False, na_rep="", float_format=_number)]
        lines += ["", "Fixed effect", self.fixed.to_string(na_rep="", float_format=_number)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        facts = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(v)}</td></tr>" for n, v in self.facts)
        parts = [f"<p><strong>{html.escape(self.title)}</strong></p><table>{facts}</table>"]
        if len(self.random):
            table = self.random.to_html(index=False, na_rep="", float_format=_number, border=0)
            parts.append(f"<p>Random effects</p>{table}")
        parts.append(f"<p>Fixed effect</p>{self.fixed.to_html(na_rep='', float_format=_number, border=0)}")
        return "".join(parts)


def _number(value: float) -> str:
    return f"{value:.4g}"


def summarise(fitted: FittedModel) -> Summary:
    """Return the tables of a fitted model."""
    record, training = fitted.record, fitted.record.training
    facts = [
        ("rows", f"{training.rows:,}"),
        ("mean loss", f"{training.mean_loss:.6g} (the mean response alone: {training.null_loss:.6g})"),
        ("objective", f"{training.objective:.8g}"),
        ("converged", "yes" if training.converged else "no: see the report's history"),
        ("time", f"{training.duration_s:.2f} s"),
    ]
    if record.task == "linear":
        residual = training.residual_variance
        facts.insert(2, ("residual", f"variance {residual:.5g}, standard deviation {math.sqrt(residual):.5g}"))
    return Summary(
        title=f"{record.formula}  ({record.task})",
        facts=tuple(facts),
        fixed=coefficient_table(fitted, record.effects[0].formula.name),
        random=pd.concat(
            [random_table(one, training.residual_variance) for one in record.effects[1:]], ignore_index=True
        ).dropna(axis=1, how="all")
        if len(record.effects) > 1
        else pd.DataFrame(),
    )


def coefficient_table(fitted: FittedModel, name: str) -> pd.DataFrame:
    """Return an effect's coefficients: a row a column of the fixed effect, or a row an entity."""
    one = _effect(fitted, name)
    entities, values = fitted.coefficients_of(name)
    columns = list(one.encoding.columns)
    if entities is not None:
        return pd.DataFrame(values, index=pd.Index(entities.tolist(), name=one.formula.entity_key), columns=columns)
    found = pd.DataFrame({"estimate": values[0]}, index=pd.Index(columns, name="term"))
    if one.standard_errors:
        errors = np.array(one.standard_errors)
        found["std_error"] = errors
        found["z"] = np.divide(values[0], errors, out=np.full_like(errors, np.nan), where=errors > 0.0)
        found["p"] = [_two_sided(z) for z in found["z"]]
    return found


def variance_table(fitted: FittedModel, name: str) -> pd.DataFrame:
    """Return the variances of an effect's coefficients; ConfigurationError if they were not asked for."""
    one = _effect(fitted, name)
    effect = fitted.effect(name)
    if effect.variances is None:
        raise ConfigurationError(
            f"{name}: a model without variances", expected=f"terms={{{name!r}: {{'variances': 'full'}}}} before the fit"
        )
    columns = list(one.encoding.columns)
    if not isinstance(effect, RandomEffect):
        return pd.DataFrame({"variance": effect.variances}, index=pd.Index(columns, name="term"))
    # What an entity has no row of has no variance that anybody computed.
    dense = np.full((len(effect.entities), effect.columns), np.nan)
    dense.ravel()[effect.cells] = effect.variances
    return pd.DataFrame(dense, index=pd.Index(effect.entities.tolist(), name=one.formula.entity_key), columns=columns)


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2.0)) if math.isfinite(z) else math.nan


def random_table(one: FittedEffect, residual: float) -> pd.DataFrame:
    """Return the prior of a random effect, a row a column; a penalty ``λ`` is the variance ``residual / λ``."""
    variances, correlations = _prior(one, residual)
    rows = []
    for place, column in enumerate(one.encoding.columns):
        row: dict[str, object] = {
            "group": one.formula.entity_key if place == 0 else "",
            "entities": f"{one.entities:,}" if place == 0 else "",
            "column": column,
            "variance": variances[place],
            "std_dev": math.sqrt(variances[place]),
        }
        row |= {f"corr_{other + 1}": correlations[place, other] for other in range(place)} if one.prior else {}
        rows.append(row)
    return pd.DataFrame(rows)


def _prior(one: FittedEffect, residual: float) -> tuple[Floats, Floats]:
    if one.prior is not None:
        return one.prior.variances, one.prior.correlations
    columns = len(one.encoding.columns)
    return np.full(columns, residual / one.l2 if one.l2 > 0.0 else math.inf), np.eye(columns)


def _effect(fitted: FittedModel, name: str) -> FittedEffect:
    for one in fitted.record.effects:
        if one.formula.name == name:
            return one
    names = ", ".join(one.formula.name for one in fitted.record.effects)
    raise KeyError(f"no effect {name!r}; there are {names}")
