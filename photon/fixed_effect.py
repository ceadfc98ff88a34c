"""Solve of a fixed effect, wherever its rows are: a backend brings sums over rows, everything else is here."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from photon.loss import RowLoss
from photon.objective import Derivatives, row_derivatives, row_hessian_diagonal, row_products
from photon.optimise import NEWTON_LIMIT, Curvature, Memory, Options, Result, minimise
from photon.regularisation import Regularisation
from photon.rows import Examples, Floats
from photon.settings import Variances
from yarnmill.errors import ConfigurationError


class RowSums(Protocol):
    """Sums over all rows, at coefficients of the original features; each call is a pass over the data."""

    def derivatives(self, coefficients: Floats, *, hessian: bool) -> Derivatives:
        """Return the data part of the objective: the sum of :func:`photon.objective.row_derivatives`."""

    def products(self, coefficients: Floats, vector: Floats) -> Floats:
        """Return its Hessian times a vector: the sum of :func:`photon.objective.row_products`."""

    def hessian_diagonal(self, coefficients: Floats) -> Floats:
        """Return its Hessian's diagonal: the sum of :func:`photon.objective.row_hessian_diagonal`."""


@dataclass(frozen=True, slots=True)
class ExampleSums:
    """The sums of rows in memory."""

    examples: Examples
    loss: RowLoss

    def derivatives(self, coefficients: Floats, *, hessian: bool) -> Derivatives:
        """See :class:`RowSums`."""
        return row_derivatives(self.examples, coefficients, self.loss, hessian=hessian)

    def products(self, coefficients: Floats, vector: Floats) -> Floats:
        """See :class:`RowSums`."""
        return row_products(self.examples, coefficients, vector, self.loss)

    def hessian_diagonal(self, coefficients: Floats) -> Floats:
        """See :class:`RowSums`."""
        return row_hessian_diagonal(self.examples, coefficients, self.loss)


@dataclass(frozen=True, slots=True)
class FixedSolution:
    """Coefficients of the original features, what they cost besides the data, and how the optimiser ended."""

    coefficients: Floats
    data_loss: float
    penalty: float
    result: Result


def solve_fixed(
    sums: RowSums,
    regularisation: Regularisation,
    start: Floats,
    options: Options = Options(),  # noqa: B008  # frozen
    memory: Memory = Memory(),  # noqa: B008  # frozen
) -> FixedSolution:
    """Return the optimum of a fixed effect.

    Parameters
    ----------
    sums
        The rows.
    regularisation
        Penalty, prior, bounds, normalisation.
    start
        Coefficients of the original features to start from.
    options
        Method and end.
    memory
        Of the earlier solve, in ``result.memory``.
    """

    def objective(coefficients: Floats, *, hessian: bool) -> Derivatives:
        data = sums.derivatives(regularisation.original(coefficients), hessian=hessian)
        return regularisation.added_to(data, coefficients)

    def products(normalised: Floats, vector: Floats) -> Floats:
        data = sums.products(regularisation.original(normalised), regularisation.original(vector))
        return regularisation.product(data, vector)

    def diagonal(coefficients: Floats) -> Floats:
        point, scaling = regularisation.original(coefficients), regularisation.scaling
        intercept = None
        if scaling is not None and scaling.has_shift:
            is_intercept = (np.arange(len(point)) == scaling.intercept).astype(np.float64)
            intercept = sums.products(point, is_intercept)
        return regularisation.normalised_diagonal(sums.hessian_diagonal(point), intercept)

    result = minimise(
        objective,
        regularisation.normalised(start),
        options,
        corners=regularisation.corners,
        curvature=Curvature(products, diagonal),
        memory=memory,
    )
    coefficients = regularisation.within(regularisation.original(result.coefficients))
    penalty = regularisation.value(coefficients)
    return FixedSolution(coefficients, result.value - penalty, penalty, result)


def fixed_variances(
    sums: RowSums, regularisation: Regularisation, coefficients: Floats, kind: Variances
) -> Floats | None:
    """Return the variance of each coefficient: by the curvature of the objective (without L1) at the optimum.

    ``simple`` is the inverse of the Hessian's diagonal, ``full`` the diagonal of the Hessian's inverse: the
    variances of the Gaussian around a posterior's mode (Laplace). A coefficient without any curvature has an
    infinite variance.

    Raises
    ------
    ConfigurationError
        If ``full`` is asked for more columns than a dense Hessian is for.
    """
    if kind == "none":
        return None
    with np.errstate(divide="ignore"):
        if kind == "simple":
            return 1.0 / regularisation.hessian_diagonal(sums.hessian_diagonal(coefficients))
    if regularisation.columns > NEWTON_LIMIT:
        raise ConfigurationError(
            f"variances: full for {regularisation.columns} columns",
            expected=f"simple, or at most {NEWTON_LIMIT} columns, whose Hessian can be inverted",
        )
    hessian = sums.derivatives(coefficients, hessian=True).hessian
    if hessian is None:
        raise TypeError("sums without a Hessian")
    return inverse_diagonal(regularisation.hessian(hessian))


def inverse_diagonal(hessian: Floats) -> Floats:
    """Return the diagonal of the inverse; infinite for columns with a part in a direction without curvature."""
    # In units where every column has curvature 1, or a column of small numbers would pass for one without any.
    units = np.sqrt(np.diagonal(hessian))
    units = np.where(units > 0.0, units, 1.0)
    curvatures, axes = np.linalg.eigh(hessian / np.outer(units, units))
    has_curvature = curvatures > 1e-14 * float(curvatures.max(initial=np.finfo(np.float64).tiny))
    inverse = np.where(has_curvature, 1.0 / np.where(has_curvature, curvatures, 1.0), 0.0)
    diagonal: Floats = (axes * axes) @ inverse
    is_open = np.abs(axes[:, ~has_curvature]) > 1e-8
    return np.where(is_open.any(axis=1), np.inf, diagonal / (units * units))
