"""Which potential is best for growing clusters, on the same data, budget and core?

    make peers
    python scripts/benchmark_surrogates.py                        (hours; what is there already is not done again)
    python scripts/benchmark_surrogates.py --part emt --models kossel schnet
    python scripts/benchmark_surrogates.py --part time

Kossel's surrogate (one network, and a committee of four), the paper's MPNN and VIMPNN, SchNet, PaiNN and MACE. Parts:

    emt   1,000 structures of the Unstable Crystal Growth set (EMT labels; 15-40 atoms, growth seeds 0-2), tested on
          growth seed 4, as large, and at 90-114 atoms
    gpaw  GPAW-labelled clusters of at most 30 atoms (docs/results/surrogates/gpaw): 25, 50, 100, 200 to learn from,
          tested on other growth seeds
    time  energy + forces by an ASE call at 15 to 10,000 atoms, and the memory they take, with the networks of `emt`
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.benchmarks import crystal_growth
from oracle import Dataset, LabelSettings, Method, label

ROOT = Path(__file__).resolve().parents[1]
OURS = ("kossel", "kossel-4", "vimpnn", "mpnn")
PEERS = ("schnet", "painn", "mace")
SIZES = (15, 75, 1000, 10000)
N_GPAW = (25, 50, 100, 200)
RESULTS = ROOT / "docs" / "results" / "surrogates"
EMT_SETS = {"train": ((0, 1, 2), 15, 40, 1000), "test-in": ((4,), 15, 40, 500), "test-large": ((4,), 90, 114, 200)}
"""Growth seeds, least and largest number of atoms, structures."""


def emt_data(folder: Path) -> None:
    """Write the sets of the part `emt`."""
    systems = [s for s in crystal_growth() if s.config_type == "crystal-growth-unstable"]
    rng = np.random.default_rng(0)
    for name, (seeds, low, high, n) in EMT_SETS.items():
        fit = [s for s in systems if int(s.group[-2:]) in seeds and low <= len(s.structure) <= high]
        chosen = sorted(rng.choice(len(fit), n, replace=False))
        outcomes = label([fit[k].structure for k in chosen], Method.from_dict({"kind": "emt"}), LabelSettings())
        write(folder / f"{name}.extxyz", outcomes)


def gpaw_data(folder: Path, n: int) -> None:
    """Write n clusters to learn from and all there are to test on."""
    structures = Dataset.read(RESULTS / "gpaw").structures()
    parts = {p: [a for a in structures if a.info["part"] == p] for p in ("train", "test")}
    if len(parts["train"]) < n:
        sys.exit(f"{RESULTS / 'gpaw'} has {len(parts['train'])} clusters to learn from, wanted {n}; label more")
    write(folder / "train.extxyz", parts["train"][:n])
    write(folder / "test-in.extxyz", parts["test"])


def run(name: str, *arguments: str) -> str:
    """Run a model's script in its environment, on one core; what it printed last."""
    peer = name in PEERS
    python = ROOT / ".venv-peers" / "bin" / "python" if peer else Path(sys.executable)
    if not python.exists():
        sys.exit(f"{python} is missing: make peers")
    script = ROOT / "scripts" / "surrogates" / ("peers.py" if peer else "ours.py")
    done = subprocess.run(
        [str(python), str(script), arguments[0], name, *arguments[1:]],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{script.name} {arguments[0]} {name} failed; run this again to go on")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def model_folder(name: str, data: Path, given: argparse.Namespace) -> Path:
    """Where a model that was trained on a folder of data is kept."""
    return data / f"{name}-{given.cpu_seconds:g}s-{given.seed}"


def trained(name: str, data: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The result of a model on a folder of data; trained where it is not there."""
    out = model_folder(name, data, given)
    if not (out / "result.json").exists():
        print(f"{data.name}: {name}", flush=True)
        budget = f"{given.cpu_seconds:g}"
        run(name, "train", "--data", str(data), "--cpu-seconds", budget, "--seed", str(given.seed), "--out", str(out))
    return json.loads((out / "result.json").read_text())


def error_row(name: str, result: dict[str, Any], sets: tuple[str, ...]) -> str:
    """A line of a table of errors."""
    cells = [f"{result['n_parameters'] / 1000:.0f}k", f"{result['steps']}"]
    for one in sets:
        e = result["errors"][one]
        cells.append(f"{e['energy_mae_mev_per_atom']:.2f}, {e['force_mae_mev_per_A']:.1f}")
    return f"| {name} | {' | '.join(cells)} |"


def emt(given: argparse.Namespace) -> list[str]:
    """Errors on EMT labels."""
    folder = given.data / "emt"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test-large.extxyz").exists():
        emt_data(folder)
    lines = ["| EMT, meV/atom, meV/Å | parameters | steps | 15-40 atoms | 90-114 atoms |", "|---|---|---|---|---|"]
    return lines + [error_row(m, trained(m, folder, given), ("in", "large")) for m in given.models]


def gpaw(given: argparse.Namespace) -> list[str]:
    """Errors on GPAW labels, by how many were learnt."""
    lines = [
        f"| GPAW, meV/atom, meV/Å | {' | '.join(f'{n} labels' for n in N_GPAW)} |",
        "|---|" + "---|" * len(N_GPAW),
    ]
    for name in given.models:
        cells = []
        for n in N_GPAW:
            folder = given.data / f"gpaw-{n}"
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "test-in.extxyz").exists():
                gpaw_data(folder, n)
            e = trained(name, folder, given)["errors"]["in"]
            cells.append(f"{e['energy_mae_mev_per_atom']:.1f}, {e['force_mae_mev_per_A']:.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def timed(given: argparse.Namespace) -> list[str]:
    """Time and memory of an ASE call, by number of atoms."""
    emt(given)
    lines = [
        f"| energy + forces, ms (MB) | {' | '.join(f'{n} atoms' for n in SIZES)} |",
        "|---|" + "---|" * len(SIZES),
    ]
    for name in given.models:
        model = model_folder(name, given.data / "emt", given)
        found = [json.loads(run(name, "time", "--model", str(model), "--n-atoms", str(n))) for n in SIZES]
        cells = [f"{f['ms']:.1f} ({f['peak_mb']:.0f})" for f in found]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


PARTS = {"emt": emt, "gpaw": gpaw, "time": timed}


def main() -> None:
    """Run the parts, write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--models", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    parser.add_argument("--cpu-seconds", type=float, default=300.0, help="training budget of a model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "surrogates")
    parser.add_argument("--out", type=Path, help="folder for one .md a part; printed alone by default")
    given = parser.parse_args()
    for part in given.part or PARTS:
        lines = PARTS[part](given)
        print("\n".join(lines), flush=True)
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / f"{part}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
