"""Empirical Bayes: the prior covariance of every random effect, and the residual variance, from the data.

Coefficients of entity ``e`` have the prior ``N(0, Σₖ)``. Its likeliest value, given the rows, is the fixed
point of ``Σₖ = mean over entities of E[b bᵀ | rows]`` (expectation-maximisation [1]_), where
``E[b bᵀ] = b̄ b̄ᵀ + Cov(b)``. A fit gives the mode ``b̂``; what is added to it here:

* **Cov(b)**, as it is with all other effects uncertain too: the entity's own ``(Z_eᵀWZ_e + Σ⁻¹)⁻¹`` plus the
  covariance of its conditional mean, which is averaged over exact draws from ``N(b̂, H⁻¹)``. A draw is the
  solution of the same problem with perturbed labels and prior means [2]_: one more fit of a linear GLMix.
  As the fixed effects are drawn as well, this is restricted maximum likelihood (REML) for the linear task.
* **b̄**, for tasks whose loss is not quadratic: ``b̂ - ½ H⁻¹ Zᵀ(v·loss‴)``, the mean of the posterior to second
  order [3]_, with ``v`` the variance of each row's margin. Without it variances of binary data come out small.
* the **residual variance** of the linear task: ``Σ w·(y - z)² / (n - p)`` with ``p = tr(H⁻¹ XᵀWX)``.

The draws use the same random numbers in every iteration, so the iteration is a plain fixed-point map and
Anderson's acceleration [4]_ applies. Everything is sums over entities; entities many → one draw is enough.

References
----------
.. [1] N. Laird, J. Ware, "Random-Effects Models for Longitudinal Data", Biometrics 38 (1982).
.. [2] G. Papandreou, A. Yuille, "Gaussian sampling by local perturbations", NIPS 2010.
.. [3] L. Tierney, R. Kass, J. Kadane, "Fully exponential Laplace approximations", JASA 84 (1989).
.. [4] H. Walker, P. Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 49 (2011).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from photon.covariance import Covariance, packed, unpacked
from photon.rows import Floats
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record

_MEMORY: Final = 3
"""Earlier steps that Anderson's acceleration combines."""

_LONGEST: Final = 1.0
"""Most that acceleration may change the logarithm of a variance beyond the plain step."""

_WORSE: Final = 1.0
"""How much more than the last point the map may move a point that is kept."""

_SHARE: Final = 0.2
"""Share of the residual variance that every effect begins with."""


class EmpiricalBayesSettings(Record, frozen=True, kw_only=True):
    """When the estimation of the variances ends, and its random draws.

    ``tolerance`` is the change, in an iteration, of what an effect adds to the variance of the margins,
    relative to that variance. ``draws`` average the noise of effects with few entities; unless it is set, a small
    problem is done exactly, from its inverse Hessian, and the others by a few, more where entities are few.
    """

    max_iterations: int = 60
    tolerance: float = 1e-5
    draws: int | None = None
    seed: int = 0


def checked_estimation(settings: EmpiricalBayesSettings, *, source: str) -> EmpiricalBayesSettings:
    """Return the settings if they make sense; ConfigurationError, with the key path, if not."""
    for name, least in (("max_iterations", 1), ("draws", 1), ("tolerance", 0.0)):
        value = getattr(settings, name)
        if value is not None and not value >= least:
            raise ConfigurationError(f"{source}: {name}: {value}", expected=f"{least:g} or more", mend=f"drop {name}")
    return settings


@dataclass(frozen=True, slots=True)
class EffectMoments:
    """What the posterior says about one random effect, in units of the prior (``u``) and the residual variance.

    Parameters
    ----------
    points
        ``Σ ū ūᵀ`` over entities, ``(d, d)`` or ``(d,)``.
    covariances
        ``Σ Cov(u)`` over entities, likewise.
    counts
        Entities that have each column ``(d,)``.
    """

    points: Floats
    covariances: Floats
    counts: Floats


@dataclass(frozen=True, slots=True)
class Moments:
    """The posterior at given variances: all that the next variances depend on.

    Parameters
    ----------
    effects
        The random effects whose covariance is estimated, by name.
    squares
        ``Σ w·(y - z)²`` at the mode.
    rows
        Rows of positive weight.
    parameters
        ``tr(H⁻¹ XᵀWX)``: how many parameters the fit is worth.
    """

    effects: Mapping[str, EffectMoments]
    squares: float
    rows: int
    parameters: float


class Posterior(Protocol):
    """A backend: fits at given variances, and sums up the posterior there."""

    def moments(self, covariances: Mapping[str, Covariance], residual: float) -> Moments:
        """Return the moments with these covariances, in units of ``residual``, the residual variance."""


@dataclass(frozen=True, slots=True)
class Variances:
    """Covariance of each random effect in the response's units (of the margin), and the residual variance.

    The residual variance is 1 for tasks that have none.
    """

    effects: Mapping[str, Covariance]
    residual: float

    def relative(self) -> dict[str, Covariance]:
        """Return the covariances in units of the residual variance, as fits take them."""
        return {name: one.times(1.0 / self.residual) for name, one in self.effects.items()}


@dataclass(frozen=True, slots=True)
class Iteration:
    """Variances that an iteration ended with, and how far it moved them."""

    number: int
    variances: Variances
    change: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The variances, and the way to them."""

    variances: Variances
    iterations: tuple[Iteration, ...]
    converged: bool


def estimate(
    posterior: Posterior,
    start: Variances,
    settings: EmpiricalBayesSettings,
    *,
    has_residual: bool,
    progress: Callable[[Iteration], None] = lambda _: None,
) -> Estimate:
    """Return the variances under which the rows are likeliest.

    Parameters
    ----------
    posterior
        The data, behind fits.
    start
        Where to begin; variances of about the right size, none 0.
    settings
        When to stop.
    has_residual
        Whether the task has a residual variance: the linear one.
    progress
        Called after every iteration.

    Raises
    ------
    ConfigurationError
        If the settings make no sense.
    """
    checked_estimation(settings, source="empirical_bayes")
    packing = _Packing(start, has_residual=has_residual)
    current, iterations = start, list[Iteration]()
    acceleration = _Anderson()
    for number in range(1, settings.max_iterations + 1):
        moments = posterior.moments(current.relative(), current.residual)
        following = _maximised(moments, current, has_residual=has_residual)
        change = _change(current, following, start)
        if change <= settings.tolerance:
            iterations.append(Iteration(number, following, change))
            progress(iterations[-1])
            return Estimate(following, tuple(iterations), converged=True)
        current = packing.unpack(acceleration.step(packing.pack(current), packing.pack(following)))
        iterations.append(Iteration(number, current, change))
        progress(iterations[-1])
    return Estimate(current, tuple(iterations), converged=False)


def _maximised(moments: Moments, at: Variances, *, has_residual: bool) -> Variances:
    """Return the variances that the posterior moments at ``at`` make likeliest."""
    residual = at.residual
    if has_residual:
        residual = moments.squares / max(moments.rows - moments.parameters, 1e-6 * moments.rows)
    effects = {}
    for name, found in moments.effects.items():
        relative = at.effects[name].times(1.0 / at.residual)
        factor = relative.factor()
        counts = np.maximum(found.counts, 1.0)
        # u is in units where the prior is I and the residual variance 1; its point is in those of the response.
        mean = found.points / at.residual + found.covariances
        if factor.ndim == 1:
            matrix: Floats = at.residual * factor**2 * mean / counts
        else:
            whole = at.residual * factor @ mean @ factor.T / counts[0]
            matrix = 0.5 * (whole + whole.T)
        effects[name] = Covariance(matrix)
    return Variances(effects, residual)


def _change(before: Variances, after: Variances, start: Variances) -> float:
    """Return the largest change of a variance relative to all there is.

    In units of the margin: what a variance means depends on how large its feature is, which the start knows. An
    effect whose variance goes to 0 does so for ever in relative terms, and soon matters to nobody.
    """
    units = {name: start.residual / (one.columns * one.variances) for name, one in start.effects.items()}
    parts = [float(np.sum(one.variances * units[name])) for name, one in after.effects.items()]
    changes = [
        float(np.max(np.abs(after.effects[name].variances - one.variances) * units[name]))
        for name, one in before.effects.items()
    ]
    total = after.residual + _SHARE * sum(parts)
    return max([abs(after.residual - before.residual), *(_SHARE * each for each in changes)]) / total


class _Packing:
    """Variances as one vector without constraints."""

    def __init__(self, start: Variances, *, has_residual: bool) -> None:
        self.scales = {name: np.sqrt(one.variances) for name, one in start.effects.items()}
        self.correlates = {name: one.correlates for name, one in start.effects.items()}
        self.has_residual = has_residual

    def pack(self, variances: Variances) -> Floats:
        parts = [packed(one, self.scales[name]) for name, one in variances.effects.items()]
        if self.has_residual:
            parts.append(np.array([np.log(variances.residual)]))
        return np.concatenate(parts) if parts else np.zeros(0)

    def unpack(self, numbers: Floats) -> Variances:
        effects, used = {}, 0
        for name, scale in self.scales.items():
            size = len(scale) * (len(scale) + 1) // 2 if self.correlates[name] else len(scale)
            effects[name] = unpacked(numbers[used : used + size], scale, correlates=self.correlates[name])
            used += size
        return Variances(effects, float(np.exp(numbers[used])) if self.has_residual else 1.0)


class _Anderson:
    """Anderson's acceleration of a fixed-point map, with the plain map to fall back on.

    A point is kept if the map moves it less than it moved the last one; else the way goes on from where plain steps
    would have led, which always get there, and the memory starts anew.
    """

    def __init__(self) -> None:
        self.points: list[Floats] = []
        self.residuals: list[Floats] = []

    def step(self, point: Floats, image: Floats) -> Floats:
        """Return the point to evaluate next."""
        residual = image - point
        if self.residuals and np.linalg.norm(residual) > _WORSE * np.linalg.norm(self.residuals[-1]):
            following = self.points[-1] + self.residuals[-1]
            is_plain = np.array_equal(following, point)
            self.points, self.residuals = [], []
            if not is_plain:
                return following
        self.points = [*self.points, point][-_MEMORY - 1 :]
        self.residuals = [*self.residuals, residual][-_MEMORY - 1 :]
        return self._mixed() if len(self.points) > 1 else image

    def _mixed(self) -> Floats:
        changes = np.diff(np.array(self.residuals), axis=0).T
        moves = np.diff(np.array(self.points), axis=0).T
        weights = np.linalg.lstsq(changes, self.residuals[-1], rcond=1e-8)[0]
        plain = self.points[-1] + self.residuals[-1]
        beyond: Floats = -(moves + changes) @ weights
        longest = float(np.max(np.abs(beyond), initial=0.0))
        mixed: Floats = plain + beyond * min(1.0, _LONGEST / longest) if longest > 0.0 else plain
        return mixed


def starting_variances(columns: Mapping[str, tuple[Floats, bool]], residual: float) -> Variances:
    """Return variances to begin with: every effect a share of the residual variance.

    Parameters
    ----------
    columns
        By effect: the mean square of each column ``(d,)``, and whether coefficients may correlate.
    residual
        About the variance of the response around its mean; 1 for tasks that have none.
    """
    effects = {}
    for name, (squares, correlates) in columns.items():
        filled = np.count_nonzero(squares)
        variances: Floats = _SHARE * residual / np.where(squares > 0.0, squares, 1.0) / max(1, int(filled))
        effects[name] = Covariance(np.diag(variances) if correlates else variances)
    return Variances(effects, residual)
