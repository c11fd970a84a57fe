"""What each atom contributes to the energy: over the whole crystal, and while one atom is moved.

The second is figure 7 of the paper, whose idea is that at a stable position all atoms contribute alike. How a network
shares the energy out among the atoms is its own choice, so that members may agree on the total and not on the shares:
the std of a contribution says how far they do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel, members_of
from growth.errors import InputError
from growth.observables import coordination, n_parts
from growth.periodic import nearest_images
from growth.study.picture import draw_values, main_axes, new_panels
from growth.study.results import ACCENT, BAND, INK, SECOND, write_csv, write_figure, write_json, write_structures
from growth.study.slab import kind_of, slab_axes


class ContributionSettings(BaseModel):
    """Which atom moves, and how far. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    atom: int | None = Field(default=None, description="number of the atom that moves; default: the outermost one")
    towards: int | None = Field(
        default=None, description="number of the atom that it moves towards; default: outwards from the centroid"
    )
    least: float = Field(default=-1.2, ge=-10, le=0, description="how far it is moved the other way")
    most: float = Field(default=3.0, gt=0, le=20, description="how far it is moved")
    step: float = Field(default=0.1, gt=0, le=1, description="between places")
    n_drawn: int = Field(default=8, ge=1, description="atoms whose contributions are drawn, the nearest ones")
    n_oracle: int = Field(default=7, ge=1, description="places at which the oracle is asked, where there is one")


@dataclass(frozen=True)
class ContributionResult:
    """Contributions, eV, less the energy of the same atom alone: 0 is unbound. Std over the members; nan with one.

    Attributes:
        structure: as given. coordination: (n_atoms,). shares, shares_std: (n_atoms,), in the structure as given.
        atom: number of the atom that was moved. direction: (3,), unit vector. moves: (n_moves,), Å.
        moved_shares: (n_moves, n_atoms). moved_shares_std: the same shape.
        energies: (n_moves,), less those of the structure as given. energies_std: (n_moves,), std of that difference.
        oracle_moves, oracle_energies: (n_oracle,), less the oracle's energy of the structure as given; nan where a
            label failed; empty without an oracle.
    """

    structure: Atoms
    coordination: np.ndarray
    shares: np.ndarray
    shares_std: np.ndarray
    atom: int
    direction: np.ndarray
    moves: np.ndarray
    moved_shares: np.ndarray
    moved_shares_std: np.ndarray
    energies: np.ndarray
    energies_std: np.ndarray
    oracle_moves: np.ndarray
    oracle_energies: np.ndarray
    n_drawn: int

    @property
    def spread(self) -> np.ndarray:
        """(n_moves,), eV: how unlike the contributions of the atoms are; the paper expects least at a stable place."""
        return np.asarray(self.moved_shares.std(axis=1))

    @property
    def nearest(self) -> np.ndarray:
        """(n_atoms,), numbers of the atoms by their distance from the one that moves, which is the first."""
        vectors = nearest_images(self.structure.positions - self.structure.positions[self.atom], self.structure)
        return np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")


def contributions(
    structure: Atoms,
    model: EnergyModel,
    settings: ContributionSettings = ContributionSettings(),  # noqa: B008 - frozen
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> ContributionResult:
    """What each atom contributes, in the structure and while one atom is moved along a line.

    Args:
        structure: cluster, slab or bulk. model: asked in one batch, its members likewise.
        settings: the line. oracle: asked for total energies at a few places. progress: told what is done.

    Raises:
        InputError: no atom of that number.
    """
    atom, direction = _line(structure, settings)
    n_moves = round((settings.most - settings.least) / settings.step) + 1
    moves = np.round(settings.least + settings.step * np.arange(n_moves), 9)
    structures = [structure.copy(), *(moved(structure, atom, move * direction) for move in moves)]
    progress(f"contributions of {len(structure)} atoms at {len(moves)} places of atom {atom}")
    members, of_members = _shares(structures, model)
    shares = members.mean(axis=0)
    std = members.std(axis=0) if len(members) > 1 else np.full(shares.shape, np.nan)
    differences = of_members[:, 1:] - of_members[:, :1]
    asked, told = _ask(oracle, structure, atom, direction, moves, shares[1:].sum(axis=1), settings, progress)
    return ContributionResult(
        structure=structure.copy(),
        coordination=coordination(structure),
        shares=shares[0],
        shares_std=std[0],
        atom=atom,
        direction=direction,
        moves=moves,
        moved_shares=shares[1:],
        moved_shares_std=std[1:],
        energies=differences.mean(axis=0),
        energies_std=differences.std(axis=0),
        oracle_moves=asked,
        oracle_energies=told,
        n_drawn=settings.n_drawn,
    )


def moved(structure: Atoms, atom: int, shift: np.ndarray) -> Atoms:
    """A copy with one atom shifted by (3,), Å."""
    copy = structure.copy()
    copy.positions[atom] += shift
    return copy


def _shares(structures: list[Atoms], model: EnergyModel) -> tuple[np.ndarray, np.ndarray]:
    """Binding contributions (n_members, n_structures, n_atoms) and energies (n_members, n_structures), eV."""
    numbers = np.unique(structures[0].numbers)
    kinds = np.searchsorted(numbers, structures[0].numbers)
    shares = []
    n_members = len(model(structures[:1]).member_energies)
    for member in members_of(model, n_members):
        found = member([*(Atoms([number]) for number in numbers), *structures])
        alone = np.asarray(found.energies[: len(numbers)])
        shares.append(np.array(found.atom_energies[len(numbers) :]) - alone[kinds])
    of_members = np.array([each.sum(axis=1) for each in shares])
    return np.array(shares), of_members


def _line(structure: Atoms, settings: ContributionSettings) -> tuple[int, np.ndarray]:
    """The atom that moves and the unit vector it moves along."""
    outwards = structure.positions - structure.positions.mean(axis=0)
    if kind_of(structure) == "slab":
        normal = slab_axes(structure).normal
        outwards = outwards @ normal[:, None] * normal
        heights = outwards @ normal
    else:
        heights = np.linalg.norm(outwards, axis=1)
    atom = int(np.argmax(heights)) if settings.atom is None else settings.atom
    for name, number in (("atom", atom), ("towards", settings.towards)):
        if number is not None and not 0 <= number < len(structure):
            raise InputError(f"contributions.{name}: expected an atom from 0 to {len(structure) - 1}, got {number}")
    if settings.towards == atom:
        raise InputError(f"contributions.towards: expected another atom than {atom}, which is the one that moves")
    vector = outwards[atom]
    if settings.towards is not None:
        vector = nearest_images(structure.positions[settings.towards] - structure.positions[atom][None], structure)[0]
    length = float(np.linalg.norm(vector))
    return atom, vector / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])


def _ask(
    oracle: EnergyModel | None,
    structure: Atoms,
    atom: int,
    direction: np.ndarray,
    moves: np.ndarray,
    energies: np.ndarray,
    settings: ContributionSettings,
    progress: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Places on the line and the oracle's energies there, less that of the structure as given.

    Left out is what is squeezed more than what parting costs, and what has come apart.
    """
    if oracle is None:
        return np.zeros(0), np.zeros(0)
    bearable = energies - energies.min() < max(float(energies[-1] - energies.min()), 1.0)
    whole = np.array([n_parts(moved(structure, atom, move * direction)) for move in moves]) <= n_parts(structure)
    usable = moves[bearable & whole]
    asked = np.linspace(usable.min(), usable.max(), settings.n_oracle) if len(usable) else np.zeros(0)
    progress(f"oracle at {len(asked) + 1} places")
    found = oracle([structure.copy(), *(moved(structure, atom, move * direction) for move in asked)]).energies
    return asked, np.asarray(found[1:] - found[0], dtype=float)


def write_contributions(result: ContributionResult, out: Path) -> dict[str, Any]:
    """Write `contributions.json`, `.csv` of the atoms, `_moved.csv`, `.extxyz`, `.png`; return the headline numbers."""
    lowest, alike = int(np.argmin(result.energies)), int(np.argmin(result.spread))
    headline = {
        "n_atoms": len(result.structure),
        "moved_atom": result.atom,
        "lowest_energy_at_A": float(result.moves[lowest]),
        "most_alike_at_A": float(result.moves[alike]),
        "contribution_mean_ev": float(result.shares.mean()),
        "contribution_std_over_atoms_ev": float(result.shares.std()),
        "contribution_std_over_members_ev": float(result.shares_std.mean()),
        "by_coordination_ev": by_coordination(result),
    }
    oracle = {"move_A": result.oracle_moves, "energy_difference_ev": result.oracle_energies}
    write_json(out / "contributions.json", headline | {"direction": result.direction, "oracle": oracle})
    columns = {
        "atom": np.arange(len(result.structure)),
        "species": result.structure.get_chemical_symbols(),
        "coordination": result.coordination,
        "contribution_ev": result.shares,
        "contribution_std_ev": result.shares_std,
    }
    write_csv(out / "contributions.csv", columns)
    lines: dict[str, np.ndarray] = {
        "move_A": result.moves,
        "energy_difference_ev": result.energies,
        "energy_difference_std_ev": result.energies_std,
        "spread_over_atoms_ev": result.spread,
    }
    lines |= {f"atom_{k}_ev": result.moved_shares[:, k] for k in result.nearest[: result.n_drawn]}
    write_csv(out / "contributions_moved.csv", lines)
    write_structures(out / "contributions.extxyz", _coloured(result))
    write_figure(out / "contributions.png", _figure(result))
    return headline


def by_coordination(result: ContributionResult) -> dict[int, float]:
    """Mean contribution of the atoms with each number of neighbours, eV."""
    numbers = np.unique(result.coordination)
    return {int(n): float(result.shares[result.coordination == n].mean()) for n in numbers}


def _coloured(result: ContributionResult) -> list[Atoms]:
    """The structure, then those with the atom moved, contributions as arrays."""
    shifts = [np.zeros(3), *(move * result.direction for move in result.moves)]
    structures = [moved(result.structure, result.atom, shift) for shift in shifts]
    for k, structure in enumerate(structures):
        shares, std = (result.moved_shares[k - 1], result.moved_shares_std[k - 1]) if k else (result.shares, None)
        structure.arrays["energy_contribution"] = shares
        structure.arrays["energy_contribution_std"] = result.shares_std if std is None else std
        structure.info = {} if k == 0 else {"move_A": float(result.moves[k - 1])}
    return structures


def _figure(result: ContributionResult) -> Figure:
    figure, (picture, against, line, total) = new_panels(2, 10.0, 8.0, rows=2)
    shade = draw_values(picture, result.structure, result.shares, main_axes(result.structure))
    figure.colorbar(shade, ax=picture, shrink=0.7, label="contribution, eV")
    _draw_coordination(against, result)
    _draw_shares(line, result)
    _draw_total(total, result)
    return figure


def _draw_coordination(axes: Axes, result: ContributionResult) -> None:
    """Contribution of each atom against its number of neighbours, std as bars, and the mean."""
    aside = 0.3 * (np.random.default_rng(0).random(len(result.shares)) - 0.5)
    has_std = np.isfinite(result.shares_std).all()
    axes.errorbar(
        result.coordination + aside,
        result.shares,
        result.shares_std if has_std else None,
        fmt="o",
        ms=3,
        color=SECOND,
        ecolor=BAND,
        elinewidth=0.8,
    )
    means = by_coordination(result)
    axes.plot(list(means), list(means.values()), color=INK, lw=1, marker="_", ms=10, label="mean")
    axes.set(xlabel="neighbours", ylabel="contribution, eV")
    axes.legend(frameon=False, fontsize=9)


def _draw_shares(axes: Axes, result: ContributionResult) -> None:
    """Contributions of the nearest atoms while the first of them moves."""
    for rank, atom in enumerate(result.nearest[: result.n_drawn][::-1]):
        is_moved = atom == result.atom
        values, std = result.moved_shares[:, atom], result.moved_shares_std[:, atom]
        colour = ACCENT if is_moved else SECOND
        if np.isfinite(std).all():
            axes.fill_between(result.moves, values - std, values + std, color=colour, alpha=0.12, lw=0)
        label = "the atom that moves" if is_moved else "its neighbours" if rank == 0 else None
        axes.plot(result.moves, values, color=colour, lw=1.8 if is_moved else 0.9, label=label)
    settled = result.moved_shares[result.energies < result.energies.min() + 3.0][:, result.nearest[: result.n_drawn]]
    margin = 0.1 * float(np.ptp(settled))
    axes.set(xlabel="shift of the atom, Å", ylabel="contribution, eV")
    axes.set_ylim(float(settled.min()) - margin, float(settled.max()) + 2 * margin)
    axes.legend(frameon=False, fontsize=9)


def _draw_total(axes: Axes, result: ContributionResult) -> None:
    """Energy and the spread of the contributions over the atoms, each with its lowest point marked."""
    lower, upper = result.energies - result.energies_std, result.energies + result.energies_std
    axes.fill_between(result.moves, lower, upper, color=BAND, lw=0)
    axes.plot(result.moves, result.energies, color=INK, lw=1.5, label="energy")
    if len(result.oracle_moves):
        axes.plot(result.oracle_moves, result.oracle_energies, "o", color=ACCENT, ms=5, zorder=3, label="oracle")
    axes.legend(frameon=False, fontsize=9, loc="upper center")
    other = axes.twinx()
    other.spines["top"].set_visible(False)
    other.plot(result.moves, result.spread, color=SECOND, lw=1.5)
    other.set_ylabel("spread of the contributions over the atoms, eV", color=SECOND)
    other.tick_params(axis="y", colors=SECOND)
    axes.axvline(result.moves[int(np.argmin(result.energies))], color=INK, lw=0.8, ls=":")
    axes.axvline(result.moves[int(np.argmin(result.spread))], color=SECOND, lw=0.8, ls=":")
    top = max(float(result.energies[-1]), float(result.energies.min()) + 1.0)
    axes.set(xlabel="shift of the atom, Å", ylabel="energy less that at 0, eV")
    axes.set_ylim(min(0.0, float(lower.min())) - 0.1, 1.25 * top)
