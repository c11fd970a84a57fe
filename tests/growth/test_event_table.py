"""Processes found once are known in every symmetric copy, and wherever the surroundings are the same."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100, fcc111
from ase.constraints import FixAtoms

from growth.emt import EMTModel
from growth.energy_model import CountingModel
from growth.errors import InputError, UnsettledError
from growth.event_table import EventTable, TableSettings, kind_of
from growth.events import State
from growth.kmc import KineticGrowth, KineticSettings
from growth.relax import relax


def slab_with_adatom() -> Atoms:
    slab = fcc100("Cu", (4, 4, 4), a=3.5898, vacuum=6.0)
    add_adsorbate(slab, "Cu", 1.7, "hollow")
    slab.set_constraint(FixAtoms([a.index for a in slab if a.tag >= 3]))
    slab.pbc = (True, True, False)
    return relax([slab], EMTModel(["Cu"]), 0.01)[0].structure


@pytest.fixture(scope="module")
def table() -> EventTable:
    settings = TableSettings(max_searches=12, missing=0.3, highest=0.6)
    table = EventTable(CountingModel(EMTModel(["Cu"])), settings)
    table.transitions(slab_with_adatom(), np.random.default_rng(0))
    return table


def test_one_hop_found_is_four(table: EventTable) -> None:
    slab = slab_with_adatom()
    transitions = table.transitions(slab, np.random.default_rng(0))
    assert [t.process.kind for t in transitions] == ["hop"] * 4
    assert {t.atom for t in transitions} == {64}
    ends = sorted(np.round(t.after(slab).positions[64, :2] - slab.positions[64, :2], 1).tolist() for t in transitions)
    step = round(3.5898 / 2**0.5, 1)
    assert ends == sorted([[-step, 0.0], [0.0, -step], [0.0, step], [step, 0.0]])
    for t in transitions:
        assert t.process.barrier == pytest.approx(0.411, abs=0.01)
        assert np.linalg.norm(t.saddle[0] - t.final[0] / 2) < 0.6


def test_surroundings_met_again_cost_no_force_call(table: EventTable) -> None:
    slab = slab_with_adatom()
    there = table.transitions(slab, np.random.default_rng(1))[0].after(slab)
    before = table.model.structures  # type: ignore[attr-defined]
    again = table.transitions(there, np.random.default_rng(2))
    assert len(again) == 4
    assert table.model.structures == before  # type: ignore[attr-defined]
    assert len(table.entries) == 1


def test_the_end_of_a_process_is_a_minimum(table: EventTable) -> None:
    slab, model = slab_with_adatom(), EMTModel(["Cu"])
    for transition in table.transitions(slab, np.random.default_rng(0)):
        after = transition.after(slab)
        relaxed = relax([after], model, 0.01)[0]
        assert np.linalg.norm(relaxed.structure.positions - after.positions, axis=1).max() < 0.05
        assert relaxed.energy == pytest.approx(model([slab]).energies[0], abs=2e-3)


def test_how_much_is_missing_is_told(table: EventTable) -> None:
    (entry,) = next(iter(table.entries.values()))
    assert entry.n_searches in (6, 12)
    assert 0 < entry.n_fruitful <= 12
    assert 0 <= entry.missing <= 1
    assert sum(p.found for p in entry.processes) == entry.n_fruitful
    assert any(p.directed for p in entry.processes)


@pytest.mark.parametrize("name", ["table.jsonl", "table.jsonl.gz"])
def test_a_table_is_read_as_it_was_written(name: str, table: EventTable, tmp_path: Path) -> None:
    slab = slab_with_adatom()
    table.save(tmp_path / name)
    model = CountingModel(EMTModel(["Cu"]))
    again = EventTable.load(tmp_path / name, model)
    assert again.settings == table.settings
    found, known = (t.transitions(slab, np.random.default_rng(0)) for t in (again, table))
    assert model.structures == 0
    for a, b in zip(found, known, strict=True):
        assert a.process.barrier == b.process.barrier
        assert (a.after(slab).positions == b.after(slab).positions).all()


def test_a_torn_archive_is_no_table(table: EventTable, tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl.gz"
    table.save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="expected an event table"):
        EventTable.load(path, EMTModel(["Cu"]))


@pytest.mark.parametrize("content", ["", "{}\n{}", '{"radius": -1}', "not json"])
def test_what_is_no_table_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(InputError, match="expected an event table"):
        EventTable.load(tmp_path / "x", EMTModel(["Cu"]))
    with pytest.raises(InputError, match="expected an event table"):
        EventTable.load(tmp_path / "none", EMTModel(["Cu"]))


def test_kinds() -> None:
    before = np.array([[0.0, 0, 0], [2.5, 0, 0], [0, 2.5, 0]])
    hop = np.array([[2.5, 2.5, 0], [0.1, 0, 0], [0, 0, 0]])
    exchange = np.array([[2.5, 0, 0], [2.5, 0, 0], [0, 0, 0]])
    concerted = np.array([[0, 0, 2.5], [0, 0, 2.5], [0, 0, 0]])
    assert [kind_of(before, d) for d in (hop, exchange, concerted)] == ["hop", "exchange", "concerted"]
    assert kind_of(before, 0.3 * hop) == "hop"  # short ways are ways too


def test_surroundings_that_do_not_rest_are_no_entry() -> None:
    """An adatom a little off the bridge between two sites of (111): barely a force, and yet no minimum."""
    slab = fcc111("Cu", (4, 4, 3), a=3.5898, vacuum=6.0)
    add_adsorbate(slab, "Cu", 2.0, "fcc")
    slab.set_constraint(FixAtoms([a.index for a in slab if a.tag == 3]))
    slab.pbc = (True, True, False)
    model = EMTModel(["Cu"])
    start = relax([slab], model, 0.01)[0].structure
    table = EventTable(model, TableSettings(max_searches=6, missing=0.5, highest=0.3, radius=5.4))
    hop = min(table.transitions(start, np.random.default_rng(0)), key=lambda t: t.process.barrier)
    on_top = hop.at_saddle(start)
    on_top.positions[-1] += 0.08 * hop.final[0] / np.linalg.norm(hop.final[0])
    known = len(table.entries)
    with pytest.raises(UnsettledError, match=r"expected surroundings at rest, got 0\.[5-9]") as raised:
        table.transitions(on_top, np.random.default_rng(0))
    assert len(table.entries) == known
    assert np.linalg.norm(model([raised.value.settled]).forces[0][16:], axis=1).max() < 0.1
    assert np.linalg.norm(raised.value.settled.positions[-1] - hop.after(start).positions[-1]) < 0.1

    settings = KineticSettings(temperature_K=100.0, table=table.settings)
    growth = KineticGrowth(model, settings, State(on_top), table)
    _, event = growth.step(np.random.default_rng(0))
    energies = model([event.before, growth.state.crystal]).energies
    process = event.transition.process
    assert energies[1] - energies[0] == pytest.approx(process.barrier - process.reverse_barrier, abs=5e-3)
