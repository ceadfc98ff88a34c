import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yarnmill.movielens.history import FilmRow, Moment, Rating, UserRow, replay

START = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


def rating(second: int, user: int, film: int, stars: float, uid: int = 0) -> Rating:
    return Rating(uid, user, film, START + dt.timedelta(seconds=second), stars, "Comedy|Drama", 1990 + film)


ratings = st.lists(
    st.builds(rating, st.integers(0, 8), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.5, 3.0, 4.0, 5.0])),
    max_size=25,
).map(lambda found: sorted(found, key=lambda each: each.event_time))


def rows(moments: list[Moment]) -> list[UserRow | FilmRow]:
    return [row for moment in moments for row in (*moment.users, *moment.films)]


@given(ratings)
def test_a_row_says_what_all_ratings_up_to_its_moment_say(history: list[Rating]) -> None:
    for moment in replay(history):
        for row in moment.users:
            given_so_far = [r for r in history if r.user_id == row.user_id and r.event_time <= row.event_time]
            n = len(given_so_far)
            assert row.user_ratings_log == pytest.approx(math.log(1 + n))
            assert row.user_mean_rating == pytest.approx((sum(r.rating for r in given_so_far) + 17.5) / (n + 5))
            assert row.user_positive_share == pytest.approx((sum(r.rating >= 4 for r in given_so_far) + 2.5) / (n + 5))


@given(ratings)
def test_a_users_deviation_is_from_what_films_had_before_the_second(history: list[Rating]) -> None:
    def mean_before(one: Rating) -> float:
        before = [r.rating for r in history if r.film_id == one.film_id and r.event_time < one.event_time]
        return (sum(before) + 17.5) / (len(before) + 5)

    for moment in replay(history):
        for row in moment.users:
            mine = [r for r in history if r.user_id == row.user_id and r.event_time <= row.event_time]
            expected = sum(r.rating - mean_before(r) for r in mine) / (len(mine) + 5)
            assert row.user_deviation == pytest.approx(expected)


@given(ratings, st.integers(0, 8))
def test_what_comes_later_changes_no_earlier_row(history: list[Rating], second: int) -> None:
    cut = START + dt.timedelta(seconds=second)
    whole = [row for row in rows(list(replay(history))) if row.event_time <= cut]
    part = rows(list(replay([each for each in history if each.event_time <= cut])))
    # A film first rated later enters the catalogue a day before that: it says nothing of any rating.
    later = {each.film_id for each in history if each.event_time > cut} - {
        each.film_id for each in history if each.event_time <= cut
    }
    assert [row for row in whole if not (isinstance(row, FilmRow) and row.film_id in later)] == part


@given(ratings)
def test_one_row_an_entity_and_moment_and_every_film_is_catalogued_before_its_first_rating(
    history: list[Rating],
) -> None:
    moments = list(replay(history))
    users = [(row.user_id, row.event_time) for moment in moments for row in moment.users]
    films = [(row.film_id, row.event_time) for moment in moments for row in moment.films]
    assert len(set(users)) == len(users)
    assert len(set(films)) == len(films)
    for film in {each.film_id for each in history}:
        first = min(each.event_time for each in history if each.film_id == film)
        catalogued = [
            row for moment in moments for row in moment.films if row.film_id == film and row.event_time < first
        ]
        assert [row.film_ratings_log for row in catalogued] == [0.0]


def test_genres_become_a_bag_and_an_unknown_year_stays_unknown() -> None:
    plain = rating(0, 1, 1, 4.0)._replace(genres="(no genres listed)", year=None)
    (moment,) = replay([plain])
    assert [row.genres for row in moment.films] == [{}, {}]
    assert [row.film_decade for row in moment.films] == [None, None]
    (moment,) = replay([rating(0, 1, 2, 4.0)])
    assert moment.films[-1].genres == {"Comedy": 1.0, "Drama": 1.0}
    assert moment.films[-1].film_decade == pytest.approx(0.2)
