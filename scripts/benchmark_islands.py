"""Growth of the first tenth of a layer in physical time: shape and number of islands against flux and temperature.

    python scripts/benchmark_islands.py --face 100 --temperature 300 --flux 1e2 1e3 1e4
    python scripts/benchmark_islands.py --face 100 --temperature 300 --flux 10 --width 40 --most-neighbours 5
    python scripts/benchmark_islands.py --face 111 --temperature 60 --flux 1e5 --seeds 0 --most-neighbours 4
    python scripts/benchmark_islands.py --face 111 --temperature 400 --flux 1e7 --seeds 0 --coverage 0.04
    (the last with --most-neighbours 5)

EMT copper, three layers, the lowest fixed; fluxes in monolayers a second. What can happen is searched for on the way
and kept in a table beside the results, which later runs go on with; what moved is relaxed after each event. At the end
of every run: a picture, the atoms that the upper layer lacks, and by how much the whole crystal relaxes. The exponent
of island density against flux with its standard error, and what nucleation theory expects where two atoms hold
(Venables, Philos. Mag. 27, 697 (1973)): 1/3 for atoms that hop without end between arrivals, and less at these fluxes,
by its rate equations. A run interrupted is begun again; the table is not lost.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from ase.build import fcc100, fcc111
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.io import write
from ase.units import kB
from scipy.integrate import solve_ivp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.emt import EMTModel
from growth.event_table import EventTable, TableSettings
from growth.events import State
from growth.kinetics import flux_of_monolayers
from growth.kmc import KineticGrowth, KineticSettings, open_area
from growth.observables import BONDED, coordination, parts
from growth.periodic import nearest_images
from growth.relax import relax
from growth.saddles import SaddleSettings
from oracle.durable import write_whole
from scripts.markdown import table

ROOT = Path(__file__).resolve().parents[1]
LATTICE = 3.5898


class Near(EMTModel):
    """EMT in pieces of half its reach, which changes no barrier of an adatom beside others by 1 meV."""

    @property
    def reach(self) -> float:
        """Å."""
        return 0.5 * super().reach


MODEL = Near(["Cu"])
ATTEMPTS = 1e13
"""1/s, of every process, as `KineticSettings` has it."""
LONE_HOP = {"100": 0.411}
"""eV, of an adatom on the terrace (docs/results/kinetics.md)."""
TABLE = TableSettings(
    radius=5.4,
    batch=8,
    max_searches=8,
    missing=0.15,
    most_neighbours=6,
    highest=0.8,
    detach=False,
    saddles=SaddleSettings(radius=6.0, fmax=0.02, push_radius=3.5),
)


def terrace(face: str, width: int) -> Atoms:
    """Three layers, the lowest fixed, relaxed."""
    build = fcc100 if face == "100" else fcc111
    crystal = build("Cu", (width, width, 3), a=LATTICE, vacuum=8.0)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag == 3]))
    crystal.pbc = (True, True, False)
    return relax([crystal], MODEL, 0.02)[0].structure


def islands(crystal: Atoms, n_substrate: int) -> np.ndarray:
    """Sizes of the connected groups of atoms that arrived, largest first."""
    return np.sort(np.bincount(parts(crystal[n_substrate:], BONDED), minlength=1))[::-1]


def arrived_in_islands(crystal: Atoms, n_substrate: int) -> Atoms:
    """The atoms that arrived and are bound to others that did."""
    arrived = crystal[n_substrate:]
    piece = parts(arrived, BONDED)
    return arrived[np.bincount(piece, minlength=1)[piece] > 1] if len(arrived) else arrived


def grown(given: argparse.Namespace, temperature: float, flux: float, seed: int, out: Path) -> dict[str, Any]:
    """One run."""
    path = out / f"table-{given.face}.jsonl.gz"
    events = EventTable.load(path, MODEL) if path.exists() else EventTable(MODEL, TABLE)
    events.settings = TABLE.model_copy(update={"most_neighbours": given.most_neighbours})
    crystal = terrace(given.face, given.width)
    n_substrate, n_sites, top = len(crystal), given.width**2, float(crystal.positions[:, 2].max())
    settings = KineticSettings(
        temperature_K=temperature,
        flux={"Cu": float(flux_of_monolayers(flux, open_area(crystal) / n_sites))},
        relax_every=given.relax_every,
        relax_radius=4.5,
        fmax=0.05,
        fold_faster=20 * flux * n_sites,
        table=events.settings,
    )
    growth, rng = KineticGrowth(MODEL, settings, State(crystal), events), np.random.default_rng(seed)
    kinds: dict[str, int] = {}
    began = told = time.perf_counter()
    known = len(events.entries)
    while (n := len(growth.state.crystal) - n_substrate) < given.coverage * n_sites:
        _, event = growth.step(rng)
        kinds[event.kind] = kinds.get(event.kind, 0) + 1
        if len(events.entries) >= known + 10 or time.perf_counter() - told > 30:
            events.save(path)
            known, told = len(events.entries), time.perf_counter()
            print(f"{n} atoms, {sum(kinds.values())} events, {known} surroundings, {told - began:.0f} s", flush=True)
    events.save(path)
    sizes = islands(growth.state.crystal, n_substrate)
    name = f"cu{given.face}-{temperature:g}K-{flux:g}-{seed}"
    picture(growth.state.crystal, n_substrate, out / f"{name}.png")
    write(out / f"{name}.extxyz.gz", growth.state.crystal)
    at_rest = relax([growth.state.crystal], MODEL, 0.02)[0]
    off = np.linalg.norm(nearest_images(at_rest.structure.positions - growth.state.crystal.positions, crystal), axis=1)
    islands_only = arrived_in_islands(growth.state.crystal, n_substrate)
    return {
        "face": given.face,
        "temperature_K": temperature,
        "flux_ML_s": flux,
        "seed": seed,
        "width": given.width,
        "coverage": given.coverage,
        "most_neighbours": given.most_neighbours,
        "relax_every": given.relax_every,
        "missing_above": n_sites - int((np.abs(growth.state.crystal.positions[:, 2] - top) < 0.8).sum()),
        "relaxes_by_eV": at_rest.start_energy - at_rest.energy,
        "relaxes_by_A": float(off.max()),
        "time_s": growth.state.time,
        "events": kinds,
        "surroundings": len(events.entries),
        "sizes": sizes.tolist(),
        "bonds_per_atom": float(coordination(islands_only).mean()) if len(islands_only) else 0.0,
        "islands_per_site": float((sizes > 1).sum() / n_sites),
        "cpu_s": time.perf_counter() - began,
    }


def picture(crystal: Atoms, n_substrate: int, path: Path) -> None:
    """From above: the upper layer pale, atoms that arrived dark, higher ones darker."""
    figure, axis = plt.subplots(figsize=(4, 4))
    crystal = crystal.copy()
    crystal.wrap(eps=1e-3)
    top = crystal.positions[:n_substrate, 2].max()
    radius = 0.98 * covalent_radii[29]
    order = np.argsort(crystal.positions[:, 2])
    for k in order[crystal.positions[order, 2] > top - 1.0]:
        x, y, z = crystal.positions[k]
        colour = "#e8d8c8" if k < n_substrate else plt.get_cmap("copper")(max(0.0, 0.75 - 0.3 * (z - top - 1.5)))
        axis.add_patch(plt.Circle((x, y), radius, facecolor=colour, edgecolor="#00000040", linewidth=0.3))
    axis.set_aspect("equal")
    axis.autoscale_view()
    axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def exponent(rows: list[dict[str, Any]]) -> dict[str, float] | None:
    """Slope of log density against log flux, with its standard error; None for fewer than three runs or one flux."""
    x = np.log([row["flux_ML_s"] for row in rows])
    y = np.log([max(row["islands_per_site"], 0.5 / row["width"] ** 2) for row in rows])
    if len(rows) < 3 or np.ptp(x) == 0:
        return None
    (slope, _), covariance = np.polyfit(x, y, 1, cov="unscaled")
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    error = float(np.sqrt(covariance[0, 0] * (residual**2).sum() / (len(x) - 2)))
    fluxes = sorted({row["flux_ML_s"] for row in rows})
    means = [np.mean([y[k] for k in range(len(rows)) if rows[k]["flux_ML_s"] == flux]) for flux in fluxes]
    found = {
        "exponent": float(slope),
        "error": error,
        "lowest_fluxes": float(np.diff(means)[0] / np.log(fluxes[1] / fluxes[0])),
    }
    if rows[0]["face"] in LONE_HOP:
        hops = ATTEMPTS * float(np.exp(-LONE_HOP[rows[0]["face"]] / (kB * rows[0]["temperature_K"])))
        log_density = np.log([nucleated(hops / row["flux_ML_s"], rows[0]["coverage"]) for row in rows])
        found["rate_equations"] = float(np.polyfit(x, log_density, 1)[0])
    return found


def nucleated(hops_per_layer: float, coverage: float) -> float:
    """Islands per site by the rate equations of irreversible nucleation, with the usual capture numbers 3 and 7.

    dn1/dθ = 1 − 6 R n1² − 7 R n1 nx, dnx/dθ = 3 R n1², R = D/F in sites; D = the rate of a hop in one of four ways.
    """

    def change(_: float, n: np.ndarray) -> list[float]:
        pairs, caught = 3 * hops_per_layer * n[0] ** 2, 7 * hops_per_layer * n[0] * n[1]
        return [1 - 2 * pairs - caught, pairs]

    solved = solve_ivp(change, (0, coverage), [0.0, 0.0], method="LSODA", rtol=1e-8, atol=1e-14)
    return float(solved.y[1, -1])


def page(out: Path) -> str:
    """All runs of a folder, as a page."""
    rules = (__doc__ or "").split("\n\n")[2].replace("\n", " ").strip()
    lines = ["# Islands of the first tenth of a layer", "", f"{rules} (`python scripts/benchmark_islands.py`)", ""]
    for face in ("100", "111"):
        path = out / f"islands-{face}.json"
        found = json.loads(path.read_text()) if path.exists() else {"runs": []}
        if not found["runs"]:
            continue
        rows = [
            [
                f"{r['temperature_K']:g}",
                f"{r['flux_ML_s']:g}",
                str(r["seed"]),
                f"{r['width']} × {r['width']}",
                str(r["most_neighbours"]),
                str(sum(r["sizes"])),
                f"{r['islands_per_site'] * r['width'] ** 2:.0f}",
                f"{r['bonds_per_atom']:.2f}",
                str(r["missing_above"]),
                f"{r['relaxes_by_eV']:.2f}",
                f"{sum(r['events'].values()):,}",
                f"{r['time_s']:.1e}",
                f"{r['cpu_s']:.0f}",
            ]
            for r in sorted(found["runs"], key=lambda r: (r["temperature_K"], -r["flux_ML_s"], r["seed"]))
        ]
        lines += [f"## Cu({face})", ""]
        columns = ["K", "flux, ML/s", "seed", "sites", "active up to", "atoms", "islands", "bonds an atom"]
        lines += table([*columns, "missing", "relaxes by, eV", "events", "s", "run took, s"], rows)
        for name, fit in found.get("exponents", {}).items():
            if fit:
                theory = "1/3 in the limit of low flux"
                if "rate_equations" in fit:
                    theory += f", and {fit['rate_equations']:.2f} by its rate equations at these fluxes"
                lines += [
                    f"At {name.split('-')[1]} K the density of islands goes as the flux to the power of "
                    f"{fit['exponent']:.2f} ± {fit['error']:.2f}, between the two lowest fluxes of "
                    f"{fit['lowest_fluxes']:.2f}. Nucleation theory where pairs hold: {theory}.",
                    "",
                ]
        shown = {(r["temperature_K"], r["flux_ML_s"]): r for r in reversed(found["runs"])}
        for (temperature, flux), r in sorted(shown.items()):
            name = f"cu{face}-{temperature:g}K-{flux:g}-{r['seed']}"
            lines += [f"{temperature:g} K, {flux:g} ML/s:", "", f"![islands](islands/{name}.png)", ""]
    lines += [
        "*Active up to*: atoms with more neighbours than this are taken to stay. *Bonds an atom*: neighbours among the",
        "atoms that arrived, of those in islands: 2 in chains, up to 4 in compact islands on (100), 6 on (111).",
        "*Missing*: atoms of the substrate's upper layer. *Relaxes by*: the whole crystal, by how much at the end.",
        "*Run took*: beside other work and, in part, with pauses.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face", choices=["100", "111"], default="100")
    parser.add_argument("--temperature", type=float, nargs="+", default=[300.0], help="K")
    parser.add_argument("--flux", type=float, nargs="+", default=[1e2, 1e3, 1e4], help="monolayers/s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--width", type=int, default=30, help="sites a side")
    parser.add_argument("--coverage", type=float, default=0.1, help="monolayers")
    parser.add_argument(
        "--most-neighbours", type=int, default=6, help="atoms with more are taken to stay; 4 on a cold (111)"
    )
    parser.add_argument("--relax-every", type=int, default=1, help="events; 0: positions are those of the table")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "islands")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"islands-{given.face}.json"
    found = json.loads(path.read_text()) if path.exists() else {"runs": []}
    keys = ("face", "temperature_K", "flux_ML_s", "seed", "width")
    for temperature in given.temperature:
        for flux in given.flux:
            for seed in given.seeds:
                wanted = (given.face, temperature, flux, seed, given.width)
                if wanted in [tuple(run[k] for k in keys) for run in found["runs"]]:
                    continue
                found["runs"].append(grown(given, temperature, flux, seed, given.out))
                print(json.dumps(found["runs"][-1]), flush=True)
                write_whole(path, json.dumps(found, indent=1) + "\n")
                write_whole(given.out.with_suffix(".md"), page(given.out))
        rows = [r for r in found["runs"] if (r["face"], r["temperature_K"]) == (given.face, temperature)]
        found.setdefault("exponents", {})[f"{given.face}-{temperature:g}"] = exponent(rows)
    write_whole(path, json.dumps(found, indent=1) + "\n")
    write_whole(given.out.with_suffix(".md"), page(given.out))


if __name__ == "__main__":
    main()
