"""The second-moment cohesion: its forces, what a fit finds, and what it does where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from learner.cohesion import LEAST
from learner.data import join_examples, make_examples
from learner.frozen import energies_and_forces
from learner.graph import build_graph
from learner.training import standardise
from learner.vimpnn import seeded

from .conftest import SMALL, cluster, with_label

E0 = {13: -1.0, 29: -2.0}


def bare(species=(13, 29), amplitudes=None, strengths=None):
    """A network whose own energy is zero: cohesion alone."""
    network = seeded(SMALL, species, 0)
    network.out.weight.data.zero_()
    if amplitudes is not None:
        network.cohesion.amplitudes.copy_(torch.tensor(amplitudes))
        network.cohesion.strengths.copy_(torch.tensor(strengths))
    return network.requires_grad_(False)


def computed(network, structure):
    """Energy (eV, without E0) and forces of the first member."""
    graph = build_graph([structure], network.species, network.cutoff, network.dtype)
    energies, forces, _ = energies_and_forces(network, graph)
    return float(energies[0].sum()), forces[0].numpy()


def alloy(n=20, seed=0, rattle=0.1):
    structure = cluster(n, seed=seed)
    structure.numbers[::2] = 29
    structure.rattle(rattle, seed=seed + 100)
    return structure


AMPLITUDES = [[-0.2, 0.5, 0.1], [0.1, 0.2, 0.3], [0.0, 0.4, 0.2]]
STRENGTHS = [[1.0, 2.0], [-1.5, -1.1], [0.4, -0.3]]


def labelled(n=30):
    """Alloys with the energies and forces of known amplitudes."""
    network, out = bare(amplitudes=AMPLITUDES, strengths=STRENGTHS), []
    for seed in range(n):
        structure = alloy(10 + seed % 12, seed, 0.02 + 0.01 * (seed % 15))
        energy, forces = computed(network, structure)
        energy += sum(E0[z] for z in structure.numbers.tolist())
        structure.calc = SinglePointCalculator(structure, energy=energy, forces=forces)
        out.append(structure)
    return out


def test_forces_are_minus_the_gradient():
    network, structure = bare(amplitudes=AMPLITUDES, strengths=STRENGTHS), alloy()
    forces = computed(network, structure)[1]
    step = 1e-4
    for atom, axis in ((0, 0), (3, 2), (11, 1)):
        ends = []
        for sign in (1, -1):
            moved = structure.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(computed(network, moved)[0])
        assert forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_a_fit_finds_the_amplitudes_that_made_the_labels():
    network = bare()
    examples = make_examples(labelled(), E0, SMALL.cutoff, network.dtype)
    batch = join_examples(examples)
    left = network.cohesion.fit(batch, network.basis.pair(batch.graph))
    assert left < 5e-3
    fresh = alloy(25, 77, 0.2)
    energy, forces = computed(bare(amplitudes=AMPLITUDES, strengths=STRENGTHS), fresh)
    found = computed(network, fresh)
    assert found[0] == pytest.approx(energy, abs=2e-2)
    assert np.abs(found[1] - forces).max() < 5e-2
    assert np.abs(forces).max() > 1


def test_standardise_leaves_the_network_what_cohesion_does_not_explain():
    network = seeded(SMALL, (13,), 0)
    structures = [with_label(cluster(12 + k % 5, seed=k)) for k in range(20)]
    examples = make_examples(structures, {13: 3.0}, SMALL.cutoff, network.dtype)
    standardise(network, examples)
    force = np.sqrt(np.mean([np.mean(e.forces.numpy() ** 2) for e in examples]))
    assert 1e-2 <= float(network.energy_scale) < 0.5 * force


def test_energies_alone_are_enough_for_a_fit():
    network = bare((13,))
    structures = [with_label(cluster(12 + k % 5, seed=k)) for k in range(20)]
    for a in structures:
        del a.calc.results["forces"]
    batch = join_examples(make_examples(structures, {13: 3.0}, SMALL.cutoff, network.dtype))
    left = network.cohesion.fit(batch, network.basis.pair(batch.graph))
    spread = float((batch.energies / batch.n_atoms).std())
    assert left < 0.5 * spread


def test_the_steepest_terms_repel_whatever_the_labels_say():
    network = bare((13,))
    structures = [cluster(10, seed=k) for k in range(10)]
    for a in structures:  # atoms that want to be on top of each other
        d = a.get_all_distances()
        a.calc = SinglePointCalculator(a, energy=-float(np.exp(-d[d > 0] * 3).sum()) * 500, forces=np.zeros((10, 3)))
    batch = join_examples(make_examples(structures, {13: 0.0}, SMALL.cutoff, network.dtype))
    network.cohesion.fit(batch, network.basis.pair(batch.graph))
    free, *steep = network.cohesion.amplitudes[0].tolist()
    assert all(a >= least - 1e-12 for a, least in zip(steep, LEAST[1:], strict=True))
    assert free < 0


def test_species_that_never_met_repel_as_the_mean_of_their_own():
    network = bare()
    structures = [
        with_label(cluster(14, seed=k, symbol=s, spacing=a)) for s, a in (("Al", 4.05), ("Cu", 3.6)) for k in range(8)
    ]
    batch = join_examples(make_examples(structures, {13: 3.0, 29: 3.0}, SMALL.cutoff, network.dtype))
    network.cohesion.fit(batch, network.basis.pair(batch.graph))
    al, alcu, cu = network.cohesion.amplitudes
    assert torch.allclose(alcu, (al + cu) / 2)
    assert float(alcu.abs().max()) > 0


def test_an_atom_alone_has_no_cohesion_and_a_pair_loses_it_smoothly():
    network = bare(amplitudes=AMPLITUDES, strengths=STRENGTHS)
    assert computed(network, Atoms("Al"))[0] == 0
    near = [
        computed(network, Atoms("AlCu", [[0, 0, 0], [d, 0, 0]])) for d in (SMALL.cutoff - 1e-3, SMALL.cutoff + 1e-3)
    ]
    assert abs(near[0][0]) < 1e-5
    assert near[1][0] == 0


def test_one_energy_an_atom_is_all_that_is_fitted_without_cohesion():
    network = seeded(SMALL.model_copy(update={"cohesion": False}), (13,), 0)
    before = network.cohesion.amplitudes.clone()
    structures = [with_label(cluster(12 + k % 5, seed=k)) for k in range(20)]
    standardise(network, make_examples(structures, {13: 3.0}, SMALL.cutoff, network.dtype))
    assert torch.equal(network.cohesion.amplitudes, before)
    assert float(network.cohesion.strengths[1:].abs().max()) == 0
    assert float(network.cohesion.strengths[0].abs()) > 0.1
