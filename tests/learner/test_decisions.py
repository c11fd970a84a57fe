"""Decisions and measures: tables of cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.acquisition import difference_std, force_std_near, order_of_questions
from learner.errors import InputError
from learner.metrics import evaluate, normal_coverage, stable_scale_distance
from learner.prediction import Prediction
from learner.settings import NetworkSettings, UpdateSettings

from .conftest import cluster, with_label


def test_difference_std_ignores_what_all_sites_share():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(4, 1)), 1e-3 * rng.normal(size=(4, 3))
    std = difference_std(shared + own, np.array([1, 0, 2]))
    assert std == pytest.approx([(own[:, 0] - own[:, 1]).std(), (own[:, 2] - own[:, 1]).std()])
    assert difference_std(shared, np.array([0])).shape == (0,)


def test_force_std_near():
    positions = np.array([[0.0, 0, 0], [2, 0, 0], [9, 0, 0]])
    assert force_std_near(np.array([0.1, 0.2, 5.0]), positions, 0, 4.0) == 0.2


def test_coverage_of_normal_errors():
    residuals = np.random.default_rng(0).normal(size=20000)
    assert normal_coverage(residuals, np.ones(20000), 0.9) == pytest.approx(0.9, abs=0.01)
    assert np.isnan(normal_coverage(np.array([]), np.array([])))


class Shifted:
    """Labels, wrong by a shift in energy per atom and in every force component."""

    def __call__(self, structures):
        energies = np.array([a.get_potential_energy(force_consistent=True) + 0.002 * len(a) for a in structures])
        forces = [a.get_forces() + 0.03 for a in structures]
        members = energies + np.array([[-0.01], [0.01]])
        return Prediction(energies, forces, members, [np.zeros(len(a)) for a in structures], [])


def test_evaluate_measures_against_the_free_energy():
    structures = [with_label(cluster(n), energy=99.0, free_energy=-n * 1.0, forces=np.zeros((n, 3))) for n in (5, 9)]
    metrics = evaluate(Shifted(), structures)
    assert metrics["n_structures"] == 2
    assert metrics["energy_mae_mev_per_atom"] == pytest.approx(2.0)
    assert metrics["energy_rmse_mev_per_atom"] == pytest.approx(2.0)
    assert metrics["force_mae_mev_per_A"] == pytest.approx(30.0)
    assert metrics["coverage_90"] == 1.0 / 2
    assert "dsc" not in metrics
    assert evaluate(Shifted(), []) == {"n_structures": 0}


def test_evaluate_refuses_what_has_no_energy():
    with pytest.raises(InputError, match=r"structure 1 .* carries no energy"):
        evaluate(Shifted(), [with_label(cluster(3)), cluster(3)])


def test_dsc():
    scale = np.linspace(0.9, 1.1, 9)
    assert stable_scale_distance(scale, (scale - 1.01) ** 2, (scale - 0.98) ** 2) == pytest.approx(0.03, abs=1e-9)
    assert stable_scale_distance(scale, scale, -scale) == pytest.approx(0.2)
    structures = [
        with_label(cluster(3), 1.0, np.zeros((3, 3)), free_energy=(s - 1) ** 2, scale=s, parent_uid="a") for s in scale
    ]
    assert evaluate(Shifted(), structures)["dsc"] == pytest.approx(0.0, abs=1e-9)


def test_settings_refuse_unknown_keys():
    with pytest.raises(ValueError, match="n_featurs"):
        NetworkSettings(n_featurs=3)
    with pytest.raises(ValueError, match="rise"):
        UpdateSettings(size_bins=(30, 20))


def test_of_two_alike_one_is_asked_after_what_is_unlike():
    features = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [0.0, 9.0]])
    doubts = np.array([4.0, 3.9, 2.0, 1.5])
    nothing, fresh = np.empty((0, 2)), np.zeros(4)
    assert order_of_questions(doubts, features, nothing, fresh) == [0, 3, 2, 1]
    assert order_of_questions(doubts, features, np.array([[0.0, 9.0]]), fresh)[-1] == 3
    assert order_of_questions(np.array([1.0, np.inf, np.nan, 2.0]), np.ones((4, 2)), nothing, fresh) == [1, 2, 3, 0]
    assert order_of_questions(doubts[:0], features[:0], nothing, fresh[:0]) == []


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), k=st.integers(0, 5))
def test_every_question_has_one_place_and_units_do_not_matter(seed, n, k):
    rng = np.random.default_rng(seed)
    doubts, features, asked = rng.exponential(size=n), rng.normal(size=(n, 3)), rng.normal(size=(k, 3))
    order = order_of_questions(doubts, features, asked, np.zeros(n))
    assert sorted(order) == list(range(n))
    assert order_of_questions(7 * doubts, 100 * features, 100 * asked, np.zeros(n)) == order
    shuffled = rng.permutation(n)
    again = order_of_questions(doubts[shuffled], features[shuffled], asked, np.zeros(n))
    assert shuffled[again].tolist() == order


def test_what_is_passed_over_often_comes_first():
    features, doubts = np.arange(3.0)[:, None], np.array([1.0, 3.0, 3.0])
    assert order_of_questions(doubts, features, np.empty((0, 1)), np.zeros(3))[0] == 1
    assert order_of_questions(doubts, features, np.empty((0, 1)), np.array([20.0, 0.0, 0.0]))[0] == 0
