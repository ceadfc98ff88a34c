"""What has no place in a fit whose priors are estimated (:mod:`photon.empirical_bayes`)."""

from photon.settings import CoordinateSettings, FitSettings
from yarnmill.errors import ConfigurationError


def check_estimable(settings: FitSettings) -> None:
    """Refuse what an estimated prior has no place for.

    Raises
    ------
    ConfigurationError
        If the posterior is not about normal (corners, normalised penalties), or not of all rows and features (samples),
        or a prior is to be estimated and is known at once: that of a locked effect, or of one with ``prior_weight``.
    """
    estimated = " and ".join(one.name for one in settings.coordinates if one.estimate != "none")
    for place, one in enumerate(settings.coordinates):
        _check_known(one, place)
        # A locked effect is an offset, whatever it was fitted under.
        if one.locked:
            continue
        unlike = {
            "l1": one.l1 > 0.0,
            "bounds": bool(one.bounds),
            "normalisation": one.normalisation != "none" and (one.kind == "random" or one.l2 > 0.0),
            "features_to_samples_ratio": one.features_to_samples_ratio is not None,
            "active_rows_lower_bound": one.active_rows_lower_bound > 1,
            "active_rows_upper_bound": one.active_rows_upper_bound is not None,
            "down_sampling_rate": one.down_sampling_rate < 1.0,
            "prior_weight": one.kind == "random" and one.prior_weight > 0.0,
            "variances": one.kind == "random" and one.variances != "none",
            "penalise_intercept": one.kind == "random" and not one.intercept_is_penalised,
        }
        for name in (name for name, is_set in unlike.items() if is_set):
            raise ConfigurationError(
                f"coordinates[{place}].{name}: {_shown(getattr(one, name))}, while a prior is estimated",
                expected="unset, or l2 given for all random effects",
                mend=f"drop {name} of {one.name}, or give {estimated} l2 in place of estimate",
            )


def _check_known(one: CoordinateSettings, place: int) -> None:
    """Refuse an effect whose prior is to be estimated and comes from an earlier model too."""
    for name, is_set in (("locked", one.locked), ("prior_weight", one.prior_weight > 0.0)):
        if is_set and one.estimate != "none":
            raise ConfigurationError(
                f"coordinates[{place}].{name}: {getattr(one, name)}, while a prior is estimated: its own",
                expected=f"estimate: a prior from these rows, or {name}: what the earlier model says",
                mend=f"drop {name} of {one.name}, which starts at the earlier model without it, or drop its estimate",
            )


def _shown(value: object) -> str:
    return f"{len(value)} of them" if isinstance(value, tuple) else str(value)
