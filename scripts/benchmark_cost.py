"""What a step of growth costs, against the size of the crystal.

    python scripts/benchmark_cost.py                          (EMT; some 20 minutes on one core)
    python scripts/benchmark_cost.py --model docs/results/models/al-gpaw
    python scripts/benchmark_cost.py --model docs/results/models/al-gpaw --float64 --widths 16 --steps 10

Steps on (111) slabs of some 1,000, 5,000 and 20,000 atoms, four layers, the lowest fixed: median time of a step, beside
the time of one evaluation of the whole crystal and memory; the energy summed up over the steps against an evaluation of
the whole; the same in atoms evaluated (those of the pieces). CPU time, one thread. With `--grow 1000`, so many atoms
more on the smallest slab, in one go; with `--steps 0 --grow 1000` that alone, beside what was measured before.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.emt import EMTModel
from growth.energy_model import CountingModel, EnergyModel, where_few_move
from growth.local_growth import LocalGrowth, LocalSettings
from oracle.durable import write_whole

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = (16, 35, 70)
LATTICE = {"Cu": 3.5898, "Al": 4.04}
"""Å: EMT's copper; aluminium as GPAW's labels have it."""


def slab(element: str, width: int) -> Atoms:
    """(111), four layers, the lowest fixed."""
    crystal = fcc111(element, (width, width, 4), a=LATTICE[element], vacuum=10.0)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag == 4]))
    crystal.pbc = (True, True, False)
    return crystal


def measured(element: str, width: int, model: EnergyModel, n_steps: int, seed: int) -> dict[str, Any]:
    """Steps on one slab."""
    counted, rng = CountingModel(where_few_move(model)), np.random.default_rng(seed)
    began = time.process_time()
    growth = LocalGrowth(slab(element, width), counted, LocalSettings(species=element))
    prepared = time.process_time() - began
    n_atoms, times, atoms = len(growth.crystal), [], []
    for _ in range(n_steps):
        counted.atoms, began = 0, time.process_time()
        growth.step(rng)
        times.append(time.process_time() - began)
        atoms.append(counted.atoms)
    began = time.process_time()
    whole = float(model([growth.crystal]).energies[0])
    full = time.process_time() - began
    return {
        "n_atoms": n_atoms,
        "sites": len(growth.sites),
        "prepared_s": prepared,
        "step_s": float(np.median(times)),
        "step_quartiles_s": np.percentile(times, [25, 75]).tolist(),
        "evaluated_atoms": float(np.median(atoms)),
        "full_evaluation_s": full,
        "energy_off_eV": growth.energy - whole,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def grown(element: str, model: EnergyModel, n_more: int, seed: int) -> dict[str, Any]:
    """One long growth on the smallest slab, with the time of each hundred steps."""
    growth = LocalGrowth(slab(element, WIDTHS[0]), model, LocalSettings(species=element))
    rng, hundreds = np.random.default_rng(seed), []
    began, start = time.process_time(), len(growth.crystal)
    while len(growth.crystal) < start + n_more:
        growth.step(rng)
        if (len(growth.crystal) - start) % 100 == 0:
            hundreds.append(time.process_time() - began)
            began = time.process_time()
            print(f"{len(growth.crystal)} atoms, {hundreds[-1] / 100:.2f} s a step", flush=True)
    whole = float(model([growth.crystal]).energies[0])
    return {"from": start, "to": len(growth.crystal), "hundreds_s": hundreds, "energy_off_eV": growth.energy - whole}


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time of a step and of a full evaluation against size."""
    figure, axis = plt.subplots(figsize=(5, 3.6))
    sizes = [row["n_atoms"] for row in rows]
    axis.loglog(sizes, [row["step_s"] for row in rows], "o-", color="C3", label="a step, all relaxations included")
    axis.loglog(
        sizes, [row["full_evaluation_s"] for row in rows], "s--", color="C0", label="one evaluation of the whole"
    )
    axis.set(xlabel="atoms", ylabel="s")
    axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure; write JSON and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory; default EMT")
    parser.add_argument("--float64", action="store_true", help="the model's networks in double precision")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="atoms along a side")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--grow", type=int, default=0, help="atoms of one long growth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "cost")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    model: EnergyModel
    if given.model is None:
        name, element, model = "emt", "Cu", EMTModel(["Cu"])
    else:
        import torch

        from growth.energy_model import CommitteeModel
        from learner.committee import Committee

        torch.set_num_threads(1)
        committee = Committee.load(given.model)
        if given.float64:
            committee.network.double()
        name, element = "committee-float64" if given.float64 else "committee", "Al"
        model = CommitteeModel(committee)
    path = given.out / f"{name}.json"
    found: dict[str, Any] = {"steps": given.steps, "seed": given.seed, "rows": []}
    if not given.steps and path.exists():
        found = json.loads(path.read_text())
    for width in given.widths if given.steps else ():
        found["rows"].append(measured(element, width, model, given.steps, given.seed))
        print(json.dumps(found["rows"][-1]), flush=True)
        write_whole(path, json.dumps(found, indent=1) + "\n")
    if given.grow:
        found["growth"] = grown(element, model, given.grow, given.seed)
    write_whole(path, json.dumps(found, indent=1) + "\n")
    plot(found["rows"], given.out / f"{name}.png")


if __name__ == "__main__":
    main()
