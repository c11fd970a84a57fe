"""One training of one network, and what came of it on its test set: kept in a file, so that nothing runs twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from learner.curves import energy_curve, scales, stable_scale
from learner.data import read_labels
from learner.paper.model import PaperModel
from learner.paper.settings import PaperSettings, PaperTrainSettings
from learner.paper.training import train_paper
from learner.settings import NetworkSettings, TrainSettings
from learner.training import train
from oracle.durable import write_whole
from reproduction.data import Data, base_of, load, reference_minimum
from reproduction.scale import Scale

FORMAT = 2
"""Raised when what a result holds changes meaning."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        data: which structures, and how they are split.
        network: of the paper, or Kossel's surrogate.
        training: its budget; of the same kind as the network.
        seed: of weights, order and split.
    """

    data: Data
    network: PaperSettings | NetworkSettings
    training: PaperTrainSettings | TrainSettings
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Everything that decides the outcome."""
        settings = {"network": self.network.model_dump(), "training": self.training.model_dump()}
        return {"format": FORMAT, "data": asdict(self.data), **settings, "seed": self.seed}

    @property
    def key(self) -> str:
        """16 hex digits of it."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def results(runs: Sequence[Run], scale: Scale) -> list[dict[str, Any]]:
    """What came of each run, in order; those without a file are trained now, `scale.workers` at a time."""
    missing = {run.key: run for run in runs if not _file(run, scale).exists()}
    for run in {run.data: run for run in missing.values()}.values():
        load(run.data, scale, run.seed)  # labels are made once, before anything trains
    started = time.monotonic()
    for number, run in enumerate(_executed(list(missing.values()), scale), start=1):
        minutes = (time.monotonic() - started) / 60
        print(f"trained {number} of {len(missing)}  ({run.key}, {minutes:.1f} min)", flush=True)
    return [json.loads(_file(run, scale).read_text()) for run in runs]


def _executed(runs: Sequence[Run], scale: Scale) -> Iterator[Run]:
    """Execute runs, in this process or several; gives each when it is done."""
    if scale.workers == 1 or len(runs) < 2:
        for run in runs:
            execute(run, scale)
            yield run
        return
    with ProcessPoolExecutor(scale.workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(execute, run, scale): run for run in runs}
        for future in as_completed(futures):
            future.result()
            yield futures[future]


def execute(run: Run, scale: Scale) -> None:
    """Train, test, and write the result."""
    torch.set_num_threads(1)
    parts = load(run.data, scale, run.seed)
    start = time.process_time()
    model, history = _trained(run, parts.train, parts.validation)
    cpu_seconds = time.process_time() - start
    predicted = energies_of(model)(parts.test)
    true = np.array([label.energy for label in read_labels(parts.test)])
    result = {
        "run": run.to_dict(),
        "n_train": len(parts.train),
        "n_validation": len(parts.validation),
        "n_test": len(parts.test),
        "n_parameters": sum(p.numel() for p in model.network.parameters()),
        "cpu_seconds": cpu_seconds,
        "history": history,
        "test": {
            "formula": [a.get_chemical_formula() for a in parts.test],
            "scale": [round(float(a.info.get("scale", 1.0)), 6) for a in parts.test],
            "true": np.round(true, 5).tolist(),
            "predicted": np.round(predicted, 5).tolist(),
        },
        "curves": _curves(run, model, parts.test, scale),
    }
    model.save(_model(run, scale))
    path = _file(run, scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(result) + "\n")


def model_of(run: Run, scale: Scale) -> Any:
    """The trained model of a run, trained anew if only its result is here."""
    path = _model(run, scale)
    if not (path / "model.json").exists():
        execute(run, scale)
    return PaperModel.load(path) if isinstance(run.network, PaperSettings) else _committee(path)


def energies_of(model: Any) -> Any:
    """Structures in, energies (eV) out."""
    return model.energies if isinstance(model, PaperModel) else lambda structures: model(structures).energies


def _trained(run: Run, structures: list[Atoms], validation: list[Atoms]) -> tuple[Any, list[dict[str, Any]]]:
    if isinstance(run.network, PaperSettings):
        assert isinstance(run.training, PaperTrainSettings)
        done = train_paper(structures, validation, run.network, run.training, run.seed)
        return done.model, done.history
    assert isinstance(run.training, TrainSettings)
    fitted = train(structures, validation[:200], run.network, run.training, run.seed)
    return fitted.committee, fitted.history


def _curves(run: Run, model: Any, test: Sequence[Atoms], scale: Scale) -> list[dict[str, Any]]:
    """Where the curves of some test structures are lowest, by the model and by the labelling method."""
    series = {str(a.info["series"]): a for a in test}
    names = sorted(series)
    spread = {names[k] for k in np.linspace(0, len(names) - 1, scale.n_curves).round().astype(int)}
    ends = {name for name, a in series.items() if run.data.name == "crystal-growth" and len(a) in (15, scale.largest)}
    picked = sorted(spread | ends)
    at = scales()
    out = []
    for name in picked:
        base = base_of(series[name])
        found = stable_scale(at, energy_curve(energies_of(model), base, at))
        out.append(
            {"series": name, "n_atoms": len(base), "true": reference_minimum(run.data, base, scale), "predicted": found}
        )
    return out


def _file(run: Run, scale: Scale) -> Path:
    return scale.out / "runs" / f"{run.key}.json"


def _model(run: Run, scale: Scale) -> Path:
    return scale.data / "models" / run.key


def _committee(path: Path) -> Any:
    from learner.committee import Committee

    return Committee.load(path)
