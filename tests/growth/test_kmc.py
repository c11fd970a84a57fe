"""Growth in time: against walks whose rates are known by heart, and a copper slab."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.cluster import Octahedron
from ase.constraints import FixAtoms

from growth.candidates import bond_lengths
from growth.emt import EMTModel
from growth.errors import InputError
from growth.event_table import EventTable, TableSettings, moved_key
from growth.events import State
from growth.kinetics import arrhenius
from growth.kmc import Catalogue, KineticGrowth, KineticSettings, flight, open_area
from growth.relax import movable_atoms, relax
from growth.saddles import SaddleSettings
from tests.growth.egg_box import EDGE, HEIGHT, EggBox, boxed

SEARCH = TableSettings(
    radius=3.3,
    batch=24,
    max_searches=48,
    missing=0.01,
    most_neighbours=20,
    highest=1.0,
    saddles=SaddleSettings(radius=None, fmax=1e-3),
)


def walker(model: EggBox, table: EventTable | None = None, **settings: object) -> KineticGrowth:
    """One atom in an egg box."""
    atom = relax([boxed(6)], model, 1e-4)[0].structure
    chosen = KineticSettings.model_validate({"relax_every": 0, "table": SEARCH, **settings})
    return KineticGrowth(model, chosen, State(atom), table)


def test_diffusion_is_the_rates() -> None:
    model, temperature = EggBox(), 500.0
    rng, table, squares, times = np.random.default_rng(1), None, [], []
    for _ in range(40):
        growth = walker(model, table, temperature_K=temperature)
        table, way = growth.table, np.zeros(2)
        for _ in range(15):
            before = growth.state.crystal.positions[0, :2]
            growth.step(rng)
            move = growth.state.crystal.positions[0, :2] - before
            way += move - 6 * EDGE * np.round(move / (6 * EDGE))
        squares.append(float(way @ way))
        times.append(growth.state.time)
    rate = float(arrhenius(2 * HEIGHT, 1e13, temperature))
    assert np.mean(times) == pytest.approx(15 / (4 * rate), abs=3 * np.std(times) / 40**0.5)
    D = np.mean(squares) / (4 * np.mean(times))
    error = np.std(np.array(squares) - 4 * D * np.array(times)) / (4 * np.mean(times) * 40**0.5)
    assert pytest.approx(rate * EDGE**2, abs=3 * error) == D


def test_a_flicker_is_folded_and_left_at_the_right_time() -> None:
    """Wells in pairs: 2A − B between the two, more to either side; both are left sideways at the same rate."""
    model, temperature = EggBox(pairing=0.15), 300.0
    rng, table, times, most = np.random.default_rng(2), None, [], 0
    for _ in range(40):
        growth = walker(model, table, temperature_K=temperature, fold_faster=1e6)
        table, start = growth.table, growth.state.crystal.positions[0].copy()
        for _ in range(100):
            state, event = growth.step(rng)
            most = max(most, event.n_folded)
            x, y = (state.crystal.positions[0, :2] - start[:2] + 3 * EDGE) % (6 * EDGE) - 3 * EDGE
            if abs(y) > 0.5 * EDGE or x > 1.5 * EDGE or x < -0.5 * EDGE:
                break
        times.append(state.time)
    assert most == 2
    catalogue = Catalogue(growth.table)
    catalogue.update(walker(model).state.crystal, rng)
    fast, *slow = sorted(t.process.barrier for t in catalogue.transitions)
    assert len(slow) == 3
    assert fast < min(slow) - 0.1
    mean = 1 / float(arrhenius(np.array(slow), 1e13, temperature).sum())
    assert np.mean(times) == pytest.approx(mean, abs=3 * mean / 40**0.5)
    assert float(arrhenius(fast, 1e13, temperature)) * mean > 100  # so many hops were not made


def test_an_atom_arrives_while_another_flickers() -> None:
    """At the rate of the flux, however fast the flicker."""
    model, rng, table, times = EggBox(pairing=0.15), np.random.default_rng(5), None, []
    flux = 1e6 / (6 * EDGE) ** 2  # a million a second, an eighth of the flicker's rate, 12 times all other hops
    for _ in range(40):
        growth = walker(model, table, temperature_K=300.0, fold_faster=1e6, flux={"Cu": flux})
        table = growth.table
        for _ in range(100):
            state, event = growth.step(rng)
            if event.kind == "attach":
                break
        assert len(state.crystal) == len(boxed(6)) + 1
        times.append(state.time)
    assert np.mean(times) == pytest.approx(1e-6, abs=3e-6 / 40**0.5)
    assert event.n_folded in (1, 2)


@pytest.fixture(scope="module")
def copper() -> KineticGrowth:
    slab = fcc100("Cu", (4, 4, 4), a=3.5898, vacuum=6.0)
    for place in ((0, 0), (2, 1)):
        add_adsorbate(slab, "Cu", 1.7, "hollow", offset=place)
    slab.set_constraint(FixAtoms([a.index for a in slab if a.tag >= 3]))
    slab.pbc = (True, True, False)
    model = EMTModel(["Cu"])
    settings = KineticSettings(
        temperature_K=400.0, flux={"Cu": 1e3}, table=TableSettings(max_searches=6, missing=0.5, highest=0.6)
    )
    return KineticGrowth(model, settings, State(relax([slab], model, 0.01)[0].structure))


def test_what_is_kept_up_to_date_is_what_a_fresh_look_finds(copper: KineticGrowth) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        state, event = copper.step(rng)
        assert event.duration > 0
    assert state.step == 3
    copper.catalogue.update(state.crystal, rng, copper._fresh)
    fresh = Catalogue(copper.table)
    fresh.update(state.crystal, rng)
    same = copper.settings.table.saddles.same
    kept, found = (
        sorted((moved_key(t, same), round(t.process.barrier, 3)) for t in c.transitions)
        for c in (copper.catalogue, fresh)
    )
    assert kept == found
    assert len(kept) >= 4


def test_arrivals_are_flux_times_area(copper: KineticGrowth) -> None:
    crystal = copper.state.crystal
    area = crystal.cell[0, 0] * crystal.cell[1, 1]
    assert copper.arrivals(crystal) == pytest.approx([1e3 * area])


def test_an_atom_that_arrives_is_relaxed_where_it_lands(copper: KineticGrowth) -> None:
    crystal, rng = copper.state.crystal, np.random.default_rng(3)
    after, event, moved = copper._attach(crystal, "Cu", 1.0, rng)
    assert (event.kind, event.atom, moved.tolist()) == ("attach", len(crystal), [len(crystal)])
    assert len(after) == len(crystal) + 1
    near = movable_atoms(after) & (after.get_distances(-1, range(len(after)), mic=True) < 3.0)
    assert np.linalg.norm(copper.model([after]).forces[0], axis=1)[near].max() < 0.011


@pytest.mark.parametrize("shape", ["slab", "cluster"])
def test_it_lands_where_it_first_touches(shape: str) -> None:
    crystal = Atoms(Octahedron("Cu", 5)) if shape == "cluster" else fcc100("Cu", (3, 3, 3), vacuum=6.0)
    crystal.pbc = (shape == "slab", shape == "slab", False)
    rng, reach = np.random.default_rng(0), bond_lengths(crystal, "Cu")
    for _ in range(50):
        place, direction = flight(crystal, "Cu", rng)
        assert np.linalg.norm(direction) == pytest.approx(1.0)
        adatom = crystal + Atoms("Cu", [place])
        distances = adatom.get_distances(-1, range(len(crystal)), mic=True)
        assert (distances / reach).min() == pytest.approx(1.0, abs=1e-9)


def test_every_side_of_a_cluster_is_hit_alike() -> None:
    cluster, rng = Atoms(Octahedron("Cu", 4)), np.random.default_rng(1)
    centre = cluster.positions.mean(axis=0)
    octants = [tuple(flight(cluster, "Cu", rng)[0] > centre) for _ in range(800)]
    counts = [octants.count(octant) for octant in set(octants)]
    assert len(counts) == 8
    assert sum((n - 100) ** 2 / 100 for n in counts) < 24.3  # chi square, 7 degrees of freedom, 0.1 %


def test_areas() -> None:
    slab = fcc100("Cu", (3, 4, 3), vacuum=6.0)
    slab.pbc = (True, True, False)
    assert open_area(slab) == pytest.approx(12 * (3.61**2) / 2)
    slab.pbc = True
    with pytest.raises(InputError, match="two directions"):
        open_area(slab)


def test_nothing_can_happen() -> None:
    growth = walker(EggBox(), table=None)
    growth.table.settings = TableSettings(most_neighbours=0, max_searches=1, highest=0.01, saddles=SEARCH.saddles)
    with pytest.raises(InputError, match="nothing can happen"):
        growth.step(np.random.default_rng(0))


def test_sticking_of_what_does_not_arrive() -> None:
    with pytest.raises(InputError, match="expected species of the flux, got Au"):
        walker(EggBox(), sticking={"Au": 0.5})


def test_what_has_drifted_from_what_it_is_known_by_is_relaxed() -> None:
    """An adatom's surroundings are pushed off where they were known: past the limit they are relaxed after its hop."""
    slab = fcc100("Cu", (4, 4, 3), a=3.5898, vacuum=6.0)
    add_adsorbate(slab, "Cu", 1.7, "hollow")
    slab.set_constraint(FixAtoms([a.index for a in slab if a.tag == 3]))
    slab.pbc = (True, True, False)
    model = EMTModel(["Cu"])
    start = relax([slab], model, 0.01)[0].structure
    table = EventTable(model, TableSettings(max_searches=6, missing=0.5, highest=0.6, radius=5.4))
    table.transitions(start, np.random.default_rng(0))
    pushed = start.copy()
    pushed.positions[32:48, 2] += np.where(np.arange(16) % 2, 0.12, -0.12)
    forces = []
    for limit in (0.05, 5.0):
        settings = KineticSettings(temperature_K=600.0, relax_every=0, relax_drift=limit, relax_radius=9.0)
        growth = KineticGrowth(model, settings, State(pushed.copy()), table)
        state, _ = growth.step(np.random.default_rng(1))
        forces.append(np.linalg.norm(model([state.crystal]).forces[0][32:], axis=1).max())
    assert forces[0] < 0.02
    assert forces[1] > 0.2


@pytest.mark.parametrize("n", [1, 2])
def test_atoms_on_one_line_grow_too(n: int) -> None:
    """Surroundings that no rotation is told by: one atom, a dimer."""
    seed = Atoms("Cu" * n, [[2.3 * k, 0.0, 0.0] for k in range(n)])
    model = EMTModel(["Cu"])
    settings = KineticSettings(flux={"Cu": 1e6}, table=TableSettings(max_searches=2, missing=0.9, detach=False))
    growth = KineticGrowth(model, settings, State(relax([seed], model, 0.01)[0].structure))
    kinds = [event.kind for _, event in growth.run(np.random.default_rng(0), 2)]
    assert kinds[0] == "attach"
    assert len(growth.state.crystal) > n
