"""Names of surroundings, and the motions that lay one on another."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100, fcc111, molecule
from scipy.spatial.transform import Rotation

from growth.environment import Neighbourhood, graph_name, overlays


def with_adatom(face: str) -> Atoms:
    slab = fcc100("Cu", (5, 5, 4), vacuum=8.0) if face == "100" else fcc111("Cu", (6, 6, 4), vacuum=8.0)
    add_adsorbate(slab, "Cu", 1.7, "hollow" if face == "100" else "fcc", offset=(2, 2))
    return slab


@pytest.mark.parametrize(("face", "n_symmetric"), [("100", 8), ("111", 6)])
def test_the_symmetry_of_an_adatom(face: str, n_symmetric: int) -> None:
    slab = with_adatom(face)
    around = Neighbourhood(slab, 6.0).around(len(slab) - 1)
    laid = overlays(around, around, 0.3)
    assert len(laid) == n_symmetric
    assert sum(np.linalg.det(o.rotation) > 0 for o in laid) == n_symmetric / 2
    assert laid[0].rms < 1e-12


@pytest.mark.parametrize("mirror", [False, True])
def test_turned_moved_renumbered_and_strained(mirror: bool) -> None:
    slab = with_adatom("100")
    slab.pbc = False
    known = Neighbourhood(slab, 6.0).around(len(slab) - 1)
    rng = np.random.default_rng(0)
    rotation = Rotation.random(random_state=1).as_matrix() @ np.diag([1.0, 1.0, -1.0 if mirror else 1.0])
    order = rng.permutation(len(slab))
    other = Atoms(slab.numbers, slab.positions @ rotation.T + [3.0, -2.0, 7.0])[order]
    other.positions += rng.normal(0, 0.02, other.positions.shape)
    new = Neighbourhood(other, 6.0).around(int(np.flatnonzero(order == len(slab) - 1)[0]))
    assert new.name == known.name
    laid = overlays(known, new, 0.3)
    assert len(laid) == 8
    composed = overlays(known, new, 0.3, overlays(known, known, 0.3))
    assert {o.order.tobytes() for o in composed} == {o.order.tobytes() for o in laid}
    for overlay in laid + composed:
        assert np.linalg.norm(known.vectors @ overlay.rotation.T - new.vectors[overlay.order], axis=1).max() < 0.3


def test_what_differs_has_another_name() -> None:
    slab = with_adatom("100")
    last = len(slab) - 1
    name = Neighbourhood(slab, 6.0).around(last).name
    layer = np.flatnonzero(slab.get_distances(last, range(len(slab)), mic=True) < 2.6)
    alloyed, hollowed = slab.copy(), slab.copy()
    alloyed.numbers[layer[0]] = 28
    del hollowed[int(layer[0])]
    names = {name, Neighbourhood(alloyed, 6.0).around(last).name, Neighbourhood(hollowed, 6.0).around(last - 1).name}
    assert len(names) == 3
    alone = Neighbourhood(alloyed, 6.0).around(last)
    assert not overlays(Neighbourhood(slab, 6.0).around(last), alone, 0.3)
    assert len(overlays(alone, alone, 0.3)) == 2


def test_left_is_not_taken_for_right_but_mirrored() -> None:
    """Four unlike atoms around a fifth: one motion lays the mirror image on it, a reflection."""
    chiral = molecule("CH3Cl")
    chiral.numbers[[2, 3]] = [9, 35]
    mirrored = chiral.copy()
    mirrored.positions[:, 0] *= -1
    a, b = (Neighbourhood(m, 6.0).around(0) for m in (chiral, mirrored))
    assert a.name == b.name
    (only,) = overlays(a, b, 0.2)
    assert np.linalg.det(only.rotation) == pytest.approx(-1.0)


def test_graph_names_tell_a_ring_from_two() -> None:
    """Counts and degrees are the same; the marked node sees the difference."""
    ring = np.array([[k, (k + 1) % 6] for k in range(6)])
    two = np.array([[0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 3]])
    colours = np.array([1000, 1, 1, 1, 1, 1])
    assert graph_name(colours, ring) != graph_name(colours, two)
    order = np.array([0, 3, 5, 1, 2, 4])
    assert graph_name(colours, ring) == graph_name(colours[np.argsort(order)], order[ring])
