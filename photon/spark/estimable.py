"""What has no place beside a prior that is estimated on Spark: all of it is known before a row is read."""

from collections.abc import Mapping

from photon.estimable import check_estimable
from photon.optimise import NEWTON_LIMIT
from photon.settings import FitSettings
from yarnmill.errors import ConfigurationError


def check_estimable_on_spark(settings: FitSettings, columns: Mapping[str, int]) -> None:
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
        As :func:`photon.estimable.check_estimable`; or if a fixed effect that moves has too many columns for a Hessian.
    """
    check_estimable(settings)
    estimated = " and ".join(one.name for one in settings.coordinates if one.estimate != "none")
    for place, one in enumerate(settings.coordinates):
        if one.kind == "fixed" and not one.locked and columns[one.shard] > NEWTON_LIMIT:
            raise ConfigurationError(
                f"coordinates[{place}].shard: {columns[one.shard]:,} columns, while a prior is estimated",
                expected=f"at most {NEWTON_LIMIT:,} columns of a fixed effect, or l2 given for all random effects",
                mend=f"give {estimated} l2 in place of estimate, found by a search (tuning)",
            )
