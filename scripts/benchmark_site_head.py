"""How many relaxations does it take to find the lowest sites, and what does the site head bring?

    python scripts/benchmark_site_head.py            (docs/results/site-head.json and .md)

The ten substrates and the reference of `benchmark_sites.py`. Every raw candidate of the complete search is relaxed
once, so that it is known where each leads; then each way of choosing is asked for its first N. Found is a minimum that
one of these leads to. All ways keep `APART` bond lengths between what they choose (`growth/promising.py`). The head
learns from 800 relaxations, drawn at random, on each of two substrates of the same kind: other seeds, other steps.
*Contributions alike*: lowest spread of the contributions to the energy over the adatom and the atoms within 1.5 bond
lengths, the mark of a stable place in the paper; known for EMT.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import fcc100, fcc111

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.candidates import bond_lengths, find_candidates
from growth.emt import EMTModel
from growth.promising import APART, Relaxations, promising, site_features
from growth.sites import with_adatom
from oracle.durable import write_whole
from scripts.markdown import table
from scripts.site_search.reference import alike, dense_minima, descend, same
from scripts.site_search.structures import CASES, A, diamond100, pitted, quenched, rigid, rough_cluster, vicinal

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = (12, 24, 48, 96)
SHARE = 0.2
OTHERS: list[list[Callable[[], Atoms]]] = [
    [lambda s=s: rough_cluster(["Al"] * 60, s) for s in (101, 102)],
    [lambda s=s: rough_cluster(["Cu", "Al", "Cu"] * 40, s) for s in (101, 102)],
    [lambda: vicinal("Al", (3, 1, 1), 5, (5, 5, 1)), lambda: vicinal("Al", (3, 2, 1), 8, (3, 3, 1))],
    [lambda: vicinal("Cu", (4, 2, 1), 10, (3, 3, 1)), lambda: vicinal("Cu", (3, 1, 1), 5, (5, 5, 1))],
    [lambda s=s: pitted(fcc111("Al", (5, 6, 4), a=A["Al"], orthogonal=True), 12, 12, s) for s in (101, 102)],
    [lambda s=s: pitted(fcc100("Cu", (6, 6, 4), a=A["Cu"]), 14, 14, s) for s in (101, 102)],
    [lambda s=s: quenched("Al", 150, 8.9, s) for s in (101, 102)],
    [lambda s=s: quenched("Cu", 220, np.array([14.5, 14.5, 14.0]), s) for s in (101, 102)],
    [lambda s=s: pitted(diamond100("Si", 2, 3), 8, 10, s) for s in (101, 102)],
    [lambda s=s: pitted(diamond100("C", 2, 4), 10, 12, s) for s in (101, 102)],
]
"""Substrates like each of `CASES`, from which its head learns."""


def relaxations(substrate: Atoms, species: str, spacing: float, most: int, rng: np.random.Generator) -> Relaxations:
    """What became of some raw candidates of a substrate."""
    model = rigid(substrate, species)
    positions = find_candidates(substrate, species, spacing=spacing).positions
    positions = positions[rng.choice(len(positions), min(len(positions), most), replace=False)]
    features = site_features(substrate, species, positions, np.minimum(model.at(positions)[0], 1e6))
    ends, energies, _ = descend(model, positions, fmax=0.01)
    return Relaxations(features, np.minimum(energies, 1.0), np.linalg.norm(ends - positions, axis=1))


def contributions(substrate: Atoms, species: str, positions: np.ndarray) -> np.ndarray:
    """Spread of the contributions (eV) of an adatom and the atoms beside it, at each of some positions (n, 3)."""
    lengths = bond_lengths(substrate, species)
    model, spread = EMTModel(sorted(set(substrate.symbols) | {species})), []
    for start in range(0, len(positions), 200):
        places = [with_adatom(substrate, species, position) for position in positions[start : start + 200]]
        for place, shares in zip(places, model(places).atom_energies, strict=True):
            near = place.get_distances(-1, range(len(substrate)), mic=place.pbc.any()) < 1.5 * lengths
            spread.append(float(np.std(np.append(shares[:-1][near], shares[-1]))))
    return np.array(spread)


def measured(number: int) -> dict[str, Any]:
    """Minima found, of the five lowest, by each way of choosing."""
    case, rng = CASES[number], np.random.default_rng(number)
    learnt = [relaxations(build(), case.species, case.spacing, 800, rng) for build in OTHERS[number]]
    head = sum(learnt, Relaxations.none()).head()
    substrate = case.build()
    model = rigid(substrate, case.species)
    minima = dense_minima(model)
    lowest = np.flatnonzero(~np.tril(alike(minima, model), -1).any(axis=1))[:5]
    positions = find_candidates(substrate, case.species, spacing=case.spacing).positions
    raw = np.minimum(model.at(positions)[0], 1e6)
    scores = head(site_features(substrate, case.species, positions, raw))
    ends, energies, _ = descend(model, positions, fmax=2e-3)
    leads = same(minima.positions[lowest], minima.energies[lowest], ends, energies, model)
    by_energy, by_head = np.argsort(raw, kind="stable"), np.argsort(scores.energy, kind="stable")
    ways = {"energy": [by_energy], "head": [by_head], "head and energy": [by_head, by_energy]}
    if case.species not in ("C", "Si"):
        ways["contributions alike"] = [np.argsort(contributions(substrate, case.species, positions), kind="stable")]
    ways["at random"] = [rng.permutation(len(positions))]
    apart = APART * float(bond_lengths(substrate, case.species).max())
    numbers = [*NUMBERS, round(SHARE * len(positions))]
    chosen = {way: promising(positions, orders, max(numbers), apart) for way, orders in ways.items()}
    bound = energies < 0
    return {
        "name": case.name,
        "candidates": len(positions),
        "lowest": len(lowest),
        "learnt": len(head),
        "energy_mae": float(np.abs(scores.energy - energies)[bound].mean()),
        "found": {way: [int(leads[:, first[:n]].any(axis=1).sum()) for n in numbers] for way, first in chosen.items()},
    }


def page(results: list[dict[str, Any]]) -> str:
    """The page of results."""
    rules = (__doc__ or "").split("\n\n")[2].replace("\n", " ").strip()
    ways = list(results[0]["found"])
    columns = [*(str(n) for n in NUMBERS), f"{SHARE:.0%} of all"]
    lines = ["# What is worth a relaxation?", "", f"{rules} (`python scripts/benchmark_site_head.py`)", ""]
    lines += ["Found of the five lowest, all substrates together:", ""]
    rows = []
    for way in ways:
        having = [r for r in results if way in r["found"]]
        total = sum(r["lowest"] for r in having)
        sums = np.sum([r["found"][way] for r in having], axis=0)
        rows.append([way, *(f"{n} of {total}" for n in sums)])
    lines += table(["first of", *columns], rows)
    lines += ["One by one, by head and energy in turn, and by energy alone:", ""]
    rows = [
        [
            r["name"],
            f"{r['candidates']:,}",
            f"{r['energy_mae']:.2f}",
            *(
                f"{both} ({alone}) of {r['lowest']}"
                for both, alone in zip(r["found"]["head and energy"], r["found"]["energy"], strict=True)
            ),
        ]
        for r in results
    ]
    lines += table(["", "candidates", "error of the head, eV", *columns], rows)
    return "\n".join(lines)


def main() -> None:
    """Measure the cases and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="*", default=list(range(len(CASES))), help="numbers, from 0")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "site-head.json")
    given = parser.parse_args()
    results = {int(n): r for n, r in json.loads(given.out.read_text()).items()} if given.out.exists() else {}
    for number in given.cases:
        results[number] = measured(number)
        print(json.dumps(results[number]), flush=True)
        results = dict(sorted(results.items()))
        write_whole(given.out, json.dumps(results, indent=1) + "\n")
        write_whole(given.out.with_suffix(".md"), page(list(results.values())))


if __name__ == "__main__":
    main()
