"""Atoms that fly in: they stay, their heat goes, and nothing else is lost."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc100
from ase.calculators.emt import EMT
from ase.cluster import Octahedron
from ase.constraints import FixAtoms
from ase.units import kB

from growth.deposition import DepositionSettings, deposit
from growth.emt import EMTModel
from growth.energy_model import ModelCalculator
from growth.errors import DepositionError
from growth.relax import relax


def slab() -> Atoms:
    crystal = fcc100("Cu", (3, 3, 4), a=3.5898, vacuum=8.0)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag > 3]))
    crystal.pbc = (True, True, False)
    return crystal


def test_atoms_stay_where_they_can_be_relaxed_to_a_hollow() -> None:
    model, rng, crystal = EMTModel(["Cu"]), np.random.default_rng(0), slab()
    settings = DepositionSettings(species="Cu", picoseconds=1.5)
    for n in (37, 38):
        crystal = deposit(crystal, model, settings, rng)
        assert len(crystal) == n
    relaxed = relax([crystal], model, 0.02)[0].structure
    tops = relaxed.positions[36:, 2] - relaxed.positions[relaxed.get_tags() == 1, 2].mean()
    assert (tops > 1.0).all()
    assert (np.sort(relaxed.get_distances(36, range(36), mic=True))[:4] < 2.8).all()


def test_fixed_atoms_do_not_move_and_heat_goes() -> None:
    crystal, model = slab(), EMTModel(["Cu"])
    settings = DepositionSettings(species="Cu", arrival_energy=5.0, picoseconds=4.0, friction=0.02)
    after = deposit(crystal, model, settings, np.random.default_rng(1))
    held = crystal.constraints[0].index
    assert (after.positions[held] == crystal.positions[held]).all()
    movable = np.setdiff1d(range(len(after)), held)
    kinetic = 0.5 * (after.get_momenta()[movable] ** 2).sum() / after.get_masses()[0]
    temperature = 2 * kinetic / (3 * len(movable) * kB)
    assert 100 < temperature < 600  # 5 eV more would be 1,380 K


def test_an_atom_finds_a_free_cluster() -> None:
    cluster = Atoms(Octahedron("Al", 3))
    settings = DepositionSettings(species="Al", picoseconds=1.0)
    after = deposit(cluster, EMTModel(["Al"]), settings, np.random.default_rng(2))
    assert len(after) == len(cluster) + 1
    assert after.get_distances(-1, range(len(cluster))).min() < 3.5


def test_what_flies_apart_is_told() -> None:
    violent = DepositionSettings(species="Cu", arrival_energy=3000.0, picoseconds=0.3, step_fs=0.2)
    with pytest.raises(DepositionError, match="deposition of Cu on 36 atoms"):
        deposit(slab(), EMTModel(["Cu"]), violent, np.random.default_rng(0))


def test_same_seed_same_crystal() -> None:
    settings = DepositionSettings(species="Cu", picoseconds=1.0)
    ends = [deposit(slab(), EMTModel(["Cu"]), settings, np.random.default_rng(4)).positions for _ in range(2)]
    assert (ends[0] == ends[1]).all()


def test_the_calculator_is_the_model() -> None:
    ours, theirs = slab(), slab()
    ours.rattle(0.1)
    theirs.rattle(0.1)
    ours.calc, theirs.calc = ModelCalculator(EMTModel(["Cu"])), EMT()
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-9)
    assert np.allclose(ours.get_forces(), theirs.get_forces(), atol=1e-9)
