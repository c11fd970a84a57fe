"""Maps whose symmetry, minima and passes are known, and floods that can be followed by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, fcc111
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms, FixedLine
from ase.optimize import BFGS

from growth.emt import EMTModel
from growth.errors import InputError
from growth.periodic import nearest_images
from growth.sites import with_adatom
from growth.study.adatom_map import AdatomMap, AdatomMapSettings, adatom_map, fibonacci_sphere, resting_places
from growth.study.adatom_map_files import write_adatom_map
from growth.study.map_paths import first_ways_out, local_minima, passes, periodic_mesh, sphere_mesh

SIZE = 3
"""Surface cells along each side; the map has eight points in each."""


def slab() -> Atoms:
    built = fcc100("Cu", (SIZE, SIZE, 4), a=3.59, vacuum=8.0)
    built.set_constraint(FixAtoms(mask=built.get_tags() > 2))
    return built


@pytest.fixture(scope="module")
def over_cu100() -> AdatomMap:
    settings = AdatomMapSettings(spacing=3.59 / 2**0.5 / 8, settle=False, fmax=0.003, n_refined=2)
    return adatom_map(slab(), EMTModel(["Cu"]), settings)


def test_the_hollow_is_lowest_and_the_top_highest(over_cu100: AdatomMap) -> None:
    assert over_cu100.shape == (8 * SIZE, 8 * SIZE)
    cell = over_cu100.energies.reshape(SIZE, 8, SIZE, 8)[0, :, 0, :]
    atom = slab().positions[-1, :2] / (3.59 / 2**0.5) * 8
    i, j = np.round(atom).astype(int) % 8
    assert np.unravel_index(np.argmax(cell), cell.shape) == (i, j)
    assert np.unravel_index(np.argmin(cell), cell.shape) == ((i + 4) % 8, (j + 4) % 8)
    assert over_cu100.converged.all()


def test_the_map_has_the_surfaces_symmetry(over_cu100: AdatomMap) -> None:
    grid = over_cu100.energies.reshape(8 * SIZE, 8 * SIZE)
    i, j = np.round(slab().positions[-1, :2] / (3.59 / 2**0.5) * 8).astype(int)
    grid = np.roll(grid, (-i, -j), axis=(0, 1))
    mirrored = np.roll(grid[::-1], 1, axis=0)
    for other in (grid.T, mirrored, np.roll(grid, 8, axis=0), np.roll(grid, 8, axis=1)):
        assert other == pytest.approx(grid, abs=2e-4)


def test_passes_are_the_bridges_and_as_high_as_a_direct_calculation(over_cu100: AdatomMap) -> None:
    """The substrate held, a hop's saddle lies on the bridge by symmetry: relax there along the normal with ASE."""
    bare = slab()
    hollow, bridge = (_relaxed_along_z(bare, spot) for spot in ((0.5, 0.5), (0.5, 0.0)))
    out = first_ways_out(over_cu100.ways)
    assert len(out) == SIZE**2
    barriers = [way.energy - over_cu100.energies[minimum] for minimum, way in out.items()]
    assert barriers == pytest.approx([bridge - hollow] * SIZE**2, abs=1e-3)
    assert over_cu100.minima[0].barrier == pytest.approx(bridge - hollow, abs=1e-3)


def _relaxed_along_z(bare: Atoms, spot: tuple[float, float]) -> float:
    """Energy, eV, of an adatom on held Cu(100), at a spot in surface cells from a top atom."""
    top = bare.positions[-SIZE * SIZE]
    structure = with_adatom(bare, "Cu", top + np.array([spot[0] * 3.59 / 2**0.5, spot[1] * 3.59 / 2**0.5, 1.7]))
    structure.set_constraint([FixAtoms(range(len(bare))), FixedLine(len(bare), (0, 0, 1))])
    structure.calc = EMT()
    BFGS(structure, logfile=None).run(fmax=1e-3, steps=100)
    return float(structure.get_potential_energy())


def test_refined_minima_lie_in_hollows_and_are_bound(over_cu100: AdatomMap) -> None:
    first, second = over_cu100.minima
    assert first.converged
    assert second.energy == pytest.approx(0.0, abs=2e-3)
    assert -3.5 < first.binding_energy < -2.0
    assert first.binding_energy < over_cu100.energies.min(), "everything gives way"


def test_fcc_and_hcp_hollows_of_111_on_a_slanted_cell() -> None:
    """A primitive (111) cell: two minima, one way between them, and ways to their own copies."""
    bare = fcc111("Cu", (2, 2, 3), a=3.59, vacuum=8.0)
    bare.pbc = True  # as DFT codes have it
    result = adatom_map(bare, EMTModel(["Cu"]), AdatomMapSettings(spacing=0.3, settle=False, n_refined=8))
    assert len(result.minima) == 8
    beside = [nearest_images(m.structure.positions[-1] - bare.positions, bare)[:, :2] for m in result.minima]
    assert max(np.linalg.norm(x, axis=1).min() for x in beside) < 0.2, "above an atom of the second or third layer"
    barrier = result.minima[0].barrier
    assert 0.01 < barrier < 0.15


def test_around_an_icosahedron_all_faces_are_alike() -> None:
    """Twenty faces of Al13: the map's minima are their middles, and equal."""
    ico = Atoms(Icosahedron("Al", 2, latticeconstant=4.0))
    settings = AdatomMapSettings(n_directions=600, n_refined=20, refined_fmax=0.003)
    result = adatom_map(ico, EMTModel(["Al"]), settings, oracle=EMTModel(["Al"]))
    assert len(result.minima) == 20
    assert max(m.energy for m in result.minima) < 2e-3
    assert [m.oracle_energy for m in result.minima[:4]] == pytest.approx([m.energy for m in result.minima[:4]])
    assert np.isnan(result.minima[4].oracle_energy)


def test_relaxing_the_substrate_at_each_point_lowers_the_map() -> None:
    ico = Atoms(Icosahedron("Al", 2, latticeconstant=4.0))
    stiff = adatom_map(ico, EMTModel(["Al"]), AdatomMapSettings(n_directions=30, n_refined=1))
    soft = adatom_map(ico, EMTModel(["Al"]), AdatomMapSettings(n_directions=30, n_refined=1, relax_substrate=True))
    assert (soft.energies <= stiff.energies + 1e-3).all()
    off_line = np.cross(soft.positions - soft.substrate.positions.mean(axis=0), soft.lines)
    assert np.linalg.norm(off_line, axis=1).max() < 1e-6


def test_resting_places_touch_one_atom() -> None:
    ico = Atoms(Icosahedron("Al", 2, latticeconstant=4.0))
    rays = fibonacci_sphere(100)
    places = resting_places(ico, "Al", np.tile(ico.positions.mean(axis=0), (100, 1)), rays, 2.8)
    distances = np.linalg.norm(places[:, None] - ico.positions, axis=2)
    assert distances.min(axis=1) == pytest.approx(np.full(100, 2.8))
    lonely = resting_places(Atoms("Al"), "Al", np.array([[9.0, 0, 0]]), np.array([[0, 0, 1.0]]), 2.8)
    assert np.isnan(lonely).all()


def test_a_bulk_crystal_has_no_surface() -> None:
    with pytest.raises(InputError, match="got a bulk crystal"):
        adatom_map(bulk("Cu", cubic=True), EMTModel(["Cu"]))


def test_a_flood_finds_the_lowest_of_all_paths() -> None:
    """Against brute force: raise the water and see when two minima hang together."""
    rng = np.random.default_rng(5)
    mesh, energies = periodic_mesh(9, 7), rng.random(63)
    minima, ways = local_minima(mesh, energies), passes(mesh, energies)
    for way in ways:
        a, b = way.minima
        if a != b:
            assert _joined(mesh.edges, energies, way.energy + 1e-12, a, b)
            assert not _joined(mesh.edges, energies, way.energy - 1e-12, a, b)
    assert sum(way.minima[0] != way.minima[1] for way in ways) == len(minima) - 1
    assert sum(way.minima[0] == way.minima[1] for way in ways) == 2, "two ways around a torus"


def _joined(edges: np.ndarray, energies: np.ndarray, level: float, a: int, b: int) -> bool:
    reached, grown = {a}, True
    while grown:
        grown = False
        for pair in edges[(energies[edges] <= level).all(axis=1)].tolist():
            if len(reached & set(pair)) == 1:
                reached |= set(pair)
                grown = True
    return b in reached


def test_ways_to_the_own_copy_in_the_next_cell() -> None:
    """One minimum in a cell: out along x over 1 eV, along y over 3 eV."""
    x, y = np.meshgrid(np.arange(8) / 8, np.arange(8) / 8, indexing="ij")
    energies = (0.5 * (1 - np.cos(2 * np.pi * x)) + 1.5 * (1 - np.cos(2 * np.pi * y))).ravel()
    ways = passes(periodic_mesh(8, 8), energies)
    assert [(way.minima, way.energy) for way in ways] == [((0, 0), pytest.approx(1.0)), ((0, 0), pytest.approx(3.0))]


def test_nothing_crosses_what_is_unknown() -> None:
    energies = np.random.default_rng(2).random((6, 6))
    energies[0], energies[3] = np.nan, np.nan
    ways = passes(periodic_mesh(6, 6), energies.ravel())
    bands = {(way.minima[0] // 6 < 3, way.minima[1] // 6 < 3) for way in ways}
    assert bands == {(True, True), (False, False)}
    assert sum(way.minima[0] == way.minima[1] for way in ways) == 2, "one way around along each band"


def test_neighbours_on_a_sphere() -> None:
    """Euler: a triangulation of the sphere has 3n − 6 edges."""
    assert len(sphere_mesh(fibonacci_sphere(200)).edges) == 3 * 200 - 6


def test_files(over_cu100: AdatomMap, tmp_path: Path) -> None:
    headline = write_adatom_map(over_cu100, tmp_path)
    written = json.loads((tmp_path / "adatom_map.json").read_text())
    assert len(written["minima"]) == headline["n_minima"] == 2
    for name in ("adatom_map.csv", "adatom_map.extxyz", "adatom_map_points.extxyz", "adatom_map.png"):
        assert (tmp_path / name).stat().st_size > 100
