"""Laying structures on one another: turned, mirrored, renumbered and moved copies are found, all else is not."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, fcc111, molecule
from ase.cluster import Icosahedron, Octahedron
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from growth.study.alignment import fingerprint, superposition, symmetry_order


def free(structure: Atoms) -> Atoms:
    return Atoms(structure.numbers, structure.positions)


@pytest.mark.parametrize(
    ("name", "order", "number"),
    [
        ("H2O", 4, 2),  # C2v
        ("NH3", 6, 3),
        ("CH4", 24, 12),
        ("BF3", 12, 6),  # D3h, planar
        ("C6H6", 24, 12),
        ("CO2", 4, 2),  # linear
        ("CO", 2, 1),
        ("CH3OH", 2, 1),
    ],
)
def test_point_groups_of_molecules(name: str, order: int, number: int) -> None:
    structure = free(molecule(name))
    assert symmetry_order(structure, 0.05) == order
    assert symmetry_order(structure, 0.05, mirror=False) == number


def test_point_groups_of_clusters() -> None:
    assert symmetry_order(free(Icosahedron("Cu", 2)), 0.05) == 120
    assert symmetry_order(free(Icosahedron("Cu", 3)), 0.05, mirror=False) == 60
    assert symmetry_order(free(Octahedron("Cu", 3)), 0.05) == 48
    assert symmetry_order(Atoms("Cu"), 0.05) == 2


def slab(hollow: tuple[int, int], face: object = fcc100, site: str = "hollow") -> Atoms:
    crystal = face("Cu", (4, 4, 3), a=3.59, vacuum=8.0)  # type: ignore[operator]
    add_adsorbate(crystal, "Cu", 1.7, site, offset=hollow)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag == 3]))
    crystal.pbc = (True, True, False)
    return crystal


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_copies_of_clusters_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = Atoms("Cu4Al4", rng.normal(0, 2.0, (8, 3)))
    order, turn = rng.permutation(8), Rotation.random(rng=rng).as_matrix() * rng.choice([1, -1])
    b = a[order]
    b.positions = b.positions @ turn.T + rng.normal(0, 5, 3)
    assert np.allclose(fingerprint(a), fingerprint(b))
    motion = superposition(a, b, 0.05)
    assert motion is not None
    assert np.allclose(motion.lay(a.positions), b.positions, atol=1e-6)
    assert np.allclose(motion.rotation @ motion.rotation.T, np.eye(3))
    if np.linalg.det(turn) < 0:
        assert superposition(a, b, 0.05, mirror=False) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 0.05))
def test_small_displacements_are_borne_and_bound_the_fingerprint(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    a = free(Icosahedron("Cu", 2))
    moves = rng.normal(size=(13, 3))
    moves *= size / np.linalg.norm(moves, axis=1).max()
    b = a.copy()
    b.positions += moves
    b.rotate(float(rng.uniform(0, 360)), "z")
    motion = superposition(a, b[rng.permutation(13)], 0.06)
    assert motion is not None
    assert motion.furthest <= 0.06
    assert np.abs(fingerprint(a) - fingerprint(b)).max() <= 2 * size + 1e-9


def test_other_structures_are_not_taken_for_copies() -> None:
    ico, cubo = free(Icosahedron("Cu", 2)), free(Octahedron("Cu", 3, cutoff=1))
    assert len(ico) == len(cubo) == 13
    assert superposition(ico, cubo, 0.2) is None
    mixed, other = ico.copy(), ico.copy()
    mixed.symbols[[1, 2]], other.symbols[[1, 3]] = "Al", "Al"
    distances = ico.get_all_distances()
    alike = np.isclose(distances[1, 2], distances[1, 3])
    assert (superposition(mixed, other, 0.1) is not None) == alike
    held = ico.copy()
    held.set_constraint(FixAtoms([0]))
    assert superposition(ico, held, 0.1) is None


@pytest.mark.parametrize(("face", "site", "order"), [(fcc100, "hollow", 8), (fcc111, "fcc", 6)])
def test_slabs_are_moved_by_the_substrate(face: object, site: str, order: int) -> None:
    a, b = slab((0, 0), face, site), slab((2, 1), face, site)
    motion = superposition(a, b, 0.05)
    assert motion is not None
    apart = motion.lay(a.positions) - b.positions
    apart = apart @ np.linalg.inv(a.cell.complete())
    assert np.abs(apart - np.where(a.pbc, np.round(apart), 0.0)).max() < 1e-9
    assert symmetry_order(a, 0.05) == order
    assert symmetry_order(a, 0.05, mirror=False) == order // 2
    lower = a.copy()
    lower.positions[-1, 1] += 0.4
    assert superposition(a, lower, 0.1) is None
    assert symmetry_order(lower, 0.05) == 2


def test_a_crystal_is_moved_onto_itself() -> None:
    crystal = bulk("Cu", cubic=True)
    assert symmetry_order(crystal, 0.05) == 48 * 4
    vacancy, other = crystal * (2, 2, 2), crystal * (2, 2, 2)
    del vacancy[5], other[17]
    assert superposition(vacancy, other, 0.05) is not None
