"""Do landscapes that are known come out of the studies? Lennard-Jones clusters of 7 and 13 atoms, and EMT surfaces.

    python scripts/benchmark_landscapes.py                       (all parts)
    python scripts/benchmark_landscapes.py --part lj13
    python scripts/benchmark_landscapes.py --smoke

lj7       its four minima, and how many saddles join them, beside the literature; rates against the direct solution
lj13      the network around the icosahedron, with how complete it is, and its disconnectivity graph
surfaces  hop and exchange of an adatom on Cu(100) and Al(100): by the network, with no end states, and by elastic bands

An exploration that is interrupted goes on where it was (runs/landscapes; remove that to begin anew). Energies of
Lennard-Jones clusters are in ε.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.emt import EMTModel
from growth.energy_model import CountingModel
from growth.ground_state import GroundStateSettings, find_ground_states
from growth.lennard_jones import LennardJonesModel
from growth.saddles import SaddleSettings
from growth.study.alignment import superposition
from growth.study.barriers import BarrierSettings, barrier, write_barrier
from growth.study.disconnectivity import DisconnectivitySettings, disconnectivity, write_disconnectivity
from growth.study.exploration import NetworkSettings
from growth.study.network import CHECKPOINT, NetworkResult, network, write_network
from growth.study.paths import PathSettings, paths, write_paths
from growth.study.rates import first_passage, occupation, rate_matrix
from oracle.durable import write_whole
from scripts.markdown import table

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python scripts/benchmark_landscapes.py"
EPSILON, SIGMA = 0.1, 2.5
"""eV and Å: the size of a metal's bonds, for which the defaults of searches are meant."""
BOND = 2 ** (1 / 6) * SIGMA
KNOWN = {7: (-16.505384, -15.935043, -15.593211, -15.533060), 13: (-44.326801,)}
"""ε; minima of LJ7 (all) and LJ13 (the lowest): Cambridge Cluster Database; Tsai & Jordan, J. Phys. Chem. 97 (1993)."""
BARRIERS = {"Cu": {"hop": 0.411, "exchange": 1.017}, "Al": {"hop": 0.215, "exchange": 0.671}}
"""eV, of EMT by climbing-image elastic bands on the same slabs."""
LATTICE = {"Cu": 3.590, "Al": 3.995}
"""Å."""
Record = dict[str, Any]


def lj_settings(smoke: bool, **changes: Any) -> NetworkSettings:
    """Tight enough that minima 0.06 ε apart are told from one another with a thousandfold margin."""
    climbs = SaddleSettings(radius=None, fmax=1e-4, max_calls=400, ceiling=0.6, shallow=1e-5, same_energy=1e-5)
    given = {"same": 0.1, "same_energy": 1e-5, "bond_length": BOND, "window": 0.6, **changes, "saddles": climbs}
    return NetworkSettings(**(given | {"max_searches": 48, "max_minima": 20} if smoke else given))


def lj_start(n_atoms: int, model: CountingModel, seed: int) -> Atoms:
    """The lowest minimum that a short growth from a dimer finds."""
    settings = GroundStateSettings(species="Ar", n_atoms=n_atoms, budget=4000, bond_length=BOND, fmax=1e-4)
    return list(find_ground_states(model, settings, np.random.default_rng(seed)))[-1].structure


class Effort:
    """Seconds of CPU and force calls of an exploration, kept beside its checkpoint from one run of it to the next."""

    def __init__(self, path: Path, model: CountingModel) -> None:
        self.path, self.model, self.began = path, model, time.process_time()
        self.before = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0, "force_calls": 0}

    def __call__(self, text: str) -> None:
        """Take note, and tell how far the exploration is."""
        write_whole(self.path, json.dumps(self.so_far()) + "\n", lasting=False)
        say(text)

    def so_far(self) -> dict[str, float]:
        """Of all runs."""
        seconds = self.before["seconds"] + time.process_time() - self.began
        return {"seconds": seconds, "force_calls": self.before["force_calls"] + self.model.structures}


def lj_cluster(
    n_atoms: int, settings: NetworkSettings, out: Path, work: Path, seed: int
) -> tuple[NetworkResult, Record]:
    """Explore from the lowest minimum; what came out, in ε, with time and force calls of this call."""
    work.mkdir(parents=True, exist_ok=True)
    model = CountingModel(LennardJonesModel(EPSILON, SIGMA))
    effort, checkpoint = Effort(work / f"lj{n_atoms}-{seed}.json", model), work / f"lj{n_atoms}-{seed}-{CHECKPOINT}"
    start, rng = lj_start(n_atoms, model, seed), np.random.default_rng(seed)
    result = network(start, model, settings, rng, progress=effort, checkpoint=checkpoint)
    unit = DisconnectivitySettings(unit=EPSILON, unit_name="ε")
    headline = write_network(result, out) | write_disconnectivity(disconnectivity(result, unit), out)
    record = {
        **headline,
        **effort.so_far(),
        "outcomes": dict(result.outcomes),
        "energies": (np.sort(result.landscape.energies)[:10] / EPSILON).tolist(),
        "seed": seed,
    }
    return result, record


def lj7(out: Path, work: Path, seed: int, smoke: bool) -> Record:
    """All minima and saddles of seven atoms; rates by elimination beside a linear system solved directly."""
    settings = lj_settings(smoke, max_searches=1600, searches_per_minimum=400, missing=0.004)
    result, record = lj_cluster(7, settings, out / "lj7", work, seed)
    landscape = result.landscape
    order = np.argsort([saddle.energy for saddle in landscape.saddles])
    record["saddle_energies"] = [landscape.saddles[k].energy / EPSILON for k in order]
    record["saddle_ends"] = [landscape.saddles[k].ends for k in order]
    record["by_eigenvector_following"] = eigenvector_following(7, 20 if smoke else 1000, seed)
    record["symmetry_orders"] = [landscape.minima[k].order for k in np.argsort(landscape.energies)]
    if len(landscape.minima) > 1:
        kT = PathSettings(temperature_K=200.0)
        record["paths"] = write_paths(paths(landscape, kT), out / "lj7")
        record["direct_s"] = direct_time(landscape, kT, record["paths"]["start"][0], record["paths"]["end"][0])
    return record


def direct_time(landscape: Any, settings: PathSettings, start: int, end: int) -> float:
    """Mean first passage by solving Σ_j k_ij (T_i − T_j) = 1, T_end = 0, beside elimination's: relative difference."""
    rates = rate_matrix(landscape, settings.temperature_K, settings.prefactor)
    left = [k for k in range(len(rates)) if k != end]
    system = np.diag(rates.sum(axis=1)) - rates
    times = np.linalg.solve(system[np.ix_(left, left)], np.ones(len(left)))
    shares = occupation(landscape, settings.temperature_K, range(len(rates)))
    return float(abs(times[left.index(start)] / first_passage(rates, shares, [start], [end]) - 1.0))


def eigenvector_following(n_atoms: int, n_starts: int, seed: int) -> dict[float, int]:
    """Saddles of a cluster, energy in ε and how often found, by another method: no minima, no end states, no pushes.

    From random geometries uphill along the lowest mode of the exact Hessian and downhill along all others by Newton
    steps (Cerjan & Miller, J. Chem. Phys. 75, 2800 (1981)).
    """
    rng, found = np.random.default_rng(seed), Counter[float]()
    for _ in range(n_starts):
        x = rng.normal(0, 0.75, (n_atoms, 3))
        for _ in range(40):  # out of overlaps
            slopes = exact_derivatives(x)[1]
            x -= (0.02 * slopes * min(1.0, 5.0 / np.abs(slopes).max())).reshape(-1, 3)
        for _ in range(300):
            energy, slopes, hessian = exact_derivatives(x)
            around = x - x.mean(axis=0)
            rigid = [np.tile(a, (n_atoms, 1)) for a in np.eye(3)] + [np.cross(a, around) for a in np.eye(3)]
            basis = np.linalg.svd(np.reshape(rigid, (6, -1)))[2][6:]
            curvatures, modes = np.linalg.eigh(basis @ hessian @ basis.T)
            along = modes.T @ basis @ slopes
            if np.abs(slopes).max() < 1e-9 or np.abs(around).max() > 4.0:
                break
            step = -along / np.abs(curvatures) * np.where(np.arange(len(along)) == 0, -1.0, 1.0)
            x = x + (basis.T @ modes @ step * min(1.0, 0.15 / np.linalg.norm(step))).reshape(-1, 3)
        if np.abs(slopes).max() < 1e-9 and (curvatures < 0).sum() == 1:
            found[round(energy, 4)] += 1
    return dict(sorted(found.items()))


def exact_derivatives(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, gradient (3 n,) and Hessian (3 n, 3 n) of Lennard-Jones atoms at x (n, 3), ε = σ = 1."""
    n, apart = len(x), x[:, None] - x
    squares = (apart**2).sum(axis=2) + np.diag(np.full(len(x), np.inf))
    s6 = squares**-3.0
    first, second = -24 * (2 * s6**2 - s6) / squares, 4 * (156 * s6**2 - 42 * s6) / squares
    outer = apart[:, :, :, None] * apart[:, :, None, :] / squares[:, :, None, None]
    blocks = (second - first)[:, :, None, None] * outer + first[:, :, None, None] * np.eye(3)
    hessian = -blocks.transpose(0, 2, 1, 3)
    hessian[np.arange(n), :, np.arange(n), :] = blocks.sum(axis=1)
    return 2.0 * float((s6**2 - s6).sum()), (first[:, :, None] * apart).sum(axis=1).ravel(), hessian.reshape(3 * n, -1)


def lj13(out: Path, work: Path, seed: int, smoke: bool) -> Record:
    """A few hundred of the lowest minima of thirteen atoms."""
    settings = lj_settings(smoke, max_searches=3000, searches_per_minimum=48, missing=0.1, max_minima=1000)
    return lj_cluster(13, settings, out / "lj13", work, seed)[1]


def slab(element: str, hollow: tuple[int, int] = (0, 0)) -> Atoms:
    """4 × 4 × 5 (100) slab with an adatom, the last atom, lower two layers fixed."""
    crystal = fcc100(element, (4, 4, 5), a=LATTICE[element], vacuum=8.0)
    add_adsorbate(crystal, element, 1.7, "hollow", offset=hollow)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag >= 4]))
    crystal.pbc = (True, True, False)
    return crystal


def end_of(element: str, kind: str) -> Atoms:
    """A neighbouring hollow reached by a hop, or the next but one along [010] by exchange with the atom between."""
    if kind == "hop":
        return slab(element, (1, 0))
    crystal, start = slab(element, (1, 1)), slab(element)
    middle = 0.5 * (start.positions[-1, :2] + crystal.positions[-1, :2])
    top = [atom.index for atom in crystal if atom.tag == 1]
    between = min(top, key=lambda k: float(np.linalg.norm(crystal.positions[k, :2] - middle)))
    crystal.positions[[between, len(crystal) - 1]] = crystal.positions[[len(crystal) - 1, between]]
    return crystal


def surfaces(out: Path, work: Path, seed: int, smoke: bool) -> Record:
    """Barriers of hop and exchange, by a band between the ends and by the network, which has no end states."""
    found: Record = {"seed": seed}
    work.mkdir(parents=True, exist_ok=True)
    for element in list(BARRIERS)[: 1 if smoke else 2]:
        model, name, began = CountingModel(EMTModel([element])), element.lower(), time.process_time()
        bands, tops = {}, {}
        for kind in list(BARRIERS[element])[: 1 if smoke else 2]:
            ends = slab(element), end_of(element, kind)
            band = barrier(ends, model, BarrierSettings(), np.random.default_rng(seed))
            bands[kind], tops[kind] = write_barrier(band, out / f"{name}-{kind}"), band.images[band.highest]
        band_seconds = time.process_time() - began
        climbs = SaddleSettings(radius=None, fmax=0.01, ceiling=1.5, max_calls=400)
        settings = NetworkSettings(
            max_searches=8 if smoke else 192,
            searches_per_minimum=192,
            most_neighbours=4,
            missing=0.01,
            window=0.01,
            vibrations=not smoke,
            saddles=climbs,
        )
        effort, checkpoint = Effort(work / f"{name}-{seed}.json", model), work / f"{name}-{seed}-{CHECKPOINT}"
        rng = np.random.default_rng(seed)
        result = network(slab(element), model, settings, rng, progress=effort, checkpoint=checkpoint)
        found[element] = {
            **write_network(result, out / f"{name}-network"),
            "outcomes": dict(result.outcomes),
            "bands": bands,
            "network": {kind: height_at(tops[kind], result) for kind in bands},
            "band_seconds": band_seconds,
            "seconds": effort.so_far()["seconds"],
        }
    return found


def height_at(top: Atoms, result: NetworkResult) -> float | None:
    """How high the network's saddle of this shape (to 0.3 Å) lies above its lowest minimum, eV; None if it has none."""
    landscape = result.landscape
    alike = (s.energy for s in landscape.saddles if superposition(top, s.structure, 0.3) is not None)
    return min((energy - landscape.energies.min() for energy in alike), default=None)


PARTS: dict[str, Callable[[Path, Path, int, bool], Record]] = {"lj7": lj7, "lj13": lj13, "surfaces": surfaces}


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def page(results: Record) -> str:
    """docs/results/landscapes.md."""
    lines = [
        "# Landscapes that are known",
        "",
        f"`{COMMAND}`; figures, tables and structures are in `landscapes/`.",
        "",
    ]
    if "lj7" in results:
        lines += _page_lj7(results["lj7"])
    if "lj13" in results:
        lines += _page_lj13(results["lj13"])
    if "surfaces" in results:
        lines += _page_surfaces(results["surfaces"])
    return "\n".join(lines) + "\n"


def _page_lj7(r: Record) -> list[str]:
    rows = [
        [f"{known:.6f}", f"{found:.6f}", str(order)]
        for known, found, order in zip(KNOWN[7], r["energies"], r["symmetry_orders"], strict=False)
    ]
    others = [float(energy) for energy in r["by_eigenvector_following"]]
    lacking = [e for e in others if min(abs(e - known) for known in r["saddle_energies"]) > 1e-3]
    text = [
        "## Seven Lennard-Jones atoms",
        "",
        f"Seed {r['seed']}, {r['searches']} searches, {r['force_calls']} force calls, {r['seconds']:.0f} s of CPU: "
        f"{r['minima']} minima (known: 4) and {r['saddles']} saddles, mirror images counted once, {r['degenerate']} of "
        "them degenerate rearrangements; energies in ε: " + ", ".join(f"{e:.4f}" for e in r["saddle_energies"]) + ".",
        "",
        "Tsai & Jordan count 12 saddles. From 1000 random geometries, eigenvector following with exact Hessians found "
        + ", ".join(f"{float(e):.4f} ({n})" for e, n in r["by_eigenvector_following"].items())
        + " (how often).",
        *(f"The study lacks the one at {e:.4f} ε; six bound atoms and a free one have -12.7121 ε." for e in lacking),
        "",
        *table(["known minimum, ε", "found", "order of its point group"], rows),
    ]
    if "paths" in r:
        p = r["paths"]
        text += [
            f"From the second lowest minimum to the lowest at {p['temperature_K']:g} K (kT = "
            f"{p['temperature_K'] * 8.617333e-5 / EPSILON:.3f} ε): {p['rate_per_s']:.3e} 1/s there, "
            f"{p['rate_back_per_s']:.3e} 1/s back. The mean first passage time agrees with the linear system solved "
            f"directly to {r['direct_s']:.0e} of itself.",
            "",
        ]
    return [*text, "![Network](landscapes/lj7/network.png)", "![Tree](landscapes/lj7/disconnectivity.png)", ""]


def _page_lj13(r: Record) -> list[str]:
    return [
        "## Thirteen Lennard-Jones atoms",
        "",
        f"Seed {r['seed']}, {r['searches']} searches, {r['seconds']:.0f} s of CPU: {r['minima']} minima and "
        f"{r['saddles']} saddles, {r['degenerate']} of them degenerate rearrangements. The lowest minimum is at "
        f"{r['energies'][0]:.6f} ε (known: {KNOWN[13][0]:.6f}), the next at "
        + ", ".join(f"{e:.4f}" for e in r["energies"][1:5])
        + " ε.",
        "",
        f"Of {r['minima_in_window']} minima in the window {r['minima_searched']} were searched from; completeness "
        f"{r['completeness']:.2f} (mean chance that one more search from a minimum of the window finds nothing new, "
        f"zero where none was made). At least {r['unseen_saddles_at_least']:.0f} more saddles lie around the minima "
        "searched (Chao). 1510 minima are known in all (Doye & Massen, J. Chem. Phys. 122, 084105 (2005)).",
        "",
        f"The gap to the second minimum is {r['gap_to_second_ev'] / EPSILON:.3f} ε.",
        "",
        "![Disconnectivity graph](landscapes/lj13/disconnectivity.png)",
        "![Network](landscapes/lj13/network.png)",
        "",
    ]


def _page_surfaces(r: Record) -> list[str]:
    rows, notes = [], []
    for element in (e for e in BARRIERS if e in r):
        given = r[element]
        for kind, band in given["bands"].items():
            calls = str(band["model_calls"])
            by_network = given["network"][kind]
            found = "none" if by_network is None else f"{by_network:.4f}"
            rows.append(
                [f"{element}(100) {kind}", f"{BARRIERS[element][kind]:.3f}", found, f"{band['barrier_ev']:.4f}", calls]
            )
        notes.append(
            f"{element}: {given['searches']} searches, {given['saddles']} distinct saddles, completeness "
            f"{given['completeness']:.2f}, {given['seconds']:.0f} s of CPU; bands {given['band_seconds']:.0f} s."
        )
    return [
        "## An adatom on EMT surfaces",
        "",
        f"4 × 4 × 5 slabs, two layers fixed, forces to 0.01 eV/Å, seed {r['seed']}. The network starts from one adatom "
        "and "
        "has no end states to go by: hop and exchange lead to a copy of the same minimum, so they are degenerate "
        "rearrangements of one node, known by the shape of their saddles.",
        "",
        *table(["process", "known, eV", "network, eV", "elastic band, eV", "batched calls of the band"], rows),
        *notes,
        "",
        *(f"![{e} {k}](landscapes/{e.lower()}-{k}/barrier.png)" for e in BARRIERS if e in r for k in r[e]["bands"]),
        "",
    ]


def main() -> None:
    """Run the parts asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="seconds, into a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) if given.smoke else ROOT / "docs" / "results"
        work = Path(scratch) if given.smoke else ROOT / "runs" / "landscapes"
        out, store = home / "landscapes", home / "landscapes" / "landscapes.json"
        out.mkdir(parents=True, exist_ok=True)
        for part in given.part:
            found = PARTS[part](out, work, given.seed, given.smoke)
            results: Record = {**(json.loads(store.read_text()) if store.exists() else {}), part: found}
            write_whole(store, json.dumps(results, indent=1) + "\n")
            say(f"{part}: done")
        text = page(results)
        write_whole(home / "landscapes.md", text)
        print(text)


if __name__ == "__main__":
    main()
