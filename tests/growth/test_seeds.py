from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io import write
from pydantic import ValidationError

from growth.errors import InputError
from growth.initial_set import InitialSettings, initial_structures
from growth.observables import coordination
from growth.relax import movable_atoms
from growth.seeds import SeedSettings, checked, make_seed


def test_the_papers_seed() -> None:
    """Eight corners and six face centres of the cubic cell."""
    seed = make_seed(SeedSettings(kind="fcc14", species="Cu", lattice_constant=3.6))
    assert np.allclose(np.abs(seed.positions).max(axis=0), 1.8)
    assert (np.isclose(np.abs(seed.positions), 1.8).sum(axis=1) == 3).sum() == 8
    assert sorted(coordination(seed).tolist()) == [3] * 8 + [8] * 6
    assert make_seed(SeedSettings(species="Al")).positions.max() == pytest.approx(4.05 / 2)


@pytest.mark.parametrize(
    ("kind", "settings", "n_atoms"),
    [
        ("atom", {}, 1),
        ("icosahedron", {"shells": 3}, 55),
        ("octahedron", {"length": 3}, 19),
        ("octahedron", {"length": 5, "cutoff": 1}, 79),
        ("wulff", {"n_atoms": 79}, 79),
        ("slab", {"facet": "100", "repeat": (2, 3, 4), "fixed_layers": 2}, 24),
        ("bulk", {"repeat": (2, 1, 1)}, 8),
    ],
)
def test_kinds(kind: str, settings: dict[str, object], n_atoms: int) -> None:
    seed = make_seed(SeedSettings.model_validate({"kind": kind, "species": "Cu", **settings}))
    assert len(seed) == n_atoms
    assert type(seed) is Atoms
    assert seed.calc is None


def test_a_slab_holds_its_lowest_layers() -> None:
    slab = make_seed(SeedSettings(kind="slab", repeat=(2, 2, 4), fixed_layers=2))
    fixed = ~movable_atoms(slab)
    assert fixed.sum() == 8
    assert slab.positions[fixed, 2].max() < slab.positions[~fixed, 2].min()
    assert slab.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize("name", ["a.extxyz", "POSCAR", "a.cif"])
def test_files(tmp_path: Path, name: str) -> None:
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    write(tmp_path / name, crystal)
    seed = make_seed(SeedSettings(kind="file", path=tmp_path / name))
    assert sorted(seed.get_chemical_symbols()) == ["Cl"] * 4 + ["Na"] * 4
    assert seed.pbc.all()


def test_constraints_come_along(tmp_path: Path) -> None:
    crystal = bulk("Cu", cubic=True)
    crystal.set_constraint(FixAtoms([0]))
    write(tmp_path / "POSCAR", crystal)
    assert (
        movable_atoms(make_seed(SeedSettings(kind="file", path=tmp_path / "POSCAR"))).tolist() == [False] + [True] * 3
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"species": "Xx"}, "expected an element symbol such as Al, got 'Xx'"),
        ({"species": "Fe"}, "structure.lattice_constant: Fe has no fcc"),
        ({"kind": "slab", "shells": 2}, "structure.shells: means nothing for kind 'slab'"),
        ({"kind": "file"}, "structure.path: expected a file"),
        ({"kind": "file", "path": "nowhere.xyz"}, "no such file: nowhere.xyz"),
        ({"kind": "octahedron", "length": 3, "cutoff": 2}, "structure.cutoff: expected at most 1"),
        ({"kind": "slab", "repeat": (2, 2, 2), "fixed_layers": 3}, "structure.repeat"),
        ({"kind": "wulff", "surface_energies": {"111": -1.0}}, "structure.surface_energies"),
    ],
)
def test_bad_settings_are_one_clear_line(settings: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as caught:
        make_seed(SeedSettings.model_validate(settings))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError):
        SeedSettings.model_validate({"kind": "fcc14", "latice": 4.0})


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "bad.extxyz").write_text("three\nblind mice\n")
    with pytest.raises(InputError, match="cannot be read as a structure"):
        make_seed(SeedSettings(kind="file", path=tmp_path / "bad.extxyz"))
    (tmp_path / "nan.xyz").write_text("2\n\nAl 0 0 0\nAl 0 0 nan\n")
    with pytest.raises(InputError, match="position of atom 1 is not finite"):
        make_seed(SeedSettings(kind="file", path=tmp_path / "nan.xyz"))


@pytest.mark.parametrize(
    ("structure", "text"),
    [
        (Atoms(), "no atoms"),
        (Atoms("Al2", [[0, 0, 0], [0, 0, 0.4]]), "atoms 0 and 1 overlap"),
        (Atoms("XAl", [[0, 0, 0], [0, 0, 3]]), "atom 0 has atomic number 0, which is no element"),
        (Atoms("Al", pbc=True), "a periodic direction has no cell vector"),
        (Atoms("Al", cell=[1.0, 9.0, 9.0], pbc=True), "overlap"),
    ],
)
def test_structures_that_cannot_be_grown_on(structure: Atoms, text: str) -> None:
    with pytest.raises(InputError, match=text):
        checked(structure, "seed")


def test_the_initial_set() -> None:
    seed = make_seed(SeedSettings())
    found = initial_structures(seed, ["Al"], InitialSettings(), np.random.default_rng(0))
    types = [structure.info["config_type"] for structure in found]
    assert 34 <= len(found) <= 40
    assert {name: types.count(name) for name in dict.fromkeys(types)}.keys() == {
        "isolated_atom",
        "dimer",
        "seed",
        "scaled",
        "rattled",
        "adatom",
        "landed",
    }
    assert types[0] == "isolated_atom"
    assert all(set(structure.info) == {"config_type"} for structure in found)
    assert {len(structure) for structure in found if structure.info["config_type"] == "landed"} == set(range(16, 21))
    spread = [np.ptp(s.positions) / np.ptp(seed.positions) for s in found if s.info["config_type"] == "scaled"]
    assert min(spread) < 0.9
    assert max(spread) > 1.2


def test_the_initial_set_follows_its_generator() -> None:
    seed = make_seed(SeedSettings(kind="slab", repeat=(2, 2, 3)))
    a, b, c = (
        initial_structures(seed, ["Al", "Cu"], InitialSettings(n=40), np.random.default_rng(k)) for k in (1, 1, 2)
    )
    assert all(np.array_equal(x.positions, y.positions) for x, y in zip(a, b, strict=True))
    assert not all(np.array_equal(x.positions, y.positions) for x, y in zip(a, c, strict=True) if len(x) == len(y))
    assert [s.get_chemical_formula() for s in a if s.info["config_type"] == "isolated_atom"] == ["Al", "Cu"]
    assert sum(s.info["config_type"] == "dimer" for s in a) == 15
    fixed = ~movable_atoms(seed)
    rattled = [s for s in a if s.info["config_type"] == "rattled"]
    assert all(np.array_equal(s.positions[fixed], seed.positions[fixed]) for s in rattled)


def test_nothing_lands_on_bulk() -> None:
    with pytest.raises(InputError, match="free surface"):
        initial_structures(
            make_seed(SeedSettings(kind="bulk", repeat=(2, 2, 2))), ["Al"], InitialSettings(), np.random.default_rng(0)
        )
