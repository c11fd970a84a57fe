"""Crystals whose order is known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, fcc111
from ase.cluster import Icosahedron, Octahedron

from growth.order import Order, layers, roughness


@pytest.mark.parametrize(
    ("crystal", "kind"),
    [
        (bulk("Cu", cubic=True) * 4, "fcc"),
        (bulk("Mg", "hcp", a=3.2, c=3.2 * (8 / 3) ** 0.5) * (4, 4, 3), "hcp"),
        (bulk("Fe") * 5, "bcc"),
    ],
)
def test_perfect_crystals(crystal: Atoms, kind: str) -> None:
    crystal.rattle(0.05, seed=0)
    assert set(Order(crystal).kinds) == {kind}


def test_an_icosahedron_has_one_centre_and_twenty_fcc_pieces() -> None:
    """Mackay's of 309 atoms: 12 axes of five-fold atoms, faults between the pieces, the centre icosahedral."""
    order = Order(Atoms(Icosahedron("Cu", 5)))
    assert order.kinds.count("surface") == 162
    assert order.kinds.count("ico") >= 1
    assert order.kinds.count("hcp") > order.kinds.count("fcc") > 0
    assert sum(order.fractions.values()) == pytest.approx(1.0)


def test_a_stacking_fault_is_two_hcp_layers() -> None:
    crystal = fcc111("Cu", (4, 4, 9), vacuum=6.0)
    crystal.pbc = (True, True, False)
    upper = crystal.get_tags() <= 4
    crystal.positions[upper, :2] += (crystal.cell[0, :2] + crystal.cell[1, :2]) / 12
    order = Order(crystal)
    assert [order.kinds.count(k) for k in ("fcc", "hcp", "surface")] == [5 * 16, 2 * 16, 2 * 16]
    assert order.stacking_faults == pytest.approx(2 / 7)
    assert Order(Atoms(Octahedron("Cu", 6))).stacking_faults == 0.0


def test_an_update_is_a_fresh_look() -> None:
    crystal = Atoms(Octahedron("Cu", 6))
    order, rng = Order(crystal), np.random.default_rng(0)
    for _ in range(5):
        moved = rng.choice(len(crystal), 3, replace=False)
        crystal.positions[moved] += rng.normal(0, 0.8, (3, 3))
        crystal.append(Atoms("Cu")[0])
        crystal.positions[-1] = crystal.positions[int(rng.integers(len(crystal) - 1))] + [0, 0, 2.6]
        order.update(crystal, moved)
        assert order.kinds == Order(crystal).kinds


def test_layers_and_roughness() -> None:
    slab = fcc100("Cu", (4, 4, 3), vacuum=6.0)
    n, height = len(slab), 3.61 / 2
    assert layers(slab, n, height).tolist() == []
    assert roughness(layers(slab, n, height)) == 0.0
    for place in ((0, 0), (1, 0), (2, 1), (3, 3)):
        add_adsorbate(slab, "Cu", height, "hollow", offset=place)
    assert layers(slab, n, height).tolist() == [0.25]
    assert roughness(np.array([0.25])) == pytest.approx((0.25 * 0.75) ** 0.5)
    assert roughness(np.array([1.0, 1.0])) == 0.0
    assert roughness(np.array([1.0, 0.5])) == pytest.approx(0.5)
