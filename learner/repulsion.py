"""ZBL repulsion between close atoms, switched off before normal bond lengths.

V(r) = k_e Z_v Z_w / r · φ(r/a),  a = 0.8854 a₀ / (Z_v^0.23 + Z_w^0.23)           Ziegler, Biersack & Littmark (1985)
"""

from __future__ import annotations

import torch
from ase.units import Bohr, Hartree
from jaxtyping import Float
from torch import Tensor

_AMPLITUDE = (0.18175, 0.50986, 0.28022, 0.02817)
_DECAY = (3.1998, 0.94229, 0.4029, 0.20162)
OFF = 0.5
"""Of the sum of covalent radii: nearer than molecules and crystals ever come. What is fitted holds before that."""


def zbl(r: Float[Tensor, "*e"], z_v: int, z_w: int, r_off: float) -> Float[Tensor, "*e"]:
    """V(r) S(r), eV, of a pair of atoms; S falls smoothly from 1 at 0.6 r_off to 0 at r_off.

    Args:
        r: Å.
        z_v, z_w: atomic numbers.
        r_off: Å.
    """
    x = r * ((z_v**0.23 + z_w**0.23) / (0.8854 * Bohr))
    screening = sum(a * torch.exp(-d * x) for a, d in zip(_AMPLITUDE, _DECAY, strict=True))
    t = ((r_off - r) / (0.4 * r_off)).clamp(0, 1)
    return (Hartree * Bohr * z_v * z_w) / r * screening * t**3 * (10 - t * (15 - 6 * t))
