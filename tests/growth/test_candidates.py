import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from growth.candidates import CROWDED, SHELLS, bond_lengths, find_candidates
from growth.errors import InputError
from tests.growth.models import fcc14

SPACING = 0.25


def rough() -> Atoms:
    """A cluster with a corner missing, without symmetry."""
    structure = Icosahedron("Al", 3, latticeconstant=4.0)
    del structure[[0, 20, 50, 54]]
    structure.rattle(0.15, seed=0)
    return Atoms(structure.numbers, structure.positions)


def test_the_cover_leaves_no_hole() -> None:
    """Each point of a fine grid in the shell around the atoms, cavities included, has a candidate nearby."""
    structure = rough()
    length = bond_lengths(structure, "Al")[0]
    found = find_candidates(structure, "Al", spacing=SPACING)
    low, high = structure.positions.min(axis=0) - 4.0, structure.positions.max(axis=0) + 4.0
    axes = [np.arange(low[k], high[k], 0.4) for k in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    nearest = cdist(grid, structure.positions).min(axis=1) / length
    shell = grid[(nearest > SHELLS[1]) & (nearest < SHELLS[2])]
    assert len(shell) > 1000
    assert cKDTree(found.positions).query(shell)[0].max() < 1.6 * SPACING * length
    assert cdist(found.positions, structure.positions).min() >= CROWDED * length - 1e-9
    assert cdist(found.positions, found.positions)[np.triu_indices(len(found), 1)].min() >= SPACING * length


def test_a_turned_and_renumbered_structure_has_the_turned_cover() -> None:
    structure = rough()
    turn = Rotation.random(random_state=1).as_matrix()
    order = np.random.default_rng(1).permutation(len(structure))
    here = find_candidates(structure, "Al", spacing=SPACING)
    turned = find_candidates(Atoms(structure.numbers, structure.positions @ turn.T), "Al", spacing=SPACING)
    renumbered = find_candidates(structure[order], "Al", spacing=SPACING)
    assert np.allclose(here.positions @ turn.T, turned.positions, atol=1e-6)
    assert np.allclose(here.frames[here.n_touches == 0] @ turn.T, turned.frames[here.n_touches == 0], atol=1e-6)
    assert np.allclose(here.positions, renumbered.positions, atol=1e-6)


def test_the_cover_of_a_symmetric_structure_holds_no_copies() -> None:
    crystal = fcc14()
    broken = crystal.copy()
    broken.rattle(0.1, seed=0)
    n_crystal, n_broken = (len(find_candidates(structure, "Al", spacing=SPACING)) for structure in (crystal, broken))
    assert n_crystal < 0.4 * n_broken


def test_the_cover_reaches_into_cavities() -> None:
    hollow = Icosahedron("Al", 3, latticeconstant=4.0)
    centre = hollow.positions[0].copy()
    del hollow[[0]]
    assert np.linalg.norm(find_candidates(hollow, "Al").positions - centre, axis=1).min() > 1.0
    assert np.linalg.norm(find_candidates(hollow, "Al", spacing=SPACING).positions - centre, axis=1).min() < 0.5


def test_the_cover_of_a_slab_is_on_its_free_side() -> None:
    slab = fcc111("Al", (3, 3, 3), a=4.0, vacuum=8.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 3))
    found = find_candidates(slab, "Al", spacing=SPACING)
    assert found.positions[:, 2].min() > slab.positions[:, 2].min()
    assert len(found) < 100


@pytest.mark.parametrize("n_atoms", [1, 2, 3])
def test_the_smallest_clusters_have_a_cover(n_atoms: int) -> None:
    positions = np.array([[0.0, 0.0, 0.0], [2.8, 0.0, 0.0], [1.4, 2.4, 0.0]])[:n_atoms]
    assert len(find_candidates(Atoms(f"Al{n_atoms}", positions), "Al", spacing=SPACING)) >= 1


@pytest.mark.parametrize("spacing", [0.0, -1.0, np.nan])
def test_a_spacing_that_is_none_is_refused(spacing: float) -> None:
    with pytest.raises(InputError, match="spacing: expected bond lengths above zero"):
        find_candidates(fcc14(), "Al", spacing=spacing)
