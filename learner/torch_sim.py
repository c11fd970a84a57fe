"""A committee as a model of torch-sim: molecular dynamics and relaxation of many structures at once.

Needs the extra `torch-sim` (torch-sim-atomistic). torch-sim moves all systems of a batch together; the committee
evaluates them in one pass, with the same numbers as `KosselCalculator`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from .committee import Committee
from .errors import InputError
from .settings import DeviceName


class KosselModel(ModelInterface):
    """A trained committee for `torch_sim.integrate`, `optimize` and `static`.

    torch-sim knows periodic along all directions or along none, and takes a structure that is periodic along two for a
    cluster: give a slab three periodic directions, with vacuum wider than the model's reach.

    Args:
        model: a model directory, or a committee.
        device: auto is a GPU where this process sees one; a committee that is given stays where it is.
        dtype: of the states and of what comes back. The network itself computes in its own precision.
        compute_stress: of periodic systems, eV/Å³, positive under tension.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Committee,
        device: DeviceName = "auto",
        dtype: torch.dtype = torch.float64,
        compute_stress: bool = False,
    ) -> None:
        super().__init__()
        self.committee = model if isinstance(model, Committee) else Committee.load(model).to(device)
        self._device, self._dtype = self.committee.device, dtype
        self._compute_forces, self._compute_stress = True, compute_stress

    def forward(self, state: SimState | dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """Evaluate all systems of a state.

        Returns:
            energy (n_systems,), energy_std (n_systems,) eV; forces (n_atoms, 3), forces_std (n_atoms,) eV/Å; energies
            (n_atoms,) eV; stress (n_systems, 3, 3) eV/Å³ where asked for.

        Raises:
            InputError: an element that the committee was not trained on, positions that are not finite, or the stress
                of systems that are not periodic.
        """
        structures = systems(state)
        periodic = all(structure.pbc.all() for structure in structures)
        if self._compute_stress and not periodic:
            raise InputError("stress needs periodic systems; make the model with compute_stress=False")
        found, virials = self.committee.predict(structures)
        results: dict[str, np.ndarray] = {
            "energy": found.energies,
            "forces": np.concatenate(found.forces),
            "energies": np.concatenate(found.atom_energies),
            "energy_std": found.energy_std,
            "forces_std": np.concatenate(found.forces_std),
        }
        if self._compute_stress:
            volumes = np.array([structure.get_volume() for structure in structures])
            symmetric: Float[np.ndarray, "s 3 3"] = 0.5 * (virials + virials.transpose(0, 2, 1))
            results["stress"] = symmetric / volumes[:, None, None]
        return {name: torch.as_tensor(x, dtype=self.dtype, device=self.device) for name, x in results.items()}


def systems(state: SimState | dict[str, Any]) -> list[Atoms]:
    """The structures of a state; its cells have the cell vectors as columns."""
    names = ("positions", "cell", "atomic_numbers", "system_idx", "pbc")
    told = state if isinstance(state, dict) else {name: getattr(state, name) for name in names}
    positions, cells, numbers, index = (told[name].detach().cpu().numpy() for name in names[:4])
    cuts = np.flatnonzero(np.diff(index)) + 1
    parts = zip(np.split(numbers, cuts), np.split(positions, cuts), cells, strict=True)
    return [Atoms(z, x.astype(float), cell=cell.astype(float).T, pbc=bool(told["pbc"])) for z, x, cell in parts]
