"""What the oracle's answer says of a step: how wrong the surrogate was, and which site that makes the better one."""

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from jaxtyping import Float

from growth.asking import AskSettings
from growth.known_region import NEAR_ADATOM, from_adatom
from growth.turns import Turn


def verdict(turn: Turn, ask: AskSettings) -> tuple[dict[int, float], str | None]:
    """Energies by site, eV, as the oracle corrects them, and how it contradicts the surrogate; None if it does not.

    Of a carve it tells how wrong the surrogate is, which is taken for the error of the whole.
    """
    assert turn.proposal is not None
    answers = {i: (turn.asked[i], label) for i, label in turn.labels.items() if isinstance(label, Atoms)}
    predicted = np.array([site.energy for site in turn.proposal.sites])
    truth = {i: free_energy(label) + (predicted[i] - asked.energy) for i, (asked, label) in answers.items()}
    forces = [(asked.forces, label) for asked, label in answers.values() if asked.forces is not None]
    worst = max((worst_force_error(said, label) for said, label in forces), default=0.0)
    if not answers:
        return {}, "no label succeeded"
    against = contradiction(predicted, truth, worst, ask)
    stopped = turn.proposal.sites[turn.proposal.choice].stopped
    return truth, against or ("no minimum to take" if stopped else None)


def energies_after(turn: Turn, truth: Mapping[int, float]) -> Float[np.ndarray, " n_sites"]:
    """Energies of all sites, eV, as labels correct them; those whose label failed are out of reach."""
    assert turn.proposal is not None
    energies = corrected_energies(np.array([site.energy for site in turn.proposal.sites]), truth)
    energies[[i for i in turn.labels if i not in truth]] = np.inf
    return energies


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


def worst_force_error(predicted: Float[np.ndarray, "n_atoms 3"], labelled: Atoms) -> float:
    """Largest error of a force vector on the adatom (the last atom) or near it, eV/Å."""
    errors = np.linalg.norm(predicted - labelled.calc.results["forces"], axis=1)
    near = np.linalg.norm(from_adatom(labelled), axis=1) <= NEAR_ADATOM
    return float(errors[near].max())


def free_energy(labelled: Atoms) -> float:
    """The energy that the forces of a label belong to, eV."""
    return float(labelled.calc.results["free_energy"])  # asking the calculator would compare all atoms first
