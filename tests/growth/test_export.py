"""What leaves a run: read back by the programs it is meant for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc100
from ase.constraints import FixAtoms
from ase.io import read
from pymatgen.core import Molecule, Structure

from growth.cli import main
from growth.config import load_config
from growth.errors import InputError
from growth.events import standing
from growth.export import VACUUM, WRITERS, arrivals, boxed, export_run, growth_of
from growth.observables import coordination
from growth.order import KINDS, Order
from growth.run_directory import RunDirectory
from growth.sites import Site
from oracle.durable import read_lines
from oracle.identity import uid


def event(walker: int, step: int, kind: str, n_atoms: int, **more: Any) -> dict[str, Any]:
    told = {"energy": -3.0 * n_atoms, "energy_std": 0.01, "fate": "accepted", "atom": n_atoms - 1}
    return {"walker": walker, "step": step, "kind": kind, "n_atoms": n_atoms, **told, **more}


def slab() -> Atoms:
    crystal = fcc100("Al", (2, 2, 3), a=4.05, vacuum=6.0)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag == 3]))
    crystal.pbc = (True, True, False)
    return crystal


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A seed, on which walker 0 grew two atoms, lost the first and moved the other; walker 1 grew one."""
    run = RunDirectory(tmp_path / "run")
    demo = Path(__file__).parents[2] / "growth" / "configs" / "al_emt.yaml"
    config = load_config(demo).model_dump(mode="json")
    run.settle_config(config, lambda content: content)
    seed = run.settle_seed(slab())
    one = seed.copy()
    one.append("Cu")
    one.positions[-1] = seed.positions[-4:].mean(0) + np.array([0, 0, 1.8])
    two = one.copy()
    two.append("Al")
    two.positions[-1] = two.positions[-2] + [2.86, 0, 0]
    left = two.copy()
    del left[12]
    moved = left.copy()
    moved.positions[-1, 2] += 0.5
    for step, crystal in enumerate((one, two, left, moved), start=1):
        run.write_structures("grown", 0, step, [crystal])
    run.write_structures("grown", 1, 1, [one])
    kinds = [("attach", 13), ("attach", 14), ("detach", 13), ("hop", 13)]
    for step, (kind, n_atoms) in enumerate(kinds, start=1):
        run.append("events", event(0, step, kind, n_atoms, atom=12))
    run.append("events", event(1, 1, "attach", 13), event(1, 2, "attach", 14, fate="rejected"))
    n = len(moved)
    std = np.linspace(0, 1, n)
    site = Site(moved, -39.0, np.zeros((n, 3)), std, np.array([-39.0]), moved.positions[-1], np.zeros(3), True)
    run.write_sites(0, 4, [site])
    return run


def columns(structures: Sequence[Atoms], name: str) -> list[list[int]]:
    return [structure.arrays[name].tolist() for structure in structures]


def test_trajectories_say_when_each_atom_came_and_how_it_stands(run: RunDirectory, tmp_path: Path) -> None:
    written = export_run(run.path, tmp_path / "out")
    assert [path.name for path in written] == ["w00.extxyz", "w01.extxyz"]
    trajectory = read(written[0], index=":")
    assert [len(crystal) for crystal in trajectory] == [12, 13, 14, 13, 13]
    assert columns(trajectory, "step") == [[0] * 12, [0] * 12 + [1], [0] * 12 + [1, 2], *[[0] * 12 + [2]] * 2]
    for crystal in trajectory:
        bare = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=crystal.pbc)
        assert [KINDS[k] for k in crystal.arrays["order"]] == Order(bare).kinds
        assert np.array_equal(crystal.arrays["coordination"], coordination(bare))
        assert crystal.calc is None, "a prediction is no label"
    assert [crystal.info["step"] for crystal in trajectory[1:]] == [1, 2, 3, 4]
    assert trajectory[4].info["committee_energy"] == -39.0
    assert np.allclose(trajectory[4].arrays["forces_std"], np.linspace(0, 1, 13))
    assert "forces_std" not in trajectory[3].arrays
    assert uid(trajectory[4], "m") == uid(read(run.path / "grown" / "w00" / "000004.extxyz"), "m")
    assert len(read(written[1], index=":")) == 2


@pytest.mark.parametrize(("form", "ending"), [("cif", "cif"), ("poscar", "poscar"), ("lammps-data", "data")])
def test_crystals_as_they_are_now(run: RunDirectory, tmp_path: Path, form: str, ending: str) -> None:
    paths = export_run(run.path, tmp_path / "out", form)
    assert [path.name for path in paths] == [f"w00.{ending}", f"w01.{ending}"]
    (last,) = growth_of(run.path, 0, -1)
    crystal = read(paths[0], format={"poscar": "vasp", "lammps-data": "lammps-data"}.get(form, form))
    assert sorted(crystal.symbols) == sorted(last.symbols)
    expected = boxed(last)
    assert np.allclose(np.sort(crystal.cell.lengths()), np.sort(expected.cell.lengths()), atol=1e-5)
    distances = [np.sort(x.get_all_distances(mic=True).ravel()) for x in (crystal, expected)]
    assert np.allclose(*distances, atol=1e-4)
    if form == "poscar":
        assert (crystal.constraints[0].index == expected.constraints[0].index).all()


def test_pymatgen_reads_its_own_with_the_properties(run: RunDirectory, tmp_path: Path) -> None:
    path, _ = export_run(run.path, tmp_path / "out", "pymatgen")
    structure = Structure.from_dict(json.loads(path.read_text()))
    *_, last = growth_of(run.path, 0)
    assert structure.composition.reduced_formula == "Al"
    assert np.allclose(structure.cart_coords, last.positions)
    assert structure.lattice.pbc == (True, True, False)
    assert structure.site_properties["step"] == [0] * 12 + [2]
    assert structure.site_properties["forces_std"] == pytest.approx(np.linspace(0, 1, 13))


def test_a_cluster_is_a_molecule_and_gets_a_box_where_one_is_needed(tmp_path: Path) -> None:
    cluster = Atoms("Al3", [[0, 0, 0], [2.8, 0, 0], [1.4, 2.4, 0]])  # an odd number of electrons
    _, text = WRITERS["pymatgen"]
    molecule = Molecule.from_dict(json.loads(text(cluster)))
    assert molecule.get_distance(0, 1) == pytest.approx(2.8)
    box = boxed(cluster)
    assert np.allclose(box.cell.lengths(), [2.8 + 2 * VACUUM, 2.4 + 2 * VACUUM, 2 * VACUUM])
    assert box.pbc.all()
    assert np.allclose(box.get_all_distances(mic=True), cluster.get_all_distances())
    crystal = boxed(slab())
    assert np.allclose(crystal.cell.array[:2], slab().cell.array[:2])
    assert crystal.cell.lengths()[2] == pytest.approx(4.05 + 2 * VACUUM)


def test_arrivals_are_those_of_the_log() -> None:
    lines = [
        event(0, 1, "attach", 3),
        event(0, 2, "speculative", 4) | {"kind": "attach", "fate": "speculative"},
        {"walker": 0, "step": 2, "fate": "rolled_back"},
        event(0, 2, "attach", 4),
        event(0, 3, "hop", 4),
    ]
    assert arrivals(2, standing(lines)) == [0, 0, 1, 2]


def test_bad_input_is_one_line(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'pdb': expected one of extxyz, cif"):
        export_run(run.path, tmp_path / "out", "pdb")
    with pytest.raises(InputError, match="not a run directory"):
        export_run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_has_not_come_to_growth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("oracle: {method: {kind: emt}}\n")
    main(["export", str(tmp_path)])
    assert capsys.readouterr().out == ""
    assert read_lines(tmp_path / "events.jsonl") == []
