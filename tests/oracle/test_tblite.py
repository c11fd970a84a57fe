"""Extended tight binding: the right energies and forces, in the batch worker, and one word for what it cannot do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.units import kB

from oracle import FailedLabel, InputError, Labeller, Method, isolated_atoms, label
from oracle.campaign import label_file
from oracle.tblite_calculator import entropy_term
from oracle.worker import evaluate, outcome

pytest.importorskip("tblite")


def tblite(**settings) -> Method:
    return Method.from_dict({"kind": "tblite", **settings})


@pytest.fixture(scope="module")
def stretched() -> Atoms:
    """Benzene with long bonds: the gap is small, so electrons at 3000 K have much entropy."""
    structure = molecule("C6H6")
    structure.positions *= 1.4
    structure.rattle(0.05, seed=3)
    return structure


@pytest.mark.parametrize("method", ["GFN2-xTB", "GFN1-xTB"])
def test_a_label_is_that_of_tblites_own_calculator(method):
    from tblite.ase import TBLite

    water = molecule("H2O")
    found = evaluate(water, tblite(method=method))
    water.calc = TBLite(method=method, verbosity=0)
    assert found["free_energy"] == pytest.approx(water.get_potential_energy(), abs=1e-8)
    assert np.allclose(found["forces"], water.get_forces(), atol=1e-7)
    assert found["energy"] == pytest.approx(found["free_energy"], abs=1e-9)


def test_forces_belong_to_the_free_energy(stretched):
    """By central differences; the σ→0 energy, 0.4 eV above, has another slope."""
    method = tblite(electronic_temperature_K=3000.0, accuracy=0.01)
    here = evaluate(stretched, method)
    assert here["energy"] - here["free_energy"] > 0.3
    step = 1e-3
    slopes: dict[str, list[float]] = {"energy": [], "free_energy": []}
    for atom, axis in ((0, 1), (2, 0), (7, 2)):
        sides = []
        for sign in (1, -1):
            moved = stretched.copy()
            moved.positions[atom, axis] += sign * step
            sides.append(evaluate(moved, method))
        for name, found in slopes.items():
            found.append(-(sides[0][name] - sides[1][name]) / (2 * step))
    forces = np.array(here["forces"])[[0, 2, 7], [1, 0, 2]]
    assert np.allclose(slopes["free_energy"], forces, atol=1e-4)
    assert np.abs(np.array(slopes["energy"]) - forces).max() > 0.05


def test_entropy_is_that_of_tblites_occupations(stretched):
    from ase.units import Bohr, Hartree
    from tblite.interface import Calculator

    kT = kB * 3000.0
    hamiltonian = Calculator("GFN2-xTB", stretched.numbers, stretched.positions / Bohr)
    hamiltonian.set("verbosity", 0)
    hamiltonian.set("temperature", kT / Hartree)
    found = hamiltonian.singlepoint()
    filling = np.clip(found["orbital-occupations"] / 2, 1e-300, 1 - 1e-16)
    expected = -2 * kT * np.sum(filling * np.log(filling) + (1 - filling) * np.log1p(-filling))
    assert entropy_term(found["orbital-energies"] * Hartree, 30, None, kT) == pytest.approx(expected, rel=1e-5)
    both = evaluate(stretched, tblite(electronic_temperature_K=3000.0))
    assert both["free_energy"] == pytest.approx(found["energy"] * Hartree, abs=1e-8)
    assert both["energy"] - both["free_energy"] == pytest.approx(expected / 2, rel=1e-5)
    assert entropy_term(np.array([-1.0]), 1, None, kT) == 0.0
    assert entropy_term(np.array([-1.0, 5.0]), 2, 2, kT) < 1e-6


def test_isolated_atoms_have_labels():
    atoms = isolated_atoms(["H", "C", "N", "O", "F", "Al", "Cu"])
    labels = label(atoms, tblite())
    assert [one.info["REF_free_energy"] for one in labels] == pytest.approx(
        [-10.707211, -48.847445, -71.006818, -102.571173, -125.698643, -24.635246, -101.988442], abs=1e-4
    )
    assert all(np.abs(one.get_forces()).max() < 1e-10 for one in labels)


def test_the_order_of_a_batch_changes_no_bit():
    """Nothing of one calculation is left for the next."""
    molecules = [molecule(name) for name in ("CH3OH", "H2O", "C2H4", "NH3")]
    with Labeller(tblite()) as labeller:
        forth, back = labeller(molecules), labeller(molecules[::-1])[::-1]
    for one, other in zip(forth, back, strict=True):
        assert one.info["REF_energy"] == other.info["REF_energy"]
        assert np.array_equal(one.get_forces(), other.get_forces())


def test_the_worker_runs_one_thread(monkeypatch):
    """Beside its own and the one that watches its parent, whatever the environment says."""
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with Labeller(tblite()) as labeller:
        labeller([molecule("C6H6")])
        with open(f"/proc/{labeller._batch._process.pid}/status") as status:
            threads = next(line for line in status if line.startswith("Threads:"))
    assert threads.split()[1] == "2"


def test_not_converged_is_a_failed_label(monkeypatch):
    """Two iterations are too few for water, on every rung; on a longer one the label is there."""
    method = tblite()
    few = {"max_iterations": 2}
    monkeypatch.setattr(type(method), "ladder", (few, few, few))
    failed = outcome(molecule("H2O"), method)
    assert failed["reason"] == "not_converged"
    assert "SCF not converged in 2 cycles" in failed["detail"]
    assert "3 settings" in failed["detail"]
    monkeypatch.setattr(type(method), "ladder", (few, {"max_iterations": 100}))
    assert outcome(molecule("H2O"), method)["provenance"]["rung"] == 1


def test_the_ladder_is_numerics_alone():
    water = molecule("H2O")
    found = [evaluate(water, tblite(accuracy=0.01), rung)["free_energy"] for rung in tblite().ladder]
    assert found == pytest.approx([found[0]] * 3, abs=1e-6)


@pytest.mark.parametrize(
    ("structure", "settings", "reason", "words"),
    [
        (molecule("H2O"), {"multiplicity": 2}, "crash", "not compatible"),
        (Atoms("H"), {"multiplicity": 4}, "crash", "3 unpaired electrons are asked for, the structure has 1"),
        (bulk("Al", cubic=True), {}, "gate_before", "no k-points"),
        (fcc111("Al", (1, 1, 3), vacuum=8.0), {"gamma_point": True}, "gate_before", "some directions only"),
        (Atoms("U"), {}, "crash", "Z >86"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(structure, settings, reason, words):
    failed = label([structure], tblite(**settings))[0]
    assert isinstance(failed, FailedLabel)
    assert failed.reason == reason
    assert words in failed.detail
    assert "\n" not in failed.detail


@pytest.mark.parametrize(("structure", "words"), [(bulk("Al", cubic=True), "no k-points"), (Atoms("U"), "for U")])
def test_a_file_is_refused_before_anything_is_labelled(tmp_path, structure, words):
    structure.write(tmp_path / "in.extxyz")
    with pytest.raises(InputError, match=words):
        label_file(tmp_path / "in.extxyz", tblite(), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_gamma_point_of_a_large_cell():
    """A molecule alone in a large cell is the molecule; forces in a crystal are the slope of its energy."""
    method = tblite(gamma_point=True, accuracy=0.01)
    alone, boxed = molecule("CH4"), molecule("CH4")
    boxed.set_cell([14.0] * 3)
    boxed.pbc = True
    assert evaluate(boxed, method)["energy"] == pytest.approx(evaluate(alone, method)["energy"], abs=1e-3)
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.05, seed=1)
    energies = []
    for sign in (1, -1):
        moved = crystal.copy()
        moved.positions[0, 1] += sign * 2e-3
        energies.append(evaluate(moved, method)["free_energy"])
    assert evaluate(crystal, method)["forces"][0][1] == pytest.approx((energies[1] - energies[0]) / 4e-3, abs=1e-3)


def test_the_hash_covers_the_surface(monkeypatch):
    methods = [
        tblite(),
        tblite(method="GFN1-xTB"),
        tblite(charge=1),
        tblite(multiplicity=3),
        tblite(electronic_temperature_K=1000.0),
        tblite(accuracy=0.1),
    ]
    assert len({method.hash for method in methods}) == len(methods)
    assert all(Method.from_dict(method.to_dict()).hash == method.hash for method in methods)
    assert tblite(gamma_point=True).hash == tblite().hash
    now = tblite().hash
    monkeypatch.setattr("oracle.tblite_method.version_of", lambda distribution: "0.1")
    assert tblite().hash != now


def test_a_charge_changes_the_energy():
    neutral, cation = (evaluate(molecule("H2O"), tblite(charge=charge))["energy"] for charge in (0, 1))
    assert cation - neutral > 5.0


def test_without_the_package_one_line_says_what_to_install():
    program = (
        "import importlib.metadata as m\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name == 'tblite': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "from oracle import InputError, Method\n"
        "try: Method.from_dict({'kind': 'tblite'}).hash\n"
        "except InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "tblite is not installed" in done.stdout
    assert "kossel[tblite]" in done.stdout
