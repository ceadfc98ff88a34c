"""Optimisers of a convex objective, as pure ``init / step``: no data, no loss, no Spark.

An objective is a function from coefficients to :class:`~photon.objective.Derivatives` of its smooth
part; on a cluster each call is one pass over the data, so a good step spends one call. L1 penalties and
bounds (:class:`Corners`) are dealt with column by column: every method steps inside the box where the
objective is smooth, and so ends at the true constrained optimum. A result carries why it stopped and how
far from the optimum it is, and raises nothing.

Newton is for dimensions whose Hessian fits (:data:`NEWTON_LIMIT`), L-BFGS for all others, which with L1 is
OWL-QN and with bounds does what L-BFGS-B is for; TRON is for large smooth problems of bad condition.
"""

from photon.optimise.corners import Corners
from photon.optimise.state import Curvature, Memory, Objective, Options, Products, Result, StopReason
from photon.optimise.steps import NEWTON_LIMIT, is_converged, minimise

__all__ = [
    "NEWTON_LIMIT",
    "Corners",
    "Curvature",
    "Memory",
    "Objective",
    "Options",
    "Products",
    "Result",
    "StopReason",
    "is_converged",
    "minimise",
]
