"""ZBL repulsion between close atoms, switched off before normal bond lengths.

V(r) = k_e Z_v Z_w / r · φ(r/a),  a = 0.8854 a₀ / (Z_v^0.23 + Z_w^0.23)           Ziegler, Biersack & Littmark (1985)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase.units import Bohr, Hartree
from jaxtyping import Float
from torch import Tensor, nn

from .graph import Graph
from .valence import PairTables

_AMPLITUDE = (0.18175, 0.50986, 0.28022, 0.02817)
_DECAY = (3.1998, 0.94229, 0.4029, 0.20162)


class ZBL(nn.Module):
    """Half of V(r) S(r) to each atom of a pair; S falls smoothly from 1 at 0.6 r_off to 0 at r_off.

    r_off is 0.75 of the sum of covalent radii where a multiple bond may be as short as that, 0.95 between metals.
    """

    charge: Tensor
    length: Tensor
    off: Tensor

    def __init__(self, species: Sequence[int]) -> None:
        super().__init__()
        z = np.asarray(species, dtype=float)
        pair = PairTables(species)
        length = 0.8854 * Bohr / (z[:, None] ** 0.23 + z[None] ** 0.23)
        tables = {
            "charge": Hartree * Bohr * z[:, None] * z[None],
            "length": length,
            "off": pair.r0 * (0.75 + 0.2 * pair.metallic),
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

    def forward(self, r: Float[Tensor, "*m n w"], graph: Graph) -> Float[Tensor, "*m n"]:
        """Repulsion of each atom, eV; edges of empty slots are beyond r_off and give zero.

        Args:
            r: (…, n_atoms, n_neighbours) Å.
            graph: species and neighbours.
        """
        z_v, z_w = graph.species[:, None], graph.species[graph.neighbours]
        off = self.off[z_v, z_w]
        if not bool((r.detach() < off).any()):
            return r.new_zeros(r.shape[:-1])
        x = r / self.length[z_v, z_w]
        screening = sum(a * torch.exp(-d * x) for a, d in zip(_AMPLITUDE, _DECAY, strict=True))
        t = ((off - r) / (0.4 * off)).clamp(0, 1)
        switch = t**3 * (10 - t * (15 - 6 * t))
        return 0.5 * (self.charge[z_v, z_w] / r * screening * switch).sum(-1)
