"""Rearrangements of a cluster of one element, from geometry and atom energies alone: starts for relaxations.

Each move returns positions (n_atoms, 3) that a relaxation then brings to a minimum. Positions are in bond lengths.
Sources: dynamic lattice searching (Shao, Cheng & Cai 2004), cut and splice (Deaven & Ho, Phys. Rev. Lett. 75, 288
(1995)), basin hopping's random displacements (Wales & Doye, J. Phys. Chem. A 101, 5111 (1997)).
"""

import numpy as np
from scipy.spatial.distance import cdist

from growth.contact_points import OVERLAP, ContactPoints


def relocate(
    positions: np.ndarray, atom_energies: np.ndarray, n_moved: int, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Move the most weakly bound atoms to the best vacant contact points, the first of them not back to its place.

    Args:
        positions: (n_atoms, 3).
        atom_energies: (n_atoms,), higher is weaker; any unit.
        n_moved: how many atoms.
        noise: in contacts: Gumbel noise on the choice of atoms and of points.
        rng: draws it.
    """
    contacts = max(float((cdist(positions, positions) < 1.2).sum() - len(positions)) / 2.0, 1.0)
    weakness = atom_energies * contacts / max(abs(float(atom_energies.sum())), 1e-12)
    order = np.argsort(-(weakness + 0.5 * noise * rng.gumbel(size=len(positions))))
    moved, kept = order[:n_moved], np.sort(order[n_moved:])
    return ContactPoints(positions[kept]).ban(positions[moved[0]], 0.4).fill(len(positions), noise, rng)


def regrow(positions: np.ndarray, share: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Keep a share of the atoms, either those nearest the centre or those on one side of a plane; grow the rest anew.

    The centre is drawn near the middle of the cluster, the plane's direction at random.
    """
    n_kept = max(2, round(share * len(positions)))
    if rng.random() < 0.5:
        measure = np.linalg.norm(positions - positions.mean(axis=0) - rng.normal(scale=0.3, size=3), axis=1)
    else:
        measure = positions @ rng.normal(size=3)
    kept = np.sort(np.argsort(measure)[:n_kept])
    return ContactPoints(positions[kept]).fill(len(positions), noise, rng)


def splice(one: np.ndarray, other: np.ndarray, n_atoms: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """One half of a cluster joined to a half of another, both turned at random; gaps are filled at contact points."""
    one = (one - one.mean(axis=0)) @ rotation(rng)
    other = (other - other.mean(axis=0)) @ rotation(rng)
    n_top = int(rng.integers(n_atoms // 4, n_atoms - n_atoms // 4 + 1))
    top = one[np.argsort(-one[:, 2])[:n_top]]
    bottom = other[np.argsort(other[:, 2])[: n_atoms - n_top]]
    return joined(top, bottom, n_atoms, noise, rng)


def twist(positions: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Turn one part of the cluster against the other about a random axis through its centre."""
    turned = (positions - positions.mean(axis=0)) @ rotation(rng)
    height = float(rng.normal(scale=0.4))
    above, below = turned[turned[:, 2] > height], turned[turned[:, 2] <= height]
    angle = float(rng.uniform(0.2, 2.0 * np.pi - 0.2))
    c, s = np.cos(angle), np.sin(angle)
    return joined(below, above @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]), len(positions), noise, rng)


def joined(one: np.ndarray, other: np.ndarray, n_atoms: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Both parts without the atoms of the second that overlap the first, filled up to n_atoms."""
    free = cdist(other, one).min(axis=1, initial=np.inf) >= OVERLAP
    return ContactPoints(np.concatenate([one, other[free]])[:n_atoms]).fill(n_atoms, noise, rng)


def shake(positions: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """Every coordinate moved by a normal deviate of this width."""
    return positions + rng.normal(scale=width, size=positions.shape)


def fresh(n_atoms: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """A cluster grown from nothing by contacts, the more loosely the more noise."""
    return ContactPoints(np.empty((0, 3))).fill(n_atoms, noise, rng)


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A proper rotation matrix (3, 3), uniformly at random."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    return np.asarray(q)
