"""The network as an energy surface: symmetries, locality, derivatives, limits. In double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from learner.frozen import energies_and_forces
from learner.graph import build_graph, join_graphs
from learner.repulsion import OFF, zbl
from learner.settings import NetworkSettings
from learner.vimpnn import seeded

from .conftest import SMALL, cluster, make_committee

VARIANTS = {
    "directional": SMALL,
    "scalar": SMALL.model_copy(update={"n_directions": 0}),
    "shared": SMALL.model_copy(update={"message": "shared", "n_steps": 3}),
    "few_radial": SMALL.model_copy(update={"n_radial": 3, "n_directions": 3}),
}


@pytest.fixture(params=list(VARIANTS), scope="module")
def model(request):
    return make_committee(["Al", "C", "O"], VARIANTS[request.param])


def mixed(seed=0):
    structure = cluster(11, seed=seed)
    structure.numbers[[1, 5]] = 6, 8
    return structure


def test_rotation_reflection_translation(model):
    structure = mixed()
    turn = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    for matrix in (turn, -turn):
        moved = structure.copy()
        moved.positions = structure.positions @ matrix.T + [3.0, -2.0, 7.0]
        a, b = model([structure]), model([moved])
        assert b.energies == pytest.approx(a.energies, abs=1e-9)
        assert b.forces[0] == pytest.approx(a.forces[0] @ matrix.T, abs=1e-9)
        assert b.forces_std[0] == pytest.approx(a.forces_std[0], abs=1e-9)


def test_permutation(model):
    structure, order = mixed(), np.random.default_rng(0).permutation(11)
    a, b = model([structure]), model([structure[order]])
    assert b.energies == pytest.approx(a.energies, abs=1e-9)
    assert b.forces[0] == pytest.approx(a.forces[0][order], abs=1e-9)
    assert b.atom_energies[0] == pytest.approx(a.atom_energies[0][order], abs=1e-9)


def test_forces_sum_to_zero_and_energies_to_the_total(model):
    prediction = model([mixed()])
    assert prediction.forces[0].sum(0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert prediction.atom_energies[0].sum() == pytest.approx(prediction.energies[0], abs=1e-9)


def test_forces_are_minus_the_gradient(model):
    structure = mixed()
    forces = model([structure]).forces[0]
    step, numeric = 1e-4, np.zeros_like(forces)
    moved = []
    for i, k, sign in np.ndindex(len(structure), 3, 2):
        moved.append(structure.copy())
        moved[-1].positions[i, k] += step * (1 - 2 * sign)
    numeric = -np.diff(model(moved).energies.reshape(-1, 3, 2)[..., ::-1], axis=-1)[..., 0] / (2 * step)
    assert forces == pytest.approx(numeric, abs=2e-6)


def test_far_apart_is_the_sum(model):
    a, b = cluster(6), cluster(9, seed=1)
    b.positions += [100.0, 0, 0]
    both, alone = model([a + b]), model([a, b])
    assert both.energies[0] == pytest.approx(alone.energies.sum(), abs=1e-9)
    assert both.forces[0] == pytest.approx(np.concatenate(alone.forces), abs=1e-9)


@pytest.mark.parametrize("distance", [SMALL.cutoff, 2.0, 2.6])
def test_smooth_in_the_distance(model, distance):
    """Energy and force are continuous, the second difference bounded, at the cutoff and where ZBL is switched."""
    step = 1e-3
    r = distance + step * np.arange(-40, 41)
    trimers = [Atoms("Al3", positions=[[0, 0, 0], [0, 2.9, 0], [x, 0, 0]]) for x in r]
    prediction = model(trimers)
    force = np.array([f[2, 0] for f in prediction.forces])
    slope = np.diff(prediction.energies) / step
    assert slope == pytest.approx(-0.5 * (force[1:] + force[:-1]), rel=1e-3, abs=1e-5)
    stiffness = np.diff(force) / step
    assert np.abs(np.diff(stiffness)).max() <= 0.1 * np.abs(stiffness).max() + 1e-3


def test_nothing_beyond_the_reach_changes_a_force():
    model = make_committee("Al", SMALL.model_copy(update={"cutoff": 3.2}))
    chain = Atoms("Al16", positions=np.arange(16)[:, None] * [2.7, 0.2, 0.1])
    whole, cut = model([chain]).forces[0], model([chain[:-1]]).forces[0]
    distance = np.linalg.norm(chain.positions[:-1] - chain.positions[-1], axis=1)
    changed = np.abs(whole[:-1] - cut).max(1) > 1e-12
    assert changed.any()
    assert distance[changed].max() <= model.reach


def test_supercell_is_n_cells(model):
    cell = bulk("Al", a=4.05, cubic=True)
    cell.rattle(0.1, seed=3)
    cell.set_cell(cell.cell + 0.1 * np.random.default_rng(0).normal(size=(3, 3)), scale_atoms=True)
    one, many = model([cell, cell * (2, 1, 3)]).energies
    assert many == pytest.approx(6 * one, abs=1e-8)


def test_slab_does_not_see_itself_through_the_vacuum(model):
    slab = cluster(5)
    slab.set_cell([30, 30, 30])
    slab.pbc = (True, False, False)
    assert model([slab]).energies == pytest.approx(model([cluster(5)]).energies, abs=1e-9)
    slab.set_cell([6, 0, 0])
    assert np.isfinite(model([slab]).energies).all()


def test_virial_is_the_strain_derivative(model):
    cell = bulk("Al", a=4.05, cubic=True)
    cell.rattle(0.1, seed=3)
    _, virials = model.predict([cell])
    step = 1e-5
    for i, j in ((0, 0), (0, 1), (2, 1)):
        strained = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained.append(cell.copy())
            strained[-1].set_cell(cell.cell @ strain, scale_atoms=True)
        plus, minus = model(strained).energies
        assert (plus - minus) / (2 * step) == pytest.approx(0.5 * (virials[0] + virials[0].T)[i, j], abs=1e-4)


def test_isolated_atoms_have_their_reference_energy(model):
    atoms = [Atoms(s) for s in model.species]
    prediction = model(atoms)
    assert prediction.member_energies == pytest.approx(np.tile(list(model.e0.values()), (3, 1)), abs=1e-12)
    assert all((f == 0).all() for f in prediction.forces)


@pytest.mark.parametrize(("pair", "bond"), [("Al2", 2.86), ("C2", 1.4), ("CO", 1.13)])
def test_half_a_bond_length_repels(pair, bond):
    model = make_committee(["Al", "C", "O"])
    r = bond * np.array([0.4, 0.5, 1.0])
    prediction = model([Atoms(pair, positions=[[0, 0, 0], [x, 0, 0]]) for x in r])
    assert prediction.forces[1][1, 0] > 5
    assert prediction.energies[0] > prediction.energies[1] > prediction.energies[2] + 5


@pytest.mark.parametrize(
    ("pair", "r"), [("N2", 1.10), ("C2", 1.2), ("CO", 1.13), ("H2", 0.74), ("Al2", 2.5), ("Cu2", 2.52)]
)
def test_zbl_leaves_bonds_alone(pair, r):
    v, w = Atoms(pair).numbers.tolist()
    assert zbl(torch.tensor([r]), v, w, OFF * float(covalent_radii[v] + covalent_radii[w])) == 0


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 100))
def test_batch_is_the_same_as_one_by_one(sizes, seed):
    model = make_committee("Al")
    structures = [cluster(n, seed=seed + k) for k, n in enumerate(sizes)]
    together, alone = model(structures), [model([s]) for s in structures]
    assert together.member_energies == pytest.approx(np.hstack([a.member_energies for a in alone]), abs=1e-9)
    for k, a in enumerate(alone):
        assert together.forces[k] == pytest.approx(a.forces[0], abs=1e-9)


def test_joined_graphs_are_the_graph_of_all():
    structures = [cluster(9), cluster(1), cluster(4, seed=2)]
    joined = join_graphs([build_graph([s], [13], 4.5, torch.float64) for s in structures])
    network = seeded(SMALL, [13], 0)
    a = energies_and_forces(network, joined)
    b = energies_and_forces(network, build_graph(structures, [13], 4.5, torch.float64))
    for x, y in zip(a, b, strict=True):
        assert torch.allclose(x, y, atol=1e-10)


def test_seeds_make_the_weights_and_leave_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, c = (seeded(NetworkSettings(), [13], s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.by_trait, b.by_trait)
    assert not torch.equal(a.by_trait, c.by_trait)


def test_single_precision_follows_double():
    double = make_committee("Al")
    single = make_committee("Al", SMALL.model_copy(update={"dtype": "float32"}))
    single.network.load_state_dict(double.network.state_dict())
    a, b = double([cluster(20)]), single([cluster(20)])
    assert b.energies == pytest.approx(a.energies, abs=1e-4)
    assert b.forces[0] == pytest.approx(a.forces[0], abs=1e-4)
