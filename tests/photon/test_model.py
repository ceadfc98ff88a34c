from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon.local import LocalData, fit
from photon.model import (
    EffectRecord,
    ModelRecord,
    RandomEffect,
    load_model,
    mapped,
    random_effect_from_entities,
    save_model,
)
from photon.rows import SparseRows
from photon.scoring import contributions, margins, positions, score_effect
from photon.settings import FitSettings
from yarnmill.errors import BadDataError


@pytest.fixture
def saved(tmp_path: Path, glmix_data: LocalData, glmix_settings: FitSettings) -> Path:
    model = fit(glmix_data, glmix_settings).model
    record = ModelRecord(
        task="logistic",
        effects=tuple(
            EffectRecord(
                name=one.name, shard=one.shard, columns=glmix_data.shards[one.shard].columns, entity=one.entity
            )
            for one in glmix_settings.coordinates
        ),
    )
    save_model(tmp_path, record, iter(model.effects))
    return tmp_path


def test_a_saved_model_scores_the_same(saved: Path, glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    model = fit(glmix_data, glmix_settings).model
    opened = load_model(saved)
    arguments = (glmix_data.shards, glmix_data.ids, glmix_data.offsets)
    np.testing.assert_array_equal(margins(opened, *arguments), margins(model, *arguments))
    assert all(
        isinstance(effect.coefficients.base, np.memmap) or isinstance(effect.coefficients, np.memmap)
        for effect in opened.effects
    )


def test_files_that_do_not_fit_are_refused(saved: Path) -> None:
    np.save(saved / "effects" / "global" / "coefficients.npy", np.zeros(3))
    with pytest.raises(BadDataError, match="effects/global"):
        load_model(saved)


def test_entities_in_any_order_make_one_model() -> None:
    record = EffectRecord(name="r", shard="s", columns=4, entity="id")
    made = random_effect_from_entities(
        record, np.array([9, 2]), np.array([2, 1]), np.array([3, 0, 1]), np.array([0.3, 0.1, 0.2])
    )
    assert isinstance(made, RandomEffect)
    assert made.entities.tolist() == [2, 9]
    assert made.cells.tolist() == [1, 4, 7]
    assert made.coefficients.tolist() == [0.2, 0.1, 0.3]


@pytest.mark.parametrize(
    ("there", "wanted", "found"),
    [
        ([1, 5, 9], [9, 0, 5, 10], [2, -1, 1, -1]),
        ([], [1], [-1]),
        (["a", "bb"], ["bb", "b", "bbb", "a"], [1, -1, -1, 0]),
        (["a"], [], []),
    ],
)
def test_positions_of_what_is_there(there: list[object], wanted: list[object], found: list[int]) -> None:
    kind = np.str_ if there and isinstance(there[0], str) else np.int64
    assert positions(np.array(there, dtype=kind), np.array(wanted, dtype=kind)).tolist() == found


@pytest.mark.parametrize("kind", [np.int64, np.str_])
@pytest.mark.parametrize("rows_in_table", [0, 64, 1 << 20])
@given(st.integers(0, 9999), st.floats(0.0, 1.0), st.integers(1, 12))
def test_an_entity_s_score_is_its_coefficients_times_its_features(
    rows_in_table: int, kind: type[np.generic], seed: int, kept: float, columns: int
) -> None:
    random = np.random.default_rng(seed)
    dense = np.where(random.random((7, columns)) < kept, random.normal(size=(7, columns)), 0.0)
    known = np.array([12, 13, 15, 18, 21, 23, 34])
    cells = np.flatnonzero(dense.ravel())
    ids, matrix = random.integers(10, 40, 150), random.normal(size=(150, columns))
    matrix[random.random((150, columns)) < 0.3] = 0.0
    place = np.searchsorted(known, ids)
    own = np.where((known[np.minimum(place, 6)] == ids)[:, None], dense[np.minimum(place, 6)], 0.0)
    known, ids = known.astype(kind), ids.astype(kind)
    effect = RandomEffect("e", "s", "id", columns, known, cells, dense.ravel()[cells])
    with pytest.MonkeyPatch.context() as patch:
        # None of the rows, some and all of them share a table of coefficients.
        patch.setattr("photon.scoring._TABLE_CELLS", rows_in_table * columns)
        found = score_effect(effect, SparseRows.from_dense(matrix), ids)
    np.testing.assert_allclose(found, np.sum(own * matrix, axis=1), atol=1e-12)


def test_contributions_and_offsets_add_up_to_the_margins(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    model = fit(glmix_data, glmix_settings).model
    parts = contributions(model, glmix_data.shards, glmix_data.ids)
    assert list(parts) == ["global", "per_user", "per_film"]
    expected = margins(model, glmix_data.shards, glmix_data.ids, glmix_data.offsets)
    np.testing.assert_allclose(glmix_data.offsets + sum(parts.values()), expected, atol=1e-12)


def test_of_a_mapped_array_nothing_is_read_but_what_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    with path.open("wb") as stream:
        header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + (8 << 37))  # a tebibyte that takes no room
    assert mapped(path)[-3:].tolist() == [0.0, 0.0, 0.0]
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    assert mapped(tmp_path / "empty.npy").shape == (0, 3)
