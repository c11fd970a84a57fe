"""Training and updating: overfits a tiny set, is deterministic, resumes, rolls back, refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase import Atoms

from learner import InputError, NetworkSettings, TrainSettings, UpdateSettings, evaluate, train, update
from learner.data import read_label, reference_energies
from learner.fit import Sampler, bootstrap_weights
from learner.training import BY_CHANCE, SLACK, not_wild, not_worse

from .conftest import cluster, with_label

TINY = NetworkSettings(n_members=2, n_features=16, n_directions=4, n_radial=5, n_readout=32)
QUICK = TrainSettings(steps=15, batch_atoms=60, validate_every=5)
SHORT = UpdateSettings(steps=10, batch_atoms=60)


@pytest.fixture(scope="module")
def labelled():
    return [with_label(Atoms("Al"))] + [with_label(cluster(6 + k % 7, seed=k)) for k in range(12)]


@pytest.fixture(scope="module")
def fitted(labelled):
    settings = TrainSettings(steps=250, batch_atoms=100, validate_every=50)
    return train(labelled[:9], labelled[9:], TINY, settings, seed=1)


def test_overfits_a_tiny_set(fitted, labelled):
    metrics = evaluate(fitted.committee, labelled[1:9])
    assert metrics["energy_mae_mev_per_atom"] < 5
    assert metrics["force_mae_mev_per_A"] < 40
    assert len(fitted.history) == 5
    assert fitted.metrics["n_structures"] == 4
    assert fitted.committee.header.e0_source == "isolated_atom"
    assert fitted.committee([labelled[0]]).energies[0] == pytest.approx(read_label(labelled[0], 0).energy)


def test_same_seed_same_weights(labelled):
    runs = [train(labelled, [], TINY, QUICK, seed=s).committee for s in (3, 3, 4)]
    a, b, c = (r([labelled[5]]).member_energies for r in runs)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert a[0] != a[1]


def test_resumes_where_it_stopped(labelled, tmp_path):
    whole = train(labelled, labelled[:3], TINY, QUICK, seed=0).committee

    def stop(entry):
        if entry["step"] == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(labelled, labelled[:3], TINY, QUICK, seed=0, progress=stop, checkpoint=tmp_path)
    steps = []
    resumed = train(
        labelled, labelled[:3], TINY, QUICK, 0, progress=lambda e: steps.append(e["step"]), checkpoint=tmp_path
    )
    assert steps == list(range(11, 16))
    assert [e["step"] for e in resumed.history] == [5, 10, 15]
    assert np.array_equal(resumed.committee(labelled[:2]).member_energies, whole(labelled[:2]).member_energies)


def test_another_training_does_not_resume(labelled, tmp_path):
    train(labelled, [], TINY, QUICK, seed=0, checkpoint=tmp_path)
    steps = []
    train(labelled, [], TINY, QUICK, 1, progress=lambda e: steps.append(e["step"]), checkpoint=tmp_path)
    assert steps[0] == 1


def test_update_learns_the_new(fitted, labelled):
    new = [with_label(cluster(14, seed=50 + k, spacing=4.3)) for k in range(3)]
    before = fitted.committee(new).energies
    result = update(fitted.committee, new, labelled, labelled[9:], UpdateSettings(steps=80, tolerance=0.5), seed=0)
    assert result.promoted, result.reason
    assert result.committee is not fitted.committee
    assert np.array_equal(fitted.committee(new).energies, before)
    old, now = evaluate(fitted.committee, new), evaluate(result.committee, new)
    assert now["energy_mae_mev_per_atom"] < old["energy_mae_mev_per_atom"]
    assert now["force_mae_mev_per_A"] < old["force_mae_mev_per_A"]
    assert result.committee.header.n_labels == len(new) + len(labelled)


def test_update_rolls_back_a_worse_model(fitted, labelled):
    wrong = [with_label(cluster(8, seed=k), energy=40.0 + k, forces=np.full((8, 3), 9.0)) for k in range(4)]
    result = update(fitted.committee, wrong, [], labelled[9:], SHORT.model_copy(update={"learning_rate": 0.05}), seed=0)
    assert not result.promoted
    assert result.committee is fitted.committee
    assert "rose from" in result.reason


def test_one_structure_proves_nothing(fitted, labelled):
    """The old model is right to the last digit on the one that validates; what is new decides, of which it is not."""
    alone = labelled[9].copy()
    said = fitted.committee([alone])
    alone = with_label(alone, energy=float(said.energies[0]), forces=said.forces[0])
    new = [with_label(cluster(14, seed=50 + k, spacing=4.3)) for k in range(3)]
    settings = UpdateSettings(steps=80, tolerance=0.1)
    result = update(fitted.committee, new, labelled[:9], [alone], settings, seed=0)
    assert result.promoted, result.reason
    assert result.metrics["n_structures"] == 1
    assert not update(fitted.committee, new, labelled[:9], [alone] * 3, settings, seed=0).promoted


def test_update_is_deterministic(fitted, labelled):
    a, b = (update(fitted.committee, labelled[9:], labelled[:9], [], SHORT, seed=5) for _ in range(2))
    assert a.metrics == b.metrics


@pytest.mark.parametrize(
    ("change", "promoted"),
    [
        ({}, True),
        ({"energy_mae_mev_per_atom": [5.4, 5.4, 5.4, 5.4]}, True),
        ({"energy_mae_mev_per_atom": [8.0, 8.1, 8.0, 7.9]}, False),
        ({"energy_mae_mev_per_atom": [1.0, 1.0, 1.0, 29.0]}, True),  # one structure says little
        ({"energy_mae_mev_per_atom": [6.0, 6.2, 7.5, 8.0]}, True),  # four that differ by as much do not say enough
        ({"force_mae_mev_per_A": [60.0, 61.0, 59.0, 60.0]}, False),
        ({"energy_mae_mev_per_atom": [float("nan")] * 4}, False),
    ],
)
def test_not_worse(change, promoted):
    old = {"energy_mae_mev_per_atom": np.full(4, 5.0), "force_mae_mev_per_A": np.full(4, 40.0)}
    new = {**old, **{key: np.array(values) for key, values in change.items()}}
    assert not_worse({"all": old, "<=20": old}, {"all": old, "<=20": new}, 0.1)[0] is promoted


@pytest.mark.parametrize(
    ("errors", "kept"),
    [([4.0, 60.0, 1.0], True), ([4.0, 66.0, 1.0], False), ([4.0, 1.0, 900.0], True), ([math.nan, 1.0, 1.0], False)],
)
def test_of_few_that_validate_none_may_be_wild(errors, kept):
    old = {"energy_mae_mev_per_atom": np.array([5.0, 6.0, 7.0])}
    new = {"energy_mae_mev_per_atom": np.array(errors)}
    assert not_wild(old, new, 2)[0] is kept


def test_chance_refuses_no_more_updates_than_it_may():
    """Models that are as good as each other, in four comparisons each, on few structures and on many."""
    rng = np.random.default_rng(0)
    for n in (3, 5, 40):
        refused = []
        for _ in range(3000):
            pairs = [{k: 100 + rng.normal(0, 20, n) for k in SLACK} for _ in range(4)]
            before, after = ({"all": pairs[k], "<=20": pairs[k + 1]} for k in (0, 2))
            refused.append(not not_worse(before, after, 0.0)[0])
        assert np.mean(refused) <= BY_CHANCE + 3 * (BY_CHANCE / 3000) ** 0.5


def test_single_member_and_no_forces(labelled):
    plain = [with_label(a, energy=a.get_potential_energy()) for a in labelled]
    result = train(plain, [], TINY.model_copy(update={"n_members": 1}), QUICK)
    assert "force_mae_mev_per_A" not in result.metrics
    assert np.isfinite(result.metrics["energy_mae_mev_per_atom"])


def test_budget_in_minutes(labelled):
    result = train(labelled, [], TINY, TrainSettings(minutes=0.02), seed=0)
    assert np.isfinite(result.metrics["energy_mae_mev_per_atom"])


def test_a_budget_of_time_ends_after_so_many_looks_at_the_data(labelled):
    steps = []
    settings = TrainSettings(minutes=60, epochs=4, batch_atoms=20)
    train(labelled, [], TINY, settings, seed=0, progress=steps.append)
    atoms = sum(len(a) for a in labelled if len(a) > 1)
    assert len(steps) == -(-4 * atoms // 20)


def test_refusals(labelled, fitted):
    bare = cluster(5)
    with pytest.raises(InputError, match=r"structure 13 .* carries no energy"):
        train([*labelled, bare], [], TINY, QUICK)
    with pytest.raises(InputError, match="nothing to learn"):
        train(labelled[:1], [], TINY, QUICK)
    with pytest.raises(InputError, match="holds Cu"):
        train(labelled, [with_label(cluster(5, symbol="Cu"))], TINY, QUICK)
    mixed = [with_label(cluster(5), method_hash="a"), with_label(cluster(6), method_hash="b")]
    with pytest.raises(InputError, match="do not mix: a, b"):
        train(mixed, [], TINY, QUICK)
    with pytest.raises(InputError, match="nothing new"):
        update(fitted.committee, [], labelled, [], SHORT)
    with pytest.raises(InputError, match="not finite"):
        train([*labelled, with_label(cluster(4), energy=np.inf)], [], TINY, QUICK)


def test_reference_energies_without_isolated_atoms():
    structures = [
        with_label(Atoms(f"Al{a}Cu{b}", positions=np.arange(a + b)[:, None] * [3.0, 0, 0]), energy=-2.0 * a - 3.0 * b)
        for a, b in ((1, 2), (3, 1), (2, 2))
    ]
    e0, source = reference_energies(structures, [13, 29])
    assert source == "least_squares"
    assert e0 == pytest.approx({13: -2.0, 29: -3.0})


def test_sampler_sees_everything_once_a_round():
    sampler = Sampler([[10] * 6, [10] * 9], [0.34, 0.66], 60, np.random.default_rng(0))
    batches = [sampler.draw() for _ in range(6)]
    assert all(len(set(b)) == len(b) for b in batches)
    counts = np.bincount(np.concatenate(batches), minlength=15)
    assert counts[:6].max() - counts[:6].min() <= 1
    assert counts[6:].max() - counts[6:].min() <= 1


def test_bootstrap_weights():
    weights = bootstrap_weights(np.random.default_rng(0), 4, 5000, 0.5)
    assert weights.mean() == pytest.approx(1, abs=0.02)
    assert weights.std() == pytest.approx(0.5, abs=0.02)
    assert (bootstrap_weights(np.random.default_rng(0), 1, 3, 0.5) == 1).all()


def test_training_leaves_no_gradients(fitted):
    assert all(p.grad is None for p in fitted.committee.network.parameters())
    assert fitted.committee.network.embed.dtype == torch.float32


def test_training_begins_with_what_it_is_given(labelled, fitted):
    """With a vanishing rate it says what the start says, each E0 replaced; the start is left alone."""
    start, still = fitted.committee, TrainSettings(steps=1, learning_rate=1e-12, weight_decay=0.0)
    lone = with_label(Atoms("Al"), energy=-7.0, forces=np.zeros((1, 3)))
    before = start([labelled[1]])
    found = train([lone, *labelled[1:]], [], NetworkSettings(), still, seed=3, start=start).committee
    assert found.network.settings == start.network.settings
    shift = len(labelled[1]) * (-7.0 - start.e0[13])
    after = found([labelled[1]])
    np.testing.assert_allclose(after.member_energies[:, 0], before.member_energies[:, 0] + shift, atol=1e-3)
    np.testing.assert_allclose(after.forces[0], before.forces[0], atol=1e-3)
    assert np.array_equal(start([labelled[1]]).forces[0], before.forces[0])
    with pytest.raises(InputError, match="start knows the elements"):
        train([with_label(cluster(symbol="Cu"))], [], TINY, still, start=start)


def test_another_start_is_another_training(labelled, fitted, tmp_path):
    half = TrainSettings(steps=2, validate_every=1)
    train(labelled, [], TINY, half, seed=0, start=fitted.committee, checkpoint=tmp_path)
    resumed = train(labelled, [], TINY, half, seed=0, start=fitted.committee, checkpoint=tmp_path)
    fresh = train(labelled, [], TINY, half, seed=0, checkpoint=tmp_path)
    assert [entry["step"] for entry in resumed.history] == [entry["step"] for entry in fresh.history] == [1, 2]
    assert resumed.history != fresh.history
