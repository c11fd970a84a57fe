"""What growth does with doubt: when to ask the oracle, about which sites, and what its answer changes. Pure functions.

Growth chooses by differences of total energy between competing sites, so doubt is the committee's spread of those
differences (each member's own) and of the forces near the adatom, scaled to an expected error by calibration.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from growth.simulator import boltzmann, pick
from growth.sites import Site
from learner.acquisition import difference_std, force_std_near

NEAR_ADATOM = 4.0
"""Atoms within this distance of the adatom (Å) are those whose forces matter for a site."""


class AskSettings(BaseModel):
    """When the surrogate counts as unsure. Expected errors are stds of the error: the committee's, calibrated.

    Attributes:
        delta_e_tolerance: expected error of the energy difference between competing sites above which to ask, eV.
        energy_tolerance: expected error of the energy per atom above which to ask, eV.
        force_tolerance: expected error of the worst force near the adatom above which to ask, eV/Å.
        audit_probability: chance that a sure step is labelled all the same.
        max_unasked: steps in a row that a walker takes unasked; then it asks, however sure. An error that all members
            share, such as an offset at sizes without labels, does not show in their std.
        learn_first: a walker that has asked grows on with a model that has learnt the answer, not before: worth it
            where a label takes longer than an update.
        sites_per_query: sites that are labelled where ΔE is in doubt: the drawn one and its most doubtful rivals.
        max_attempts: proposals for one step that labels may contradict; the next is settled by its labels alone.
    """

    model_config = ConfigDict(extra="forbid")

    delta_e_tolerance: float = Field(0.05, gt=0)
    energy_tolerance: float = Field(0.008, gt=0)
    force_tolerance: float = Field(0.2, gt=0)
    audit_probability: float = Field(0.05, ge=0, le=1)
    max_unasked: int | None = Field(None, ge=0)
    learn_first: bool = False
    sites_per_query: int = Field(2, ge=1)
    max_attempts: int = Field(2, ge=0)


@dataclass(frozen=True)
class Calibration:
    """Std of the error for each unit of the committee's std: of ΔE between sites, of the energy, of the worst force."""

    delta_e: float = 1.0
    energy: float = 1.0
    forces: float = 1.0


@dataclass(frozen=True)
class Doubt:
    """How unsure the committee is of one choice.

    Attributes:
        delta_e_errors: (n_sites,) expected error of E_i − E_chosen, eV; 0 for the chosen site itself.
        rivals: indices of the sites that could still be the better choice, the most doubtful first.
        energy_error: expected error of the chosen site's energy per atom, eV.
        force_error: expected error of the worst force near the adatom of the chosen site, eV/Å.
    """

    delta_e_errors: Float[np.ndarray, " n_sites"]
    rivals: tuple[int, ...]
    energy_error: float
    force_error: float

    @property
    def delta_e_error(self) -> float:
        """Expected error of ΔE to the most doubtful rival, eV."""
        return float(self.delta_e_errors[self.rivals[0]]) if self.rivals else 0.0

    def reason(self, settings: AskSettings) -> str | None:
        """Why the oracle should be asked; None where the surrogate is sure enough. What is not a number is not sure."""
        if not self.delta_e_error <= settings.delta_e_tolerance:
            return f"delta_e {self.delta_e_error:.3f} eV"
        if not self.energy_error <= settings.energy_tolerance:
            return f"energy {self.energy_error * 1e3:.1f} meV/atom"
        if not self.force_error <= settings.force_tolerance:
            return f"forces {self.force_error:.3f} eV/Å"
        return None


def doubt_about(
    member_energies: Float[np.ndarray, "n_members n_sites"],
    chosen: int,
    n_atoms: int,
    force_std: float,
    kT: float,
    calibration: Calibration = Calibration(),
    all_count: bool = False,
) -> Doubt:
    """Doubt about choosing site `chosen`.

    A site is a rival while its energy lies within 3 kT plus twice the expected error of the chosen one's.

    Args:
        member_energies: each member's total energy of each site, eV.
        chosen: index of the drawn site.
        n_atoms: of the structures.
        force_std: largest std of a force vector near the adatom of the chosen site, eV/Å.
        kT: thermal energy, eV.
        calibration: expected error for each unit of std.
        all_count: every other structure is a rival, however far in energy: they are the saddle and the minimum of an
            event, whose barrier decides.

    >>> doubt = doubt_about(np.array([[0.0, 0.1], [0.0, 0.3]]), 0, 20, 0.02, kT=0.03)
    >>> doubt.rivals, round(doubt.delta_e_error, 2)
    ((1,), 0.1)
    """
    others = [i for i in range(member_energies.shape[1]) if i != chosen]
    errors = np.zeros(member_energies.shape[1])
    errors[others] = calibration.delta_e * difference_std(member_energies, np.array([chosen, *others]))
    gaps = np.abs(member_energies.mean(axis=0) - member_energies[:, chosen].mean())
    near = [i for i in others if all_count or gaps[i] <= 3 * kT + 2 * errors[i]]
    rivals = tuple(sorted(near, key=lambda i: -errors[i]))
    energy_error = calibration.energy * float(member_energies[:, chosen].std()) / n_atoms
    return Doubt(errors, rivals, energy_error, calibration.forces * force_std)


def worst_force_std(site: Site) -> float:
    """Largest std of a force vector on the adatom or near it: √3 times that of its components, eV/Å."""
    structure = site.structure
    return float(np.sqrt(3) * force_std_near(site.forces_std, structure.positions, len(structure) - 1, NEAR_ADATOM))


def worst_force_error(predicted: Float[np.ndarray, "n_atoms 3"], labelled: Atoms) -> float:
    """Largest error of a force vector on the adatom (the last atom) or near it, eV/Å."""
    errors = np.linalg.norm(predicted - labelled.get_forces(apply_constraint=False), axis=1)
    near = np.linalg.norm(labelled.positions - labelled.positions[-1], axis=1) <= NEAR_ADATOM
    return float(errors[near].max())


def to_label(chosen: int, doubt: Doubt, n_sites: int, sites_per_query: int) -> list[int]:
    """The sites worth a label: the chosen one, its most doubtful rivals, then the next in energy.

    >>> to_label(0, Doubt(np.zeros(4), (2,), 0.0, 0.0), 4, 3)
    [0, 2, 1]
    """
    order = [chosen, *doubt.rivals, *range(n_sites)]
    return list(dict.fromkeys(order))[:sites_per_query]


def corrected_energies(
    energies: Float[np.ndarray, " n_sites"], labels: Mapping[int, float]
) -> Float[np.ndarray, " n_sites"]:
    """Site energies with the oracle's where it was asked; the others moved by the mean correction, eV.

    >>> corrected_energies(np.array([1.0, 2.0, 3.0]), {0: 1.1, 1: 2.3}).tolist()
    [1.1, 2.3, 3.2]
    """
    shift = np.mean([labels[i] - energies[i] for i in labels]) if labels else 0.0
    return np.array([labels.get(i, energy + shift) for i, energy in enumerate(energies)])


def contradiction(
    energies: Float[np.ndarray, " n_sites"],
    labels: Mapping[int, float],
    force_error: float,
    settings: AskSettings,
) -> str | None:
    """How the oracle contradicts the surrogate by more than twice a tolerance; None where it does not.

    An error that all sites share moves no choice, so it contradicts nothing.

    Args:
        energies: the surrogate's site energies, eV.
        labels: the oracle's energies by site, eV.
        force_error: worst force error near the adatom of a labelled site, eV/Å.
        settings: the tolerances.
    """
    errors = [labels[i] - energies[i] for i in labels]
    spread = max(errors) - min(errors) if errors else 0.0
    if not spread <= 2 * settings.delta_e_tolerance:
        return f"delta_e off by {spread:.3f} eV"
    if not force_error <= 2 * settings.force_tolerance:
        return f"forces off by {force_error:.3f} eV/Å"
    return None


def draw(energies: Float[np.ndarray, " n_sites"], kT: float, uniform: float) -> int:
    """The site that a uniform random number picks with Boltzmann's probabilities; kT = 0 takes the lowest.

    >>> draw(np.array([0.0, 5.0]), 0.03, 0.999), draw(np.array([0.2, 0.1]), 0.0, 0.5)
    (0, 1)
    """
    return pick(boltzmann(energies, kT), uniform)
