"""Energy models: what gives growth its energies and forces, be it EMT, Lennard-Jones or a learned committee.

An energy model is a callable that takes structures and returns a `Prediction`, and has two attributes:
`reach` (Å), how far away the removal of an atom can still change another atom's force, and `screen`, a cheaper
energy model of the same surface, used where many candidates are relaxed (it may be the model itself).
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from learner.prediction import Prediction


@runtime_checkable
class EnergyModel(Protocol):
    """A callable `model(structures) -> Prediction`; the answer for a structure depends on that structure alone."""

    @property
    def reach(self) -> float:
        """How far the removal of an atom can change another atom's force, Å."""
        ...

    @property
    def screen(self) -> "EnergyModel":
        """A cheaper model of the same surface, or the model itself."""
        ...

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Energies (eV) and forces (eV/Å, constraints not applied) of each structure."""
        ...


@runtime_checkable
class Committee(Protocol):
    """What of `learner.Committee` is used here, so that growing on EMT imports no torch."""

    @property
    def reach(self) -> float:
        """Å."""
        ...

    def member(self, index: int) -> "Committee":
        """One member as a committee of one."""
        ...

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Mean energies and forces, with their spread over the members."""
        ...

    def where_few_move(self, structures: Sequence[Atoms]) -> Prediction:
        """The same without forces on atoms under `FixAtoms`."""
        ...


def where_few_move(model: EnergyModel) -> EnergyModel:
    """The model for pieces of a crystal in which few atoms may move: held atoms need not get forces.

    Most models have nothing cheaper for that and are returned as they are; those that have call it `where_few_move`.
    """
    return getattr(model, "where_few_move", model)


class CalculatorModel:
    """Any ASE calculator as an energy model with one member, so that every std is zero.

    Every structure gets a calculator of its own: results never depend on what was asked before. Atom energies are
    the calculator's `energies` where it has them, and an equal share of the energy where it has none.

    Args:
        make_calculator: called without arguments, returns a new calculator (`EMT`, `lambda: LennardJones(rc=9)`).
        reach: Å; for EMT twice its list cutoff of 5.88 Å, because the density of a neighbour enters.
    """

    def __init__(self, make_calculator: Callable[[], Calculator], reach: float) -> None:
        self.make_calculator = make_calculator
        self.reach = reach

    @property
    def screen(self) -> "CalculatorModel":
        """The model itself: there is nothing cheaper."""
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Free energies (the ones that forces belong to) and forces, structure by structure."""
        results = [self._evaluate(structure) for structure in structures]
        energies = np.array([energy for energy, _, _ in results], dtype=float)
        return Prediction(
            energies=energies,
            forces=[forces for _, forces, _ in results],
            member_energies=energies[None, :].copy(),
            forces_std=[np.zeros(len(forces)) for _, forces, _ in results],
            atom_energies=[atom_energies for _, _, atom_energies in results],
        )

    def _evaluate(self, structure: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        calculator = self.make_calculator()
        calculator.calculate(structure.copy(), ["energy", "forces"], list(all_changes))
        results = calculator.results
        energy = float(results.get("free_energy", results["energy"]))
        shares = results.get("energies", np.full(len(structure), energy / max(len(structure), 1)))
        return energy, np.array(results["forces"], dtype=float), np.array(shares, dtype=float)


class CommitteeModel:
    """A learned committee as an energy model; one of its members screens candidates at a fraction of the cost.

    Args:
        committee: `learner.Committee`; its `reach` is taken over, its `member(0)` becomes `screen`.
    """

    def __init__(self, committee: Committee) -> None:
        self.committee = committee

    @property
    def reach(self) -> float:
        """The committee's: twice the network's cutoff times its message steps, Å."""
        return float(self.committee.reach)

    @cached_property
    def screen(self) -> "CommitteeModel":
        """The committee's first member alone."""
        return CommitteeModel(self.committee.member(0))

    @cached_property
    def where_few_move(self) -> "LocalCommitteeModel":
        """What held atoms contribute is remembered; they get no forces."""
        return LocalCommitteeModel(self.committee)

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Mean energies and forces, with their spread over the members."""
        return self.committee(structures)


def members_of(model: EnergyModel, n_members: int) -> list[EnergyModel]:
    """Every member as a model of its own where the model is a committee of so many; else the model itself."""
    if not isinstance(model, CommitteeModel):
        return [model]
    return [CommitteeModel(model.committee.member(k)) for k in range(n_members)]


class LocalCommitteeModel(CommitteeModel):
    """A committee where few atoms move (`learner/local.py`)."""

    @property
    def where_few_move(self) -> "LocalCommitteeModel":
        """The model itself."""
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Mean energies and forces; atoms under `FixAtoms` have none."""
        return self.committee.where_few_move(structures)


class CountingModel:
    """An energy model that counts what it is asked: structures and atoms, the cost of a search.

    Attributes:
        calls: batches asked for. structures: structures evaluated. atoms: atoms evaluated.
    """

    def __init__(self, model: EnergyModel) -> None:
        self.model = model
        self.calls = 0
        self.structures = 0
        self.atoms = 0

    @property
    def reach(self) -> float:
        """Reach of the counted model, Å."""
        return self.model.reach

    @cached_property
    def screen(self) -> "CountingModel":
        """The counted screen, with counters of its own; this very object where the model screens for itself."""
        return self if self.model.screen is self.model else CountingModel(self.model.screen)

    @cached_property
    def where_few_move(self) -> "CountingModel":
        """Likewise for pieces in which few atoms may move."""
        local = where_few_move(self.model)
        return self if local is self.model else CountingModel(local)

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Count, then ask the model."""
        self.calls += 1
        self.structures += len(structures)
        self.atoms += sum(len(structure) for structure in structures)
        return self.model(structures)


class ModelCalculator(Calculator):
    """An energy model as an ASE calculator."""

    implemented_properties = ("energy", "free_energy", "forces", "energies")

    def __init__(self, model: EnergyModel) -> None:
        super().__init__()
        self.model = model

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """One structure."""
        super().calculate(atoms, properties, system_changes)
        found = self.model([self.atoms])
        energy, forces, shares = float(found.energies[0]), found.forces[0], found.atom_energies[0]
        self.results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": forces, "energies": shares}
