"""The paper's auxiliary targets, read out of the hidden states beside the energy; loss MSE, weight α = 0.3.

    atoms      number of atoms of each species
    orbitals   number of occupied subshells of each type (s, p, d, f)
    scale      the isotropic scale s of the structure as a Gaussian: exp(−(s − c_k)²/2σ²) at bins c_k

At the level of the structure a readout is summed (counts) or averaged (scale) over the atoms; at the level of the atom
each atom gives its own species, its own subshells, and the scale, which the paper leaves open. Counts are in units of
their std over the training set, or of 1 for atoms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor, nn

from learner.errors import InputError

from .graph import Graph, sum_atoms
from .settings import Auxiliary, PaperSettings

SCALES = (0.85, 1.55)
"""First and last bin of the scale."""
SCALE_WIDTH = 0.05
"""σ of the scale's Gaussian."""
_MADELUNG = sorted(((n, m) for n in range(1, 8) for m in range(min(n, 4))), key=lambda shell: (sum(shell), shell[0]))
"""Principal and angular quantum number of each subshell, in the order in which they fill."""


def subshells(z: int) -> Float[np.ndarray, 4]:
    """Occupied subshells s, p, d, f of an atom, filled by Madelung's rule.

    >>> subshells(13).tolist(), subshells(29).tolist()  # Al: 1s 2s 3s, 2p 3p; Cu: 1s to 4s, 2p 3p, 3d
    ([3.0, 2.0, 0.0, 0.0], [4.0, 2.0, 1.0, 0.0])
    """
    count, left = np.zeros(4), z
    for _, angular in _MADELUNG:
        if left <= 0:
            break
        count[angular] += 1
        left -= 2 * (2 * angular + 1)
    return count


class AuxiliaryReadout(nn.Module):
    """One perceptron for each auxiliary target.

    Args:
        settings: which, and at which level.
        species: atomic numbers.
        n_states: width of the concatenated hidden states.
    """

    atoms: Tensor
    orbitals: Tensor
    unit: Tensor

    def __init__(self, settings: PaperSettings, species: Sequence[int], n_states: int) -> None:
        super().__init__()
        self.settings, self.species = settings, tuple(species)
        self.register_buffer("atoms", torch.eye(len(species)), persistent=False)
        orbitals = np.array([subshells(int(z)) for z in species])
        self.register_buffer("orbitals", torch.from_numpy(orbitals), persistent=False)
        sizes = {"atoms": len(species), "orbitals": 4, "scale": settings.n_scale_bins}
        self.readouts = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(n_states, settings.n_readout), nn.SiLU(), nn.Linear(settings.n_readout, sizes[name])
                )
                for name in settings.auxiliaries
            }
        )
        self.register_buffer("unit", torch.ones(2))

    def scales(self, structures: Sequence[Atoms]) -> list[float]:
        """The scale of each structure; NaN where it is not asked for.

        Raises:
            InputError: the scale is asked for and a structure has none.
        """
        if "scale" not in self.settings.auxiliaries:
            return [float("nan")] * len(structures)
        missing = [a for a in structures if "scale" not in a.info]
        if missing:
            formula = missing[0].get_chemical_formula()
            raise InputError(f"{formula} has no info['scale'], which the auxiliary 'scale' needs")
        return [float(a.info["scale"]) for a in structures]

    def standardise(self, graph: Graph) -> None:
        """Set the unit of the counts: their std over the structures of a graph."""
        for k, name in enumerate(("atoms", "orbitals")):
            total = self._total(name, graph)
            std = float(total.std()) if self.settings.auxiliary_level == "structure" and len(total) > 1 else 1.0
            self.unit[k] = max(std, 1.0)

    def losses(
        self, states: Float[Tensor, "n k"], graph: Graph, scale: Float[Tensor, " s"]
    ) -> dict[Auxiliary, Float[Tensor, ""]]:
        """Mean squared error of each auxiliary target of a batch."""
        out: dict[Auxiliary, Tensor] = {}
        for name in self.settings.auxiliaries:
            predicted, target = self._both(name, self.readouts[name](states), graph, scale)
            out[name] = nn.functional.mse_loss(predicted, target)
        return out

    def _both(self, name: Auxiliary, rows: Tensor, graph: Graph, scale: Tensor) -> tuple[Tensor, Tensor]:
        """What is predicted and what it should be, by structure or by atom."""
        by_atom = self.settings.auxiliary_level == "atom"
        n_atoms = sum_atoms(rows.new_ones(1, len(rows)), graph)[0]
        summed = (
            rows if by_atom else rows.new_zeros(graph.n_structures, rows.shape[1]).index_add(0, graph.structure, rows)
        )
        if name == "scale":
            s = scale[graph.structure] if by_atom else scale
            return (summed if by_atom else summed / n_atoms[:, None]), self._gaussian(s)
        unit = self.unit[0 if name == "atoms" else 1]
        target = self._counts(name).to(rows)[graph.species] if by_atom else self._total(name, graph).to(rows)
        return summed / unit, target / unit

    def _counts(self, name: str) -> Float[Tensor, "z k"]:
        return self.atoms if name == "atoms" else self.orbitals

    def _total(self, name: str, graph: Graph) -> Float[Tensor, "s k"]:
        rows = self._counts(name)[graph.species]
        return rows.new_zeros(graph.n_structures, rows.shape[1]).index_add(0, graph.structure, rows)

    def _gaussian(self, scale: Float[Tensor, " s"]) -> Float[Tensor, "s k"]:
        bins = torch.linspace(*SCALES, self.settings.n_scale_bins, dtype=scale.dtype, device=scale.device)
        return torch.exp(-((scale[:, None] - bins) ** 2) / (2 * SCALE_WIDTH**2))
