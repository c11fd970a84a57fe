"""Which potential is best for growing clusters, on the same data, budget and core?

    make peers
    python scripts/benchmark_surrogates.py                        (hours; what is there already is not done again)
    python scripts/benchmark_surrogates.py --part emt --models kossel schnet
    python scripts/benchmark_surrogates.py --part page            (the page alone)

Kossel's surrogate (one network; a committee of four; one that sees 6 Å instead of 5), the paper's MPNN and VIMPNN,
SchNet, PaiNN and MACE. Parts:

    emt       1,000 structures of the Unstable Crystal Growth set (EMT labels; 15-40 atoms, growth seeds 0-2), tested
              on growth seed 4, as large, and at 90-114 atoms
    gpaw      GPAW-labelled clusters of at most 30 atoms (docs/results/surrogates/gpaw): 25, 50, 100, 200 to learn from,
              tested on other growth seeds; as many as are labelled
    time      energy + forces by an ASE call at 15 to 10,000 atoms, the memory they take, and structures a second in
              batches, with the networks of `emt`; models in turn for each size, so that they share the machine's moods
    safety    dynamics, rattled and compressed crystals, spread off the data: Kossel's committee of `emt`
    ablation  what cohesion, traits, channels, directions, steps, radial functions, optimiser and members bring
              (--ablation-seconds)
    page      docs/results/surrogates.md from all that is there
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
from scripts.surrogates.page import write_page

ROOT = Path(__file__).resolve().parents[1]
OURS = ("kossel", "kossel-4", "kossel-far", "vimpnn", "mpnn")
PEERS = ("schnet", "painn", "mace")
CHANGED = ("no-cohesion", "free-embedding", "one-channel", "shared-message", "scalars-alone", "one-step", "three-steps")
CHANGED += ("four-radial", "ten-radial", "no-ema", "adamw", "muon", "two-members", "eight-members")
SIZES = (15, 75, 1000, 10000)
BATCH = (64, 30)
"""Structures, and atoms of each."""
N_GPAW = (25, 50, 100, 200)
RESULTS = ROOT / "docs" / "results" / "surrogates"
EMT_SETS = {"train": ((0, 1, 2), 15, 40, 1000), "test-in": ((4,), 15, 40, 500), "test-large": ((4,), 90, 114, 200)}
"""Growth seeds, least and largest number of atoms, structures."""


def emt_data(given: argparse.Namespace) -> Path:
    """The folder with the sets of the part `emt`, written if they are not there."""
    folder: Path = given.data / "emt"
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "test-large.extxyz").exists():
        return folder
    systems = [s for s in crystal_growth() if s.config_type == "crystal-growth-unstable"]
    rng = np.random.default_rng(0)
    for name, (seeds, low, high, n) in EMT_SETS.items():
        fit = [s for s in systems if int(s.group[-2:]) in seeds and low <= len(s.structure) <= high]
        chosen = sorted(rng.choice(len(fit), n, replace=False))
        outcomes = label([fit[k].structure for k in chosen], Method.from_dict({"kind": "emt"}), LabelSettings())
        write(folder / f"{name}.extxyz", outcomes)
    return folder


def gpaw_data(given: argparse.Namespace, n: int) -> Path | None:
    """The folder with n clusters to learn from and all there are to test on; None if there are not so many labels."""
    structures = Dataset.read(RESULTS / "gpaw").structures()
    parts = {p: [a for a in structures if a.info["part"] == p] for p in ("train", "test")}
    if len(parts["train"]) < n:
        return None
    folder: Path = given.data / f"gpaw-{n}-{len(parts['test'])}"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.extxyz", parts["train"][:n])
    write(folder / "test-in.extxyz", parts["test"])
    return folder


def script(name: str, *arguments: str, peer: bool = False) -> str:
    """Run a script of `surrogates/` in its environment, on one core; what it printed last."""
    python = ROOT / ".venv-peers" / "bin" / "python" if peer else Path(sys.executable)
    if not python.exists():
        sys.exit(f"{python} is missing: make peers")
    done = subprocess.run(
        [str(python), str(ROOT / "scripts" / "surrogates" / name), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} {' '.join(arguments[:2])} failed; run this again to go on")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def run(name: str, command: str, *arguments: str) -> str:
    """Train or time a model."""
    peer = name in PEERS
    return script("peers.py" if peer else "ours.py", command, name, *arguments, peer=peer)


def model_folder(name: str, data: Path, seconds: float, seed: int) -> Path:
    """Where a model that was trained on a folder of data is kept."""
    return data / f"{name}-{seconds:g}s-{seed}"


def trained(name: str, data: Path, seconds: float, seed: int) -> dict[str, Any]:
    """The result of a model on a folder of data; trained where it is not there."""
    out = model_folder(name, data, seconds, seed)
    if not (out / "result.json").exists():
        print(f"{data.name}: {name}, {seconds:g} s", flush=True)
        budget = ("--cpu-seconds", f"{seconds:g}", "--seed", str(seed))
        run(name, "train", "--data", str(data), *budget, "--out", str(out))
    return json.loads((out / "result.json").read_text())


def emt(given: argparse.Namespace) -> dict[str, Any]:
    """Errors on EMT labels."""
    folder = emt_data(given)
    return {name: trained(name, folder, given.cpu_seconds, given.seed) for name in given.models}


def gpaw(given: argparse.Namespace) -> dict[str, Any]:
    """Errors on GPAW labels, by how many were learnt."""
    folders = {n: gpaw_data(given, n) for n in given.labels}
    return {
        name: {
            str(n): trained(name, folder, given.cpu_seconds, given.seed)
            for n, folder in folders.items()
            if folder is not None
        }
        for name in given.models
    }


def timed(given: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of an ASE call, by number of atoms, and of a batch."""
    emt(given)
    found: dict[str, Any] = {name: {"calls": [], "batch": None} for name in given.models}
    for n_atoms in (*SIZES, None):
        for name in given.models:
            model = model_folder(name, given.data / "emt", given.cpu_seconds, given.seed)
            size = ("--n-atoms", str(BATCH[1] if n_atoms is None else n_atoms))
            many = () if n_atoms is not None else ("--batch", str(BATCH[0]))
            one = json.loads(run(name, "time", "--model", str(model), *size, *many))
            print(f"{name}: {one}", flush=True)
            if n_atoms is None:
                found[name]["batch"] = one
            else:
                found[name]["calls"].append(one)
    return found


def safety(given: argparse.Namespace) -> dict[str, Any]:
    """How safe the surface of Kossel's committee is."""
    folder = emt_data(given)
    trained("kossel-4", folder, given.cpu_seconds, given.seed)
    model = model_folder("kossel-4", folder, given.cpu_seconds, given.seed)
    return {e: json.loads(script("safety.py", *_safety(model, folder, e))) for e in ("Al", "Cu")}


def _safety(model: Path, data: Path, element: str) -> tuple[str, ...]:
    return ("--model", str(model), "--data", str(data), "--element", element)


def ablation(given: argparse.Namespace) -> dict[str, Any]:
    """Errors with one thing changed, on EMT labels and on as many GPAW labels as there are, at most 100."""
    enough = [folder for n in N_GPAW[:3] if (folder := gpaw_data(given, n)) is not None]
    folders = {"emt": emt_data(given), **({"gpaw": enough[-1]} if enough else {})}
    names = ("kossel-4", "kossel", *CHANGED)
    return {
        name: {on: trained(name, folder, given.ablation_seconds, given.seed) for on, folder in folders.items()}
        for name in names
    }


def keep(given: argparse.Namespace, part: str, found: dict[str, Any]) -> None:
    """Write what a part found, beside what other models have from runs of the same budget and seed."""
    path, budget = given.out / f"{part}.json", {"cpu_seconds": given.cpu_seconds, "seed": given.seed}
    before = json.loads(path.read_text()) if path.exists() else {}
    old = before.pop("found", {})
    if before == budget and part != "time":
        found = {**old, **{k: {**old.get(k, {}), **new} for k, new in found.items()}}
    path.write_text(json.dumps({**budget, "found": found}, indent=1) + "\n")


PARTS = {"emt": emt, "gpaw": gpaw, "time": timed, "safety": safety, "ablation": ablation}


def main() -> None:
    """Run the parts, keep their results, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*PARTS, "page"], action="append", help="all by default")
    parser.add_argument("--models", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    parser.add_argument("--labels", nargs="+", type=int, choices=N_GPAW, default=N_GPAW, help="of the part gpaw")
    parser.add_argument("--cpu-seconds", type=float, default=300.0, help="training budget of a model")
    parser.add_argument("--ablation-seconds", type=float, default=100.0, help="of a model in the ablation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "surrogates")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results; the page goes beside it")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for part in given.part or PARTS:
        if part != "page":
            keep(given, part, PARTS[part](given))
    print(f"written: {write_page(given.out)}")


if __name__ == "__main__":
    main()
