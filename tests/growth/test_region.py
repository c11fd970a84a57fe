"""A piece of a crystal behaves as the whole does."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc100
from ase.cluster import Octahedron

from growth.emt import EMTModel
from growth.region import cut
from growth.relax import movable_atoms, relax


def slab() -> Atoms:
    crystal = fcc100("Cu", (20, 20, 3), vacuum=6.0)
    crystal.pbc = (True, True, False)
    crystal.rattle(0.05, seed=1)
    return crystal


@pytest.mark.parametrize("crystal", [slab(), Atoms(Octahedron("Cu", 17))], ids=["slab", "cluster"])
def test_forces_and_energy_differences_are_the_whole_crystals(crystal: Atoms) -> None:
    model, rng = EMTModel(["Cu"]), np.random.default_rng(0)
    centre = crystal.positions[[int(crystal.positions.sum(axis=1).argmax())]]
    region = cut(crystal, centre, 4.0, model.reach)
    assert len(region.structure) < 0.8 * len(crystal)
    movable = movable_atoms(region.structure)
    assert 3 < movable.sum() < 60
    moved = region.structure.copy()
    moved.positions[movable] += rng.normal(0, 0.1, (int(movable.sum()), 3))
    piece, whole = model([region.structure, moved]), model([crystal, region.put_back(crystal, moved)])
    for k in range(2):
        assert np.allclose(piece.forces[k][movable], whole.forces[k][region.atoms[movable]], rtol=0, atol=1e-9)
    assert np.diff(piece.energies) == pytest.approx(np.diff(whole.energies), abs=1e-8)


def test_atoms_added_to_a_piece_bind_as_on_the_whole() -> None:
    crystal, model = slab(), EMTModel(["Cu"])
    top = crystal.positions[np.argmax(crystal.positions[:, 2])]
    region = cut(crystal, top[None], 4.0, model.reach)
    energies = []
    for base, shift in (
        (region.structure, region.structure.positions - crystal.positions[region.atoms]),
        (crystal, None),
    ):
        place = top + [0.0, 0.0, 2.3] + (0 if shift is None else shift[0])
        energies.append(np.diff(model([base, base + Atoms("Cu", [place])]).energies)[0])
    assert energies[0] == pytest.approx(energies[1], abs=1e-8)


def test_a_relaxed_piece_put_back_is_as_low_as_the_whole_relaxed_there() -> None:
    crystal, model = slab(), EMTModel(["Cu"])
    region = cut(crystal, crystal.positions[[700]], 4.0, model.reach)
    relaxed = relax([region.structure], model, 1e-4)[0]
    free = np.zeros(len(crystal), dtype=bool)
    free[region.atoms[movable_atoms(region.structure)]] = True
    whole = relax([crystal], model, 1e-4, movable=[free])[0]
    back = region.put_back(crystal, relaxed.structure)
    assert model([back]).energies[0] == pytest.approx(whole.energy, abs=1e-6)


def test_what_is_too_small_to_cut_is_left_whole() -> None:
    crystal = fcc100("Cu", (4, 4, 3), vacuum=6.0)
    crystal.pbc = (True, True, False)
    region = cut(crystal, crystal.positions[[-1]], 4.0, 11.8)
    assert len(region.structure) == len(crystal)
    assert region.structure.pbc.tolist() == [True, True, False]
    assert 0 < movable_atoms(region.structure).sum() < len(crystal)
