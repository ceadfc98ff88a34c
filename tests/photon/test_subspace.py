"""The subspace step is the Newton step of the joint objective in the span of the directions."""

import msgspec
import numpy as np
import pytest

from photon.cell_terms import CellTerms
from photon.descent import Fitness, Sweep, Trial, Update, descend, remaining
from photon.local import LocalData, fit
from photon.loss import RowLoss
from photon.objective import Derivatives
from photon.rows import Examples, SparseRows
from photon.settings import FitSettings
from photon.subspace import Path, candidates, cost, penalty_along, row_values, rows_along


def test_a_path_moves_linearly_and_remembers_whole_steps() -> None:
    path = Path.start(np.zeros(2)).arrived(np.array([1.0, 2.0]))
    first = path.moved((0.5,), window=2)
    np.testing.assert_array_equal(first.point, [1.5, 3.0])
    np.testing.assert_array_equal(first.steps, [[1.5, 3.0]])
    second = first.arrived(np.array([2.0, 3.0])).moved((1.0, -2.0), window=2)
    np.testing.assert_array_equal(second.point, [2.5 - 3.0, 3.0 - 6.0])
    assert len(second.steps) == 1
    np.testing.assert_array_equal(second.origin, second.point)
    np.testing.assert_array_equal(path.at(()), path.point)


def test_derivatives_along_directions_are_finite_differences(loss: RowLoss) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 50).astype(float)
    examples = Examples(
        SparseRows.from_dense(np.zeros((50, 1))), labels, random.uniform(0, 2, 50), random.normal(size=50)
    )
    totals = Path(random.normal(size=50), random.normal(size=50), (random.normal(size=50),))
    path = Path(random.normal(size=7), random.normal(size=7), (random.normal(size=7),))
    penalty = CellTerms(
        cell_ptr=np.array([0, 4, 7]),
        l2=random.uniform(0, 3, 7),
        l1=np.zeros(7),
        lower=np.full(7, -np.inf),
        upper=np.full(7, np.inf),
        factors=random.uniform(0.5, 2, 7),
        shifts=np.array([0.3, 0, 0, 0, 0, -0.2, 0]),
        means=random.normal(size=7),
        precisions=random.uniform(0, 1, 7),
        anchors=np.array([3, 6]),
    )

    def value(move: tuple[float, ...]) -> float:
        (rows,) = row_values(totals, [move], examples, loss, examples.weights)
        return rows + cost(path, move, penalty)

    along = rows_along(totals, examples, loss) + penalty_along(path, penalty)
    assert along.hessian is not None
    assert along.value == pytest.approx(value((0.0, 0.0)), rel=1e-13)
    step = 1e-4
    for i, unit in enumerate(np.eye(2) * step):
        up, down = value(tuple(unit)), value(tuple(-unit))
        assert along.gradient[i] == pytest.approx((up - down) / (2 * step), rel=1e-5)
        assert along.hessian[i, i] == pytest.approx((up - 2 * along.value + down) / step**2, rel=1e-4)


def test_the_newton_move_minimises_a_quadratic_and_like_directions_count_once() -> None:
    random = np.random.default_rng(2)
    factor = random.normal(size=(3, 3))
    hessian = factor @ factor.T
    gradient = random.normal(size=3)
    stay, newton, half, _ = candidates(Derivatives(5.0, gradient, hessian))
    assert stay == (0.0, 0.0, 0.0)
    np.testing.assert_allclose(hessian @ newton, -gradient, atol=1e-9)
    np.testing.assert_allclose(half, np.array(newton) / 2)
    twice = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = candidates(Derivatives(5.0, twice @ np.array([1.0, 2.0]), twice @ np.diag([2.0, 4.0]) @ twice.T))[1]
    np.testing.assert_allclose(twice.T @ found, [-0.5, -0.5])


def test_directions_made_of_rounding_are_left_alone() -> None:
    noise = Derivatives(100.0, np.array([1e-12, 0.0]), np.diag([1e-24, 0.0]))
    assert set(candidates(noise)) == {(0.0, 0.0)}


@pytest.mark.parametrize("task", ["logistic", "linear"])
def test_acceleration_reaches_the_same_optimum_in_fewer_sweeps(
    glmix_data: LocalData, glmix_settings: FitSettings, task: str
) -> None:
    settings = msgspec.structs.replace(glmix_settings, task=task, max_sweeps=300, tolerance=1e-13)
    plain = fit(glmix_data, msgspec.structs.replace(settings, acceleration=0)).descent
    quick = fit(glmix_data, settings).descent
    assert quick.converged
    assert quick.objective <= plain.objective * (1.0 + 1e-10)
    assert quick.objective == pytest.approx(plain.objective, rel=1e-8)
    needed = [
        next(sweep.number for sweep in one.sweeps if sweep.objective <= quick.objective * (1.0 + 1e-8))
        for one in (quick, plain)
    ]
    assert needed[0] < 0.75 * needed[1], needed


class _Worse:
    """Proposes only moves that cost more, or whose cost is not a number."""

    def proposals(self, _: float) -> list[tuple[float, ...]]:
        return [(0.0,), (1.0,), (2.0,)]

    def trials(self, _: float, moves: object) -> list[Trial]:  # noqa: ARG002
        return [Trial(1.0, (("validation", 0.5),)), Trial(float("nan")), Trial(2.0)]

    def moved(self, scores: float, move: tuple[float, ...]) -> float:
        assert move == (0.0,)
        return scores


class _Still:
    def __init__(self, name: str) -> None:
        self.name = name

    def update(self, scores: float) -> Update[float]:
        return Update(scores, Fitness(1.0, 0.0))


def test_a_move_that_raises_the_objective_is_rejected() -> None:
    found = descend([_Still("a"), _Still("b")], 0.0, max_sweeps=1, tolerance=0.0, accelerator=_Worse())
    assert found.sweeps == (Sweep(1, 1.0, (("validation", 0.5),), (0.0,)),)


def test_what_remains_of_a_geometric_series_is_its_tail() -> None:
    limit = 3.0
    values = [limit + 0.8**k for k in range(6)]
    assert remaining(values) == pytest.approx(values[-1] - limit)
    assert remaining([2.0]) == float("inf")
    assert remaining([2.0, 1.0]) == 1.0
    # Decreases that shrink fast say little of what follows; the last of them is never undercut.
    assert remaining([3.0, 1.0, 0.9]) == pytest.approx(0.1)
