"""The committee as an ASE calculator."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from .committee import Committee
from .graph import SkinSearch
from .settings import DeviceName


class KosselCalculator(Calculator):
    """Energies, forces and stress of a trained committee, with their spread.

    Results: energy = free_energy (eV, the one that forces belong to), forces (eV/Å), energies (eV, by atom), stress
    (eV/Å³, Voigt order, for structures periodic along three directions), energy_std (eV), forces_std ((n_atoms,) eV/Å).

    Args:
        model: a model directory, or a committee.
        device: auto is a GPU where this process sees one; a committee that is given stays where it is.
        skin: Å; neighbours are sought anew when an atom has moved by half of it.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "forces",
        "energies",
        "stress",
        "energy_std",
        "forces_std",
    ]

    def __init__(
        self,
        model: str | os.PathLike[str] | Committee,
        device: DeviceName = "auto",
        skin: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.committee = model if isinstance(model, Committee) else Committee.load(model).to(device)
        self._search = SkinSearch(self.committee.network.cutoff, skin)

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Evaluate everything at once.

        Raises:
            InputError: an element that the committee was not trained on.
            PropertyNotImplementedError: the stress of a structure that is not periodic along three directions.
        """
        super().calculate(atoms, properties, system_changes)
        structure: Atoms = self.atoms
        prediction, virials = self.committee.predict([structure], self._search)
        energy = float(prediction.energies[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": prediction.forces[0],
            "energies": prediction.atom_energies[0],
            "energy_std": float(prediction.energy_std[0]),
            "forces_std": prediction.forces_std[0],
        }
        if structure.pbc.all():
            symmetric = 0.5 * (virials[0] + virials[0].T)
            self.results["stress"] = np.asarray(full_3x3_to_voigt_6_stress(symmetric / structure.get_volume()))
        elif properties and "stress" in properties:
            raise PropertyNotImplementedError("stress needs a structure that is periodic along three directions")
