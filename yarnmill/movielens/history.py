"""Ratings in order of time, and what they make known about users and films from moment to moment.

A feature table is a change log: one row whenever a value changes, valid *after* its event time. Ratings of
one second are simultaneous: each is weighed against what was known before that second, and none of them is
known to another. State is one small record a user and a film, whatever the length of the history.
"""

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

POSITIVE_FROM: Final = 4.0
"""A rating of this many stars or more is a positive response."""

_SMOOTHING: Final = 5.0  # an entity starts as if it had five ratings of the values below
_PRIOR_RATING: Final = 3.5
_PRIOR_SHARE: Final = 0.5
_NO_GENRES: Final = "(no genres listed)"
_BASE_YEAR: Final = 1990


class Rating(NamedTuple):
    """One rating as the source has it; ``year`` is None where the source lacks it."""

    uid: int
    user_id: int
    film_id: int
    event_time: dt.datetime
    rating: float
    genres: str
    year: int | None


class UserRow(NamedTuple):
    """A row of ``movielens.user_activity``."""

    user_id: int
    event_time: dt.datetime
    user_ratings_log: float
    user_mean_rating: float
    user_positive_share: float
    user_deviation: float


class FilmRow(NamedTuple):
    """A row of ``movielens.film_activity``."""

    film_id: int
    event_time: dt.datetime
    film_ratings_log: float
    film_mean_rating: float
    film_positive_share: float
    film_decade: float | None
    genres: dict[str, float]


class Moment(NamedTuple):
    """All ratings of one second, and the rows that they change."""

    ratings: tuple[Rating, ...]
    users: tuple[UserRow, ...]
    films: tuple[FilmRow, ...]


@dataclass(slots=True)
class _Running:
    """Sums over the ratings of one user or film so far."""

    ratings: int = 0
    stars: float = 0.0
    positives: int = 0
    deviation: float = 0.0

    def add(self, rating: float, deviation: float) -> None:
        self.ratings += 1
        self.stars += rating
        self.positives += rating >= POSITIVE_FROM
        self.deviation += deviation

    @property
    def log_count(self) -> float:
        return math.log1p(self.ratings)

    @property
    def mean_rating(self) -> float:
        return (self.stars + _SMOOTHING * _PRIOR_RATING) / (self.ratings + _SMOOTHING)

    @property
    def positive_share(self) -> float:
        return (self.positives + _SMOOTHING * _PRIOR_SHARE) / (self.ratings + _SMOOTHING)

    @property
    def mean_deviation(self) -> float:
        return self.deviation / (self.ratings + _SMOOTHING)


def replay(ratings: Iterable[Rating]) -> Iterator[Moment]:
    """Yield the history second by second.

    Parameters
    ----------
    ratings
        Ordered by event time.
    """
    users: dict[int, _Running] = {}
    films: dict[int, _Running] = {}
    for moment, group in groupby(ratings, key=lambda rating: rating.event_time):
        together = tuple(group)
        catalogued = tuple(_catalogue_row(rating) for rating in _first_of_films(together, films))
        _add(together, users, films)
        yield Moment(
            ratings=together,
            users=tuple(
                _user_row(user, moment, users[user]) for user in sorted({rating.user_id for rating in together})
            ),
            films=catalogued + tuple(_film_row(rating, films[rating.film_id]) for rating in _one_a_film(together)),
        )


def _one_a_film(ratings: tuple[Rating, ...]) -> list[Rating]:
    return list({rating.film_id: rating for rating in ratings}.values())


def _first_of_films(ratings: tuple[Rating, ...], films: dict[int, _Running]) -> list[Rating]:
    return [rating for rating in _one_a_film(ratings) if rating.film_id not in films]


def _add(ratings: tuple[Rating, ...], users: dict[int, _Running], films: dict[int, _Running]) -> None:
    # All deviations first: the mean of a film before this second must not hold a rating of this second.
    before = [films.setdefault(rating.film_id, _Running()).mean_rating for rating in ratings]
    for rating, mean in zip(ratings, before, strict=True):
        deviation = rating.rating - mean
        users.setdefault(rating.user_id, _Running()).add(rating.rating, deviation)
        films[rating.film_id].add(rating.rating, deviation)


def _user_row(user_id: int, moment: dt.datetime, running: _Running) -> UserRow:
    return UserRow(
        user_id, moment, running.log_count, running.mean_rating, running.positive_share, running.mean_deviation
    )


def _film_row(rating: Rating, running: _Running) -> FilmRow:
    return FilmRow(
        film_id=rating.film_id,
        event_time=rating.event_time,
        film_ratings_log=running.log_count,
        film_mean_rating=running.mean_rating,
        film_positive_share=running.positive_share,
        film_decade=None if rating.year is None else (rating.year - _BASE_YEAR) / 10,
        genres={genre: 1.0 for genre in sorted(rating.genres.split("|")) if genre and genre != _NO_GENRES},
    )


def _catalogue_row(rating: Rating) -> FilmRow:
    """Return what the catalogue said of a film the day before its first rating."""
    return _film_row(rating, _Running())._replace(event_time=rating.event_time - dt.timedelta(days=1))
