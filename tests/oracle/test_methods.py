"""Methods: what is refused and with which words; what the hash covers and what not."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from oracle import InputError, Method, gpaw_method, methods


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "gpww"}, "did you mean 'gpaw'"),
        ({}, "known: gpaw, tblite, emt, lj, ase"),
        ({"kind": "emt", "cutof": 3}, "unknown key 'cutof'"),
        ({"kind": "gpaw", "presset": "pw"}, "did you mean 'preset'"),
        ({"kind": "gpaw", "preset": "lcao-fats"}, "did you mean 'lcao-fast'"),
        ({"kind": "gpaw", "h": "wide"}, "h is 'wide'"),
        ({"kind": "gpaw", "h": -0.2}, "h is -0.2"),
        ({"kind": "gpaw", "preset": "pw", "h": 0.2}, "mode pw does not take 'h'"),
        ({"kind": "gpaw", "mode": "fd"}, "mode fd needs 'h'"),
        ({"kind": "gpaw", "magmoms": {"Fe": 2.0}}, "need 'spin: true'"),
        ({"kind": "gpaw", "spin": True, "magmoms": {"Qq": 2.0}}, "'Qq' is not an element"),
        ({"kind": "gpaw", "mode": "lcoa"}, "mode is 'lcoa'; did you mean 'lcao'"),
        ({"kind": "tblite", "method": "GFN2"}, "method is 'GFN2'; did you mean 'GFN2-xTB'"),
        ({"kind": "tblite", "electronic_temperature_K": 0}, "electronic_temperature_K is 0"),
        ({"kind": "tblite", "multiplicity": 0}, "multiplicity is 0"),
        ({"kind": "ase"}, "calculator"),
        ({"kind": "ase", "calculator": "vaspp"}, "did you mean 'vasp'"),
        ({"kind": "ase", "calculator": "os.system"}, "known: abinit"),
        ({"kind": ["emt"]}, "kind is ['emt']"),
        ("emt", "expected a mapping"),
    ],
)
def test_refused_in_one_line(data, words):
    with pytest.raises(InputError) as caught:
        Method.from_dict(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load(tmp_path):
    path = tmp_path / "method.yaml"
    path.write_text("kind: lj\nepsilon: 0.4\nsigma: 2.5\n")
    assert Method.load(path) == Method.from_dict({"kind": "lj", "epsilon": 0.4, "sigma": 2.5})
    for text, words in (("kind: [", "not YAML"), ("- emt", "expected a mapping"), ("kind: emtt", "did you mean 'emt'")):
        path.write_text(text)
        with pytest.raises(InputError, match=words) as caught:
            Method.load(path)
        assert str(path) in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        Method.load(tmp_path / "missing.yaml")


ALL = [
    {"kind": "emt"},
    {"kind": "emt", "asap_cutoff": True},
    {"kind": "lj"},
    {"kind": "lj", "epsilon": 0.3},
    {"kind": "lj", "rc": 5.0},
    {"kind": "ase", "calculator": "morse"},
    {"kind": "ase", "calculator": "morse", "settings": {"r0": 2.5}},
    {"kind": "ase", "calculator": "vasp", "version": "6.4"},
]


def test_every_surface_has_its_own_hash_and_comes_back_from_its_dict():
    made = [Method.from_dict(data) for data in ALL]
    assert len({method.hash for method in made}) == len(made)
    for method in made:
        again = Method.from_dict(method.to_dict())
        assert again == method
        assert again.hash == method.hash
        assert len(method.hash) == 16
    assert Method.from_dict({"kind": "lj"}).hash == Method.from_dict({"kind": "lj", "rc": 3.0}).hash


def test_hashes_stay_what_they_are():
    """A changed hash makes every stored label unusable: change these only with the surface."""
    assert Method.from_dict({"kind": "emt"}).hash == "c7376eea08d35f3d"
    assert Method.from_dict({"kind": "lj", "epsilon": 0.4, "sigma": 2.5}).hash == "d8219eb707dfd7b7"


@pytest.mark.parametrize(
    ("preset", "expected"),
    [("lcao-fast", "afcd5cb60c5b9b4b"), ("lcao", "dd32babc18b7c0ae"), ("pw", "c665ce89661e9ffb")],
)
def test_hashes_of_presets_stay_what_they_are(monkeypatch, preset, expected):
    """With the versions by which labels in docs/results were made."""
    monkeypatch.setattr(gpaw_method, "version_of", {"gpaw": "26.7.0"}.__getitem__)
    monkeypatch.setattr(gpaw_method, "_paw_data", lambda: ["gpaw-data 1.2.1"])
    assert gpaw(preset=preset).hash == expected


def gpaw(**overrides) -> Method:
    return Method.from_dict({"kind": "gpaw", **overrides})


@pytest.mark.gpaw
@pytest.mark.parametrize(
    "override",
    [
        {"preset": "lcao"},
        {"preset": "pw"},
        {"h": 0.24},
        {"basis": "sz(dzp)"},
        {"xc": "LDA"},
        {"smearing": 0.05},
        {"vacuum": 4.5},
        {"k_density": 2.5},
        {"charge": 1.0},
        {"spin": True},
        {"spin": True, "magmoms": {"Fe": 2.2}},
        {"setups": {"Cu": "11"}},
        {"convergence": {"energy": 1e-6}},
    ],
)
def test_the_hash_covers_what_defines_the_surface(override):
    assert gpaw(**override).hash != gpaw().hash
    assert Method.from_dict(gpaw(**override).to_dict()).hash == gpaw(**override).hash


@pytest.mark.gpaw
def test_the_hash_does_not_see_the_name_of_the_preset():
    assert gpaw(preset="lcao", h=0.25, vacuum=4.0).hash == gpaw(preset="lcao-fast").hash


@pytest.mark.gpaw
def test_the_hash_covers_versions(monkeypatch):
    now = gpaw().hash
    monkeypatch.setenv("GPAW_SETUP_PATH", "/opt/gpaw-setups-0.9.20000")
    other_data = gpaw().hash
    monkeypatch.delenv("GPAW_SETUP_PATH")
    monkeypatch.setattr(gpaw_method, "version_of", lambda distribution: "1.0")
    assert len({now, other_data, gpaw().hash}) == 3


def test_cheap_or_not():
    assert Method.from_dict({"kind": "ase", "calculator": "morse"}).cheap
    assert not Method.from_dict({"kind": "ase", "calculator": "vasp"}).cheap
    assert not gpaw().cheap


def test_the_ladder_touches_numerics_alone():
    assert 1 < len(methods.GpawMethod.ladder) <= 3
    for rung in methods.GpawMethod.ladder:
        assert set(rung) <= {"mixer", "eigensolver", "maxiter"}


def test_boxes():
    method = gpaw(vacuum=4.0)
    atom = method.boxed(Atoms("Al", cell=[1, 2, 3]))
    assert np.allclose(atom.cell.lengths(), 8.0)
    assert np.allclose(atom.positions, 4.0)
    slab = fcc111("Al", (1, 1, 3), vacuum=10.0)
    boxed = method.boxed(slab)
    assert np.allclose(boxed.cell[:2], slab.cell[:2])
    assert np.isclose(boxed.cell[2, 2], np.ptp(slab.positions[:, 2]) + 8.0)
    assert np.isclose(boxed.positions[:, 2].min(), 4.0)
    crystal = bulk("Al")
    assert np.allclose(method.boxed(crystal).cell, crystal.cell)
    water = molecule("H2O")
    assert np.allclose(method.boxed(water).get_all_distances(), water.get_all_distances())
    assert not water.cell.array.any()
    moments = gpaw(spin=True, magmoms={"O": 1.5}).boxed(water).get_initial_magnetic_moments()
    assert list(moments) == [1.5, 0, 0]
    assert list(Method.from_dict({"kind": "ase", "calculator": "morse"}).boxed(water).positions[0]) == list(
        water.positions[0]
    )


def test_lennard_jones_is_lennard_jones():
    method = Method.from_dict({"kind": "lj", "epsilon": 0.4, "sigma": 2.5, "rc": 100.0, "smooth": False})
    pair = Atoms("ArXe", [[0, 0, 0], [0, 0, 2.5 * 2 ** (1 / 6)]])
    pair.calc = method.calculator(pair)
    assert pair.get_potential_energy() == pytest.approx(-0.4, abs=1e-6)
    assert np.abs(pair.get_forces()).max() < 1e-6
    assert pair.get_potential_energy(force_consistent=True) == pair.get_potential_energy()
