"""A committee in torch-sim: the numbers of KosselCalculator, dynamics that conserves energy, relaxation of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

torch_sim = pytest.importorskip("torch_sim")
from torch_sim.models.interface import validate_model_outputs  # noqa: E402
from torch_sim.optimizers import fire  # noqa: E402
from torch_sim.units import MetalUnits  # noqa: E402

from learner import InputError, KosselCalculator  # noqa: E402
from learner.torch_sim import KosselModel, systems  # noqa: E402

from .conftest import cluster, make_committee  # noqa: E402


def crystals():
    """Two periodic structures of different size, one of them sheared and rattled."""
    small = bulk("Al", a=4.0, cubic=True)
    large = bulk("Al", a=4.1, cubic=True) * (2, 1, 1)
    large.set_cell(large.cell.array @ [[1, 0.05, 0], [0, 1.02, 0.03], [0, 0, 0.97]], scale_atoms=True)
    for seed, structure in enumerate((small, large)):
        structure.rattle(0.1, seed=seed)
    return [small, large]


def state_of(structures):
    return torch_sim.initialize_state(structures, torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("structures", [[cluster(13), cluster(6, 1)], crystals()], ids=["clusters", "crystals"])
def test_numbers_are_those_of_the_calculator(structures):
    committee = make_committee()
    periodic = bool(structures[0].pbc.all())
    found = KosselModel(committee, compute_stress=periodic)(state_of(structures))
    calculator, first = KosselCalculator(committee), 0
    for k, structure in enumerate(structures):
        structure.calc = calculator
        of = slice(first, first + len(structure))
        assert found["energy"][k].item() == pytest.approx(structure.get_potential_energy(), abs=1e-10)
        assert np.allclose(found["forces"][of], structure.get_forces(), atol=1e-10)
        assert np.allclose(found["energies"][of], structure.get_potential_energies(), atol=1e-10)
        assert found["energy_std"][k].item() == pytest.approx(calculator.results["energy_std"], abs=1e-10)
        assert np.allclose(found["forces_std"][of], calculator.results["forces_std"], atol=1e-10)
        if periodic:
            assert np.allclose(found["stress"][k], structure.get_stress(voigt=False), atol=1e-12)
        first += len(structure)


def test_a_state_comes_back_as_the_structures_it_was_made_of():
    for structures in ([cluster(5), cluster(7)], crystals()):
        for one, other in zip(structures, systems(state_of(structures)), strict=True):
            assert np.array_equal(one.numbers, other.numbers)
            assert np.array_equal(one.positions, other.positions)
            assert np.array_equal(one.cell, other.cell)
            assert np.array_equal(one.pbc, other.pbc)


def test_torch_sim_takes_it_for_a_model():
    validate_model_outputs(KosselModel(make_committee("SiFe")), torch.device("cpu"), torch.float64)


def test_what_it_cannot_do_is_said():
    with pytest.raises(InputError, match="stress needs periodic systems"):
        KosselModel(make_committee(), compute_stress=True)(state_of([cluster(4)]))
    with pytest.raises(InputError, match="holds Cu, which the model was not trained on"):
        KosselModel(make_committee())(state_of([Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])]))


def energy_drift(model, structures, timestep_ps, n_steps):
    """Largest deviation of each system's total energy from its first, eV, in NVE dynamics at 300 K."""
    dt = torch.tensor(timestep_ps * MetalUnits.time, dtype=torch.float64)
    kT = torch.tensor(300 * MetalUnits.temperature, dtype=torch.float64)
    begin, step = torch_sim.nve(model, dt=dt, kT=kT, seed=0)
    state = begin(state_of(structures))
    totals = []
    for _ in range(n_steps):
        kinetic = torch_sim.calc_kinetic_energy(momenta=state.momenta, masses=state.masses, system_idx=state.system_idx)
        totals.append(state.energy + kinetic)
        state = step(state)
    return (torch.stack(totals) - totals[0]).abs().max(0).values.numpy()


def test_dynamics_of_a_batch_conserves_energy_to_second_order_in_the_time_step():
    model, structures = KosselModel(make_committee()), [cluster(13), cluster(8, 1)]
    coarse = energy_drift(model, structures, 0.001, 50)
    fine = energy_drift(model, structures, 0.0005, 100)
    assert (fine / [13, 8] < 1e-3).all()
    assert ((coarse / fine > 3) & (coarse / fine < 5)).all()


def test_a_batch_relaxes_to_minima():
    structures = [cluster(13), cluster(8, 1), cluster(10, 2)]
    model = KosselModel(make_committee())
    converged = torch_sim.generate_force_convergence_fn(force_tol=1e-3, include_cell_forces=False)
    state = torch_sim.optimize(structures, model, optimizer=fire, convergence_fn=converged, max_steps=2000)
    calculator = KosselCalculator(model.committee)
    for before, after in zip(structures, torch_sim.io.state_to_atoms(state), strict=True):
        before.calc = after.calc = calculator
        energy = before.get_potential_energy()
        assert after.get_potential_energy() < energy - 0.1
        assert np.linalg.norm(after.get_forces(), axis=1).max() < 1.1e-3
