"""Growth in time, step by step as a campaign takes it: what is sure passes, what is new or in doubt is told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms
from pydantic import ValidationError

from growth.emt import EMTModel
from growth.energy_model import EnergyModel
from growth.event_table import EventTable
from growth.kinetics import arrhenius
from growth.kmc import KineticGrowth, KineticSettings
from growth.proposals import Proposer
from growth.relax import relax
from growth.simulator import GrowthSettings, State, apply, replay
from learner.prediction import Prediction

RNG = np.random.default_rng(7)
TABLE = {
    "max_searches": 8,
    "batch": 4,
    "missing": 0.3,
    "highest": 0.6,
    "radius": 5.0,
    "saddles": {"radius": 6.0, "fmax": 0.02},
}


def slab(symbol: str = "Cu", n_adatoms: int = 1) -> Atoms:
    crystal = fcc100(symbol, (4, 4, 3), a={"Cu": 3.59, "Al": 3.995}[symbol], vacuum=6.0)
    for place in ((0, 0), (2, 1))[:n_adatoms]:
        add_adsorbate(crystal, symbol, 1.7, "hollow", offset=place)
    crystal.set_constraint(FixAtoms([a.index for a in crystal if a.tag == 3]))
    crystal.pbc = (True, True, False)
    return relax([crystal], EMTModel(["Al", "Cu"]), 0.01)[0].structure


def settings(**more: object) -> GrowthSettings:
    given = {"species": "Cu", "kinetics": "kmc", "n_atoms": 60, "temperature_K": 400, **more}
    return GrowthSettings.model_validate({"kmc": {"flux": {"Cu": 1e4}, "table": TABLE}, **given})


class Unsure:
    """EMT as two members, whose second one finds every barrier higher by `std` twice over where atoms leave hollows."""

    def __init__(self, std: float) -> None:
        self.emt, self.std, self.reach = EMTModel(["Cu"]), std, EMTModel(["Cu"]).reach

    @property
    def screen(self) -> EnergyModel:
        return self

    def __call__(self, structures: list[Atoms]) -> Prediction:
        said = self.emt(structures)
        height = np.array([s.positions[:, 2].max() - np.median(s.positions[:, 2]) for s in structures])
        off = self.std * height / 0.3
        return Prediction(
            said.energies,
            said.forces,
            np.stack([said.energies - off, said.energies + off]),
            said.forces_std,
            said.atom_energies,
        )


def walk(
    proposer: Proposer, model: EnergyModel, state: State, n: int, sure: float = np.inf
) -> tuple[State, list[dict]]:
    rng, told = np.random.default_rng(0), []
    for _ in range(n):
        proposal = proposer.propose(state, model, rng, sure=sure)
        told += [event.to_dict() for event in proposal.passed]
        state, event = apply(proposal.start or state, proposal)
        told.append(event.to_dict())
    return state, told


@pytest.fixture(scope="module")
def walked() -> tuple[State, list[dict]]:
    return walk(Proposer(settings()), EMTModel(["Cu"]), State(slab()), 3)


def test_events_in_time_rebuild_the_crystal_and_the_clock_runs(walked: tuple[State, list[dict]]) -> None:
    model, start, (state, told) = EMTModel(["Cu"]), State(slab()), walked
    told = json.loads(json.dumps(told))
    rebuilt = replay(start.crystal, told)
    assert (rebuilt.positions == state.crystal.positions).all()
    times = [event["time"] for event in told]
    assert times == sorted(times)
    assert state.time == times[-1] > 0
    assert sum(event["duration"] for event in told) == pytest.approx(times[-1])
    assert [event["step"] for event in told] == list(range(1, state.step + 1))
    for event in told:
        assert (event["barrier"] is None) == (event["kind"] == "attach")
    assert told[-1]["energy"] == pytest.approx(float(model([state.crystal]).energies[0]), abs=1e-9)


def test_the_same_seed_gives_the_same_steps(walked: tuple[State, list[dict]]) -> None:
    again, _ = walk(Proposer(settings()), EMTModel(["Cu"]), State(slab()), 3)
    assert again.time == walked[0].time
    assert (again.crystal.positions == walked[0].crystal.positions).all()


def test_a_process_is_told_the_first_time_and_passes_from_then_on() -> None:
    closed = settings(max_events=500, kmc={"table": TABLE})
    proposer, state = Proposer(closed), State(slab())
    first = proposer.propose(state, EMTModel(["Cu"]), np.random.default_rng(0))
    assert (first.kind, first.passed, first.start) == ("hop", (), None)
    assert len(first.sites) == 3
    after, saddle, before = (site.energy for site in first.sites)
    assert saddle - before == pytest.approx(first.barrier, abs=0.02)
    assert saddle > max(after, before) + 0.3
    state, _ = apply(state, first)
    model = proposer._model
    assert model is not None
    left_off = proposer._growths[0]
    second = proposer.propose(state, model, np.random.default_rng(1))
    assert proposer._growths[0] is left_off  # nothing is looked at anew
    assert len(second.passed) == 200
    assert second.start is not None
    assert second.start.step == 201


def test_growth_ends_after_so_many_events() -> None:
    proposer, state = Proposer(settings(max_events=7, kmc={"table": TABLE})), State(slab())
    while state.step < 7:
        proposal = proposer.propose(state, EMTModel(["Cu"]) if proposer._model is None else proposer._model, RNG)
        state, _ = apply(proposal.start or state, proposal)
    assert state.step == 7


def test_a_barrier_in_doubt_is_told_each_time() -> None:
    closed = settings(max_events=50, kmc={"table": TABLE})
    model, proposer, state = Unsure(0.1), Proposer(closed), State(slab())
    for n in range(3):
        proposal = proposer.propose(state, model, np.random.default_rng(n), sure=0.05)
        assert not proposal.passed
        assert proposal.barrier_std is not None
        assert proposal.barrier_std > 0.05
        state, _ = apply(state, proposal)
    sure = proposer.propose(state, model, np.random.default_rng(9), sure=1.0)
    assert sure.passed


def test_what_an_old_model_found_is_converged_on_the_new_one() -> None:
    crystal = slab("Al")
    table = EventTable(EMTModel(["Al"]), KineticSettings.model_validate({"table": TABLE}).table)
    old = table.transitions(crystal, np.random.default_rng(0))

    class Steeper(EMTModel):
        """A tenth higher everywhere."""

        def __call__(self, structures: list[Atoms]) -> Prediction:  # type: ignore[override]
            p = super().__call__(structures)
            return Prediction(
                1.1 * p.energies, [1.1 * f for f in p.forces], 1.1 * p.member_energies, p.forces_std, p.atom_energies
            )

    table.renew(Steeper(["Al"]))
    new = table.transitions(crystal, np.random.default_rng(0))
    lowest_old, lowest_new = (min(t.process.barrier for t in found) for found in (old, new))
    assert lowest_new == pytest.approx(1.1 * lowest_old, abs=0.002)
    entries = [entry for known in table.entries.values() for entry in known]
    assert len(entries) == 1
    assert entries[0].current
    assert max(p.found for p in entries[0].processes) > 4  # what the old model's searches found is counted on


def test_where_a_process_is_gone_from_a_new_model_searches_are_counted_anew() -> None:
    crystal = slab("Al")
    table = EventTable(EMTModel(["Al"]), KineticSettings.model_validate({"table": TABLE}).table)
    table.transitions(crystal, np.random.default_rng(0))
    (old,) = [entry for known in table.entries.values() for entry in known]
    old.n_searches = 100
    old.processes = [replace(process, found=100) for process in old.processes]
    table.settings = table.settings.model_copy(update={"highest": 0.5 * old.processes[0].barrier})
    table.renew(EMTModel(["Al"]))
    table.transitions(crystal, np.random.default_rng(1))
    (new,) = [entry for known in table.entries.values() for entry in known]
    assert not new.processes
    assert 4 <= new.n_searches <= 8


def test_a_strained_crystal_has_other_barriers() -> None:
    """Surroundings that are alike to within the tolerance, and yet not the same."""
    crystal = slab()
    stretched = crystal.copy()
    stretched.set_cell(crystal.cell[:] * [[1.03], [1.03], [1.0]], scale_atoms=True)
    stretched = relax([stretched], EMTModel(["Cu"]), 0.01)[0].structure
    table = EventTable(EMTModel(["Cu"]), KineticSettings.model_validate({"table": TABLE}).table)
    rng = np.random.default_rng(0)
    table.transitions(crystal, rng)
    kept = table.transitions(stretched, rng)
    assert len(table.entries) == 1
    converged = table.converged_on(stretched, kept)
    fresh = EventTable(EMTModel(["Cu"]), table.settings).transitions(stretched, rng)
    lowest = min(t.process.barrier for t in fresh)
    assert abs(min(t.process.barrier for t in kept) - lowest) > 0.02
    assert min(t.process.barrier for t in converged if t) == pytest.approx(lowest, abs=0.005)
    given = KineticSettings.model_validate({"converge_below": 0.6, "table": TABLE, "temperature_K": 500})
    growth = KineticGrowth(EMTModel(["Cu"]), given, State(stretched), table)
    _, event = growth.step(rng)
    assert event.barrier == pytest.approx(lowest, abs=0.005)


def test_an_atom_leaves_over_the_energy_that_binds_it() -> None:
    """So hot that adatoms boil off: at the rate of their binding energy, and replay follows."""
    crystal, model = slab(n_adatoms=2), EMTModel(["Cu"])
    table = {**TABLE, "highest": 4.0, "most_neighbours": 6}
    given = settings(temperature_K=20000, max_events=9, kmc={"table": table})
    single = float(model([Atoms("Cu")]).energies[0])
    rest = crystal[[k for k in range(len(crystal)) if k != len(crystal) - 1]]
    bound = relax([rest], model, 0.01)[0].energy + single - float(model([crystal]).energies[0])
    transitions = EventTable(model, given.kmc.table).transitions(crystal, np.random.default_rng(0))
    leaving = [t for t in transitions if t.process.kind == "detach"]
    assert [t.atom for t in leaving] == [48, 49]
    assert leaving[1].process.barrier == pytest.approx(bound, abs=0.01)
    assert len(leaving[0].after(crystal)) == len(crystal) - 1
    proposer, state, told = Proposer(given), State(crystal), []
    for n in range(30):
        proposal = proposer.propose(state, model, np.random.default_rng(n))
        assert all(event.kind != "detach" for event in proposal.passed)
        told += proposal.passed
        state, event = apply(proposal.start or state, proposal)
        told.append(event)
        if event.kind == "detach":
            break
    assert event.kind == "detach"
    assert len(state.crystal) == len(crystal) - 1
    assert (replay(crystal, told).positions == state.crystal.positions).all()
    assert event.barrier is not None
    assert float(arrhenius(event.barrier, 1e13, 20000)) > 1e11


def test_two_species_arrive_in_the_ratio_of_their_fluxes() -> None:
    flux = {"Cu": 3e9, "Al": 1e9}
    given = settings(species={"Cu": 3, "Al": 1}, temperature_K=100, kmc={"flux": flux, "table": {**TABLE, "batch": 4}})
    model = EMTModel(["Al", "Cu"])
    growth = KineticGrowth(model, given.in_time, State(slab()))
    rates = growth.arrivals(growth.state.crystal)
    assert rates[0] == pytest.approx(3 * rates[1])
    state, told = walk(Proposer(given), model, State(slab()), 3)
    assert {event["kind"] for event in told} == {"attach"}
    assert set(state.crystal.symbols[-3:]) <= {"Al", "Cu"}
    mixed = slab()
    mixed.symbols[-1] = "Al"
    mixed = relax([mixed], model, 0.01)[0].structure
    table = EventTable(model, given.kmc.table)
    table.transitions(mixed, np.random.default_rng(0))
    pure = table.transitions(slab(), np.random.default_rng(0))
    assert len(table.entries) == 2  # an adatom of another species has surroundings of its own
    assert min(t.process.barrier for t in pure) == pytest.approx(0.41, abs=0.02)


def test_dynamics_brings_an_atom_and_time_goes_on() -> None:
    given = settings(kinetics="md", temperature_K=300, md={"picoseconds": 0.3})
    state, told = walk(Proposer(given), EMTModel(["Cu"]), State(slab()), 2)
    assert [event["kind"] for event in told] == ["attach"] * 2
    assert state.time == pytest.approx(6e-13)
    assert len(state.crystal) == 51


def test_greedy_takes_the_lowest() -> None:
    given = settings(kinetics="greedy")
    assert given.kT == 0
    proposal = Proposer(given).propose(State(slab()), EMTModel(["Cu"]), np.random.default_rng(0))
    assert proposal.choice == int(np.argmin([site.energy for site in proposal.sites]))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kmc": {"table": TABLE}}, "kmc.flux"),
        ({"hops_per_step": 1}, "hops_per_step"),
        ({"temperature_K": 0}, "temperature_K"),
        ({"kmc": {"flux": {"Cu": 1.0}, "temperature_K": 500}}, "growth.temperature_K"),
        ({"species": {"Cu": 1, "Al": 1}}, "kmc.flux"),
    ],
)
def test_kinetics_say_what_they_need(more: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**more)
