"""Kossel's surrogate and the paper's networks under the protocol of `protocol.py`.

python ours.py train kossel --data DIR --cpu-seconds 300 --seed 0 --out DIR
python ours.py time kossel --model DIR --n-atoms 75 --element Cu
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from protocol import command_line

from learner.calculator import KosselCalculator
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
        if isinstance(model, Committee):
            self.calculator = lambda: KosselCalculator(model)

    def __call__(self, structures: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
        found = self._model(structures)
        return found.energies, found.forces


def train_surrogate(
    structures: Sequence[Atoms], cpu_seconds: float, seed: int, network: NetworkSettings, settings: TrainSettings
) -> tuple[Committee, int]:
    """Kossel's surrogate on a budget of CPU time, as the peers have it."""
    entries: list[Any] = []
    minutes = {"minutes": cpu_seconds / 60, "clock": "cpu"}
    found = train(structures, [], network, settings.model_copy(update=minutes), seed, progress=entries.append)
    return found.committee, len(entries)


def train_network(
    structures: Sequence[Atoms], cpu_seconds: float, seed: int, network: PaperSettings
) -> tuple[PaperModel, int]:
    """A network of the paper, with forces."""
    settings = PaperTrainSettings(cpu_minutes=cpu_seconds / 60, force_weight=1.0)
    found = train_paper(structures, [], network, settings, seed)
    return found.model, int(found.history[-1]["step"])


ONE = NetworkSettings(n_members=1)
FOUR = NetworkSettings(n_members=4)
SURROGATES: dict[str, tuple[NetworkSettings, TrainSettings]] = {
    "kossel": (ONE, TrainSettings()),
    "kossel-4": (FOUR, TrainSettings()),
    "kossel-far": (FOUR.model_copy(update={"cutoff": 6.0}), TrainSettings()),
    # what each part brings: the committee of four with one thing changed
    "no-cohesion": (FOUR.model_copy(update={"cohesion": False}), TrainSettings()),
    "free-embedding": (FOUR.model_copy(update={"embedding": "free"}), TrainSettings()),
    "one-channel": (FOUR.model_copy(update={"bond_types": "one", "n_radial": 12}), TrainSettings()),
    "shared-message": (FOUR.model_copy(update={"message": "shared"}), TrainSettings()),
    "scalars-alone": (FOUR.model_copy(update={"n_directions": 0}), TrainSettings()),
    "one-step": (FOUR.model_copy(update={"n_steps": 1}), TrainSettings()),
    "three-steps": (FOUR.model_copy(update={"n_steps": 3}), TrainSettings()),
    "four-radial": (FOUR.model_copy(update={"n_radial": 4}), TrainSettings()),
    "ten-radial": (FOUR.model_copy(update={"n_radial": 10}), TrainSettings()),
    "no-ema": (FOUR, TrainSettings(ema=0.0)),
    "adamw": (FOUR, TrainSettings(optimiser="adamw")),
    "muon": (FOUR, TrainSettings(optimiser="muon")),
    "two-members": (NetworkSettings(n_members=2), TrainSettings()),
    "eight-members": (NetworkSettings(n_members=8), TrainSettings()),
}
NETWORKS = {
    "mpnn": PaperSettings(network="mpnn", bond_types="valence", cutoff=5.0),
    "vimpnn": PaperSettings(bond_types="valence", cutoff=5.0),
}


def train_one(
    name: str, structures: Sequence[Atoms], cpu_seconds: float, seed: int, out: Path
) -> tuple[Ours, dict[str, Any]]:
    """Train a model of ours and store it."""
    model: Model
    if name in SURROGATES:
        model, steps = train_surrogate(structures, cpu_seconds, seed, *SURROGATES[name])
    else:
        model, steps = train_network(structures, cpu_seconds, seed, NETWORKS[name])
    model.save(out)
    return Ours(model), {"steps": steps}


def load(name: str, directory: Path) -> Ours:
    """A stored model of ours."""
    return Ours((Committee if name in SURROGATES else PaperModel).load(directory))


if __name__ == "__main__":
    command_line(__doc__, [*SURROGATES, *NETWORKS], train_one, load)
