"""Training and evaluation from files: joins the oracle's readers with the learner."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.config import check_settings, set_key
from growth.errors import InputError
from growth.split import split
from learner import Committee, evaluate, train, update
from learner.settings import NetworkSettings, TrainSettings, UpdateSettings
from oracle import Dataset, read_labelled

Keys = tuple[str | None, str | None]


class TrainingSections(BaseModel):
    """What `kossel train --set` reaches."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    network: NetworkSettings = NetworkSettings()
    train: TrainSettings = TrainSettings()
    update: UpdateSettings = UpdateSettings()
    validation_fraction: float = Field(0.1, gt=0, lt=1)


def read_data(path: Path, keys: Keys) -> list[Atoms]:
    """Labelled structures of a dataset directory or a file.

    Raises:
        InputError: nothing there, a structure without energy, or labels of different methods.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such file or directory; give a dataset directory or a file of labelled structures"
        )
    structures = Dataset.read(path).structures() if path.is_dir() else read_labelled(path, *keys)
    hashes = {str(s.info["method_hash"]) for s in structures if s.info.get("method_hash")}
    if len(hashes) > 1:
        raise InputError(f"{path}: labels of {len(hashes)} methods ({', '.join(sorted(hashes))}); they do not mix")
    if not structures:
        raise InputError(f"{path}: no labelled structure in it")
    return structures


def train_model(
    data: Path,
    out: Path,
    start: Path | None,
    minutes: float | None,
    seed: int,
    overrides: Sequence[str],
    keys: Keys,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train on `data`, write the model directory `out`, return its validation figures.

    Raises:
        InputError: data or settings cannot be used, or `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists; choose another --out")
    content: dict[str, Any] = {}
    for override in overrides:
        set_key(content, override)
    if minutes is not None:
        set_key(content, yaml_assignment("update.minutes" if start else "train.minutes", minutes))
    sections = check_settings(TrainingSections, content, "--set")
    training, validation = split(read_data(data, keys), sections.validation_fraction)
    say(f"{len(training)} structures to train on, {len(validation)} to validate")
    progress = partial(_report, say, sections.train.validate_every)
    if start is None:
        result = train(
            training, validation, network=sections.network, settings=sections.train, seed=seed, progress=progress
        )
        committee, metrics = result.committee, result.metrics
    else:
        gone_on = update(
            Committee.load(start), training, [], validation, settings=sections.update, seed=seed, progress=progress
        )
        committee, metrics = gone_on.committee, {"promoted": gone_on.promoted, **gone_on.metrics}
    committee.save(out, version=1, metrics=metrics)
    say(yaml.safe_dump(metrics, sort_keys=False).rstrip())
    say(f"model written to {out}")
    return metrics


def _report(say: Callable[[str], None], every: int, entry: dict[str, float]) -> None:
    """One line every so many steps."""
    if entry["step"] % every == 0:
        say(
            f"step {entry['step']:6d}  loss {entry['loss']:.4f}  in this batch "
            f"{entry['energy_mae_mev_per_atom']:.1f} meV/atom, {entry['force_mae_mev_per_A']:.1f} meV/Å"
        )


def yaml_assignment(key: str, value: float) -> str:
    """`key=value` as `--set` takes it."""
    return f"{key}={value}"


def evaluate_model(model: Path, path: Path, keys: Keys) -> dict[str, Any]:
    """Errors of the model directory `model` on the labelled structures of `path`."""
    return evaluate(Committee.load(model), read_data(path, keys))
