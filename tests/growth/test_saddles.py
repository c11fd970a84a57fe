"""Saddle search: against a surface whose saddles are known by heart, and EMT's adatom hop on Cu(100)."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms

from growth.emt import EMTModel
from growth.relax import relax
from growth.saddles import Process, SaddleSettings, refine_saddles, search_saddles
from tests.growth.egg_box import EDGE, HEIGHT, SPRING, EggBox


@pytest.fixture(scope="module")
def settings() -> SaddleSettings:
    return SaddleSettings(radius=None, fmax=1e-3)


@pytest.fixture
def egg() -> Atoms:
    """The box is periodic, so nothing is a rigid motion of it."""
    return Atoms("Cu", cell=[20.0, 20.0, 20.0], pbc=True)


def test_saddles_known_by_heart(egg: Atoms, settings: SaddleSettings) -> None:
    minimum = relax([egg], EggBox(), 1e-4)[0]
    found = search_saddles(minimum, [0] * 24, EggBox(), settings, np.random.default_rng(0))
    processes = [p for p in found if isinstance(p, Process)]
    assert len(processes) >= 12
    curvature = HEIGHT * (2 * np.pi / EDGE) ** 2
    for process in processes:
        assert process.barrier == pytest.approx(2 * HEIGHT, abs=1e-5)
        assert process.reverse_barrier == pytest.approx(process.barrier, abs=1e-5)
        assert process.curvature == pytest.approx(-curvature, rel=0.01)
        assert process.next_curvature == pytest.approx(min(curvature, SPRING), rel=0.01)
        ends = process.final.structure.positions[0] - process.saddle.structure.positions[0]
        assert (ends * process.mode[0]).sum() > 0
    ends = {tuple(np.round(p.final.structure.positions[0] / EDGE).astype(int)) for p in processes}
    assert ends == {(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)}


def test_a_hill_is_no_saddle(egg: Atoms, settings: SaddleSettings) -> None:
    minimum = relax([egg], EggBox(), 1e-4)[0]
    top = np.array([[EDGE / 2, EDGE / 2, 0.0]])
    guess = (top, np.array([[1.0, 0.0, 0.0]]), 0)
    assert refine_saddles(minimum, [guess], EggBox(), settings) == ["higher order"]


def test_a_saddle_of_another_minimum_is_told(egg: Atoms, settings: SaddleSettings) -> None:
    minimum = relax([egg], EggBox(), 1e-4)[0]
    further = np.array([[2.5 * EDGE + 0.1, 0.05, 0.0]])
    guess = (further, np.array([[1.0, 0.0, 0.0]]), 0)
    assert refine_saddles(minimum, [guess], EggBox(), settings) == ["elsewhere"]


def test_a_ceiling_ends_a_climb(egg: Atoms) -> None:
    minimum = relax([egg], EggBox(), 1e-4)[0]
    low = SaddleSettings(radius=None, ceiling=0.1)
    assert set(search_saddles(minimum, [0] * 4, EggBox(), low, np.random.default_rng(0))) == {"too high"}


@pytest.fixture(scope="module")
def adatom_on_copper() -> Atoms:
    """In a hollow of (100), the last atom; the two lowest layers are held."""
    slab = fcc100("Cu", (4, 4, 5), a=3.5898, vacuum=8.0)
    add_adsorbate(slab, "Cu", 1.7, "hollow")
    slab.set_constraint(FixAtoms([a.index for a in slab if a.tag >= 4]))
    slab.pbc = (True, True, False)
    return slab


def test_adatom_hop_on_copper_without_end_states(adatom_on_copper: Atoms) -> None:
    """0.411 eV, by climbing nudged elastic band on the same slab."""
    model = EMTModel(["Cu"])
    minimum = relax([adatom_on_copper], model, 0.01)[0]
    settings = SaddleSettings(exchange=0.0)
    found = search_saddles(minimum, [80] * 5, model, settings, np.random.default_rng(0))
    hops = [p for p in found if isinstance(p, Process) and len(p.moved(1.0)) == 1 and p.barrier < 0.6]
    assert hops
    for hop in hops:
        assert hop.barrier == pytest.approx(0.411, abs=0.003)
        assert hop.reverse_barrier == pytest.approx(hop.barrier, abs=0.003)
        assert hop.curvature < 0 < hop.next_curvature
        assert (hop.saddle.structure.positions[:32] == adatom_on_copper.positions[:32]).all()


def test_an_atom_pushed_into_a_neighbours_place_exchanges_with_it(adatom_on_copper: Atoms) -> None:
    """1.017 eV, by climbing nudged elastic band on the same slab; random pushes seldom lead there."""
    model = EMTModel(["Cu"])
    minimum = relax([adatom_on_copper], model, 0.01)[0]
    settings = SaddleSettings(exchange=1.0)
    found = search_saddles(minimum, [80] * 6, model, settings, np.random.default_rng(0))
    exchanges = [p for p in found if isinstance(p, Process) and abs(p.barrier - 1.017) < 0.004]
    assert len(exchanges) >= 4
    for exchange in exchanges:
        ends, top = exchange.final.structure.positions, minimum.structure.positions[80, 2]
        emerged = int(ends[:, 2].argmax())
        assert emerged in exchange.moved(1.0).tolist()
        assert emerged != 80
        assert ends[emerged, 2] == pytest.approx(top, abs=0.01)
        assert ends[80, 2] == pytest.approx(minimum.structure.positions[emerged, 2], abs=0.1)


def test_same_seed_same_processes(egg: Atoms, settings: SaddleSettings) -> None:
    minimum = relax([egg], EggBox(), 1e-4)[0]
    runs = [search_saddles(minimum, [0] * 3, EggBox(), settings, np.random.default_rng(5)) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert (isinstance(a, str) and a == b) or (a.saddle.structure.positions == b.saddle.structure.positions).all()
