"""What has no place beside a prior that is estimated on Spark: all of it is known before a row is read."""

from collections.abc import Mapping

from photon.optimise import NEWTON_LIMIT
from photon.settings import FitSettings
from yarnmill.errors import ConfigurationError


def check_estimable(settings: FitSettings, columns: Mapping[str, int]) -> None:
    """Refuse what an estimated prior has no place for.

    Parameters
    ----------
    settings
        What to fit; a random effect has ``estimate``.
    columns
        Of each shard that a coordinate names.

    Raises
    ------
    ConfigurationError
        If the posterior is not about normal (corners, normalised penalties), not of all rows and features (samples), or
        not of the random effects alone that are fitted (locked ones, priors from elsewhere); or if a fixed effect has
        too many columns for a Hessian.
    """
    estimated = " and ".join(one.name for one in settings.coordinates if one.estimate != "none")
    for place, one in enumerate(settings.coordinates):
        unlike = {
            "l1": one.l1 > 0.0,
            "bounds": bool(one.bounds),
            "normalisation": one.normalisation != "none" and (one.kind == "random" or one.l2 > 0.0),
            "features_to_samples_ratio": one.features_to_samples_ratio is not None,
            "active_rows_lower_bound": one.active_rows_lower_bound > 1,
            "active_rows_upper_bound": one.active_rows_upper_bound is not None,
            "down_sampling_rate": one.down_sampling_rate < 1.0,
            "locked": one.locked,
            "prior_weight": one.prior_weight > 0.0,
            "variances": one.kind == "random" and one.variances != "none",
            "penalise_intercept": one.kind == "random" and not one.intercept_is_penalised,
        }
        for name in (name for name, is_set in unlike.items() if is_set):
            raise ConfigurationError(
                f"coordinates[{place}].{name}: {_shown(getattr(one, name))}, while a prior is estimated",
                expected="unset, or l2 given for all random effects",
                mend=f"drop {name} of {one.name}, or give {estimated} l2 in place of estimate",
            )
        if one.kind == "fixed" and columns[one.shard] > NEWTON_LIMIT:
            raise ConfigurationError(
                f"coordinates[{place}].shard: {columns[one.shard]:,} columns, while a prior is estimated",
                expected=f"at most {NEWTON_LIMIT:,} columns of a fixed effect, or l2 given for all random effects",
                mend=f"give {estimated} l2 in place of estimate, found by a search (tuning)",
            )


def _shown(value: object) -> str:
    return f"{len(value)} of them" if isinstance(value, tuple) else str(value)
