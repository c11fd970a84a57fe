"""The compiled loops, and the backward pass by hand, do what torch does; forces are learnt as by second derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import learner.fit
from learner.bonds import BondBasis, bonds_by_torch
from learner.cohesion import DECAY, STEEPNESS, Cohesion
from learner.data import join_examples, make_examples
from learner.fit import MOVED, errors_of, loss_of, surrogate_loss
from learner.frozen import FrozenNetwork, energies_and_forces
from learner.graph import Graph, build_graph
from learner.moments import Pairs, moments, moments_by_torch
from learner.repulsion import OFF, zbl
from learner.settings import TrainSettings
from learner.tables import interpolate
from learner.valence import PairTables, bonded, channel_weights, possible_channels, smooth_cutoff
from learner.vimpnn import seeded

from .conftest import SMALL, cluster, make_committee, with_label

CHANNELS = possible_channels([6, 8, 13])


def random_graph(n_atoms, n_pairs, n_members=2, seed=0):
    """Random pairs of atoms of three species, none longer than 5.5 Å (some beyond the cutoff); vectors of members."""
    rng = np.random.default_rng(seed)
    centre = torch.from_numpy(np.sort(rng.integers(0, n_atoms, n_pairs)))
    neighbour = torch.from_numpy(rng.integers(0, n_atoms, n_pairs))
    vectors = torch.from_numpy(rng.normal(size=(n_members, n_pairs, 3)))
    length = torch.from_numpy(rng.uniform(0.5, 5.5, (n_members, n_pairs, 1)))
    vectors = vectors / vectors.norm(dim=-1, keepdim=True) * length
    species = torch.from_numpy(rng.integers(0, 3, n_atoms))
    return Graph(species, torch.zeros(n_atoms, dtype=torch.int64), centre, neighbour, vectors[0], 1), vectors


def gradients(outputs, inputs, seed=1):
    """Of a random linear function of the outputs."""
    generator = torch.Generator().manual_seed(seed)
    total = sum((o * torch.randn(o.shape, generator=generator, dtype=o.dtype)).sum() for o in outputs)
    return torch.autograd.grad(total, inputs)


def test_bonds_compiled_and_by_torch():
    basis, cohesion = BondBasis(SMALL, [6, 8, 13], CHANNELS), Cohesion(SMALL.cutoff, [6, 8, 13])
    graph, vectors = random_graph(7, 60)
    a = basis(vectors, graph, cohesion.table(), cohesion.spacing)
    b = bonds_by_torch(vectors, basis.pair(graph), graph, cohesion.table(), cohesion.spacing)
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        assert torch.allclose(x, y, atol=1e-11)


def test_the_tables_are_the_functions_they_tabulate():
    species = [6, 8, 13]
    basis, tables = BondBasis(SMALL, species, CHANNELS), PairTables(species)
    cohesion = Cohesion(SMALL.cutoff, species)
    r = torch.linspace(0.3, 4.7, 997, dtype=torch.float64)
    for v, w in ((0, 0), (0, 1), (2, 1), (2, 2)):
        pair = basis.pair_of[v, w].expand(len(r))
        rows = interpolate(basis.rows[None], basis.spacing, pair, r[None])[0]
        summed = interpolate(cohesion.terms[None], cohesion.spacing, pair, r[None])[0]
        u = smooth_cutoff(r, SMALL.cutoff)
        full = torch.full_like(r, float(tables.r0[v, w]))
        b = bonded(r, full, u)
        kinds = [torch.full_like(r, float(t[v, w])) for t in (tables.ionic, tables.metallic)]
        weights = channel_weights(b, r, full, *kinds, CHANNELS)
        third = u * torch.sin(3 * torch.pi * r / SMALL.cutoff) * SMALL.cutoff / r
        for k, weight in enumerate(weights):
            assert torch.allclose(rows[:, k * SMALL.n_radial + 2], weight * third, atol=2e-5)
        repulsion = 0.5 * zbl(r, species[v], species[w], OFF * float(full[0]))
        x = r / full - 1
        decays = [u, *(u * torch.exp(-2 * q * x) for q in DECAY)]
        pairs = [0.5 * u * torch.exp(-p * x) for p in STEEPNESS]
        assert torch.allclose(summed, torch.stack([*decays, repulsion, *pairs], dim=1), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("n_directions", [0, 5])
@pytest.mark.parametrize("n_pairs", [0, 1, 50, 5000])
@pytest.mark.parametrize("n_seen", [1, 2])
def test_moments_and_their_gradients(n_directions, n_pairs, n_seen):
    """As seen by each member for itself, and by both alike."""
    basis = BondBasis(SMALL, [6, 8, 13], CHANNELS)
    graph, vectors = random_graph(9, n_pairs, n_seen)
    cohesion = Cohesion(SMALL.cutoff, [6, 8, 13])
    r, harmonics, _ = basis(vectors, graph, cohesion.table(), cohesion.spacing)
    pairs = Pairs(graph.centre, graph.neighbour, basis.pair(graph), r, harmonics, basis.spacing)
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, *basis.rows.shape[:2], 6 + 2 * n_directions), (2, 9, 6 + n_directions)]
    inputs = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    a, b = (f(*inputs, pairs) for f in (moments, moments_by_torch))
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        assert torch.allclose(x, y, atol=1e-10)
    for x, y in zip(gradients(a, inputs), gradients(b, inputs), strict=True):
        assert torch.allclose(x, y, atol=1e-9)


@pytest.mark.parametrize("n_directions", [0, 5])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_a_frozen_network_gives_what_autograd_gives(n_directions, n_members, n_steps):
    changes = {"n_directions": n_directions, "n_members": n_members, "n_steps": n_steps}
    network = make_committee("AlCu", SMALL.model_copy(update=changes)).network
    crystal = bulk("Al", cubic=True)
    crystal.rattle(0.1)
    graph = build_graph([cluster(13), crystal, cluster(20, symbol="Cu")], network.species, 4.5, torch.float64)
    network.standardise(graph)
    found, expected = FrozenNetwork(network).energies_and_gradients(graph), network.energies_and_gradients(graph)
    for x, y in zip(found, expected, strict=True):
        assert x.shape == y.shape
        assert torch.allclose(x, y, atol=1e-10)
    assert torch.allclose(network(graph.vectors[None], graph), expected[0], atol=1e-10)


def test_forces_are_learnt_as_by_second_derivatives(monkeypatch):
    structures = [with_label(cluster(n, seed=n)) for n in (6, 9, 12)] + [with_label(cluster(7), energy=3.0)]
    network = seeded(SMALL, [13], 0)
    batch = join_examples(make_examples(structures, {13: 0.0}, SMALL.cutoff, torch.float64))
    network.standardise(batch.graph)
    weights = torch.from_numpy(np.random.default_rng(0).uniform(0.5, 1.5, (3, 4)))
    settings = TrainSettings()
    _, g_energy, g_force = loss_of(errors_of(network, batch), batch, weights, settings)
    parameters = list(network.parameters())
    cheap = torch.autograd.grad(surrogate_loss(network, batch, g_energy, g_force), parameters)
    monkeypatch.setattr(learner.fit, "MOVED", MOVED / 4)
    near = torch.autograd.grad(surrogate_loss(network, batch, g_energy, g_force), parameters)

    vectors = batch.graph.vectors.expand(3, -1, -1).clone().requires_grad_(True)
    atoms = network(vectors, batch.graph)
    (g,) = torch.autograd.grad(atoms.sum(), vectors, create_graph=True)
    zero = torch.zeros(3, len(batch.forces), 3, dtype=torch.float64)
    forces = zero.index_add(1, batch.graph.centre, g).index_add(1, batch.graph.neighbour, g, alpha=-1)
    by_atom = g_energy[:, batch.graph.structure]
    exact = torch.autograd.grad((atoms * by_atom).sum() + (forces * g_force).sum(), parameters)
    a, c, b = (torch.cat([x.flatten() for x in grads]) for grads in (cheap, near, exact))
    assert MOVED <= 0.02
    assert float((a - b).norm() / b.norm()) < 2e-2
    assert float((c - b).norm() / b.norm()) < 5e-3


def test_the_loss_and_its_derivative():
    structures = [with_label(cluster(n, seed=n)) for n in (6, 9)]
    network = seeded(SMALL, [13], 0)
    batch = join_examples(make_examples(structures, {13: 0.0}, SMALL.cutoff, torch.float64))
    weights, settings = torch.ones(3, 2, dtype=torch.float64), TrainSettings(huber=0.2)
    errors = errors_of(network, batch)
    _, g_energy, g_force = loss_of(errors, batch, weights, settings)
    energy = errors.energy.clone().requires_grad_(True)
    force = errors.force.clone().requires_grad_(True)
    value = loss_of(type(errors)(energy, force), batch, weights, settings)[0].sum()
    by_energy, by_force = torch.autograd.grad(value, (energy, force))
    assert torch.allclose(by_energy / batch.n_atoms, g_energy)
    assert torch.allclose(by_force, g_force)


def test_an_atom_alone_has_no_edges():
    network = seeded(SMALL, [13], 0)
    batch = join_examples(make_examples([with_label(Atoms("Al"), energy=1.0)], {13: 0.0}, 4.5, torch.float64))
    energies, forces, virials = energies_and_forces(network, batch.graph)
    assert (energies == 0).all()
    assert (forces == 0).all()
    assert (virials == 0).all()
