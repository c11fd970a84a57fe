"""Growth regret: how far above the best known structure of its size a crystal lies that grew atom by atom.

Everything is relaxed on one model first, so that structures are compared and not the models that grew them. The best
known of a composition is the lowest of: what the walkers themselves reached, structures that the user gives, a short
search for ground states from a dimer, and the literature where it knows the model. A regret of zero only says that none
of these is better. The std is that of the members' own differences.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.ground_state import GroundStateSettings, find_ground_states
from growth.relax import relax
from growth.study.known_minima import known_minimum
from growth.study.picture import new_panels
from growth.study.results import ACCENT, BAND, INK, SECOND, write_csv, write_figure, write_json, write_structures

Source = Literal["walkers", "given", "search", "literature"]
WALKER_COLOURS = (SECOND, "#e0a458", "#8f5fa8", "#6b9a5b", "#c2708b", "#5b7fb5")


class RegretSettings(BaseModel):
    """What the crystals are compared with. Forces in eV/Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    budget: int = Field(
        default=0, ge=0, description="force calls of a search for ground states of all sizes; 0: no search"
    )
    bond_length: float | None = Field(default=None, gt=0, description="Å, of the search; default: twice the radius")
    fmax: float = Field(default=0.01, gt=0, description="largest force after relaxation")
    max_steps: int = Field(default=300, ge=1, description="force calls of a relaxation")
    n_oracle: int = Field(
        default=2, ge=1, description="walkers whose last crystal the oracle is asked about, with its best"
    )


@dataclass(frozen=True)
class Best:
    """The lowest structure known of a composition.

    Attributes:
        energies: (n_members,), eV. source: where it comes from. structure: relaxed; None from the literature.
    """

    energies: np.ndarray
    source: Source
    structure: Atoms | None

    @property
    def energy(self) -> float:
        """Mean over the members, eV."""
        return float(self.energies.mean())


@dataclass(frozen=True)
class Regret:
    """One crystal against the best of its composition. Energies in eV, totals.

    Attributes:
        walker: whose. structure: relaxed. energy: its. regret, std: above the best; std of that difference.
        best: what it was compared with. oracle_regret: the same by the oracle; nan where not asked or failed.
    """

    walker: str
    structure: Atoms
    energy: float
    regret: float
    std: float
    best: Best
    oracle_regret: float = float("nan")


def growth_regret(
    walkers: Mapping[str, Sequence[Atoms]],
    model: EnergyModel,
    settings: RegretSettings,
    rng: np.random.Generator,
    given: Sequence[Atoms] = (),
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Regret]:
    """Regret of every crystal.

    Args:
        walkers: for each walker its crystals as it grew, or the last one alone.
        model: relaxes and compares; its screen searches. settings: how. rng: of the search.
        given: the best structures that the user knows, of any compositions. oracle: asked about last crystals.
        progress: told what is done.

    Returns:
        One `Regret` a crystal, walker by walker.

    Raises:
        InputError: no crystals; a search where crystals are periodic or of several elements.
    """
    crystals = [(name, crystal) for name, grown in walkers.items() for crystal in grown]
    if not crystals:
        raise InputError("regret: expected at least one crystal, got none")
    progress(f"relaxing {len(crystals)} crystals and {len(given)} given structures")
    relaxed = relax([c for _, c in crystals], model, settings.fmax, settings.max_steps)
    pool: list[tuple[Atoms, np.ndarray, Source]] = [(r.structure, r.member_energies, "walkers") for r in relaxed]
    pool += _relaxed(given, "given", model, settings)
    if settings.budget:
        pool += _relaxed(_searched([c for _, c in crystals], model, settings, rng, progress), "search", model, settings)
    best = _best(pool, model)
    regrets = []
    for (name, _), found in zip(crystals, relaxed, strict=True):
        lowest = best[_key(found.structure)]
        above = found.member_energies - lowest.energies
        regrets.append(Regret(name, found.structure, found.energy, float(above.mean()), float(above.std()), lowest))
    return regrets if oracle is None else _asked(regrets, oracle, settings, progress)


def _key(structure: Atoms) -> str:
    """Composition and, where it repeats, the cell: what may be compared."""
    cell = np.round(structure.cell[structure.pbc], 3).tolist() if structure.pbc.any() else ""
    return f"{structure.get_chemical_formula()} {cell}"


def _relaxed(
    structures: Sequence[Atoms], source: Source, model: EnergyModel, settings: RegretSettings
) -> list[tuple[Atoms, np.ndarray, Source]]:
    found = relax(structures, model, settings.fmax, settings.max_steps) if len(structures) else []
    return [(r.structure, r.member_energies, source) for r in found]


def _searched(
    crystals: Sequence[Atoms],
    model: EnergyModel,
    settings: RegretSettings,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> list[Atoms]:
    """The lowest clusters that a search on the model's screen finds, of the crystals' sizes."""
    species = {symbol for crystal in crystals for symbol in crystal.get_chemical_symbols()}
    if len(species) > 1 or any(crystal.pbc.any() for crystal in crystals):
        raise InputError("regret.budget: a search for ground states takes free clusters of one element; set it to 0")
    sizes = {len(crystal) for crystal in crystals}
    if max(sizes) < 3:
        raise InputError("regret.budget: a search for ground states takes clusters of at least 3 atoms; set it to 0")
    search = GroundStateSettings(
        species=species.pop(), n_atoms=max(sizes), budget=settings.budget, bond_length=settings.bond_length
    )
    lowest: dict[int, Atoms] = {}
    for visit in find_ground_states(model.screen, search, rng):
        lowest[visit.n_atoms] = visit.structure
        progress(f"search: {visit.n_atoms} atoms, {visit.calls} of {settings.budget} force calls")
    return [structure for n, structure in lowest.items() if n in sizes]


def _best(pool: Sequence[tuple[Atoms, np.ndarray, Source]], model: EnergyModel) -> dict[str, Best]:
    """The lowest of each composition; earlier ones win where energies are equal within rounding."""
    best: dict[str, Best] = {}
    for structure, energies, source in pool:
        key, candidate = _key(structure), Best(energies, source, structure)
        if key not in best or candidate.energy < best[key].energy - 1e-6:
            best[key] = candidate
        known = known_minimum(structure, model)
        if known is not None and known < best[key].energy - 1e-6:
            best[key] = Best(np.full(len(energies), known), "literature", None)
    return best


def _asked(
    regrets: list[Regret], oracle: EnergyModel, settings: RegretSettings, progress: Callable[[str], None]
) -> list[Regret]:
    """With the oracle's word on the last crystal of the first walkers, where there is a structure to compare with."""
    last = {regret.walker: k for k, regret in enumerate(regrets)}
    chosen = [k for k in last.values() if regrets[k].best.structure is not None][: settings.n_oracle]
    progress(f"oracle at {len(chosen)} crystals and their best")
    for k in chosen:
        best = regrets[k].best.structure
        assert best is not None, "chosen so"
        grown_energy, best_energy = oracle([regrets[k].structure, best]).energies
        regrets[k] = replace(regrets[k], oracle_regret=float(grown_energy - best_energy))
    return regrets


def write_regret(regrets: Sequence[Regret], out: Path) -> dict[str, Any]:
    """Write `regret.json`, `.csv`, `.extxyz` (best known structures) and `.png`; return the headline numbers."""
    last = {regret.walker: regret for regret in regrets}
    per_atom = [1e3 * regret.regret / len(regret.structure) for regret in last.values()]
    std = [1e3 * regret.std / len(regret.structure) for regret in last.values()]
    headline: dict[str, Any] = {
        "n_crystals": len(regrets),
        "n_atoms": max(len(regret.structure) for regret in regrets),
        "last_regret_mev_per_atom": dict(zip(last, per_atom, strict=True)),
        "last_regret_mev_per_atom_std": dict(zip(last, std, strict=True)),
        "last_best_from": {name: regret.best.source for name, regret in last.items()},
        "last_oracle_regret_ev": {name: regret.oracle_regret for name, regret in last.items()},
    }
    write_json(out / "regret.json", headline)
    columns: dict[str, list[Any]] = {
        "walker": [r.walker for r in regrets],
        "n_atoms": [len(r.structure) for r in regrets],
        "energy_ev": [r.energy for r in regrets],
        "best_energy_ev": [r.best.energy for r in regrets],
        "best_from": [r.best.source for r in regrets],
        "regret_ev": [r.regret for r in regrets],
        "regret_std_ev": [r.std for r in regrets],
        "regret_mev_per_atom": [1e3 * r.regret / len(r.structure) for r in regrets],
        "oracle_regret_ev": [r.oracle_regret for r in regrets],
    }
    write_csv(out / "regret.csv", columns)
    best = {id(r.best): r.best for r in sorted(regrets, key=lambda r: len(r.structure))}
    structures = []
    for each in best.values():
        if each.structure is not None:
            structure = each.structure.copy()
            structure.info = {"energy_ev": each.energy, "source": each.source}
            structures.append(structure)
    write_structures(out / "regret.extxyz", structures)
    write_figure(out / "regret.png", _figure(regrets))
    return headline


def _figure(regrets: Sequence[Regret]) -> Figure:
    figure, (total, per_atom) = new_panels(2, 10.0, 4.0)
    _draw(total, regrets, lambda n: np.ones(len(n)))
    _draw(per_atom, regrets, lambda n: 1e3 / n)
    total.set(xlabel="atoms", ylabel="above the best known, eV")
    per_atom.set(xlabel="atoms", ylabel="above the best known, meV/atom")
    total.legend(frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, regrets: Sequence[Regret], scale: Callable[[np.ndarray], np.ndarray]) -> None:
    """Regret of each walker against its size, std as a band."""
    axes.axhline(0.0, color=BAND, lw=0.8)
    for k, walker in enumerate(dict.fromkeys(regret.walker for regret in regrets)):
        its = sorted((r for r in regrets if r.walker == walker), key=lambda r: len(r.structure))
        n = np.array([len(r.structure) for r in its])
        factor = scale(n)
        values, std = factor * [r.regret for r in its], factor * [r.std for r in its]
        colour = WALKER_COLOURS[k % len(WALKER_COLOURS)]
        axes.fill_between(n, values - std, values + std, color=colour, alpha=0.2, lw=0)
        axes.errorbar(n[[-1]], values[[-1]], std[[-1]], color=colour, elinewidth=1)
        axes.plot(n, values, color=colour, lw=1.5, marker="o", ms=3, label=walker)
        told = factor * [r.oracle_regret for r in its]
        if np.isfinite(told).any():
            axes.plot(n, told, "o", color=ACCENT, mec=INK, mew=0.5, ms=6, zorder=3, label=f"{walker}, oracle")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
