"""What holds the coefficients of a coordinate back, in words: for the page about a run, and for its log."""

from photon.settings import CoordinateSettings


def penalty_in_words(one: CoordinateSettings) -> str:
    """Return the penalty or prior of a coordinate; that there is none is said too, for nobody sees a default.

    Parameters
    ----------
    one
        The coordinate as it is fitted, after a search for penalties with those that were found.
    """
    if one.locked:
        return "none: locked, as in the earlier model"
    if one.estimate != "none":
        return f"prior estimated from the rows ({one.estimate})"
    penalty = _strengths(one)
    if one.prior_weight > 0.0:
        return f"prior of the earlier model, weight {one.prior_weight:g}; of what that does not know {penalty}"
    return penalty


def _strengths(one: CoordinateSettings) -> str:
    strengths = [f"{name} {value:g}" for name, value in (("l2", one.l2), ("l1", one.l1)) if value > 0.0]
    if not strengths:
        return "none: the likeliest coefficients, however large"
    return " and ".join(strengths) + ("" if one.intercept_is_penalised else ", intercept free")
