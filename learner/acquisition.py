"""How unsure a committee is of what growth decides by: pure functions of arrays.

Growth chooses by differences of energy between competing sites, so the doubt that matters is the spread of each
member's own difference, in which what all sites share cancels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def difference_std(
    member_energies: Float[np.ndarray, "m n"], sites: Int[np.ndarray, " k"]
) -> Float[np.ndarray, " k_less_1"]:
    """Spread over the members of E_site − E_first for each site but the first, eV.

    Args:
        member_energies: (n_members, n_sites) eV.
        sites: (k,) indices; the first is what the others are compared with.

    Returns:
        (k − 1,) population std of each member's own difference.
    """
    differences = member_energies[:, sites[1:]] - member_energies[:, sites[:1]]
    return np.asarray(differences.std(axis=0))


def force_std_near(
    forces_std: Float[np.ndarray, " n"], positions: Float[np.ndarray, "n 3"], adatom: int, radius: float
) -> float:
    """Largest spread of a force on or within `radius` (Å) of the adatom, eV/Å; images are not searched."""
    distance = np.linalg.norm(positions - positions[adatom], axis=1)
    return float(forces_std[distance <= radius].max())
