"""GLMix: generalized linear mixed models by block coordinate descent, in plain NumPy.

Three layers that each know one thing (row loss · objective · optimiser), and descent on top.
``photon.spark`` is the only part that knows Spark; nothing here knows storage, YARN or serving.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photon.estimator import Glmix as Glmix
    from photon.formula import Fixed as Fixed
    from photon.formula import Random as Random
    from photon.terms import Term as Term


def __getattr__(name: str) -> object:
    """Return :class:`~photon.estimator.Glmix` and its companions: pandas and formulaic come with them, only then."""
    if name == "Glmix":
        from photon.estimator import Glmix  # noqa: PLC0415

        return Glmix
    if name in ("Fixed", "Random"):
        from photon import formula  # noqa: PLC0415

        return getattr(formula, name)
    if name == "Term":
        from photon.terms import Term  # noqa: PLC0415

        return Term
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
