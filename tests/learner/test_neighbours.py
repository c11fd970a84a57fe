"""Pairs that are kept while atoms move are those that a fresh search finds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100

from learner.errors import InputError
from learner.graph import PairSearch, SkinSearch

CUTOFF = 4.0


def rows(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Pairs in an order of their own, each from its first atom (an atom's own images from their upper half)."""
    centre, neighbour, vectors = found
    swap = centre > neighbour
    same = centre == neighbour
    lead = np.array([next((x for x in v if abs(x) > 1e-6), 1.0) for v in vectors.round(6)])
    swap |= same & (lead < 0)
    pairs = np.where(swap[:, None], np.stack([neighbour, centre], 1), np.stack([centre, neighbour], 1))
    table = np.concatenate([pairs, np.where(swap[:, None], -vectors, vectors)], axis=1)
    return table[np.lexsort(table.round(5).T)]


def structures() -> list[Atoms]:
    cluster = bulk("Cu", cubic=True).repeat(2)
    cluster.pbc = False
    return [cluster, bulk("Al", cubic=True).repeat((2, 2, 1)), fcc100("Al", (3, 3, 3), vacuum=6.0)]


@pytest.mark.parametrize("number", range(3))
def test_same_pairs_along_a_walk_out_of_the_box(number: int) -> None:
    atoms = structures()[number]
    rng = np.random.default_rng(number)
    skin, fresh = SkinSearch(CUTOFF, 0.5), PairSearch(CUTOFF)
    sought = set()
    for _ in range(60):
        atoms.positions += rng.normal(0, 0.03, (len(atoms), 3)) + np.array([0.05, 0, 0])
        np.testing.assert_allclose(rows(skin(atoms)), rows(fresh(atoms)), atol=1e-9)
        sought.add(id(skin._sought))
        assert (np.diff(skin(atoms)[0]) >= 0).all()
    assert 1 < len(sought) <= 30


@pytest.mark.parametrize("change", ["cell", "pbc", "numbers", "fewer"])
def test_another_structure_starts_anew(change: str) -> None:
    atoms = fcc100("Al", (3, 3, 3), vacuum=6.0)
    skin = SkinSearch(CUTOFF, 0.5)
    skin(atoms)
    if change == "cell":
        atoms.set_cell(atoms.cell * [0.97, 1, 1], scale_atoms=False)
    elif change == "pbc":
        atoms.pbc = False
    elif change == "numbers":
        atoms.numbers[0] = 29
    else:
        del atoms[0]
    np.testing.assert_allclose(rows(skin(atoms)), rows(PairSearch(CUTOFF)(atoms)), atol=1e-9)


@pytest.mark.parametrize("skin", [-0.1, float("nan")])
def test_a_skin_that_would_miss_pairs_is_refused(skin: float) -> None:
    with pytest.raises(InputError, match="skin"):
        SkinSearch(CUTOFF, skin)


def test_no_atoms() -> None:
    assert [len(x) for x in SkinSearch(CUTOFF, 0.5)(Atoms())] == [0, 0, 0]
