"""Smooth valence channels: how much of each bond type a pair of atoms is.

Five bond types partition unity at every distance:

    b(r) = u(r) s² / (s² + s_b²),  s = exp((r0 − r)/0.37 Å)      bond valence, Brown & Altermatt, Acta Cryst. B41, 244
    ι = 1 − exp(−Δχ²/4)                                           ionic character, Pauling
    μ = m_v m_w                                                   metallic fraction of the two elements
    d(r) = s⁴ / (s⁴ + s_d⁴)                                       share of multiple bonds

    non-bonded 1 − b · ionic b ι · metallic b (1−ι) μ · single b (1−ι)(1−μ)(1−d) · multiple b (1−ι)(1−μ) d

with r0 the sum of covalent radii, u the envelope that ends with zero value, slope and curvature at the cutoff,
s_b = 0.05 (a bond that weak counts half) and s_d = 1.4. m is 1 for metals, 0.3 for metalloids, 0 for non-metals:
so stated, not learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase.data import atomic_numbers, covalent_radii
from jaxtyping import Float
from torch import Tensor

CHANNELS = ("non_bonded", "metallic", "ionic", "covalent_single", "covalent_multiple")
ONE_CHANNEL = ("any",)
"""For a network that tells no bond types apart."""
VALENCE_LENGTH = 0.37  # Å
HALF_BONDED = 0.05
HALF_MULTIPLE = 1.4

# Pauling electronegativity by atomic number from H (rare gases up to Ar: Allen's scale), 1.3 where none is known.
ELECTRONEGATIVITY = np.array(
    [0.0, 2.20, 4.16, 0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, 4.79, 0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16, 3.24]
    + [0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96, 3.00]
    + [0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 1.90, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66, 2.60]
    + [0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.13, 1.17, 1.20, 1.20, 1.20, 1.22, 1.23, 1.24, 1.25, 1.10, 1.27, 1.30]
    + [1.50, 2.36, 1.90, 2.20, 2.20, 2.28, 2.54, 2.00, 1.62, 2.33, 2.02, 2.00, 2.20, 2.20, 0.79, 0.90, 1.10, 1.30]
    + [1.50, 1.38, 1.36, 1.28, 1.13, 1.28]
    + [1.30] * 22
)
_METALLOIDS = frozenset(atomic_numbers[s] for s in ("B", "Si", "Ge", "As", "Sb", "Te", "Po", "At"))
_NON_METALS = frozenset((1, 2, 6, 7, 8, 9, 10, 15, 16, 17, 18, 34, 35, 36, 53, 54, 86))


def metallic_fraction(z: int) -> float:
    """Metallic fraction m of an element: 1 metal, 0.3 metalloid, 0 non-metal."""
    if z in _NON_METALS:
        return 0.0
    return 0.3 if z in _METALLOIDS else 1.0


def valence_shells(z: int) -> tuple[int, int, int, int]:
    """Electrons in s, p, d, f shells beyond the last rare gas, filled by Madelung's rule (Cu: 2, 0, 9, 0)."""
    order = sorted(((n, k) for n in range(1, 9) for k in range(min(n, 4))), key=lambda s: (s[0] + s[1], s[0]))
    shells, left = [0, 0, 0, 0], z
    for _, k in order:
        if left <= 0:
            break
        if k == 0:
            shells = [0, 0, 0, 0]
        shells[k] += min(left, 4 * k + 2)
        left -= min(left, 4 * k + 2)
    return shells[0], shells[1], shells[2], shells[3]


def traits(species: Sequence[int]) -> Float[np.ndarray, "s 8"]:
    """What chemistry knows of each element, in numbers of about unit size, by which elements are alike.

    1, its valence electrons in s, p, d, f shells over what these hold, electronegativity (its distance from 1.9),
    covalent radius (Å, distance from 1.4), metallic fraction.
    """
    rows = []
    for z in species:
        shells = [n / (4 * k + 2) for k, n in enumerate(valence_shells(int(z)))]
        rows.append(
            [1.0, *shells, ELECTRONEGATIVITY[z] - 1.9, 2 * (covalent_radii[z] - 1.4), metallic_fraction(int(z))]
        )
    return np.array(rows)


class PairTables:
    """What the channels need of each pair of species.

    Attributes:
        r0: (n_species, n_species) Å, sum of covalent radii.
        ionic, metallic: (n_species, n_species), ι and μ of the module's docstring.
    """

    def __init__(self, species: Sequence[int]) -> None:
        z = np.asarray(species, dtype=int)
        radii = covalent_radii[z]
        chi = ELECTRONEGATIVITY[z]
        metal = np.array([metallic_fraction(int(k)) for k in z])
        self.r0: Float[np.ndarray, "s s"] = radii[:, None] + radii[None]
        self.ionic: Float[np.ndarray, "s s"] = 1.0 - np.exp(-((chi[:, None] - chi[None]) ** 2) / 4)
        self.metallic: Float[np.ndarray, "s s"] = metal[:, None] * metal[None]


def possible_channels(species: Sequence[int], least: float = 0.0) -> tuple[str, ...]:
    """The channels that are not zero at every distance for these species (a pure metal: non-bonded and metallic).

    Args:
        species: atomic numbers.
        least: ionic character up to which a bond does not count as ionic (two metals: usually less than 0.05).
    """
    pair = PairTables(species)
    covalent = bool(np.any((1 - pair.ionic) * (1 - pair.metallic) > 0))
    present = {
        "non_bonded": True,
        "metallic": bool(np.any(pair.metallic > 0)),
        "ionic": bool(np.any(pair.ionic > least)),
        "covalent_single": covalent,
        "covalent_multiple": covalent,
    }
    return tuple(c for c in CHANNELS if present[c])


def envelope(r: Float[Tensor, "*e"], cutoff: float) -> Float[Tensor, "*e"]:
    """u(r): 1 at 0, and 0 from the cutoff on with zero slope and curvature; u = (1−x)³ (1 + 3x + 6x²), x = r/cutoff."""
    x = (r / cutoff).clamp(max=1.0)
    return (1 - x) ** 3 * (1 + x * (3 + 6 * x))


def smooth_cutoff(r: Float[Tensor, "*e"], cutoff: float) -> Float[Tensor, "*e"]:
    """As `envelope`, but near 1 over more of the way (1/2 at 0.68 of it): u = 1 − 28x⁶ + 48x⁷ − 21x⁸.

    Source: Gasteiger, Groß & Günnemann, Directional message passing (2020), with p = 6.
    """
    x = (r / cutoff).clamp(max=1.0)
    return 1 - x**6 * (28 - x * (48 - 21 * x))


def bonded(r: Float[Tensor, "*e"], r0: Float[Tensor, "*e"], u: Float[Tensor, "*e"]) -> Float[Tensor, "*e"]:
    """b(r), how bonded a pair is, in [0, 1]: u s²/(s² + s_b²), as a logistic function so that it never overflows."""
    return u * torch.sigmoid((r0 - r) * (2 / VALENCE_LENGTH) - 2 * float(np.log(HALF_BONDED)))


def channel_weights(
    b: Float[Tensor, "*e"],
    r: Float[Tensor, "*e"],
    r0: Float[Tensor, "*e"],
    ionic: Float[Tensor, "*e"],
    metallic: Float[Tensor, "*e"],
    channels: Sequence[str],
) -> list[Float[Tensor, "*e"]]:
    """s_BT of each pair, one tensor for each channel asked for, in that order; over all channels they sum to 1.

    Args:
        b: how bonded, from `bonded`.
        r, r0: Å.
        ionic, metallic: ι and μ of the pair.
    """
    weights: dict[str, Tensor] = {"non_bonded": 1 - b, "any": torch.ones_like(b)}
    if channels == ("non_bonded", "metallic"):
        return [1 - b, b]
    weights["ionic"] = b * ionic
    weights["metallic"] = b * (1 - ionic) * metallic
    covalent = b * (1 - ionic) * (1 - metallic)
    d = torch.sigmoid((r0 - r) * (4 / VALENCE_LENGTH) - 4 * float(np.log(HALF_MULTIPLE)))
    weights["covalent_single"] = covalent * (1 - d)
    weights["covalent_multiple"] = covalent * d
    return [weights[c] for c in channels]
