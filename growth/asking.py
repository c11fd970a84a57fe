"""What growth does with doubt: when to ask the oracle, and about which sites. Pure functions.

Growth chooses by differences of total energy between competing sites, so doubt is the committee's spread of those
differences (each member's own) and of the forces near the adatom, made an interval by conformal calibration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator

from growth.calibration import LEVEL, Calibration
from growth.known_region import NEAR_ADATOM, from_adatom, worst_std
from growth.observables import contacts
from growth.relax import Relaxed
from growth.simulator import boltzmann, pick
from growth.sites import Site
from learner.acquisition import difference_std
from learner.conformal import tolerance_to_std

WORST = 5
"""Atoms that are named where a step is asked about, and that a carve may be cut around besides the adatom."""
SPARSER = 0.5
"""Doubtful steps to come for one of now: a surrogate that learns doubts less (docs/results/active-learning.md)."""


Arm = Literal["committee", "random", "everything", "nothing"]


class AskSettings(BaseModel):
    """When the surrogate counts as unsure: where an error beyond a tolerance may be likelier than the risk."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    delta_e_tolerance: float = Field(0.05, gt=0, description="harmless error of ΔE between competing sites, eV")
    energy_tolerance: float = Field(0.008, gt=0, description="harmless error of the energy per atom, eV")
    force_tolerance: float = Field(0.2, gt=0, description="harmless error of the worst force near the adatom, eV/Å")
    risk: float = Field(
        0.1, gt=0, lt=1, description="share of the steps taken unasked whose error, each, may be larger, as labels tell"
    )
    audit_probability: float = Field(0.05, ge=0, le=1, description="chance that a sure step is labelled all the same")
    arm: Arm = Field(
        "committee",
        description="committee: what it is unsure of is labelled; for comparison random: any step, with "
        "random_probability; everything; nothing",
    )
    random_probability: float = Field(0.3, ge=0, le=1, description="of a label for a step, in the random arm")
    max_unasked: int | None = Field(
        None,
        ge=0,
        description="steps in a row that a walker takes unasked; then it asks, however sure: an error that all members "
        "share, such as an offset at sizes without labels, does not show in their std",
    )
    learn_first: bool = Field(
        False,
        description="a walker that has asked grows on with a model that has learnt the answer, not before: worth it "
        "where a label takes longer than an update",
    )
    speculate: int | None = Field(
        None,
        ge=0,
        description="steps that a walker may be ahead of the oracle's answers, when no other walker can go on; a label "
        "that contradicts takes it back; default 2, and 0 where labels are cheap or learnt first",
    )
    stop_beyond: float | None = Field(
        10.0,
        gt=1,
        description="relaxations of sites stop where forces near the adatom may be wrong by more than so many times "
        "the tolerance, but for the risk; what was stopped is never accepted unasked: its label teaches the model what "
        "it does not know; null: never",
    )
    sites_per_query: int = Field(2, ge=1, description="sites labelled: the drawn one and its most doubtful rivals")
    max_attempts: int = Field(
        2,
        ge=0,
        description="proposals for one step that labels may contradict; the next is settled by its labels alone",
    )

    @model_validator(mode="after")
    def _agree(self) -> "AskSettings":
        if self.learn_first and self.speculate:
            raise ValueError("speculate: expected 0 with learn_first, which waits for every answer")
        return self

    @property
    def tolerances(self) -> dict[str, float]:
        """By quantity, as `growth.calibration` names them."""
        return {"delta_e": self.delta_e_tolerance, "energy": self.energy_tolerance, "forces": self.force_tolerance}

    def stop_std(self, calibration: Calibration) -> float:
        """Largest std of a force vector near the adatom at which a relaxation goes on, eV/Å; inf where none stops."""
        if self.stop_beyond is None:
            return float("inf")
        wide = tolerance_to_std(calibration.forces, self.stop_beyond * self.force_tolerance, self.risk)
        return max(wide, calibration.forces.sure_std(self.force_tolerance, self.risk))


@dataclass(frozen=True)
class Radii:
    """Half-widths of intervals at one level.

    Attributes:
        delta_e: (n_sites,) of E_i − E_chosen, eV; 0 for the chosen site itself.
        energy: of the chosen site's energy per atom, eV.
        force: of the worst force near the adatom of the chosen site, eV/Å.
    """

    delta_e: Float[np.ndarray, " n_sites"]
    energy: float
    force: float

    def told(self, order: Sequence[int]) -> dict[str, Any]:
        """By quantity, as `growth.calibration` names them, sites in an order; None where there is no bound."""
        bounded = [float(x) if np.isfinite(x) else None for x in (*self.delta_e[list(order)], self.energy, self.force)]
        return {"delta_e": bounded[:-2], "energy": bounded[-2], "forces": bounded[-1]}


@dataclass(frozen=True)
class Doubt:
    """How unsure the committee is of one choice.

    Attributes:
        stds: (n_sites,) of E_i − E_chosen, eV, each member's own difference.
        errors: what the errors stay within but for the risk; the tolerance at most where it is sure by count.
        promised: the interval at the level whose coverage is told.
        rivals: indices of the sites that could still be the better choice, the most doubtful first.
        stopped: whether the chosen site is no minimum, but where its relaxation left the known region.
    """

    stds: Float[np.ndarray, " n_sites"]
    errors: Radii
    promised: Radii
    rivals: tuple[int, ...]
    stopped: bool = False

    @property
    def delta_e_error(self) -> float:
        """Error of ΔE to the most doubtful rival, eV."""
        return float(self.errors.delta_e[self.rivals[0]]) if self.rivals else 0.0

    def ratio(self, settings: AskSettings) -> float:
        """The largest error as a multiple of its tolerance; above 1 the oracle should be asked. inf for no number."""
        errors = {"delta_e": self.delta_e_error, "energy": self.errors.energy, "forces": self.errors.force}
        ratios = np.array([errors[name] / tolerance for name, tolerance in settings.tolerances.items()])
        return float(np.where(np.isnan(ratios), np.inf, ratios).max())

    def reason(self, settings: AskSettings) -> str | None:
        """Why the oracle should be asked; None where the surrogate is sure enough. What is not a number is not sure."""
        if self.stopped:
            return f"left the known region, forces {self.errors.force:.3f} eV/Å"
        if not self.delta_e_error <= settings.delta_e_tolerance:
            return f"delta_e {self.delta_e_error:.3f} eV"
        if not self.errors.energy <= settings.energy_tolerance:
            return f"energy {self.errors.energy * 1e3:.1f} meV/atom"
        if not self.errors.force <= settings.force_tolerance:
            return f"forces {self.errors.force:.3f} eV/Å"
        return None


def doubt_about(
    member_energies: Float[np.ndarray, "n_members n_sites"],
    chosen: int,
    n_atoms: int,
    force_std: float,
    kT: float,
    calibration: Calibration,
    ask: AskSettings,
    all_count: bool = False,
) -> Doubt:
    """Doubt about choosing site `chosen`.

    A site is a rival while its energy lies within 3 kT plus the error of the difference of the chosen one's.

    Args:
        member_energies: each member's total energy of each site, eV.
        chosen: index of the drawn site.
        n_atoms: of the structures.
        force_std: largest std of a force vector near the adatom of the chosen site, eV/Å.
        kT: thermal energy, eV.
        calibration: from std to interval.
        ask: tolerances and risk.
        all_count: every other structure is a rival, however far in energy: they are the saddle and the minimum of an
            event, whose barrier decides.

    >>> from growth.calibration import calibrated
    >>> doubt = doubt_about(np.array([[0.0, 0.1], [0.0, 0.3]]), 0, 20, 0.02, 0.03, calibrated(), AskSettings(risk=0.32))
    >>> doubt.rivals, doubt.stds.round(3).tolist(), doubt.errors.delta_e.round(2).tolist()
    ((1,), [0.0, 0.1], [0.0, 0.23])
    """
    others = [i for i in range(member_energies.shape[1]) if i != chosen]
    stds = np.zeros(member_energies.shape[1])
    stds[others] = difference_std(member_energies, np.array([chosen, *others]))
    per_atom = np.array([member_energies[:, chosen].std() / n_atoms])

    def radii(reach: Callable[[str, np.ndarray], np.ndarray]) -> Radii:
        delta_e = np.zeros_like(stds)
        delta_e[others] = reach("delta_e", stds[others])
        energy, force = reach("energy", per_atom), reach("forces", np.array([force_std]))
        return Radii(delta_e, float(energy[0]), float(force[0]))

    errors = radii(lambda name, std: getattr(calibration, name).bound(std, ask.tolerances[name], ask.risk))
    promised = radii(lambda name, std: getattr(calibration, name).radius(std, LEVEL))
    gaps = np.abs(member_energies.mean(axis=0) - member_energies[:, chosen].mean())
    near = [i for i in others if all_count or not gaps[i] > 3 * kT + errors.delta_e[i]]
    return Doubt(stds, errors, promised, tuple(sorted(near, key=lambda i: (-errors.delta_e[i], -stds[i]))))


def doubt_over(
    said: Sequence[Site | Relaxed],
    chosen: int,
    kT: float,
    calibration: Calibration,
    ask: AskSettings,
    all_count: bool = False,
) -> Doubt:
    """Doubt about choosing one of some structures, from what the committee said of each; see `doubt_about`."""
    doubt = doubt_about(
        np.stack([one.member_energies for one in said], axis=1),
        chosen,
        len(said[chosen].structure),
        worst_force_std(said[chosen]),
        kT,
        calibration,
        ask,
        all_count,
    )
    return replace(doubt, stopped=said[chosen].stopped)


def worth_a_label(ratio: float, recent: Sequence[float], share: float) -> bool:
    """Whether a doubtful step gets a label: always while labels will last, else if it is among the most doubtful.

    They will if they last for `SPARSER` times the share of doubtful steps that the latest ones had.

    Args:
        ratio: of its error to the tolerance. recent: of the latest steps, whose doubts tell what is to come.
        share: of the steps to come that labels will last for.

    >>> worth_a_label(2.0, [1.2, 1.5, 3.0, 2.5], 0.25), worth_a_label(3.0, [1.2, 1.5, 3.0, 2.5], 0.25)
    (False, True)
    >>> worth_a_label(1.1, [1.2, 1.5, 3.0, 2.5], 0.6)
    True
    """
    doubtful = sum(other > 1 for other in recent) / max(len(recent), 1)
    more = sum(other > ratio for other in recent) / max(len(recent), 1)
    return share >= SPARSER * doubtful or more < share


def worst_force_std(site: Site | Relaxed) -> float:
    """`growth.known_region.worst_std` of a site, eV/Å."""
    return worst_std(site.structure, site.forces_std)


def worst_atoms(site: Site | Relaxed, adatom: int) -> list[dict[str, Any]]:
    """The atoms whose forces the committee doubts most, at most `WORST`, worst first; none where it doubts nothing.

    Args:
        site: adatom last. adatom: its number in the crystal that takes the site.

    Returns:
        For each its number `atom` in that crystal, `species`, `std` of its force vector (eV/Å), `coordination`,
        `distance` from the adatom (Å), and `kind`: adatom, neighbour (of the adatom), other.
    """
    structure, stds = site.structure, np.sqrt(3) * site.forces_std
    last = len(structure) - 1
    i, j, _ = contacts(structure)
    beside, distances = set(j[i == last].tolist()), np.linalg.norm(from_adatom(structure), axis=1)
    counts = np.bincount(i, minlength=len(structure))
    order = [int(k) for k in np.argsort(-stds, kind="stable")[:WORST] if stds[k] > 0]
    return [
        {
            "atom": adatom if k == last else k + int(k >= adatom),
            "species": structure.symbols[k],
            "std": float(stds[k]),
            "coordination": int(counts[k]),
            "distance": float(distances[k]),
            "kind": "adatom" if k == last else "neighbour" if k in beside else "other",
        }
        for k in order
    ]


def uncertain_atoms(site: Site | Relaxed) -> list[int]:
    """Atoms near the adatom, it left out, whose forces are doubted at least half as much as any there, worst first."""
    near = np.linalg.norm(from_adatom(site.structure), axis=1) <= NEAR_ADATOM
    stds = np.where(near, site.forces_std, 0.0)
    order = [int(k) for k in np.argsort(-stds, kind="stable") if stds[k] > 0 and stds[k] >= stds.max() / 2]
    return [k for k in order if k != len(site.structure) - 1][:WORST]


def to_label(chosen: int, rivals: Sequence[int], n_sites: int, sites_per_query: int) -> list[int]:
    """The sites worth a label: the chosen one, its most doubtful rivals, then the next in energy.

    >>> to_label(0, (2,), 4, 3)
    [0, 2, 1]
    """
    order = [chosen, *rivals, *range(n_sites)]
    return list(dict.fromkeys(order))[:sites_per_query]


def draw(energies: Float[np.ndarray, " n_sites"], kT: float, uniform: float) -> int:
    """The site that a uniform random number picks with Boltzmann's probabilities; kT = 0 takes the lowest.

    >>> draw(np.array([0.0, 5.0]), 0.03, 0.999), draw(np.array([0.2, 0.1]), 0.0, 0.5)
    (0, 1)
    """
    return pick(boltzmann(energies, kT), uniform)
