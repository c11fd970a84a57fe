"""The contract of energy models, kept by EMT, Lennard-Jones, an untrained network and a committee."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from growth.energy_model import CalculatorModel, CommitteeModel, CountingModel, EnergyModel
from learner import VIMPNN, Committee, NetworkSettings
from learner.committee import Header
from learner.paper.model import PaperHeader, PaperModel
from learner.paper.network import PaperNetwork
from learner.paper.settings import PaperSettings
from learner.prediction import Prediction
from tests.energy_model_contract import EnergyModelContract

CUTOFF = 4.2
"""Å; shorter than in use, so that a cluster as large as the network's reach stays small."""


def untrained(n_members: int, dtype: str = "float64") -> Committee:
    """A committee of random weights for Al and Cu, with forces of a few eV/Å."""
    torch.manual_seed(4)
    settings = NetworkSettings(n_members=n_members, dtype=dtype, cutoff=CUTOFF)
    network = VIMPNN(settings, (13, 29))
    header = Header(
        network=settings,
        species=[13, 29],
        channels=list(network.basis.channels),
        e0=[-1.0, -2.0],
        e0_source="given",
    )
    return Committee(network, header)


class TestEMT(EnergyModelContract):
    symbols = ("Al", "Cu")
    # EMT's own smooth cutoff. Where ASE ends its neighbour list, at 5.88 Å, a dimer's energy still jumps by 0.2 meV.
    cutoffs = (4.9, 5.4)

    @pytest.fixture
    def model(self) -> EnergyModel:
        return CalculatorModel(EMT, reach=11.76)


class TestLennardJones(EnergyModelContract):
    symbols = ("Ar",)
    bond = 3.8
    cutoffs = (5.5, 7.0)

    @pytest.fixture
    def model(self) -> EnergyModel:
        return CalculatorModel(lambda: LennardJones(sigma=3.4, epsilon=0.0104, rc=7.0, ro=5.5, smooth=True), reach=7.0)


class TestNetwork(EnergyModelContract):
    symbols = ("Al", "Cu")
    cutoffs = (CUTOFF,)

    @pytest.fixture
    def model(self) -> EnergyModel:
        return CommitteeModel(untrained(1))


class TestCommittee(EnergyModelContract):
    symbols = ("Al", "Cu")
    cutoffs = (CUTOFF,)

    @pytest.fixture
    def model(self) -> EnergyModel:
        return CommitteeModel(untrained(3))

    def test_screen_is_its_first_member(self, model: EnergyModel, cluster: Atoms) -> None:
        whole, first = model([cluster]), model.screen([cluster])
        assert first.member_energies.shape == (1, 1)
        assert self.close(whole.member_energies[:1], first.member_energies)
        assert whole.energy_std[0] > 0


class TestSinglePrecisionCommittee(EnergyModelContract):
    symbols = ("Al", "Cu")
    cutoffs = (CUTOFF,)
    tolerance = 2e-3
    slope_tolerance = 1e-2

    @pytest.fixture
    def model(self) -> EnergyModel:
        return CommitteeModel(untrained(2, "float32"))


class PaperEnergyModel:
    """A network of the paper as growth wants it: its own screen."""

    def __init__(self, model: PaperModel) -> None:
        self.model, self.reach = model, model.reach

    @property
    def screen(self) -> "PaperEnergyModel":
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        return self.model(structures)


def untrained_paper_network(settings: PaperSettings) -> PaperEnergyModel:
    """Random weights for Al and Cu."""
    torch.manual_seed(4)
    hard = ["metallic"] if settings.bond_types == "hard" else []
    network = PaperNetwork(settings, (13, 29), hard)
    header = PaperHeader(network=settings, species=[13, 29], hard_types=hard, offsets=[-1.0, -2.0], energy_scale=2.0)
    return PaperEnergyModel(PaperModel(network, header))


class TestPaperNetwork(EnergyModelContract):
    symbols = ("Al", "Cu")
    cutoffs = (CUTOFF,)

    @pytest.fixture(params=["a.ii", "b.ii", "c"])
    def model(self, request: pytest.FixtureRequest) -> EnergyModel:
        settings = PaperSettings(combination=request.param, bond_types="valence", cutoff=CUTOFF, dtype="float64")
        return untrained_paper_network(settings)


class TestPaperMPNN(EnergyModelContract):
    symbols = ("Al", "Cu")
    cutoffs = (CUTOFF,)

    @pytest.fixture
    def model(self) -> EnergyModel:
        return untrained_paper_network(PaperSettings(network="mpnn", cutoff=CUTOFF, dtype="float64"))


def test_atom_energies_are_equal_shares_where_the_calculator_has_none() -> None:
    class Plain(EMT):
        def calculate(self, *arguments: object) -> None:
            super().calculate(*arguments)
            del self.results["energies"]

    found = CalculatorModel(Plain, reach=11.76)([Atoms("Al3", np.eye(3) * 2.0)])
    assert np.allclose(found.atom_energies[0], found.energies[0] / 3)


def test_counting_counts_and_changes_nothing() -> None:
    model = CalculatorModel(EMT, reach=11.76)
    counted = CountingModel(model)
    structures = [Atoms("Al"), Atoms("Al2", [[0, 0, 0], [0, 0, 2.7]])]
    assert np.array_equal(counted(structures).energies, model(structures).energies)
    assert (counted.calls, counted.structures, counted.atoms) == (1, 2, 3)
    assert counted.screen is counted
    screened = CountingModel(CommitteeModel(untrained(2)))
    assert screened.screen is not screened
    assert screened.screen is screened.screen
