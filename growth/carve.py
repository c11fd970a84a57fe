"""A small cluster cut out of a large crystal around some atoms, so that the price of a label does not grow with it.

A carve is shown to the oracle in the crystal's place. It certifies its target atoms only: where the crystal was cut,
the rim, atoms lack neighbours and feel other forces than in the crystal. A metal's carve is a structure in its own
right, and all its forces can be learnt from; where the rim must not be, `rim_weights` masks it.

Order and choice follow distances and bonds only, never directions in space, so that a rotated or renumbered crystal has
the same carve, up to places that its symmetry makes equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atom, Atoms
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from growth.errors import InputError
from growth.observables import BONDED, contacts
from growth.periodic import nearest_images

TIE = 1e-3
"""Å; atoms whose distances from the targets differ by less are equally near, and bonds decide."""
SAME_PLACE = 1.0
"""Å; an adatom that is nearer than this to where an atom of another structure is takes that atom's place."""
DANGLING = 3
"""An atom of the rim with fewer bonds than this in the carve gives way to a better-bound one."""


@dataclass(frozen=True)
class Carve:
    """A cluster cut from a crystal.

    Attributes:
        structure: (n_atoms) cluster without cell, unwrapped around the first target, which stays where it is in the
            crystal; in the order of the crystal. No constraints, `info` or calculator.
        atoms: (n_atoms,) number in the crystal of each of its atoms, increasing.
        targets: (n_targets,) numbers in the cluster of the target atoms, in the order in which they were given.
        core: (n_atoms,) mask of the atoms that have all their neighbours in the crystal; the others are the rim.
    """

    structure: Atoms
    atoms: np.ndarray
    targets: np.ndarray
    core: np.ndarray


def carve(crystal: Atoms, targets: np.ndarray, max_atoms: int, bond_length: float | None = None) -> Carve:
    """The cluster of at most max_atoms around some atoms.

    The targets and all their neighbours are in it. Others follow by distance from the nearest target, of equally near
    ones the best bound first; then atoms with fewer than three bonds, which the crystal binds better, give way to the
    atom outside that is best bound, as long as there is one with three bonds.

    Args:
        crystal: cluster, slab or bulk. A cluster of at most max_atoms is its own carve. What is periodic is always cut
            out, and no atom is twice in the carve; where it has at most max_atoms, label it as it is.
        targets: (n_targets,) numbers in the crystal of the atoms whose forces are wanted; near one another.
        max_atoms: of the cluster.
        bond_length: Å, of neighbours; default the sum of the two bond radii.

    Raises:
        InputError: no targets, or not numbers of atoms, or one twice; max_atoms does not hold the targets and their
            neighbours; the cell is so narrow that one atom is a neighbour of targets on two sides; the targets lie so
            far apart that the cluster would be in pieces.
    """
    targets = _checked(crystal, targets)
    if not crystal.pbc.any() and len(crystal) <= max_atoms:
        whole = np.arange(len(crystal))
        return Carve(Atoms(crystal.numbers, crystal.positions), whole, targets, np.ones(len(crystal), dtype=bool))
    unwrapped, distances = _unwrapped(crystal, targets)
    bonds = _bonds(unwrapped, bond_length)
    n_bonds = np.bincount(contacts(crystal, BONDED, bond_length)[0], minlength=len(crystal))
    kept = np.zeros(len(crystal), dtype=bool)
    kept[targets] = True
    kept |= bonds @ kept > 0
    if kept.sum() > max_atoms:
        raise InputError(
            f"max_atoms: expected at least {kept.sum()}, the targets and their neighbours; got {max_atoms}"
        )
    if (bonds.sum(axis=1)[targets] < n_bonds[targets]).any():
        raise InputError(
            "crystal: the cell is too narrow, an atom is a neighbour of targets on two sides; repeat it first"
        )
    inner = kept.copy()
    _fill(kept, unwrapped.positions, _shells(distances), bonds, max_atoms)
    _swap(kept, inner, distances, bonds, n_bonds)
    pieces = connected_components(bonds, directed=False)[1]
    if _n_parts(bonds, kept) > len(np.unique(pieces[kept])):
        raise InputError(f"targets: too far apart for one carve of {max_atoms} atoms; carve around fewer of them")
    atoms = np.flatnonzero(kept)
    core = np.asarray((bonds @ kept)[atoms] == n_bonds[atoms])
    return Carve(unwrapped[atoms], atoms, np.searchsorted(atoms, targets), core)


def carve_together(
    structures: Sequence[Atoms], max_atoms: int | None, uncertain: Sequence[int] = ()
) -> list[Atoms | None]:
    """Competing structures cut to the same atoms around all places of their last atom, so that energies compare.

    Args:
        structures: alike but for the place of the last atom, the adatom, and small shifts of the others.
        max_atoms: of each; None for no limit.
        uncertain: numbers of other atoms whose forces are wanted, the most wanted first: as many are targets too, with
            all their neighbours, as there is room for beside the places.

    Returns:
        Each as it is where it has at most max_atoms. Else a cluster each, adatom last; None where the place lies too
        far from that of the structures before for one cluster to hold both. The first is never None.

    Raises:
        InputError: max_atoms does not hold an adatom and its neighbours.
    """
    first = structures[0]
    if max_atoms is None or len(first) <= max_atoms:
        return list(structures)
    crystal = Atoms(first.numbers, first.positions, cell=first.cell, pbc=first.pbc)
    targets, together = [len(first) - 1], [True]
    piece, room = carve(crystal, np.array(targets), max_atoms), max_atoms
    for other in structures[1:]:
        wider, place = crystal.copy(), other.positions[-1]
        distances = np.linalg.norm(nearest_images(wider.positions - place, wider), axis=1)
        target = int(distances.argmin())
        if distances[target] > SAME_PLACE:
            wider.append(Atom(other.symbols[-1], place))
            target = len(wider) - 1
        more = targets if target in targets else [*targets, target]
        found = _fitting(wider, more, max_atoms + len(wider) - len(first))
        together.append(found is not None)
        if found is not None:
            piece, crystal, targets, room = found, wider, more, max_atoms + len(wider) - len(first)
    for atom in uncertain:
        more = targets if atom in targets else [*targets, atom]
        found = _fitting(crystal, more, room)
        if found is not None:
            piece, targets = found, more
    kept = piece.atoms < len(first)
    atoms, base = piece.atoms[kept], piece.structure.positions[kept]
    return [
        Atoms(other.numbers[atoms], base + nearest_images(other.positions[atoms] - base, first)) if whole else None
        for other, whole in zip(structures, together, strict=True)
    ]


def affordable(structures: Sequence[Atoms], max_atoms: int | None) -> list[Atoms]:
    """The structures, of those too large for the oracle what is around their last atom; without those whose is too."""
    found = []
    for structure in structures:
        try:
            piece = carve_together([structure], max_atoms)[0]
        except InputError:  # squeezed so that an atom has more neighbours than fit
            continue
        assert piece is not None
        piece.info = structure.info
        found.append(piece)
    return found


def _fitting(crystal: Atoms, targets: Sequence[int], max_atoms: int) -> Carve | None:
    """The carve around targets; None where they do not fit into one cluster."""
    try:
        return carve(crystal, np.array(targets), max_atoms)
    except InputError:
        return None


def rim_weights(carve: Carve) -> np.ndarray:
    """Weight of each atom's force in a loss, (n_atoms,): 1 for core and target atoms, 0 for the rim."""
    weights = carve.core.astype(float)
    weights[carve.targets] = 1.0
    return weights


def _checked(crystal: Atoms, targets: np.ndarray) -> np.ndarray:
    """The targets (n_targets,) as whole numbers, when they are atoms of the crystal."""
    targets = np.asarray(targets)
    if targets.ndim != 1 or len(targets) == 0 or not np.issubdtype(targets.dtype, np.integer):
        raise InputError(f"targets: expected a list of atom numbers, at least one, got {targets.tolist()}")
    if targets.min() < 0 or targets.max() >= len(crystal):
        raise InputError(f"targets: expected numbers from 0 to {len(crystal) - 1}, got {targets.tolist()}")
    if len(np.unique(targets)) < len(targets):
        raise InputError(f"targets: expected each atom once, got {targets.tolist()}")
    if not np.isfinite(crystal.positions).all():
        raise InputError("crystal: expected positions that are numbers")
    return targets.astype(int)


def _unwrapped(crystal: Atoms, targets: np.ndarray) -> tuple[Atoms, np.ndarray]:
    """The crystal as a cluster, each atom at its image nearest to a target; distance from that, (n_atoms,), Å.

    The targets are unwrapped one from the other, nearest first, so that they stay together across a boundary.
    """
    positions, placed = crystal.positions.copy(), [int(targets[0])]
    distances = np.full(len(crystal), np.inf)
    towards = positions.copy()
    left = set(targets.tolist())
    while left:
        last = placed[-1]
        vectors = nearest_images(crystal.positions - positions[last], crystal)
        lengths = np.linalg.norm(vectors, axis=1)
        closer = lengths < distances
        distances[closer], towards[closer] = lengths[closer], positions[last] + vectors[closer]
        left.discard(last)
        if left:
            placed.append(min(left, key=lambda k: (distances[k], k)))
            positions[placed[-1]] = towards[placed[-1]]
    return Atoms(crystal.numbers, towards), distances


def _bonds(cluster: Atoms, bond_length: float | None) -> csr_array:
    """Who is whose neighbour, (n_atoms, n_atoms), ones and zeros."""
    i, j, _ = contacts(cluster, BONDED, bond_length)
    return csr_array((np.ones(len(i), dtype=int), (i, j)), shape=(len(cluster), len(cluster)))


def _shells(distances: np.ndarray) -> np.ndarray:
    """Number (n_atoms,) of the shell of equally near atoms that each is in."""
    order = np.argsort(distances, kind="stable")
    shells = np.empty(len(distances), dtype=int)
    shells[order] = np.concatenate([[0], np.cumsum(np.diff(distances[order]) > TIE)])
    return shells


def _fill(kept: np.ndarray, positions: np.ndarray, shells: np.ndarray, bonds: csr_array, max_atoms: int) -> None:
    """Add atoms: bound to what is kept before others, then nearest shell, most bonds, nearest to all that is kept."""
    spread = np.linalg.norm(positions[:, None] - positions[None, kept], axis=2).sum(axis=1)
    counts = bonds @ kept
    while kept.sum() < min(max_atoms, len(kept)):
        left = np.flatnonzero(~kept)
        best = left[np.lexsort((spread[left].round(3), -counts[left], shells[left], counts[left] == 0))[0]]
        kept[best] = True
        counts[bonds.indices[bonds.indptr[best] : bonds.indptr[best + 1]]] += 1
        spread += np.linalg.norm(positions - positions[best], axis=1)


def _swap(kept: np.ndarray, inner: np.ndarray, distances: np.ndarray, bonds: csr_array, n_bonds: np.ndarray) -> None:
    """Replace dangling atoms of the rim, loosest and farthest first. Each swap makes more bonds, so it ends."""
    parts = _n_parts(bonds, kept)
    while True:
        counts = bonds @ kept
        dangling = np.flatnonzero(kept & ~inner & (counts < DANGLING) & (counts < n_bonds))
        for out in dangling[np.lexsort((-distances[dangling].round(3), counts[dangling]))]:
            fewer = kept.copy()
            fewer[out] = False
            gains = np.where(kept, 0, bonds @ fewer)
            best = np.lexsort((distances.round(3), -gains))[0]
            fewer[best] = True
            if gains[best] >= DANGLING and _n_parts(bonds, fewer) <= parts:
                kept[:] = fewer
                break
        else:
            return


def _n_parts(bonds: csr_array, kept: np.ndarray) -> int:
    """In how many pieces the kept atoms are."""
    atoms = np.flatnonzero(kept)
    return int(connected_components(bonds[atoms][:, atoms], directed=False)[0])
