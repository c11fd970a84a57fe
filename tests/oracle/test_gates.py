"""Gates: a table of structures and labels, and what each gate says."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import given
from hypothesis import strategies as st

from oracle import LabelSettings, gates

SETTINGS = LabelSettings()


@pytest.mark.parametrize(
    "structure",
    [
        Atoms("Al"),
        Atoms("Al2", [[0, 0, 0], [0, 0, 2.6]]),
        molecule("H2"),
        molecule("C6H6"),
        bulk("Al"),
        bulk("NaCl", "rocksalt", a=5.6),
        fcc111("Cu", (2, 2, 3), vacuum=5),
        Atoms("Al", cell=[2.5, 0, 0], pbc=[True, False, False]),
    ],
)
def test_good_structures_pass(structure):
    assert gates.before(structure, SETTINGS) is None


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        (Atoms(), "no atoms"),
        (bulk("Al") * (6, 6, 6), "216 atoms, more than max_atoms = 200"),
        (Atoms("Al2", [[0, 0, 0], [0, 0, np.nan]]), "position of atom 1 is not finite"),
        (Atoms("Al", [[np.inf, 0, 0]]), "position of atom 0 is not finite"),
        (Atoms("Al", cell=[np.nan, 1, 1], pbc=True), "the cell is not finite"),
        (Atoms(numbers=[13, 0], positions=[[0, 0, 0], [0, 0, 3]]), "atom 1 has atomic number 0"),
        (Atoms(numbers=[119]), "atomic number 119"),
        (Atoms("Al", pbc=True), "no cell vector"),
        (Atoms("Al", cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]], pbc=True), "span no volume"),
        (Atoms("Al", cell=[[4, 0, 0], [-4, 0, 0], [0, 0, 0]], pbc=[True, True, False]), "span no volume"),
        (Atoms("Al2", [[0, 0, 0], [0, 0, 0.3]]), "atoms 0 (Al) and 1 (Al) overlap: 0.30 Å apart"),
        (Atoms("Al2", [[0, 0, 0], [0, 0, 0]]), "overlap: 0.00 Å"),
        (Atoms("Al", cell=[1, 5, 5], pbc=True), "atoms 0 (Al) and 0 (Al) overlap"),
        (Atoms("Al2", [[0, 0, 0.1], [0, 0, 4.9]], cell=[5, 5, 5], pbc=True), "overlap"),
    ],
)
def test_bad_structures_do_not(structure, words):
    assert words in gates.before(structure, SETTINGS)


DIMER = Atoms("Al2", [[0, 0, 0], [0, 0, 2.6]])
PULL = np.array([[0, 0, 1.0], [0, 0, -1.0]])


@pytest.mark.parametrize(
    ("energy", "free_energy", "forces", "words"),
    [
        (-1.0, -1.1, PULL, None),
        (-1.0, -1.1, None, None),
        (np.nan, -1.1, PULL, "energy is not finite"),
        (-1.0, np.inf, PULL, "energy is not finite"),
        (-1.0, -1.0, PULL * np.nan, "a force is not finite"),
        (-1.0, -1.0, PULL[:1], "forces have shape (1, 3)"),
        (183.0, 183.0, PULL, "energy of 91.50 eV per atom"),
        (-183.0, -183.0, PULL, "outside of [-50, 50]"),
        (-1.0, -1.0, PULL * 101, "exceeds force_cap"),
        (-1.0, -1.0, np.abs(PULL), "net force of 1.000 eV/Å per atom"),
    ],
)
def test_labels(energy, free_energy, forces, words):
    reason = gates.after(DIMER, energy, free_energy, forces, SETTINGS, (-50.0, 50.0))
    assert (reason is None) if words is None else (words in reason)


def test_periodic_structures_may_have_a_net_force():
    crystal = bulk("Al", cubic=True)
    assert gates.after(crystal, -1.0, -1.0, np.ones((4, 3)), SETTINGS, None) is None


@given(st.floats(0.05, 6.0))
def test_overlap_is_a_threshold_on_the_distance(distance):
    pair = Atoms("Al2", [[0, 0, 0], [0, distance, 0]])
    assert (gates.no_overlap(pair, 0.5) is None) == (distance >= 1.21)
