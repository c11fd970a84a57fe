"""What the learner's tests share: small clusters, networks with random weights, EMT labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from learner.committee import Committee, Header
from learner.settings import NetworkSettings
from learner.vimpnn import seeded

SMALL = NetworkSettings(n_members=3, n_features=16, n_directions=8, cutoff=4.5, dtype="float64")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


def make_committee(symbols="Al", settings=SMALL, seed=0, e0=-1.5):
    """A committee with random weights, and with cohesion that is not zero."""
    species = sorted(Atoms(symbols).numbers.tolist())
    network = seeded(settings, species, seed)
    strengths, amplitudes = network.cohesion.strengths, network.cohesion.amplitudes
    strengths.copy_(torch.linspace(-0.4, 0.3, strengths.numel()).reshape(strengths.shape))
    amplitudes.copy_(torch.linspace(0.1, 0.4, amplitudes.numel()).reshape(amplitudes.shape))
    header = Header(
        network=settings,
        species=species,
        channels=list(network.basis.channels),
        e0=[e0 - z for z in range(len(species))],
        e0_source="given",
    )
    return Committee(network, header)


def cluster(n=13, seed=0, symbol="Al", spacing=4.05):
    """A rattled piece of fcc crystal."""
    crystal = bulk("Al", a=spacing, cubic=True) * (3, 3, 3)
    order = np.argsort(((crystal.positions - crystal.positions.mean(0)) ** 2).sum(1), kind="stable")[:n]
    structure = Atoms([symbol] * n, positions=crystal.positions[order])
    structure.rattle(0.15, seed=seed)
    return structure


def with_label(structure, energy=None, forces=None, free_energy=None, **info):
    """The structure with an EMT label, or with the numbers given."""
    out = structure.copy()
    if energy is None:
        out.calc = EMT()
        energy, forces = out.get_potential_energy(), out.get_forces()
    results = {"energy": energy, "forces": forces, "free_energy": free_energy}
    out.info.update(info)
    out.calc = SinglePointCalculator(out, **{k: v for k, v in results.items() if v is not None})
    return out
