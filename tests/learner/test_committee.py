"""The committee at its border: members, files, refusals, the ASE calculator."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError

from learner import Committee, InputError, KosselCalculator
from learner.frozen import FrozenNetwork
from learner.graph import build_graph

from .conftest import cluster, make_committee


def test_member_is_itself_alone():
    committee = make_committee(["Al", "Cu"])
    structures = [cluster(7), cluster(12, symbol="Cu")]
    together = committee(structures)
    for i in range(committee.n_members):
        alone = committee.member(i)
        assert alone.n_members == 1
        prediction = alone(structures)
        assert prediction.energies == pytest.approx(together.member_energies[i], abs=1e-9)
        assert all((s == 0).all() for s in prediction.forces_std)
    forces = np.array([committee.member(i)(structures).forces[1] for i in range(3)])
    assert together.forces[1] == pytest.approx(forces.mean(0), abs=1e-9)
    assert together.forces_std[1] == pytest.approx(np.sqrt(forces.var(0).mean(-1)), abs=1e-9)
    with pytest.raises(InputError, match="member 3"):
        committee.member(3)


def test_chunks_change_nothing(monkeypatch):
    committee = make_committee("Al")
    structures = [cluster(n, seed=n) for n in (3, 8, 1, 12, 5)]
    whole = committee(structures)
    monkeypatch.setattr("learner.committee.CHUNK", 30)
    pieces = committee(structures)
    assert pieces.member_energies == pytest.approx(whole.member_energies, abs=1e-9)
    for a, b in zip(pieces.forces, whole.forces, strict=True):
        assert a == pytest.approx(b, abs=1e-9)


def test_empty_list():
    prediction = make_committee("Al")([])
    assert prediction.energies.shape == (0,)
    assert prediction.member_energies.shape == (3, 0)


def test_save_and_load(tmp_path):
    committee = make_committee(["Al", "O"])
    committee.save(tmp_path / "m", version=7, metrics={"x": 1.5})
    loaded = Committee.load(tmp_path / "m")
    assert (loaded.version, loaded.metrics, loaded.species) == (7, {"x": 1.5}, ("O", "Al"))
    a, b = committee([cluster(8)]), loaded([cluster(8)])
    assert np.array_equal(a.member_energies, b.member_energies)
    assert np.array_equal(a.forces[0], b.forces[0])
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["model.json", "model.safetensors"]


def _cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def _strange_key(path):
    header = json.loads(path.read_text())
    path.write_text(json.dumps({**header, "colour": "red"}))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", _cut),
        ("model.json", _cut),
        ("model.json", _strange_key),
        ("model.safetensors", lambda p: p.unlink()),
        ("model.json", lambda p: p.unlink()),
        ("model.json", lambda p: p.write_text("")),
    ],
)
def test_damaged_models_are_refused(tmp_path, file, damage):
    make_committee("Al").save(tmp_path)
    damage(tmp_path / file)
    with pytest.raises(InputError) as caught:
        Committee.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_files_of_two_models_are_refused(tmp_path):
    make_committee("Al").save(tmp_path / "a")
    make_committee("Al", seed=1).save(tmp_path / "b")
    (tmp_path / "a" / "model.json").replace(tmp_path / "b" / "model.json")
    with pytest.raises(InputError, match="does not belong"):
        Committee.load(tmp_path / "b")


def test_bad_structures_are_refused():
    committee = make_committee("Al")
    with pytest.raises(InputError, match="structure 1 holds Cu"):
        committee([cluster(4), cluster(4, symbol="Cu")])
    broken = cluster(4)
    broken.positions[2, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        committee([broken])


def test_calculator(tmp_path):
    committee = make_committee("Al")
    committee.save(tmp_path)
    structure = cluster(9)
    structure.calc = KosselCalculator(tmp_path)
    prediction = committee([structure])
    assert structure.get_potential_energy() == pytest.approx(prediction.energies[0])
    assert structure.get_potential_energy(force_consistent=True) == structure.get_potential_energy()
    assert structure.get_forces() == pytest.approx(prediction.forces[0])
    assert structure.get_potential_energies().sum() == pytest.approx(prediction.energies[0])
    assert structure.calc.results["energy_std"] == pytest.approx(prediction.energy_std[0])
    assert structure.calc.results["forces_std"] == pytest.approx(prediction.forces_std[0])
    with pytest.raises(PropertyNotImplementedError):
        structure.get_stress()


def test_calculator_stress():
    crystal = bulk("Al", a=4.0, cubic=True)
    crystal.rattle(0.1, seed=0)
    crystal.calc = KosselCalculator(make_committee("Al"))
    stress, step = crystal.get_stress(), 1e-5
    energies = []
    for sign in (1, -1):
        strained = crystal.copy()
        strained.set_cell(crystal.cell @ np.diag([1 + sign * step, 1, 1]), scale_atoms=True)
        strained.calc = crystal.calc
        energies.append(strained.get_potential_energy())
    assert stress[0] == pytest.approx((energies[0] - energies[1]) / (2 * step) / crystal.get_volume(), abs=1e-6)


def test_importing_the_package_imports_no_torch():
    code = "import sys, learner, learner.prediction, learner.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_single_atom_and_pair_shapes():
    prediction = make_committee("Al")([Atoms("Al"), Atoms("Al2", positions=[[0, 0, 0], [2.8, 0, 0]])])
    assert [f.shape for f in prediction.forces] == [(1, 3), (2, 3)]
    assert [e.shape for e in prediction.atom_energies] == [(1,), (2,)]


def test_features_turn_with_nothing_and_follow_the_atoms():
    """The same for turned, shifted and mirrored structures; in the order of the atoms; alike where surroundings are."""
    committee, atoms = make_committee(), cluster(13)
    order = np.random.default_rng(0).permutation(13)
    turned = atoms[order]
    turned.rotate(50, (1, 2, 3))
    turned.positions[:, 0] *= -1
    turned.translate((3.0, -1.0, 2.0))
    [own], [other] = committee.features([atoms]), committee.features([turned])
    assert own.shape == (13, committee.n_members * committee.network.settings.n_readout)
    np.testing.assert_allclose(other, own[order], atol=1e-9)
    assert np.ptp(own, axis=0).max() > 1e-3
    far = atoms.copy()
    far += Atoms("Al", [atoms.positions.max(axis=0) + 30.0])
    np.testing.assert_allclose(committee.features([far])[0][:-1], own, atol=1e-12)


def test_energies_are_linear_in_features():
    """Each member's ε is a fixed linear map of its features: least squares find it."""
    committee = make_committee()
    structures = [cluster(13, seed=seed) for seed in range(8)]
    rows = np.concatenate(committee.features(structures))
    state = committee.network.state_dict()
    m, r = committee.n_members, committee.network.settings.n_readout
    epsilon = np.einsum("nmr,mr->nm", rows.reshape(-1, m, r), state["out.weight"][..., 0].double().numpy())
    frozen = FrozenNetwork(committee.network)
    graph = build_graph(structures, committee.header.species, committee.network.cutoff, committee.network.dtype)
    pairs, sums = frozen.pairs(graph)
    states = [frozen.initial[:, graph.species]]
    for step in frozen.steps:
        states.append(step.forward(states[-1], pairs)[0])
    bound, n = committee.network.cohesion(sums, graph.species)
    energies = frozen.readout(states, sums, graph.species)[0]
    expected = (epsilon.T + state["out.bias"][:, 0].double().numpy()) * float(committee.network.energy_scale)
    np.testing.assert_allclose(((energies - bound) / n).double().numpy(), expected, rtol=1e-6, atol=1e-9)
