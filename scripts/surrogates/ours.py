"""Kossel's surrogate and the paper's networks under the protocol of `protocol.py`.

python ours.py train kossel --data DIR --cpu-seconds 300 --seed 0 --out DIR
python ours.py time kossel --model DIR --n-atoms 75 --element Cu
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from protocol import Caller, call_seconds, errors, one_thread, read_set, report

from learner.committee import Committee
from learner.paper.model import PaperModel
from learner.paper.settings import PaperSettings, PaperTrainSettings
from learner.paper.training import train_paper
from learner.prediction import Prediction
from learner.settings import NetworkSettings, TrainSettings
from learner.training import train

Model = Committee | PaperModel


class Ours:
    """A model of ours as the protocol wants it."""

    def __init__(self, model: Model) -> None:
        self._model: Callable[[Sequence[Atoms]], Prediction] = model
        self.n_parameters = sum(p.numel() for p in model.network.parameters())

    def __call__(self, structures: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
        found = self._model(structures)
        return found.energies, found.forces


def train_surrogate(
    structures: Sequence[Atoms], cpu_seconds: float, seed: int, network: NetworkSettings
) -> tuple[Committee, int]:
    """Kossel's surrogate on a budget of wall time: on a quiet machine never more than CPU time."""
    entries: list[Any] = []
    settings = TrainSettings(minutes=cpu_seconds / 60)
    found = train(structures, [], network, settings, seed, progress=entries.append)
    return found.committee, len(entries)


def train_network(
    structures: Sequence[Atoms], cpu_seconds: float, seed: int, network: PaperSettings
) -> tuple[PaperModel, int]:
    """A network of the paper, with forces."""
    settings = PaperTrainSettings(cpu_minutes=cpu_seconds / 60, force_weight=1.0)
    found = train_paper(structures, [], network, settings, seed)
    return found.model, int(found.history[-1]["step"])


SURROGATES = {"kossel": NetworkSettings(n_members=1), "kossel-4": NetworkSettings(n_members=4)}
NETWORKS = {
    "mpnn": PaperSettings(network="mpnn", bond_types="valence", cutoff=5.0),
    "vimpnn": PaperSettings(bond_types="valence", cutoff=5.0),
}


def main() -> None:
    """Train and test, or time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("name", choices=[*SURROGATES, *NETWORKS])
    one.add_argument("--data", type=Path, required=True, help="folder with train.extxyz and test-*.extxyz")
    one.add_argument("--cpu-seconds", type=float, required=True)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, required=True)
    two = commands.add_parser("time")
    two.add_argument("name", choices=[*SURROGATES, *NETWORKS])
    two.add_argument("--model", type=Path, required=True)
    two.add_argument("--n-atoms", type=int, required=True)
    two.add_argument("--element", default="Cu")
    given = parser.parse_args()
    one_thread()
    if given.command == "time":
        stored: Model = (Committee if given.name in SURROGATES else PaperModel).load(given.model)
        print(json.dumps(call_seconds(Caller(Ours(stored)), given.n_atoms, given.element)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    structures = read_set(given.data / "train.extxyz")
    start = time.perf_counter()
    model: Model
    if given.name in SURROGATES:
        model, steps = train_surrogate(structures, given.cpu_seconds, given.seed, SURROGATES[given.name])
    else:
        model, steps = train_network(structures, given.cpu_seconds, given.seed, NETWORKS[given.name])
    facts = {"steps": steps, "n_parameters": Ours(model).n_parameters, "wall_s": time.perf_counter() - start}
    model.save(given.out)
    sets = {path.stem.removeprefix("test-"): read_set(path) for path in sorted(given.data.glob("test-*.extxyz"))}
    report(given.out / "result.json", facts | {"errors": {k: errors(Ours(model), v) for k, v in sets.items()}})


if __name__ == "__main__":
    main()
