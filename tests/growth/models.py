"""Energy models and structures that the growth tests share."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

from growth.energy_model import CalculatorModel
from growth.seeds import SeedSettings, make_seed
from learner.prediction import Prediction


def emt() -> CalculatorModel:
    return CalculatorModel(EMT, reach=11.76)


def fcc14() -> Atoms:
    return make_seed(SeedSettings(kind="fcc14", species="Al", lattice_constant=3.995))


class LennardJonesModel:
    """All pairs, no cutoff, ε = σ = 1: in milliseconds what ASE's does in seconds."""

    reach = 1000.0

    @property
    def screen(self) -> "LennardJonesModel":
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        found = [self._evaluate(structure.positions) for structure in structures]
        energies = np.array([energy for energy, _, _ in found])
        return Prediction(
            energies=energies,
            forces=[forces for _, forces, _ in found],
            member_energies=energies[None].copy(),
            forces_std=[np.zeros(len(forces)) for _, forces, _ in found],
            atom_energies=[shares for _, _, shares in found],
        )

    def _evaluate(self, positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        vectors = positions[:, None] - positions[None]
        squares = (vectors**2).sum(axis=-1)
        np.fill_diagonal(squares, np.inf)
        inverse6 = squares**-3.0
        shares = 2.0 * (inverse6**2 - inverse6).sum(axis=1)
        forces = (((48.0 * inverse6**2 - 24.0 * inverse6) / squares)[:, :, None] * vectors).sum(axis=1)
        return float(shares.sum()), forces, shares
