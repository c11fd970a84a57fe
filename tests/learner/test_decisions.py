"""Decisions and measures: tables of cases."""

from __future__ import annotations

import numpy as np
import pytest

from learner.acquisition import difference_std, force_std_near
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
