"""Real density-functional theory through the label process."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from oracle import FailedLabel, LabelSettings, Method, isolated_atoms, label

pytestmark = pytest.mark.gpaw
FAST = Method.from_dict({"kind": "gpaw", "preset": "lcao-fast"})


def test_a_label_is_direct_gpaw(monkeypatch):
    """Al4 against GPAW called by hand with the preset's numbers, in an environment that an outer MPI has marked."""
    from gpaw import GPAW

    structure = Atoms("Al4", [[0.1, 0, 0], [2.7, 0, 0], [1.3, 2.3, 0], [1.3, 0.8, 2.2]])
    with monkeypatch.context() as outer_mpi:
        outer_mpi.setenv("OMPI_COMM_WORLD_SIZE", "2")
        outer_mpi.setenv("PMI_SIZE", "2")
        outcome = label([structure], FAST)[0]
    direct = structure.copy()
    direct.center(vacuum=4.0)
    direct.calc = GPAW(
        mode="lcao",
        basis="dzp",
        xc="PBE",
        h=0.25,
        occupations={"name": "fermi-dirac", "width": 0.1},
        symmetry="off",
        txt=None,
    )
    assert outcome.info["REF_energy"] == pytest.approx(direct.get_potential_energy(), abs=1e-6)
    free_energy = direct.get_potential_energy(force_consistent=True)
    assert outcome.info["REF_free_energy"] == pytest.approx(free_energy, abs=1e-6)
    assert np.allclose(outcome.get_forces(), direct.get_forces(), atol=1e-6)
    assert outcome.info["REF_energy"] - outcome.info["REF_free_energy"] > 0.1
    assert np.array_equal(outcome.positions, structure.positions)
    assert not outcome.cell.array.any()


def test_an_isolated_atom_converges():
    (atom,) = label(isolated_atoms(["Al"]), FAST)
    assert abs(atom.info["REF_energy"]) < 0.5
    assert np.abs(atom.get_forces()).max() < 1e-3
    assert atom.info["config_type"] == "isolated_atom"


def test_a_timeout_is_a_value():
    (failed,) = label([bulk("Al", cubic=True)], FAST, LabelSettings(timeout_s=1.0))
    assert isinstance(failed, FailedLabel)
    assert failed.reason == "timeout"


def test_an_element_without_paw_data_fails_with_its_name():
    (failed,) = label([Atoms("Fm")], FAST)
    assert isinstance(failed, FailedLabel)
    assert failed.reason == "crash"
    assert "Fm" in failed.detail


def test_ranks_of_a_gpaw_without_mpi_are_refused_in_words(tmp_path, monkeypatch):
    """Through a launcher that starts one process whatever it is told."""
    from gpaw import cgpaw

    if cgpaw.have_mpi:
        pytest.skip("this GPAW has MPI")
    launcher = tmp_path / "mpirun"
    launcher.write_text('#!/bin/sh\nwhile [ "$1" != "-n" ]; do shift; done; shift 2; exec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (failed,) = label([Atoms("Al")], FAST, LabelSettings(n_ranks=2))
    assert isinstance(failed, FailedLabel)
    assert failed.reason == "crash"
    assert "MPI" in failed.detail


def test_symmetry_saves_time_and_keeps_the_energy_to_the_noise_of_the_grid():
    methods = [Method.from_dict({**FAST.to_dict(), "k_density": 0.7} | extra) for extra in ({}, {"symmetry": True})]
    plain, symmetric = (label([bulk("Al", a=3.85)], method)[0] for method in methods)
    assert methods[0].hash != methods[1].hash
    assert symmetric.info["REF_free_energy"] == pytest.approx(plain.info["REF_free_energy"], abs=2e-3)
    assert np.abs(symmetric.get_forces()).max() < 1e-6


def test_of_k_and_minus_k_one_is_computed_and_nothing_changes():
    """Against all k-points, on a chain that nothing but the reversal of time maps on itself."""
    from gpaw import GPAW

    method = Method.from_dict({**FAST.to_dict(), "k_density": 1.0})
    places = [[0, 0, 0], [1.3, 2.3, 0.1], [0.1, 1.9, 2.0]]
    crystal = method.boxed(Atoms("Al3", places, cell=[2.9, 0, 0], pbc=[True, False, False]))
    halved, all_of_them = crystal.copy(), crystal.copy()
    halved.calc = method.calculator(halved)
    all_of_them.calc = GPAW(
        mode="lcao",
        basis="dzp",
        xc="PBE",
        h=0.25,
        occupations={"name": "fermi-dirac", "width": 0.1},
        kpts={"density": 1.0, "gamma": True},
        convergence=dict(method.convergence),
        symmetry="off",
        txt=None,
    )
    assert halved.get_potential_energy() == pytest.approx(all_of_them.get_potential_energy(), abs=1e-5)
    assert np.allclose(halved.get_forces(), all_of_them.get_forces(), atol=1e-4)
    counts = [len(structure.calc.get_ibz_k_points()) for structure in (halved, all_of_them)]
    assert counts == [2, 3]


STRUCTURES = {
    "crystal": bulk("Al"),
    "slab": fcc111("Al", (1, 1, 2), vacuum=4.0),
    "dimer": Atoms("Al2", [[0, 0, 0], [0, 0, 2.6]]),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("preset", ["lcao", "pw"])
@pytest.mark.parametrize("name", list(STRUCTURES))
def test_every_preset_labels_what_is_periodic_and_what_is_not(preset, name):
    method = Method.from_dict({"kind": "gpaw", "preset": preset, "k_density": 1.0})
    (outcome,) = label([STRUCTURES[name]], method)
    assert not isinstance(outcome, FailedLabel), outcome.detail
    assert np.abs(outcome.get_forces().sum(axis=0)).max() < 0.05


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_spin_is_a_setting():
    method = Method.from_dict({"kind": "gpaw", "spin": True, "magmoms": {"O": 2.0}})
    polarised, plain = (label([Atoms("O")], m)[0].info["REF_energy"] for m in (method, FAST))
    assert polarised < plain - 0.5
