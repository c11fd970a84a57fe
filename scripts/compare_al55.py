"""How far below lattice growth does off-lattice growth end at Al55?

Three ways from the 14-atom fcc seed to 55 atoms, all scored and relaxed on EMT: Kossel's growth, lattice growth on the
site with most neighbours, lattice growth on random sites. The Mackay icosahedron is the mark below them all.

    python scripts/compare_al55.py --json al55.json
    python scripts/compare_al55.py --crystals runs/al_emt_*/export/w0?.extxyz
    python scripts/compare_al55.py --smoke
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.io import read

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.energy_model import CalculatorModel
from growth.relax import relax
from growth.seeds import SeedSettings, make_seed
from growth.simulator import GrowthSettings, grow
from learner.benchmarks.fcc import grow_on_lattice

EMT_LATTICE_CONSTANT = 3.995
"""Å, Al."""


@dataclass(frozen=True)
class Settings:
    """What is compared. fmax in eV/Å."""

    n_seeds: int = 5
    growth: GrowthSettings = field(default_factory=lambda: GrowthSettings(species="Al", n_atoms=55))
    fmax: float = 0.01
    max_steps: int = 500


SMOKE = Settings(n_seeds=2, growth=GrowthSettings(species="Al", n_atoms=18), fmax=0.05)


def lattice_growth(n_atoms: int, rng: np.random.Generator, most_coordinated: bool) -> Atoms:
    """Fill fcc sites around the 14-atom seed, each time beside the crystal: where most neighbours are, or anywhere."""
    sites = grow_on_lattice(n_atoms, rng, most_coordinated)
    return Atoms(f"Al{n_atoms}", np.array(sorted(sites.tolist())) * EMT_LATTICE_CONSTANT / 2.0)


def relaxed_energies(structures: list[Atoms], model: CalculatorModel, settings: Settings) -> list[float]:
    """Energies at the nearest minimum, eV."""
    return [found.energy for found in relax(structures, model, settings.fmax, settings.max_steps)]


def compare(settings: Settings, crystals: list[Path]) -> dict[str, list[float]]:
    """Relaxed EMT energies, eV, of each way of growth; one entry a seed."""
    model = CalculatorModel(EMT, reach=11.76)
    n_atoms = settings.growth.n_atoms
    seed = make_seed(SeedSettings(kind="fcc14", species="Al", lattice_constant=EMT_LATTICE_CONSTANT))
    grown = []
    for k in range(settings.n_seeds):
        start = time.perf_counter()
        *_, (state, _) = grow(seed, model, settings.growth, rng_seed=k)
        grown.append(state.crystal)
        print(f"grown {k + 1} of {settings.n_seeds}: {time.perf_counter() - start:.0f} s", flush=True)
    arms = {"off-lattice growth": grown}
    for name, most in (("most-coordinated lattice sites", True), ("random lattice sites", False)):
        arms[name] = [lattice_growth(n_atoms, np.random.default_rng(k), most) for k in range(settings.n_seeds)]
    if crystals:
        last = [read(path, index=-1) for path in crystals]
        arms["grown while learning (--crystals)"] = [Atoms(found.numbers, found.positions) for found in last]
    if n_atoms == 55:
        arms["Mackay icosahedron"] = [Icosahedron("Al", 3, latticeconstant=EMT_LATTICE_CONSTANT)]
    return {name: relaxed_energies(structures, model, settings) for name, structures in arms.items()}


def print_table(energies: dict[str, list[float]]) -> None:
    """Mean, standard error, lowest and highest energy of each arm, and how far its mean lies above the lowest arm's."""
    floor = min(float(np.mean(values)) for values in energies.values())
    print(f"{'relaxed on EMT, eV':<34}{'mean':>8} ± {'error':<7}{'lowest':>8}{'highest':>9}{'above':>8}{'n':>4}")
    for name, values in energies.items():
        error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        mean, low, high = np.mean(values), min(values), max(values)
        print(f"{name[-33:]:<34}{mean:8.3f} ± {error:<7.3f}{low:8.3f}{high:9.3f}{mean - floor:8.3f}{len(values):4d}")


def main() -> None:
    """Read the command line, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=None, help="random seeds an arm (default 5)")
    parser.add_argument("--temperature", type=float, default=None, help="K (default: that of growth)")
    parser.add_argument("--crystals", type=Path, nargs="*", default=[], help="files whose last structure is scored too")
    parser.add_argument("--json", type=Path, default=None, help="write energies and settings here")
    parser.add_argument("--smoke", action="store_true", help="small, in seconds")
    given = parser.parse_args()
    settings = SMOKE if given.smoke else Settings()
    temperature = settings.growth.temperature_K if given.temperature is None else given.temperature
    settings = Settings(
        n_seeds=given.seeds or settings.n_seeds,
        growth=settings.growth.model_copy(update={"temperature_K": temperature}),
        fmax=settings.fmax,
        max_steps=settings.max_steps,
    )
    energies = compare(settings, given.crystals)
    print_table(energies)
    if given.json is not None:
        report = {"settings": {**asdict(settings), "growth": settings.growth.model_dump()}, "energies_eV": energies}
        given.json.write_text(json.dumps(report, indent=1) + "\n")
        print(f"written to {given.json}")


if __name__ == "__main__":
    main()
