"""Crystals, gases and clusters whose structure is known by heart."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.cluster import Decahedron, Icosahedron, Octahedron

from growth.errors import InputError
from growth.study.bond_order import IDEAL, bond_order
from growth.study.facets import surface
from growth.study.pair_distribution import pair_distribution
from growth.study.structure import StructureSettings, fivefold_axes, structure_of, write_structure

IDEAL_C = (8 / 3) ** 0.5


@pytest.mark.parametrize(
    ("crystal", "kind"),
    [
        (bulk("Cu", "fcc", a=3.6), "fcc"),
        (bulk("Mg", "hcp", a=3.2, c=3.2 * IDEAL_C), "hcp"),
        (bulk("Fe", "bcc", a=2.87), "bcc"),
        (Atoms(Icosahedron("Al", 2)), "ico"),
    ],
)
def test_steinhardt_of_perfect_surroundings(crystal: Atoms, kind: str) -> None:
    """fcc q6 0.5745, hcp 0.4848, bcc 0.5107 (14 neighbours), icosahedron 0.6633."""
    found = bond_order(crystal)
    for name, known in zip(("q4", "q6", "w4", "w6"), IDEAL[kind], strict=True):
        if np.isfinite(known):
            assert found[name][0] == pytest.approx(known, abs=1e-4), name


def test_bond_order_turns_with_the_crystal() -> None:
    cluster = Atoms(Octahedron("Cu", 5, 1))
    turned = cluster.copy()
    turned.rotate(37.0, (1, 2, 3))
    for name, values in bond_order(cluster).items():
        assert bond_order(turned)[name] == pytest.approx(values, abs=2e-3, nan_ok=True)
    assert np.isnan(bond_order(Atoms("Cu2", [[0, 0, 0], [9, 0, 0]]))["q6"]).all()


def test_without_freud_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install kossel\[study\]"):
        bond_order(bulk("Cu"))


def test_shells_of_fcc() -> None:
    """12, 6, 24, 12, 24 neighbours at √1, √2, … √5 bonds."""
    found = pair_distribution(bulk("Cu", a=3.6), 6.0, 0.05)
    shells = found.neighbours[found.neighbours > 0]
    assert shells == pytest.approx([12, 6, 24, 12, 24])
    middles = found.radii[found.neighbours > 0]
    assert middles == pytest.approx(3.6 / 2**0.5 * np.arange(1, 6) ** 0.5, abs=0.025)
    density = found.neighbours / (4 / 3 * np.pi * np.diff(np.append(0, found.radii + 0.025) ** 3)) / (4 / 3.6**3)
    assert found.density == pytest.approx(density)


def gas(kind: str, n: int = 1500) -> Atoms:
    rng = np.random.default_rng(0)
    if kind == "bulk":
        return Atoms(n * "H", 20.0 * rng.random((n, 3)), cell=[20, 20, 20], pbc=True)
    if kind == "slab":
        return Atoms(n * "H", rng.random((n, 3)) * [20, 20, 12], cell=[20, 20, 60], pbc=(True, True, False))
    x = rng.normal(size=(n, 3))
    return Atoms(n * "H", 10.0 * rng.random((n, 1)) ** (1 / 3) * x / np.linalg.norm(x, axis=1, keepdims=True))


@pytest.mark.parametrize(("kind", "farthest"), [("bulk", 9.0), ("slab", 15.0), ("cluster", 16.0)])
def test_an_ideal_gas_has_one_everywhere(kind: str, farthest: float) -> None:
    found = pair_distribution(gas(kind), farthest, 1.0)
    assert found.density == pytest.approx(np.ones(round(farthest)), abs=0.05 if kind != "slab" else 0.1)


def test_pairs_of_a_free_cluster_are_all_counted() -> None:
    cluster = Atoms(Icosahedron("Al", 3))
    assert pair_distribution(cluster, 40.0, 0.1).neighbours.sum() == pytest.approx(len(cluster) - 1)


@pytest.mark.parametrize(
    ("cluster", "n_axes"),
    [
        (Icosahedron("Cu", 3), 6),
        (Icosahedron("Cu", 4), 6),
        (Decahedron("Cu", 4, 3, 0), 1),
        (Octahedron("Cu", 6, 1), 0),
    ],
)
def test_fivefold_axes(cluster: Atoms, n_axes: int) -> None:
    """An icosahedron has six axes through opposite vertices, a decahedron one."""
    assert fivefold_axes(Atoms(cluster))[0] == n_axes


@pytest.mark.parametrize(("build", "facet"), [(fcc111, "111"), (fcc100, "100"), (fcc110, "110")])
def test_a_slab_is_its_facet_on_both_sides(build: Callable[..., Atoms], facet: str) -> None:
    slab = build("Cu", (3, 4, 6), vacuum=8.0)
    found = surface(slab)
    both = 2 * np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    assert found.areas[facet] == pytest.approx(both)
    assert found.shares[facet] == pytest.approx(1.0)
    assert found.places.count(facet) == (48 if facet == "110" else 24), "on (110) the troughs' atoms too"


def test_facets_of_truncated_octahedra() -> None:
    """Areas by hand: triangles √3/4 and squares 1 of the bond length squared."""
    d = 3.61 / 2**0.5
    cuboctahedron = surface(Atoms(Octahedron("Cu", 7, 3, latticeconstant=3.61)))
    assert cuboctahedron.areas["111"] == pytest.approx(8 * 9 * 3**0.5 / 4 * d**2)
    assert cuboctahedron.areas["100"] == pytest.approx(6 * 9 * d**2)
    assert [cuboctahedron.places.count(p) for p in ("vertex", "edge", "111", "100")] == [12, 48, 8, 24]
    octahedron = surface(Atoms(Octahedron("Cu", 5)))
    assert octahedron.shares["111"] == pytest.approx(1.0)
    assert [octahedron.places.count(p) for p in ("vertex", "edge", "111")] == [6, 36, 24]


def test_facets_need_no_lattice() -> None:
    ico = Atoms(Icosahedron("Cu", 4))
    ico.rattle(0.05, seed=1)
    ico.rotate(20, (1, 1, 0))
    assert surface(ico).shares["111"] == pytest.approx(1.0)
    assert surface(bulk("Cu", cubic=True)).shares == {"111": 0.0, "100": 0.0, "110": 0.0, "other": 0.0}


def test_means_over_crystals_and_their_errors(tmp_path: Path) -> None:
    crystals = [Atoms(Icosahedron("Al", 3)), Atoms(Octahedron("Al", 5, 1))]
    result = structure_of(crystals, wulff={"111": 0.5, "100": 0.33, "110": 0.16})
    values = [crystal.numbers()["share_hcp"] for crystal in result.crystals]
    assert result.means["share_hcp"] == pytest.approx(np.mean(values))
    assert result.errors["share_hcp"] == pytest.approx(np.std(values, ddof=1) / 2**0.5)
    assert result.means["fivefold_axes"] == 3.0
    assert result.histogram.sum() == pytest.approx(1.0)
    headline = write_structure(result, tmp_path)
    written = json.loads((tmp_path / "structure.json").read_text())
    assert written["share_fcc"] == pytest.approx(headline["share_fcc"])
    for name in ("structure.csv", "structure_rdf.csv", "structure.extxyz", "structure.png"):
        assert (tmp_path / name).stat().st_size > 100


def test_one_crystal_has_no_error_and_none_is_refused() -> None:
    result = structure_of([Atoms("Cu3", [[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0]])], StructureSettings(bond_order=False))
    assert np.isnan(result.errors["coordination"])
    with pytest.raises(InputError, match="at least one crystal"):
        structure_of([])
