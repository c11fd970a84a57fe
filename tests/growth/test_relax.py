import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc100
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from growth.relax import MAX_STEP, lbfgs, relax
from tests.growth.models import LennardJonesModel, emt, fcc14


def rattled(seed: int, width: float = 0.15) -> Atoms:
    structure = fcc14()
    structure.rattle(width, seed=seed)
    return structure


def largest(forces: np.ndarray) -> float:
    return float(np.linalg.norm(forces, axis=1).max())


def test_a_batch_relaxes_as_its_members_would_alone() -> None:
    structures = [rattled(0), rattled(1, 0.05), Icosahedron("Al", 2, latticeconstant=4.0), Atoms("Al")]
    together = relax(structures, emt())
    for structure, found in zip(structures, together, strict=True):
        alone = relax([structure], emt())[0]
        assert np.array_equal(found.structure.positions, alone.structure.positions)
        assert found.n_calls == alone.n_calls
        assert found.converged
        assert largest(found.forces) <= 0.05
    assert [found.n_calls for found in together][3] == 1


def test_its_results_belong_to_the_structure_it_returns() -> None:
    found = relax([rattled(2)], emt())[0]
    again = emt()([found.structure])
    assert found.energy == again.energies[0]
    assert np.array_equal(found.forces, again.forces[0])
    assert np.array_equal(found.member_energies, again.member_energies[:, 0])


@given(seed=st.integers(0, 10**6), width=st.floats(0.01, 0.5), max_steps=st.integers(1, 30))
@settings(max_examples=15)
def test_energy_never_rises(seed: int, width: float, max_steps: int) -> None:
    found = relax([rattled(seed, width)], emt(), fmax=0.02, max_steps=max_steps)[0]
    assert found.energy <= found.start_energy
    assert found.n_calls <= max_steps


def test_a_turned_and_renumbered_structure_takes_the_same_path() -> None:
    structure = rattled(3)
    turn = Rotation.from_rotvec([1.0, 0.3, -0.4]).as_matrix()
    order = np.random.default_rng(0).permutation(14)
    turned = Atoms(structure.numbers, (structure.positions @ turn.T)[order])
    a, b = relax([structure, turned], emt())
    assert a.n_calls == b.n_calls
    assert np.allclose((a.structure.positions @ turn.T)[order], b.structure.positions, atol=1e-7)


def test_fixed_and_held_atoms_stay() -> None:
    slab = fcc100("Al", (2, 2, 3), a=3.995, vacuum=6.0)
    slab.rattle(0.1, seed=0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 3))
    held = slab.get_tags() == 1
    found = relax([slab], emt(), movable=[held])[0]
    assert np.array_equal(found.structure.positions[~held], slab.positions[~held])
    assert largest(found.forces[held]) <= 0.05
    free = relax([slab], emt())[0]
    assert np.array_equal(free.structure.positions[slab.get_tags() == 3], slab.positions[slab.get_tags() == 3])
    assert free.energy < found.energy


def test_the_input_is_left_alone() -> None:
    structure = rattled(4)
    before = structure.positions.copy()
    structure.positions.flags.writeable = False
    relax([structure], emt())
    assert np.array_equal(structure.positions, before)


def test_no_step_is_longer_than_the_limit() -> None:
    driver = lbfgs(np.zeros((3, 3)) + np.eye(3))
    positions = next(driver)
    for k in range(5):
        following = driver.send((-float(k), np.full((3, 3), 50.0)))
        assert np.linalg.norm(following - positions, axis=1).max() <= MAX_STEP + 1e-12
        positions = following


def test_thirteen_lennard_jones_atoms_find_the_icosahedron() -> None:
    start = Icosahedron("Ar", 2, latticeconstant=1.5)
    start.rattle(0.05, seed=0)
    found = relax([Atoms(start.numbers, start.positions)], LennardJonesModel(), fmax=1e-4, max_steps=300)[0]
    assert found.energy == pytest.approx(-44.326801, abs=1e-5)


def test_a_surface_that_breaks_down_ends_the_relaxation() -> None:
    class Breaking(LennardJonesModel):
        calls = 0

        def _evaluate(self, positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            self.calls += 1
            energy, forces, shares = super()._evaluate(positions)
            return (energy if self.calls < 3 else np.nan), forces, shares

    found = relax([Atoms("Ar2", [[0, 0, 0], [0, 0, 1.4]])], Breaking(), fmax=1e-6)[0]
    assert np.isfinite(found.energy)
    assert not found.converged
