"""Global minima that are in the literature, to judge by; nothing that grows or searches looks at them."""

from ase import Atoms

from growth.energy_model import EnergyModel
from growth.lennard_jones import LennardJonesModel

FIRST = 3
LENNARD_JONES = (
    -3.0, -6.0, -9.103852, -12.712062, -16.505384, -19.821489, -24.113360, -28.422532, -32.765970, -37.967600,
    -44.326801, -47.845157, -52.322627, -56.815742, -61.317995, -66.530949, -72.659782, -77.177043, -81.684571,
    -86.809782, -92.844472, -97.348815, -102.372663, -108.315616, -112.873584, -117.822402, -123.587371, -128.286571,
    -133.586422, -139.635524, -144.842719, -150.044528, -155.756643, -161.825363, -167.033672, -173.928427,
)  # fmt: skip
"""ε, from 3 atoms on: Cambridge Cluster Database (Wales & Doye, J. Phys. Chem. A 101, 5111 (1997))."""


def known_minimum(structure: Atoms, model: EnergyModel) -> float | None:
    """Energy of the global minimum of as many atoms, eV, where it is known for the model; else None.

    >>> known_minimum(Atoms("Ar13"), LennardJonesModel(epsilon=2.0))
    -88.653602
    """
    k = len(structure) - FIRST
    if not isinstance(model, LennardJonesModel) or structure.pbc.any() or not 0 <= k < len(LENNARD_JONES):
        return None
    return model.epsilon * LENNARD_JONES[k]
