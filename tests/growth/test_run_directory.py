"""The run directory: torn files, two drivers, changed settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st

from growth.config import load_config
from growth.errors import InputError
from growth.export import export_run
from growth.relax import movable_atoms
from growth.run_directory import MAY_CHANGE, ONE_VALUE, RunDirectory, overlaid
from growth.seeds import SeedSettings, make_seed
from growth.sites import Site, with_adatom
from oracle import uid


def test_a_torn_last_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.append("events", {"step": 1})
    run.append("events", {"step": 2})
    log = run.path / "events.jsonl"
    for cut in range(1, len('{"step": 2}\n') + 1):
        log.write_bytes(b'{"step": 1}\n' + b'{"step": 2}\n'[:-cut])
        assert run.lines("events") == [{"step": 1}]
        run.append("events", {"step": 9})
        assert run.lines("events") == [{"step": 1}, {"step": 9}]


def test_two_drivers_on_one_run_are_refused(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match="in use"):
        RunDirectory(tmp_path / "run")
    first.close()
    RunDirectory(tmp_path / "run").close()


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        RunDirectory(tmp_path / "file")


DEFAULTS = {"seed": 0, "growth": {"n_atoms": 55, "temperature_K": 400.0, "species": "Al"}, "walkers": 2}


def resolve(given: Mapping[str, Any]) -> dict[str, Any]:
    return overlaid(DEFAULTS, given)


def test_resuming_with_other_settings_names_them(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert run.settle_config({"seed": 1, "growth": {"n_atoms": 20}}, resolve)["walkers"] == 2
    assert run.settle_config({"growth": {"n_atoms": 30}}, resolve)["growth"]["n_atoms"] == 30
    for other in ({"growth": {"temperature_K": 300}}, {"seed": 2}, {"growth": {"species": {"Al": 1, "Cu": 1}}}):
        with pytest.raises(InputError, match=r"growth\.temperature_K|seed|growth\.species"):
            run.settle_config(other, resolve)
    settled = run.settle_config({"seed": 1, "growth": {"temperature_K": 400}}, resolve)
    assert settled == resolve({"seed": 1, "growth": {"n_atoms": 30}})
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == settled


def test_a_later_version_with_new_settings_and_other_defaults_resumes_a_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.settle_config({"seed": 1}, resolve)

    def later(given: Mapping[str, Any]) -> dict[str, Any]:
        return overlaid({**DEFAULTS, "walkers": 4, "new": {"setting": 7}}, given)

    settled = run.settle_config({"seed": 1}, later)
    assert settled == {**resolve({"seed": 1}), "new": {"setting": 7}}
    with pytest.raises(InputError, match="walkers"):
        run.settle_config({"walkers": 4}, later)


def test_a_species_left_out_is_a_change(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.settle_config({"growth": {"species": {"Al": 1, "Cu": 1}}}, resolve)
    with pytest.raises(InputError, match=r"growth\.species\.Cu"):
        run.settle_config({"growth": {"species": {"Al": 1}}}, resolve)


def test_what_may_change_exists_in_a_config() -> None:
    config = load_config(Path(__file__).parents[2] / "growth" / "configs" / "al_emt.yaml").model_dump(mode="json")
    for key in MAY_CHANGE | ONE_VALUE:
        node = config
        for part in key.split("."):
            node = node[part]


def a_slab() -> Atoms:
    return make_seed(SeedSettings(kind="slab", species="Al", lattice_constant=3.995, facet="100", repeat=(2, 2, 3)))


@pytest.mark.parametrize("seed", [make_seed(SeedSettings()), a_slab()], ids=["cluster", "slab"])
def test_a_run_keeps_the_seed_that_it_began_with(seed: Atoms, tmp_path: Path) -> None:
    seed.rattle(0.1, seed=3)
    run = RunDirectory(tmp_path / "run")
    assert run.seed is None
    for offered in (seed, Atoms("Cu")):
        kept = run.settle_seed(offered)
        assert kept == seed
        assert np.array_equal(kept.positions, seed.positions)
        assert np.array_equal(kept.get_tags(), seed.get_tags())
        assert np.array_equal(movable_atoms(kept), movable_atoms(seed))


@given(random_seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 9), n_members=st.integers(1, 3))
@settings(max_examples=200)
def test_sites_come_back_bit_for_bit(
    random_seed: int, n_atoms: int, n_members: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(random_seed)
    structure = Atoms(["Al"] * n_atoms, rng.normal(0, 9, (n_atoms, 3)))
    if rng.random() < 0.5:
        structure.set_cell(rng.normal(0, 9, (3, 3)))
        structure.pbc = rng.random(3) < 0.5
        structure.set_constraint(FixAtoms([0]))
    forces, std, members = rng.normal(size=(n_atoms, 3)), rng.random(n_atoms), rng.normal(size=n_members)
    last = structure.positions[-1]
    site = Site(structure, float(members.mean()), forces, std, members, last, last, converged=True)
    run = RunDirectory(tmp_path_factory.getbasetemp() / "sites")
    path = run.write_sites(0, 1, [site, site])
    _, back = run.read_sites(0, 1)
    run.close()
    assert uid(back, "m") == uid(structure, "m")
    assert np.array_equal(back.positions, structure.positions)
    assert back.get_potential_energy() == site.energy
    assert np.array_equal(back.get_forces(apply_constraint=False), forces)
    assert np.array_equal(back.arrays["forces_std"], std)
    assert np.array_equal(back.info["member_energies"], members)
    assert np.array_equal(movable_atoms(back), movable_atoms(structure))
    assert read(path).get_potential_energy() == site.energy


def test_export_begins_with_the_seed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.settle_config({}, resolve)
    seed = run.settle_seed(a_slab())
    grown = with_adatom(seed, "Al", np.array([1.0, 1.0, 16.0]) / 3.0)
    run.write_structures("grown", 0, 1, [grown])
    (path,) = export_run(run.path, tmp_path / "out")
    first, second = read(path, index=":")
    assert first == seed
    assert uid(second, "m") == uid(grown, "m")
    assert np.array_equal(movable_atoms(second), movable_atoms(grown))


def test_models_are_whole_or_absent(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert run.latest_model() is None
    run.save_model(1, {"model.json": b"{}", "model.safetensors": b"abc"})
    partial = run.path / "models" / "v0002.partial"
    partial.mkdir()
    (partial / "model.json").write_bytes(b"{")
    assert run.latest_model() == (1, {"model.json": b"{}", "model.safetensors": b"abc"})
    run.save_model(2, {"model.json": b"[]"})
    assert run.latest_model() == (2, {"model.json": b"[]"})
