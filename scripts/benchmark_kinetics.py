"""Is growth in time exact? Against what is known without it, on EMT.

python scripts/benchmark_kinetics.py                 (all parts)
python scripts/benchmark_kinetics.py --part diffusion

barriers     hop and exchange of an adatom on Cu(100) and Al(100), no end states given, beside climbing-image
             nudged elastic bands on the same slab; how complete the event table says it is
diffusion    an adatom on Cu(100): D from trajectories, in standard errors from ¼ Σ Γᵢ lᵢ² of the same barriers
dynamics     the same D with harmonic prefactors beside molecular dynamics at one high temperature
equilibrium  two adatoms on a small Cu(100) cell: share of time in each distinct state against Boltzmann's
folding      the same cell: time and place of the way out of a flicker, folded and hop by hop
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from scipy.stats import ks_2samp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.emt import EMTModel
from growth.energy_model import ModelCalculator
from growth.event_table import EventTable, TableSettings
from growth.events import State
from growth.kmc import KineticGrowth, KineticSettings
from growth.periodic import nearest_images
from growth.relax import relax
from oracle.durable import write_whole
from scripts.markdown import table

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python scripts/benchmark_kinetics.py"
LATTICE = {"Cu": 3.5898, "Al": 3.9940}
"""Å, of EMT's own crystals."""
MODEL = EMTModel(["Al", "Cu"])


def slab(element: str, width: int, layers: int, places: list[tuple[int, int]]) -> Atoms:
    """(100) slab with adatoms in hollows, lower two layers fixed, relaxed."""
    crystal = fcc100(element, (width, width, layers), a=LATTICE[element], vacuum=8.0)
    for place in places:
        add_adsorbate(crystal, element, 1.7, "hollow", offset=place)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag > layers - 2]))
    crystal.pbc = (True, True, False)
    return relax([crystal], MODEL, 0.005, 500)[0].structure


def barriers() -> dict[str, Any]:
    """Processes found, with how complete they are, and elastic bands between the ends of hop and exchange."""
    found = {}
    for element in LATTICE:
        crystal = slab(element, 4, 5, [(0, 0)])
        table = EventTable(MODEL, TableSettings(max_searches=120, missing=0.02, highest=1.3))
        transitions = table.transitions(crystal, np.random.default_rng(0))
        ((entry,),) = table.entries.values()
        rows: list[dict[str, Any]] = []
        for p in sorted(entry.processes, key=lambda p: p.barrier):
            copies = [t for t in transitions if t.process is p]
            row = {"kind": p.kind, "barrier": p.barrier, "reverse": p.reverse_barrier, "found": p.found}
            rows.append({**row, "copies": len(copies), "band": band(crystal, copies[0].after(crystal))})
        found[element] = {"searches": entry.n_searches, "missing": entry.missing, "processes": rows}
    return found


def band(start: Atoms, end: Atoms) -> float:
    """Barrier by a climbing-image nudged elastic band of nine images, eV."""
    ends = []
    for structure in (start, end):
        image = structure.copy()
        image.calc = ModelCalculator(MODEL)
        BFGS(image, logfile=None).run(fmax=0.01, steps=300)
        ends.append(image)
    images = [ends[0], *(ends[0].copy() for _ in range(7)), ends[1]]
    for image in images[1:-1]:
        image.calc = ModelCalculator(MODEL)
    chain = NEB(images)
    chain.interpolate(mic=True)
    FIRE(chain, logfile=None).run(fmax=0.1, steps=300)
    chain.climb = True
    FIRE(chain, logfile=None).run(fmax=0.01, steps=600)
    energies = [image.get_potential_energy() for image in images]
    return float(max(energies) - energies[0])


def adatom(temperature_K: float, prefactor: float | None, table: EventTable | None) -> KineticGrowth:
    """An adatom on Cu(100), with its processes known."""
    settings = KineticSettings(
        temperature_K=temperature_K,
        prefactor=prefactor,
        relax_every=0,
        table=TableSettings(max_searches=60, missing=0.05, highest=1.1, vibrations=True),
    )
    return KineticGrowth(MODEL, settings, State(slab("Cu", 4, 5, [(0, 0)])), table)


def expected(growth: KineticGrowth) -> float:
    """D = ¼ Σ Γᵢ lᵢ², Å²/s; l: how far the adatom's place has moved, whichever atom is in it."""
    crystal = growth.state.crystal
    growth.catalogue.update(crystal, np.random.default_rng(0))
    transitions = growth.catalogue.transitions
    lengths2 = [float((t.final[:, :2].sum(axis=0) ** 2).sum()) for t in transitions]
    return 0.25 * float((growth.rates(transitions) * np.array(lengths2)).sum())


def diffusion(n_walks: int = 150, n_hops: int = 40) -> dict[str, Any]:
    """D of trajectories at 300 to 600 K, with its standard error, and D expected."""
    rows, table = [], None
    for temperature in (300, 400, 500, 600):
        rng = np.random.default_rng(temperature)
        squares, times = [], []
        for _ in range(n_walks):
            growth = adatom(temperature, 1e13, table)
            table, way = growth.table, np.zeros(2)
            for _ in range(n_hops):
                before = growth.state.crystal
                state, _ = growth.step(rng)
                moves = nearest_images(state.crystal.positions - before.positions, before)
                way += moves[:, :2].sum(axis=0)
            squares.append(float(way @ way))
            times.append(state.time)
        D = np.mean(squares) / (4 * np.mean(times))
        residuals = (np.array(squares) - 4 * D * np.array(times)) / (4 * np.mean(times))
        error = residuals.std(ddof=1) / np.sqrt(n_walks)
        rows.append({"temperature_K": temperature, "D": D, "error": error, "expected": expected(growth)})
    return {"walks": n_walks, "hops": n_hops, "rows": rows}


def dynamics(temperature_K: float = 900.0, nanoseconds: float = 3.0, seed: int = 0) -> dict[str, Any]:
    """D by Langevin dynamics with weak friction, beside D of harmonic rates."""
    crystal = slab("Cu", 4, 5, [(0, 0)])
    growth = adatom(temperature_K, None, None)
    harmonic = expected(growth)
    prefactors = {t.process.kind: t.process.prefactor for t in growth.catalogue.transitions}
    crystal.calc = ModelCalculator(MODEL)
    rng = np.random.default_rng(seed)
    thermalize_momenta(crystal, temperature_K=temperature_K, rng=rng)
    run = Langevin(crystal, 4 * units.fs, temperature_K=temperature_K, friction=0.001 / units.fs, rng=rng)
    run.run(2000)
    places = []
    run.attach(lambda: places.append(_place(crystal)), interval=50)
    run.run(round(nanoseconds * 250_000))
    steps = np.diff(np.array(places), axis=0)
    cell = crystal.cell.lengths()[:2]
    steps -= cell * np.round(steps / cell)
    track = np.cumsum(steps, axis=0)
    lag = round(200.0 / 0.2)  # 200 ps: many vibrations, some hops
    moves = track[lag::lag] - track[:-lag:lag]
    squares = (moves**2).sum(axis=1) / (4 * 200e-12)
    return {
        "temperature_K": temperature_K,
        "nanoseconds": nanoseconds,
        "D": float(squares.mean()),
        "error": float(squares.std(ddof=1) / np.sqrt(len(squares))),
        "harmonic": harmonic,
        "prefactors": prefactors,
    }


def _place(crystal: Atoms) -> np.ndarray:
    """Where the highest atom is, (2,), Å."""
    return np.asarray(crystal.positions[crystal.positions[:, 2].argmax(), :2].copy())


def pair(temperature_K: float, table: EventTable | None, fold: float | None = None) -> KineticGrowth:
    """Two adatoms on a 4 x 4 cell of Cu(100)."""
    settings = KineticSettings(
        temperature_K=temperature_K,
        relax_every=1,
        fold_faster=fold,
        table=TableSettings(max_searches=30, missing=0.1, highest=0.75),
    )
    return KineticGrowth(MODEL, settings, State(slab("Cu", 4, 4, [(0, 0), (1, 0)])), table)


def equilibrium(temperature_K: float = 600.0, n_steps: int = 6000, n_blocks: int = 20) -> dict[str, Any]:
    """Share of time by distance of the two adatoms, against Boltzmann's by energy and number of copies."""
    growth, rng = pair(temperature_K, None), np.random.default_rng(1)
    shares: list[dict[float, float]] = []
    energies: dict[float, float] = {}
    for _ in range(n_blocks):
        block: dict[float, float] = {}
        for _ in range(n_steps // n_blocks):
            crystal = growth.state.crystal
            name = _name(crystal)
            if name not in energies:
                energies[name] = relax([crystal], MODEL, 0.003, 500)[0].energy
            _, event = growth.step(rng)
            block[name] = block.get(name, 0.0) + event.duration
        total = sum(block.values())
        shares.append({k: v / total for k, v in block.items()})
    copies = _copies(growth.state.crystal)
    weights = {
        k: copies.get(k, 0) * np.exp(-(e - min(energies.values())) / (units.kB * temperature_K))
        for k, e in energies.items()
    }
    total = sum(weights.values())
    rows = []
    for name in sorted(energies):
        values = np.array([block.get(name, 0.0) for block in shares])
        rows.append(
            {
                "distance_A": name,
                "energy": energies[name],
                "share": float(values.mean()),
                "error": float(values.std(ddof=1) / np.sqrt(n_blocks)),
                "boltzmann": float(weights[name] / total),
            }
        )
    return {"temperature_K": temperature_K, "steps": n_steps, "rows": rows}


def _name(crystal: Atoms) -> float:
    """Distance of the two highest atoms along the surface, in nearest-neighbour distances, to one place."""
    a, b = crystal.positions[np.argsort(crystal.positions[:, 2])[-2:]]
    vector = nearest_images((a - b)[None], crystal)[0]
    return round(float(np.linalg.norm(vector[:2])) / (LATTICE["Cu"] / 2**0.5), 1)


def _copies(crystal: Atoms) -> dict[float, int]:
    """How many of the 15 other hollows of the 4 x 4 cell are at each distance from one."""
    counts: dict[float, int] = {}
    for i in range(4):
        for j in range(4):
            x, y = min(i, 4 - i), min(j, 4 - j)
            if x or y:
                counts[round(float(np.hypot(x, y)), 1)] = counts.get(round(float(np.hypot(x, y)), 1), 0) + 1
    return counts


def folding(temperature_K: float = 600.0, n_exits: int = 60) -> dict[str, Any]:
    """Way out of the pair's flicker: when and how far apart the adatoms then are, folded and hop by hop."""
    table, found = None, {}
    for name, fold in (("hop by hop", None), ("folded", 1e4)):
        rng, times, ends, steps = np.random.default_rng(2), [], [], 0
        for _ in range(n_exits):
            growth = pair(temperature_K, table, fold)
            table = growth.table
            while _name(growth.state.crystal) < 1.9:
                growth.step(rng)
                steps += 1
            times.append(growth.state.time)
            ends.append(_name(growth.state.crystal))
        found[name] = {"times": times, "ends": ends, "steps": steps}
    test = ks_2samp(found["hop by hop"]["times"], found["folded"]["times"])
    return {"temperature_K": temperature_K, "exits": n_exits, "same_times_p": float(test.pvalue), **found}


def page(found: dict[str, Any]) -> str:
    """What was found, as a page."""
    lines = ["# Growth in time, against what is known without it", "", f"`{COMMAND}`, on EMT.", ""]
    if "barriers" in found:
        lines += ["## Processes of an adatom, no end states given", ""]
        for element, f in found["barriers"].items():
            lines += [
                f"{element}(100): {f['searches']} searches; chance that the next that finds something finds something "
                f"new: {f['missing']:.3f}.",
                "",
                *table(
                    ["process", "barrier, eV", "way back, eV", "elastic band, eV", "searches that found it", "copies"],
                    [
                        [
                            p["kind"],
                            f"{p['barrier']:.3f}",
                            f"{p['reverse']:.3f}",
                            f"{p['band']:.3f}",
                            str(p["found"]),
                            str(p["copies"]),
                        ]
                        for p in f["processes"]
                    ],
                ),
            ]
    if "diffusion" in found:
        d = found["diffusion"]
        rows = [
            [
                f"{r['temperature_K']}",
                f"{r['D']:.3e} ± {r['error']:.1e}",
                f"{r['expected']:.3e}",
                f"{(r['D'] - r['expected']) / r['error']:+.1f}",
            ]
            for r in d["rows"]
        ]
        lines += ["## Diffusion of an adatom on Cu(100)", "", f"{d['walks']} walks of {d['hops']} events each.", ""]
        lines += table(["K", "D of the walks, Å²/s", "¼ Σ Γ l²", "standard errors apart"], rows)
    if "dynamics" in found:
        d = found["dynamics"]
        lines += [
            f"Molecular dynamics, {d['temperature_K']:g} K, {d['nanoseconds']:g} ns: "
            f"{d['D']:.2e} ± {d['error']:.1e} Å²/s; harmonic rates {d['harmonic']:.2e} Å²/s, "
            + ", ".join(f"ν({k}) {v:.2e} 1/s" for k, v in d["prefactors"].items())
            + ".",
            "",
        ]
    if "equilibrium" in found:
        e = found["equilibrium"]
        rows = [
            [
                f"{r['distance_A']:g}",
                f"{r['energy'] - min(x['energy'] for x in e['rows']):.3f}",
                f"{r['share']:.4f} ± {r['error']:.4f}",
                f"{r['boltzmann']:.4f}",
            ]
            for r in e["rows"]
        ]
        lines += ["## Two adatoms on a 4 × 4 cell of Cu(100)", ""]
        lines += [f"Share of time by their distance, {e['temperature_K']:g} K, {e['steps']} steps.", ""]
        lines += table(["distance, bonds", "energy, eV", "share of time", "Boltzmann"], rows)
    if "folding" in found:
        f = found["folding"]
        rows = []
        for name in ("hop by hop", "folded"):
            times = np.array(f[name]["times"])
            ends = f[name]["ends"]
            kinds = ", ".join(f"{x:g}: {ends.count(x)}" for x in sorted(set(ends)))
            error = times.std(ddof=1) / len(times) ** 0.5
            rows.append([name, f"{times.mean():.3e} ± {error:.1e}", kinds, str(f[name]["steps"])])
        lines += ["## A pair's flicker, folded", ""]
        lines += [
            f"Until two adatoms are two bonds apart, {f['temperature_K']:g} K, {f['exits']} times each. The times"
        ]
        lines += [f"come from one distribution with p = {f['same_times_p']:.2f} (Kolmogorov & Smirnov).", ""]
        lines += table(["", "mean time, s", "distances then, bonds", "steps"], rows)
    return "\n".join(lines)


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "barriers": barriers,
    "diffusion": diffusion,
    "dynamics": dynamics,
    "equilibrium": equilibrium,
    "folding": folding,
}


def main() -> None:
    """Run the parts and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "kinetics.json")
    given = parser.parse_args()
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name in given.part or PARTS:
        found[name] = PARTS[name]()
        print(name, json.dumps(found[name], indent=1), flush=True)
        write_whole(given.out, json.dumps(found, indent=1) + "\n")
        write_whole(given.out.with_suffix(".md"), page(found))
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
