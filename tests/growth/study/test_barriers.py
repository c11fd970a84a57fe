"""Elastic bands: over a surface whose saddles are known by heart, and over a small EMT slab against ASE's own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms

from growth.emt import EMTModel
from growth.energy_model import CountingModel
from growth.errors import InputError
from growth.lennard_jones import LennardJonesModel
from growth.study.barriers import BarrierSettings, barrier, write_barrier
from learner.prediction import Prediction
from tests.growth.egg_box import EDGE, HEIGHT, EggBox

RNG = np.random.default_rng(0)


def egg(x: float, y: float = 0.0) -> Atoms:
    return Atoms("Cu", [[x, y, 0.1]], cell=[20.0, 20.0, 20.0], pbc=True)


class TwoMembers(EggBox):
    """Members whose barriers are a tenth apart."""

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        found = super().__call__(structures)
        members = np.stack([0.95 * found.energies, 1.05 * found.energies])
        return Prediction(found.energies, found.forces, members, found.forces_std, found.atom_energies)


def test_a_barrier_known_by_heart(tmp_path: Path) -> None:
    model = CountingModel(TwoMembers())
    found = barrier((egg(0.1), egg(EDGE - 0.1)), model, BarrierSettings(n_images=5), RNG, oracle=EggBox())
    assert found.converged
    assert found.barrier == pytest.approx(2 * HEIGHT, abs=1e-4)
    assert found.reverse_barrier == pytest.approx(2 * HEIGHT, abs=1e-4)
    assert found.std(found.highest) == pytest.approx(0.05 * 2 * HEIGHT, abs=1e-4)
    assert found.path[-1] == pytest.approx(EDGE, abs=0.02)
    assert not found.between
    assert found.oracle == pytest.approx(found.energies)
    assert found.curve.fit_energies.max() == pytest.approx(found.barrier, abs=2e-3)
    told = write_barrier(found, tmp_path)
    assert told["oracle_barrier_ev"] == pytest.approx(told["barrier_ev"])
    assert {path.name for path in tmp_path.iterdir()} == {f"barrier.{end}" for end in ("json", "csv", "extxyz", "png")}


def test_all_images_are_asked_for_in_one_call() -> None:
    model = CountingModel(EggBox())
    found = barrier((egg(0.0), egg(EDGE)), model, BarrierSettings(n_images=5, relax_ends=False), RNG)
    assert model.calls <= found.n_calls + 3
    assert model.structures <= 5 * found.n_calls + 3 * 7


def test_the_band_goes_the_short_way_round_the_cell() -> None:
    found = barrier((egg(0.0), egg(20.0 - EDGE)), EggBox(), BarrierSettings(n_images=3), RNG)
    assert found.path[-1] == pytest.approx(EDGE, abs=0.02)


def test_minima_between_are_found() -> None:
    found = barrier((egg(0.0), egg(2 * EDGE)), EggBox(), BarrierSettings(n_images=7), RNG)
    assert found.barrier == pytest.approx(2 * HEIGHT, abs=2e-3)
    (between,) = found.between
    assert between.structure.positions[0] == pytest.approx([EDGE, 0.0, 0.0], abs=0.02)
    assert between.energy == pytest.approx(-2 * HEIGHT, abs=1e-4)


def test_a_failed_label_is_nan(tmp_path: Path) -> None:
    class Failing(EggBox):
        def __call__(self, structures: Sequence[Atoms]) -> Prediction:
            found = super().__call__(structures)
            found.energies[len(structures) // 2] = np.nan
            return found

    found = barrier((egg(0.0), egg(EDGE)), EggBox(), BarrierSettings(n_images=3), RNG, oracle=Failing())
    assert found.oracle is not None
    assert np.isnan(found.oracle).sum() == 1
    write_barrier(found, tmp_path)
    assert '"oracle_barrier_ev": null' in (tmp_path / "barrier.json").read_text()


def test_an_adatom_hops_on_copper() -> None:
    """0.411 eV on five layers; three layers of 3 × 3 atoms are stiffer."""

    def slab(hollow: tuple[int, int]) -> Atoms:
        crystal = fcc100("Cu", (3, 3, 3), a=3.59, vacuum=6.0)
        add_adsorbate(crystal, "Cu", 1.7, "hollow", offset=hollow)
        crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag == 3]))
        crystal.pbc = (True, True, False)
        return crystal

    found = barrier((slab((0, 0)), slab((1, 0))), EMTModel(["Cu"]), BarrierSettings(n_images=3), RNG)
    assert found.converged
    assert found.barrier == pytest.approx(0.411, abs=0.02)
    assert found.reverse_barrier == pytest.approx(found.barrier, abs=1e-3)
    held = [atom.index for atom in slab((0, 0)) if atom.tag == 3]
    assert all((image.positions[held] == found.images[0].positions[held]).all() for image in found.images)


def test_free_clusters_may_turn() -> None:
    """A cap of Lennard-Jones 7 that moves to the next face of the octahedron, the end turned out of the way."""
    octahedron = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]) * 2.0
    first, last = (Atoms("Ar7", [*octahedron, cap]) for cap in ([2.0, 2.0, 2.0], [-2.0, 2.0, 2.0]))
    straight = barrier((first, last), LennardJonesModel(0.1, 2.5), BarrierSettings(n_images=5, fmax=0.005), RNG)
    last.rotate(50, (1, 2, 3))
    last.translate([3.0, 0, 0])
    turned = barrier((first, last), LennardJonesModel(0.1, 2.5), BarrierSettings(n_images=5, fmax=0.005), RNG)
    assert straight.converged
    assert turned.converged
    assert turned.barrier == pytest.approx(straight.barrier, abs=1e-3)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((egg(0.0), Atoms("Al", cell=[20, 20, 20], pbc=True)), "same atoms in the same order"),
        ((egg(0.0), Atoms("Cu", cell=[20, 20, 21], pbc=True)), "same cell"),
        ((egg(0.0), egg(0.3)), "both lead to one"),
    ],
)
def test_ends_that_do_not_match(ends: tuple[Atoms, Atoms], message: str) -> None:
    with pytest.raises(InputError, match=message):
        barrier(ends, EggBox(), BarrierSettings(), RNG)
