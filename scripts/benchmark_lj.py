"""How many Lennard-Jones ground states does growth find from a dimer, and at what cost?

    python scripts/benchmark_lj.py                        (36 sizes, three seeds)
    python scripts/benchmark_lj.py --budget 60000 --seeds 7
    python scripts/benchmark_lj.py --system Cu Al         (the same search on EMT, whose ground states nobody lists)
    python scripts/benchmark_lj.py --smoke

One growth from the dimer to 38 atoms a seed (`growth.ground_state`), judged against the known global minima; the search
itself sees none of them. A hit is an energy within 1e-4 ε. The cost counts every structure whose energy or forces were
asked for. EMT results are written after every visit to a size, so that a run may be interrupted.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.emt import EMTModel
from growth.energy_model import CountingModel
from growth.ground_state import GroundStateSettings, Visit, find_ground_states
from growth.lennard_jones import LennardJonesModel
from growth.study.known_minima import FIRST, LENNARD_JONES
from oracle.durable import write_whole

ROOT = Path(__file__).resolve().parents[1]
EPSILON, SIGMA = 0.1, 2.5
"""eV and Å: the size of a metal's bonds, for which the defaults of relaxation are meant. Results are in ε."""
TOLERANCE = 1e-4
"""ε."""
KNOWN = dict(enumerate(LENNARD_JONES, start=FIRST))
"""ε, by size."""
Record = dict[str, Any]


def lennard_jones(seed: int, budget: int, n_atoms: int) -> Record:
    """One growth, judged: calls, hits, and for each size energy, distance above the known minimum and calls, in ε."""
    model = CountingModel(LennardJonesModel(EPSILON, SIGMA))
    settings = lennard_jones_settings(budget, n_atoms)
    start = time.process_time()
    latest: dict[int, Visit] = {}
    for visit in find_ground_states(model, settings, np.random.default_rng(seed)):
        latest[visit.n_atoms] = visit
    sizes = {n: judged(visit) for n, visit in sorted(latest.items())}
    missed = [n for n in range(3, n_atoms + 1) if n not in sizes or not sizes[n]["hit"]]
    return {
        "calls": model.structures,
        "hits": n_atoms - 2 - len(missed),
        "missed": missed,
        "last_hit_at": max((size["found_at"] for size in sizes.values() if size["hit"]), default=0),
        "cpu_seconds": round(time.process_time() - start),
        "sizes": sizes,
    }


def lennard_jones_settings(budget: int, n_atoms: int) -> GroundStateSettings:
    """The defaults, relaxed as far as 1e-4 ε needs."""
    bond_length = LennardJonesModel(EPSILON, SIGMA).bond_length
    return GroundStateSettings(species="Ar", bond_length=bond_length, n_atoms=n_atoms, budget=budget, fmax=2e-4)


def judged(visit: Visit) -> Record:
    """A size's best against the known minimum, ε."""
    above = visit.energy / EPSILON - KNOWN[visit.n_atoms]
    return {
        "energy": round(visit.energy / EPSILON, 6),
        "above": round(above, 6),
        "hit": bool(abs(above) < TOLERANCE),
        "converged": visit.converged,
        "found_at": visit.found_at,
    }


def emt(element: str, seed: int, budget: int, n_atoms: int, out: Path) -> None:
    """One growth on EMT; the best energies so far, eV, are written after every visit."""
    model = CountingModel(EMTModel([element]))
    settings = GroundStateSettings(species=element, n_atoms=n_atoms, budget=budget)
    sizes: Record = {}
    for visit in find_ground_states(model, settings, np.random.default_rng(seed)):
        sizes[str(visit.n_atoms)] = {
            "energy": round(visit.energy, 6),
            "converged": visit.converged,
            "found_at": visit.found_at,
        }
        record = {"seed": seed, "budget": budget, "calls": model.structures, "sweep": visit.sweep, "sizes": sizes}
        kept(out, "emt", element, record)
        print(f"{element}{visit.n_atoms}: {visit.energy:.4f} eV, {model.structures} calls", flush=True)


def kept(out: Path, part: str, key: str, record: Record) -> Record:
    """Put a record beside what the file holds already."""
    found: Record = json.loads(out.read_text()) if out.exists() else {}
    found.setdefault(part, {})[key] = record
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, json.dumps(found, indent=1) + "\n")
    return found


def table(records: dict[int, Record]) -> str:
    """Hits and calls of each seed, then what was missed and by how much."""
    lines = ["seed   hits    calls   last hit at   missed (ε above the known minimum)"]
    for seed, record in records.items():
        sizes = record["sizes"]
        above = [f"{n} ({sizes[n]['above']:.3f})" if n in sizes else f"{n} (none)" for n in record["missed"]]
        counts = f"{seed:4d}  {record['hits']:5d}  {record['calls']:7d}  {record['last_hit_at']:12d}"
        lines.append(f"{counts}   {', '.join(above) or 'none'}")
    return "\n".join(lines)


def run_emt(elements: list[str], seeds: list[int], budget: int, n_atoms: int, out: Path) -> None:
    """The first seed for every element."""
    for element in elements:
        emt(element, seeds[0], budget, n_atoms, out)


def run_lennard_jones(seeds: list[int], budget: int, n_atoms: int, out: Path) -> None:
    """All seeds; write and print the table."""
    kept(out, "lennard_jones", "settings", lennard_jones_settings(budget, n_atoms).model_dump())
    records = {}
    for seed in seeds:
        records[seed] = lennard_jones(seed, budget, n_atoms)
        kept(out, "lennard_jones", f"seed {seed}", records[seed])
        print(f"seed {seed}: {records[seed]['hits']} of {n_atoms - 2}", flush=True)
    print(table(records))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=["Cu", "Al"], nargs="+", help="EMT clusters in place of Lennard-Jones ones")
    parser.add_argument("--budget", type=int, help="force calls a seed; default 240000, on EMT 40000")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n-atoms", type=int, default=38, choices=range(3, 39), metavar="3..38")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "lj.json")
    parser.add_argument("--smoke", action="store_true", help="one seed to 10 atoms with 4000 calls")
    given = parser.parse_args()
    seeds, n_atoms = (given.seeds[:1], 10) if given.smoke else (given.seeds, given.n_atoms)
    budget = 4000 if given.smoke else given.budget or (40_000 if given.system else 240_000)
    if given.system:
        run_emt(given.system, seeds, budget, n_atoms, given.out)
    else:
        run_lennard_jones(seeds, budget, n_atoms, given.out)
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
