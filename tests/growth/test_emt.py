"""EMT in one array is ASE's EMT."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100
from ase.calculators.emt import EMT

from growth.emt import EMTModel
from growth.errors import InputError


@pytest.mark.parametrize("periodic", [(False, False, False), (True, True, False), (True, True, True)])
def test_it_is_ases(periodic: tuple[bool, bool, bool]) -> None:
    rng = np.random.default_rng(3)
    structures = []
    for seed in range(3):
        slab = fcc100("Cu", (3, 3, 3), vacuum=5.0)
        slab.pbc = periodic
        slab.rattle(0.2, seed=seed)
        slab.numbers = rng.choice([13, 28, 29, 79], len(slab))
        structures.append(slab)
    found = EMTModel(["Al", "Ni", "Cu", "Au"])(structures)
    for k, structure in enumerate(structures):
        structure.calc = EMT()
        assert found.energies[k] == pytest.approx(structure.get_potential_energy(), abs=1e-10)
        assert np.allclose(found.forces[k], structure.get_forces(), rtol=0, atol=1e-10)
        assert np.allclose(found.atom_energies[k], structure.get_potential_energies(), rtol=0, atol=1e-10)


def test_atoms_alone_and_cells_smaller_than_the_cutoff() -> None:
    structures = [Atoms("Cu"), bulk("Al"), Atoms("CuAl", [[0, 0, 0], [0, 0, 5.7]]), Atoms()]
    found = EMTModel(["Al", "Cu"])(structures)
    for k, structure in enumerate(structures[:3]):
        structure.calc = EMT()
        assert found.energies[k] == pytest.approx(structure.get_potential_energy(), abs=1e-12)
    assert [len(forces) for forces in found.forces] == [1, 1, 2, 0]
    assert found.energies[3] == 0.0


def test_elements_that_it_does_not_know() -> None:
    with pytest.raises(InputError, match="Al Cu Ag"):
        EMTModel(["Fe"])
    with pytest.raises(InputError, match="made for Cu"):
        EMTModel(["Cu"])([Atoms("CuAl", [[0, 0, 0], [0, 0, 2.5]])])
