import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from growth.energy_model import CountingModel, EnergyModel
from growth.errors import InputError
from growth.lennard_jones import PAIRS_AT_ONCE, LennardJonesModel
from growth.relax import lbfgs, relax
from growth.relax_together import relax_together

EPSILON, SIGMA = 0.13, 2.6


def cluster(n_atoms: int, seed: int = 0, spacing: float = 2.8) -> Atoms:
    """A cubic arrangement, rattled, so that every pair has its own distance."""
    grid = np.array(list(np.ndindex(4, 4, 4)), dtype=float)[:n_atoms]
    shifts = np.random.default_rng(seed).normal(scale=0.2, size=grid.shape)
    return Atoms(["Ar"] * n_atoms, spacing * grid + shifts)


def model() -> LennardJonesModel:
    return LennardJonesModel(EPSILON, SIGMA)


def test_it_is_an_energy_model() -> None:
    assert isinstance(model(), EnergyModel)
    assert model().screen.epsilon == EPSILON


@given(n_atoms=st.integers(1, 40), seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_energies_and_forces_are_those_of_ase_without_a_cutoff(n_atoms: int, seed: int) -> None:
    structure = cluster(n_atoms, seed)
    found = model()([structure])
    structure.calc = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=1e5)
    assert found.energies[0] == pytest.approx(structure.get_potential_energy(), abs=1e-10)
    assert np.allclose(found.forces[0], structure.get_forces(), atol=1e-10)
    assert found.atom_energies[0].sum() == pytest.approx(found.energies[0], abs=1e-12)


def test_a_pair_is_bound_by_epsilon_at_its_bond_length() -> None:
    pair = Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, model().bond_length]])
    found = model()([pair])
    assert found.energies[0] == pytest.approx(-EPSILON)
    assert np.abs(found.forces[0]).max() < 1e-12
    assert found.atom_energies[0] == pytest.approx([-EPSILON / 2, -EPSILON / 2])


def test_forces_are_minus_the_slope() -> None:
    structure, step = cluster(9), 1e-5
    direction = np.random.default_rng(1).normal(size=(9, 3))
    ends = [Atoms(structure.symbols, structure.positions + sign * step * direction) for sign in (1, -1)]
    up, down = model()(ends).energies
    assert (up - down) / (2 * step) == pytest.approx(-(direction * model()([structure]).forces[0]).sum(), rel=1e-6)


def test_turning_and_renumbering_change_nothing_else() -> None:
    structure = cluster(12)
    turn = Rotation.from_rotvec([0.4, -1.1, 0.3]).as_matrix()
    order = np.random.default_rng(0).permutation(12)
    a = model()([structure])
    b = model()([Atoms(structure.symbols, (structure.positions @ turn.T + 3.0)[order])])
    assert a.energies[0] == pytest.approx(b.energies[0], abs=1e-10)
    assert np.allclose((a.forces[0] @ turn.T)[order], b.forces[0], atol=1e-10)
    assert np.allclose(a.atom_energies[0][order], b.atom_energies[0], atol=1e-10)


def test_a_batch_is_one_by_one_in_its_order() -> None:
    many = PAIRS_AT_ONCE // 40**2 + 2  # more than one array of pairs
    structures = [cluster(40, k) for k in range(many)] + [cluster(n, n) for n in (7, 1, 13, 7)]
    together = model()(structures)
    for k, structure in enumerate(structures):
        alone = model()([structure])
        assert together.energies[k] == alone.energies[0]
        assert np.array_equal(together.forces[k], alone.forces[0])
        assert np.array_equal(together.atom_energies[k], alone.atom_energies[0])
    assert model()([]).energies.shape == (0,)


def test_far_atoms_are_still_felt() -> None:
    pair = Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, 40.0]])
    assert model()([pair]).energies[0] < 0.0
    assert model().reach == np.inf


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="epsilon"):
        LennardJonesModel(epsilon=0.0)
    with pytest.raises(InputError, match=r"structures\[1\].*periodic"):
        model()([cluster(3), bulk("Al")])


def test_relaxing_together_ends_where_relaxing_one_by_one_does() -> None:
    structures = [cluster(8, seed) for seed in range(6)]
    positions = np.array([structure.positions for structure in structures])
    together = relax_together(positions, "Ar8", model(), fmax=1e-4, max_calls=300)
    alone = relax(structures, model(), fmax=1e-4, max_steps=300)
    assert together.converged.all()
    assert together.energies == pytest.approx([found.energy for found in alone], abs=1e-6)
    again = model()([Atoms("Ar8", rows) for rows in together.positions])
    assert np.array_equal(again.energies, together.energies)
    assert np.allclose(np.array(again.atom_energies), together.atom_energies, atol=0)
    assert max(np.linalg.norm(forces, axis=1).max() for forces in again.forces) <= 1e-4


def test_relaxing_together_takes_the_steps_of_relaxing_alone() -> None:
    """As long as no more steps are remembered than the batch remembers."""
    structure = cluster(8)
    optimiser = lbfgs(structure.positions.copy())
    moved = next(optimiser)
    for _ in range(8):
        found = model()([Atoms("Ar8", moved)])
        moved = optimiser.send((float(found.energies[0]), found.forces[0]))
        asked = Atoms("Ar8", moved)
    seen: list[np.ndarray] = []

    class Watching(CountingModel):
        def __call__(self, structures):  # type: ignore[no-untyped-def]
            seen.append(structures[0].positions.copy())
            return super().__call__(structures)

    relax_together(structure.positions[None], "Ar8", Watching(model()), fmax=1e-6, max_calls=9)
    assert np.allclose(seen[8], asked.positions, atol=1e-6)


@pytest.mark.parametrize("max_calls", [1, 2, 7])
def test_relaxing_together_keeps_to_its_calls(max_calls: int) -> None:
    counted = CountingModel(model())
    positions = np.array([cluster(8, seed).positions for seed in range(5)])
    found = relax_together(positions, "Ar8", counted, fmax=1e-8, max_calls=max_calls)
    assert counted.structures == 5 * max_calls
    assert not found.converged.any()
    assert (found.energies <= model()([Atoms("Ar8", rows) for rows in positions]).energies).all()
