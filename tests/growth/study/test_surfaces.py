"""EMT's surface energies and Wulff shapes, known; slabs whose upper side is known; shapes by symmetry."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, fcc100, fcc111
from ase.constraints import FixAtoms
from pydantic import ValidationError

from growth.emt import EMTModel
from growth.energy_model import CommitteeModel
from growth.errors import InputError
from growth.relax import relax
from growth.sites import with_adatom
from growth.study.grown_surface import grown_surface_energy
from growth.study.surface_files import write_surfaces
from growth.study.surfaces import SurfaceSettings, SurfacesResult, cleaved, intercepts, surface_energies
from growth.study.wulff import wulff_shape
from scripts.benchmark_surfaces import measured, table
from tests.growth.study.test_contributions import Stretched

KNOWN = {
    "Cu": ((1.044, 1.134, 1.229), (0.641, 0.291, 0.069)),
    "Al": ((0.707, 0.731, 0.788), (0.503, 0.332, 0.164)),
}
"""EMT: surface energies in J/m² and Wulff area shares of (111), (100), (110)."""


@pytest.fixture(scope="module")
def copper() -> SurfacesResult:
    return surface_energies("Cu", EMTModel(["Cu"]))


def test_surface_energies_and_wulff_shape_of_emt_copper(copper: SurfacesResult) -> None:
    energies, shares = KNOWN["Cu"]
    assert copper.lattice_constant == pytest.approx(3.590, abs=2e-3)
    assert [surface.energy for surface in copper.surfaces] == pytest.approx(energies, rel=0.02)
    assert list(copper.area_shares.values()) == pytest.approx(shares, rel=0.02)
    assert all(surface.converged for surface in copper.surfaces)


def test_fit_over_thickness_and_bulk_calculation_agree(copper: SurfacesResult) -> None:
    for surface in copper.surfaces:
        assert surface.energies == pytest.approx(surface.by_bulk, rel=2e-3)


def test_surface_energies_and_wulff_shape_of_emt_aluminium() -> None:
    energies, shares = KNOWN["Al"]
    found = surface_energies("Al", EMTModel(["Al"]))
    assert [surface.energy for surface in found.surfaces] == pytest.approx(energies, rel=0.02)
    assert list(found.area_shares.values()) == pytest.approx(shares, rel=0.02)


def test_members_have_their_own_surface_energies_and_shapes() -> None:
    """Members that multiply the energy multiply γ; one shape for all."""
    factors = np.array([0.9, 1.0, 1.2])
    settings = SurfaceSettings(thicknesses=(9.0, 13.0), fmax=0.02)
    alone = surface_energies("Al", EMTModel(["Al"]), settings)
    found = surface_energies("Al", CommitteeModel(Stretched(factors)), settings, oracle=EMTModel(["Al"]))
    for one, other in zip(alone.surfaces, found.surfaces, strict=True):
        assert other.energies == pytest.approx(factors * one.energy, rel=0.01)
        assert other.oracle_energy == pytest.approx(one.energy, rel=0.05)
    assert found.member_shares.std(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)


@pytest.mark.parametrize("miller", [(2, 1, 1), (3, 1, 1), (3, 2, 1)])
def test_any_surface_can_be_cut(miller: tuple[int, int, int]) -> None:
    """As thick as asked for, vacuum on both sides, and as dense as the bulk over whole layers."""
    crystal = bulk("Cu", "fcc", a=3.59, cubic=True)
    slab = cleaved(crystal, miller, 10.0, 8.0)
    heights = slab.positions[:, 2]
    assert slab.cell[2, 2] == pytest.approx(np.ptp(heights) + 16.0)
    spacing = 3.59 / np.linalg.norm(miller) * (1.0 if all(h % 2 for h in miller) else 0.5)
    density = len(slab) / (np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])) * (np.ptp(heights) + spacing))
    assert density == pytest.approx(4 / 3.59**3)
    assert np.ptp(heights) + spacing > 10.0


def test_a_line_gives_its_intercept() -> None:
    sizes = np.array([4, 8, 12])
    assert intercepts(sizes, np.array([0.5 - 3.0 * sizes, 0.7 - 2.9 * sizes])) == pytest.approx([0.5, 0.7])


def test_wulff_shapes_by_symmetry() -> None:
    cube = wulff_shape([(1, 0, 0)], np.array([2.0]))
    assert cube is not None
    assert len(cube.faces) == 6
    assert cube.weighted_energy == pytest.approx(2.0)
    truncated = wulff_shape([(1, 1, 1), (1, 0, 0)], np.array([1.0, 1.0]))
    assert truncated is not None
    assert sorted(len(face) for face in truncated.faces) == 6 * [4] + 8 * [6], "an octahedron cut by a cube"
    octahedron = wulff_shape([(1, 1, 1), (1, 0, 0)], np.array([1.0, 3.0]))
    assert octahedron is not None
    assert octahedron.area_shares == pytest.approx([1.0, 0.0])
    assert wulff_shape([(1, 1, 1)], np.array([-0.1])) is None


@pytest.mark.parametrize("n_held", [0, 2])
def test_a_built_slab_has_its_facets_energy(copper: SurfacesResult, n_held: int) -> None:
    slab = fcc100("Cu", (2, 2, 9), a=copper.lattice_constant, vacuum=8.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 9 - n_held))
    model = EMTModel(["Cu"])
    relaxed = relax([slab], model, 0.005, 300)[0].structure
    found = grown_surface_energy(relaxed, model)
    assert found.energies[0] == pytest.approx(copper.surfaces[1].energy, rel=0.01)
    assert found.bottom == ("100" if n_held else None)


def test_an_adatom_costs_its_share() -> None:
    model = EMTModel(["Cu"])
    slab = fcc111("Cu", (3, 3, 4), a=3.59, vacuum=8.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 3))
    rough = with_adatom(slab, "Cu", slab.positions[-1] + np.array([0.0, 3.59 / 6**0.5, 2.07]))
    flat, found = grown_surface_energy(slab, model), grown_surface_energy(rough, model)
    assert found.energies[0] > flat.energies[0] + 0.1


def test_what_is_no_grown_slab_is_refused() -> None:
    model = EMTModel(["Cu", "Al"])
    slab = fcc111("Cu", (2, 2, 3), a=3.59, vacuum=8.0)
    slab.set_constraint(FixAtoms(indices=[0, 1, 2]))
    with pytest.raises(InputError, match="perfect fcc layer"):
        grown_surface_energy(slab, model)
    slab.symbols[0] = "Al"
    with pytest.raises(InputError, match="one element"):
        grown_surface_energy(slab, model)


def test_settings_refuse_no_surface() -> None:
    with pytest.raises(ValidationError, match="expected Miller indices"):
        SurfaceSettings(millers=((0, 0, 0),))
    with pytest.raises(ValidationError, match="each surface once"):
        SurfaceSettings(millers=((1, 0, 0), (1, 0, 0)))


def test_no_stable_lattice_is_told() -> None:
    with pytest.raises(InputError, match=r"give surfaces\.lattice_constant"):
        surface_energies("Cu", EMTModel(["Cu"]), SurfaceSettings(lattice_constant=6.5))


def test_files(copper: SurfacesResult, tmp_path: Path) -> None:
    headline = write_surfaces(copper, tmp_path)
    written = json.loads((tmp_path / "surfaces.json").read_text())
    assert written["surface_energy_111_j_per_m2"] == pytest.approx(headline["surface_energy_111_j_per_m2"])
    for name in ("surfaces.csv", "surfaces.extxyz", "surfaces.png"):
        assert (tmp_path / name).stat().st_size > 100


def test_the_benchmark_runs(tmp_path: Path) -> None:
    found = measured("Cu", SurfaceSettings(millers=((1, 1, 1),), thicknesses=(8.0, 12.0)), tmp_path)
    assert "| (111) | 1.04" in table("Cu", found)
