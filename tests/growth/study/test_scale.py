"""Stable distances that are known, and members whose minima are put there by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc100
from ase.cluster import Icosahedron

from growth.emt import EMTModel
from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.lennard_jones import LennardJonesModel
from growth.study.scale import ScaleSettings, minimum, nearest_distance, scale_curve, scaled, write_scale
from learner.prediction import Prediction


class Pulled:
    """A committee whose members are one model, their structures scaled by a factor each before they look."""

    reach = 20.0

    def __init__(self, model: EnergyModel, factors: Sequence[float]) -> None:
        self.model, self.factors = model, factors

    @property
    def screen(self) -> "Pulled":
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        found = [self.model([scaled(s, f) for s in structures]) for f in self.factors]
        members = np.array([f.energies for f in found])
        return Prediction(members.mean(0), found[0].forces, members, found[0].forces_std, found[0].atom_energies)


@pytest.mark.parametrize(("symbol", "a"), [("Al", 3.995), ("Cu", 3.590)])
def test_bulk_emt_has_its_known_lattice_constant(symbol: str, a: float) -> None:
    result = scale_curve(bulk(symbol, "fcc", a=1.02 * a), EMTModel([symbol]))
    assert result.lattice_constants is not None
    assert result.lattice_constants * result.stable_scale == pytest.approx(3 * [a], abs=2e-3)
    assert result.nearest * result.stable_scale == pytest.approx(a / 2**0.5, abs=2e-3)
    assert result.stable_std == 0.0


@pytest.mark.parametrize(("symbol", "a"), [("Al", 3.9947), ("Cu", 3.5900)])
def test_bulk_modulus_is_the_curvature(symbol: str, a: float) -> None:
    model, crystal = EMTModel([symbol]), bulk(symbol, a=a)
    h, volume = 1e-3, crystal.get_volume()
    low, middle, high = model([scaled(crystal, (1 + step) ** (1 / 3)) for step in (-h, 0.0, h)]).energies
    curvature = (low - 2 * middle + high) / (h * volume) ** 2 * volume / units.GPa
    assert scale_curve(crystal, model).bulk_modulus == pytest.approx(curvature, rel=0.02)


def test_dimer_and_tetrahedron_of_lennard_jones_touch_at_the_wells_minimum() -> None:
    model = LennardJonesModel(0.4, 2.5)
    for positions in ([[0, 0, 0], [1, 0, 0]], [[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]):
        cluster = Atoms(len(positions) * "Ar", np.array(positions) * 2.0)
        result = scale_curve(cluster, model, ScaleSettings(least=0.7, most=1.6))
        assert result.stable_scale * result.nearest == pytest.approx(model.bond_length, abs=2e-4)
        n_pairs = len(cluster) * (len(cluster) - 1) / 2
        assert result.cohesive_energies[0] == pytest.approx(0.4 * n_pairs / len(cluster), rel=1e-4)


def test_far_apart_is_as_alone() -> None:
    result = scale_curve(Atoms(Icosahedron("Al", 2, latticeconstant=4.0)), EMTModel(["Al"]))
    assert result.energies[-1] == pytest.approx(result.isolated[0], abs=1e-3)
    assert (result.energies <= result.isolated[0] + 1e-6)[result.scales > 1].all()


def test_every_member_has_its_own_minimum() -> None:
    factors = np.array([0.98, 1.0, 1.01, 1.03])
    structure = Atoms(Icosahedron("Cu", 2, latticeconstant=3.6))
    alone = scale_curve(structure, EMTModel(["Cu"])).stable_scale
    result = scale_curve(structure, Pulled(EMTModel(["Cu"]), factors))
    assert result.stable_std == pytest.approx(alone * (1 / factors).std(), rel=0.01)
    assert result.n_without == 0
    at_minimum = int(np.argmin(np.abs(result.scales - result.stable_scale)))
    assert result.difference_std[at_minimum] < 0.01 < result.difference_std[at_minimum - 10]


def test_a_curve_that_only_falls_has_no_minimum() -> None:
    x = np.linspace(0.8, 1.2, 41)
    assert np.isnan(minimum(x, -x, 0.04))
    dip = (x - 1.013) ** 2 - 4.0 * (x < 0.81)
    assert minimum(x, dip, 0.04) == pytest.approx(1.013, abs=1e-6), "a hole at the end of the range is no minimum"
    hole = (x - 1.013) ** 2 - 4.0 * np.exp(-(((x - 0.87) / 0.01) ** 2))
    assert minimum(x, hole, 0.04) == pytest.approx(1.013, abs=1e-6), "nor is one beyond a barrier"
    assert minimum(x, hole, 0.04, start=0.88) == pytest.approx(0.87, abs=2e-3)
    noisy = (x - 1.013) ** 2 + 1e-7 * np.random.default_rng(0).normal(size=len(x))
    assert minimum(x, noisy, 0.04) == pytest.approx(1.013, abs=2e-4)


def test_in_plane_keeps_heights() -> None:
    slab = fcc100("Cu", (2, 2, 3), a=3.7, vacuum=6.0)
    stretched = scaled(slab, 1.1, "in-plane")
    assert np.ptp(stretched.positions[:, 2]) == pytest.approx(np.ptp(slab.positions[:, 2]))
    assert stretched.cell[0, 0] == pytest.approx(1.1 * slab.cell[0, 0])
    result = scale_curve(slab, EMTModel(["Cu"]), ScaleSettings(mode="in-plane"))
    assert 0.9 < result.stable_scale < 1.0, "the surface pulls a stretched slab together"
    with pytest.raises(InputError, match="expected a slab"):
        scale_curve(Atoms("Cu2", [[0, 0, 0], [2, 0, 0]]), EMTModel(["Cu"]), ScaleSettings(mode="in-plane"))


def test_nearest_distance_counts_images_and_the_far() -> None:
    assert nearest_distance(bulk("Cu", a=3.6)) == pytest.approx(3.6 / 2**0.5)
    assert nearest_distance(Atoms("Ar2", [[0, 0, 0], [0, 0, 30.0]])) == pytest.approx(30.0)


def test_files(tmp_path: Path) -> None:
    class Fails(EMTModel):
        def __call__(self, structures: Sequence[Atoms]) -> Prediction:
            found = super().__call__(structures)
            found.energies[0] = np.nan
            return found

    structure = Atoms(Icosahedron("Al", 2, latticeconstant=4.0))
    result = scale_curve(structure, EMTModel(["Al"]), oracle=Fails(["Al"]))
    headline = write_scale(result, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"scale.json", "scale.csv", "scale.extxyz", "scale.png"}
    written = json.loads((tmp_path / "scale.json").read_text())
    assert written["stable_distance_A"] == pytest.approx(headline["stable_distance_A"])
    assert written["oracle"]["energy_ev"][0] is None
    assert len(result.oracle_scales) == 7
