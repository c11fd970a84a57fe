"""Effective-medium theory as an energy model: ASE's EMT with its parameters, for a whole batch of structures at once.

Jacobsen, Stoltze & Nørskov, Surf. Sci. 366, 394 (1996), in the form of `ase.calculators.emt`, which sums in a loop over
atoms; here all pairs of all structures are one array. Same energies and forces, at a tenth of the time.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT, beta
from ase.data import chemical_symbols
from vesin import NeighborList

from growth.errors import InputError
from learner.prediction import Prediction


class EMTModel:
    """ASE's EMT (its own cutoff, not ASAP's) for structures of the elements given.

    Args:
        species: symbols that may occur; each must be one of EMT's.

    Raises:
        InputError: an element without parameters, when made or when asked.
    """

    def __init__(self, species: Sequence[str]) -> None:
        reference = EMT()
        self.numbers = np.array(sorted({chemical_symbols.index(symbol) for symbol in species}))
        try:
            reference.initialize(Atoms(self.numbers))
        except NotImplementedError:
            known = "Al Cu Ag Au Ni Pd Pt H C N O"
            raise InputError(f"EMT: expected elements among {known}, got {' '.join(species)}") from None
        self.cutoff, self.midpoint, self.steepness = reference.rc_list, reference.rc, reference.acut
        self.parameters = {name: np.array(values) for name, values in reference.par.items()}
        self.chi = np.array(reference.chi)
        self.neighbours = NeighborList(cutoff=self.cutoff, full_list=False)

    @property
    def reach(self) -> float:
        """Twice the cutoff, Å: the density of a neighbour enters."""
        return 2 * float(self.cutoff)

    @property
    def screen(self) -> "EMTModel":
        """The model itself: there is nothing cheaper."""
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Energies and forces; the std of its one member is zero."""
        counts = np.array([len(structure) for structure in structures], dtype=int)
        starts = np.concatenate([[0], np.cumsum(counts)])
        numbers = np.concatenate([s.numbers for s in structures]) if len(structures) else np.zeros(0, dtype=int)
        kinds = np.searchsorted(self.numbers, numbers)
        if (self.numbers[np.minimum(kinds, len(self.numbers) - 1)] != numbers).any():
            made = " ".join(chemical_symbols[z] for z in self.numbers)
            raise InputError(f"EMT: made for {made}, got {' '.join(chemical_symbols[z] for z in np.unique(numbers))}")
        pairs = [self._pairs(structure) for structure in structures]
        i = np.concatenate([p[0] + start for p, start in zip(pairs, starts, strict=False)] or [np.zeros(0, int)])
        j = np.concatenate([p[1] + start for p, start in zip(pairs, starts, strict=False)] or [np.zeros(0, int)])
        vectors = np.concatenate([p[2] for p in pairs] or [np.zeros((0, 3))])
        atom_energies, forces = self._sums(kinds, i, j, vectors)
        split = starts[1:-1]
        energies = np.array([part.sum() for part in np.split(atom_energies, split)][: len(structures)], dtype=float)
        return Prediction(
            energies=energies,
            forces=np.split(forces, split)[: len(structures)],
            member_energies=energies[None, :].copy(),
            forces_std=[np.zeros(n) for n in counts],
            atom_energies=np.split(atom_energies, split)[: len(structures)],
        )

    def _pairs(self, structure: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each pair within the cutoff once: numbers i, j, and the vector from i to j (Å)."""
        i, j, vectors = self.neighbours.compute(
            points=structure.positions,
            box=structure.cell.complete()[:] if structure.pbc.any() else np.zeros((3, 3)),
            periodic=structure.pbc,
            quantities="ijD",
        )
        return i.astype(int), j.astype(int), vectors

    def _sums(self, kinds: np.ndarray, i: np.ndarray, j: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy of each atom (n_atoms,), and forces (n_atoms, 3)."""
        n, p, a, b = len(kinds), self.parameters, kinds[i], kinds[j]
        r = np.sqrt((d * d).sum(axis=1))
        w = 1.0 / (1.0 + np.exp(self.steepness * (r - self.midpoint)))
        fade = self.steepness * (w - 1.0)
        chi, inverse = self.chi[a, b] * w, self.chi[b, a] * w
        s1_i = chi * np.exp(-p["eta2"][b] * (r - beta * p["s0"][b]))
        s1_j = inverse * np.exp(-p["eta2"][a] * (r - beta * p["s0"][a]))
        pair_i = p["neghalfv0overgamma2"][a] * chi * np.exp(-p["kappa"][b] * (r / beta - p["s0"][b]))
        pair_j = p["neghalfv0overgamma2"][b] * inverse * np.exp(-p["kappa"][a] * (r / beta - p["s0"][a]))
        density = np.bincount(i, s1_i, n) + np.bincount(j, s1_j, n)
        energies, slope = self._embedding(kinds, density)
        energies += 0.5 * (np.bincount(i, pair_i + pair_j, n) + np.bincount(j, pair_i + pair_j, n))
        pull = pair_i * (fade - p["kappa"][b] / beta) + pair_j * (fade - p["kappa"][a] / beta)
        pull += slope[i] * s1_i * (fade - p["eta2"][b]) + slope[j] * s1_j * (fade - p["eta2"][a])
        along = (pull / r)[:, None] * d
        pushes = [np.bincount(i, along[:, x], n) - np.bincount(j, along[:, x], n) for x in range(3)]
        return energies - p["E0"][kinds], np.column_stack(pushes).astype(float)  # without a pair they are integers

    def _embedding(self, kinds: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy that an atom's density gives it, with the second part of the pair correction, and its slope."""
        p = {name: values[kinds] for name, values in self.parameters.items()}
        alone = density <= 0.0
        density = np.where(alone, 1.0, density)
        ds = -np.log(density * p["inv12gamma1"]) / (beta * p["eta2"])
        fall = np.exp(-p["lambda"] * ds)
        rest = 6.0 * p["V0"] * np.exp(-p["kappa"] * ds)
        energies = p["E0"] * (1.0 + p["lambda"] * ds) * fall + rest
        by_ds = -p["E0"] * p["lambda"] ** 2 * ds * fall - p["kappa"] * rest
        slopes = -by_ds / (beta * p["eta2"] * density)
        return np.where(alone, 0.0, energies), np.where(alone, 0.0, slopes)
