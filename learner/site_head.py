"""The site head: what would become of an adatom at a raw position, without relaxing it.

A Gaussian process on invariants of the neighbourhood, taught by the relaxations that growth makes anyway. Neighbours
are seen as a density on a sphere in each of a few shells: its power spectrum, as in Bartók, Kondor & Csányi, Phys. Rev.
B 87, 184115 (2013), once of all atoms and once of those of the adatom's species. Lengths count in bond lengths.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file
from scipy.linalg import cho_factor, cho_solve
from scipy.special import sph_harm_y

from .errors import InputError

SHELLS = np.linspace(0.6, 2.2, 8)
"""Bond lengths at which the shells lie."""
WIDTH = 0.22
"""Of a shell, bond lengths."""
REACH = 2.5
"""Bond lengths up to which neighbours are seen."""
MOST_L = 4
"""Highest degree of the spherical harmonics."""
N_FEATURES = 2 * len(SHELLS) * (MOST_L + 1) + 1
"""Invariants of a position, and the energy of the unrelaxed adatom."""
FILE = "site_head.safetensors"
"""In a model directory."""


@dataclass(frozen=True)
class SiteScores:
    """What the head expects of raw positions.

    Attributes:
        energy: (n,), eV, of the crystal with the relaxed adatom less that without. energy_std: (n,), eV.
        displacement: (n,), Å, how far the adatom goes.
    """

    energy: Float[np.ndarray, " n"]
    energy_std: Float[np.ndarray, " n"]
    displacement: Float[np.ndarray, " n"]


def describe(
    vectors: Sequence[np.ndarray], same: Sequence[np.ndarray], raw_energies: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n f"]:
    """Invariants of raw positions.

    Args:
        vectors: of each position those to its neighbours, (n_neighbours, 3), in bond lengths.
        same: whether each neighbour is of the adatom's species, (n_neighbours,).
        raw_energies: eV, of the crystal with the adatom there, unrelaxed, less that without.
    """
    n, n_shells = len(vectors), len(SHELLS)
    features = np.zeros((n, N_FEATURES))
    if n == 0:
        return features
    counts = [len(v) for v in vectors]
    owner, v = np.repeat(np.arange(n), counts), np.concatenate(vectors)
    r = np.linalg.norm(v, axis=1)
    fade = 0.5 * (1 + np.cos(np.pi * np.minimum(r / REACH, 1.0)))
    shells = np.exp(-0.5 * ((r[:, None] - SHELLS) / WIDTH) ** 2) * fade[:, None]
    polar, azimuth = np.arccos(np.clip(v[:, 2] / np.maximum(r, 1e-9), -1, 1)), np.arctan2(v[:, 1], v[:, 0])
    for k, counted in enumerate((np.ones(len(r)), np.concatenate(same).astype(float))):
        for degree in range(MOST_L + 1):
            power = np.zeros((n, n_shells))
            for order in range(degree + 1):
                harmonic = sph_harm_y(degree, order, polar, azimuth) * counted
                for s in range(n_shells):
                    term = harmonic * shells[:, s]
                    real, imaginary = np.bincount(owner, term.real, n), np.bincount(owner, term.imag, n)
                    power[:, s] += (1 if order == 0 else 2) * (real**2 + imaginary**2)
            first = (k * (MOST_L + 1) + degree) * n_shells
            features[:, first : first + n_shells] = np.sqrt(4 * np.pi / (2 * degree + 1) * power)
    features[:, -1] = np.arcsinh(raw_energies)
    return features


class SiteHead:
    """Scores raw sites.

    Args:
        features: (n, f) of positions whose relaxation is known. energies: (n,), eV, after it, as in `SiteScores`.
        displacements: (n,), Å.

    Raises:
        InputError: fewer than ten relaxations, or values that are not numbers.
    """

    def __init__(
        self,
        features: Float[np.ndarray, "n f"],
        energies: Float[np.ndarray, " n"],
        displacements: Float[np.ndarray, " n"],
    ) -> None:
        if len(features) < 10:
            raise InputError(f"site head: expected at least ten relaxations to learn from, got {len(features)}")
        if not all(np.isfinite(a).all() for a in (features, energies, displacements)):
            raise InputError("site head: expected finite numbers to learn from")
        self.features, self.energies, self.displacements = features, energies, displacements

    @cached_property
    def _process(self) -> _Process:
        """Fitted when first asked, so that a head is saved and read without."""
        return _Process(self.features, np.stack([self.energies, self.displacements], axis=1))

    def __len__(self) -> int:
        """Relaxations learnt from."""
        return len(self.features)

    def __call__(self, features: Float[np.ndarray, "n f"]) -> SiteScores:
        """Scores of positions described by `describe`."""
        means, std = self._process(features)
        return SiteScores(means[:, 0], std[:, 0], np.maximum(means[:, 1], 0.0))

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write what it learnt from into a model directory."""
        arrays = {"features": self.features, "energies": self.energies, "displacements": self.displacements}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, Path(directory) / FILE)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> SiteHead | None:
        """The head of a model directory; None where it has none."""
        path = Path(directory) / FILE
        return cls(**load_file(path)) if path.exists() else None


class _Process:
    """A Gaussian process of features (n, f) and targets (n, k), which share a kernel that suits the first of them."""

    def __init__(self, features: np.ndarray, targets: np.ndarray) -> None:
        self.mean, self.std = features.mean(axis=0), features.std(axis=0)
        self.std[self.std < 1e-9 * max(1.0, float(np.abs(features).max()))] = np.inf  # never varied: not looked at
        self.x = (features - self.mean) / self.std
        self.offset, self.scale = targets.mean(axis=0), np.maximum(targets.std(axis=0), 1e-6)
        y = (targets - self.offset) / self.scale
        self.length, self.noise = _fitted(self.x, y[:, 0])
        kernel = _kernel(self.x, self.x, self.length)
        self.factor = cho_factor(kernel + self.noise * np.eye(len(y)), lower=True)
        self.weights = cho_solve(self.factor, y)

    def __call__(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and stds of the targets, (n, k) each."""
        kernel = _kernel((features - self.mean) / self.std, self.x, self.length)
        left = 1.0 + self.noise - np.einsum("nk,kn->n", kernel, cho_solve(self.factor, kernel.T))
        std = np.sqrt(np.maximum(left, 0.0))[:, None] * self.scale
        return kernel @ self.weights * self.scale + self.offset, std


def _kernel(a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
    """Matérn's with ν = 3/2 on (n, f) and (m, f): (n, m)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    r = np.sqrt(3 * np.maximum(squares, 0.0)) / length
    return np.asarray((1 + r) * np.exp(-r))


def _fitted(x: np.ndarray, y: np.ndarray, most: int = 400) -> tuple[float, float]:
    """Length and noise of the likeliest kernel of a few, on a part of the points spread evenly."""
    part = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).astype(int))
    x, y = x[part], y[part]
    typical = float(np.sqrt(2 * x.var(axis=0).sum()))
    best, found = -np.inf, (typical, 1e-2)
    for length in typical * np.array([0.5, 1.0, 2.0, 4.0]):
        kernel = _kernel(x, x, length)
        for noise in (1e-3, 1e-2, 5e-2, 0.2):
            factor = cho_factor(kernel + noise * np.eye(len(y)), lower=True)
            amplitude = float(y @ cho_solve(factor, y)) / len(y)
            likelihood = -0.5 * len(y) * np.log(amplitude) - float(np.log(np.diag(factor[0])).sum())
            if likelihood > best:
                best, found = likelihood, (float(length), noise)
    return found
