"""What a run is doing, told from its files alone: no process is asked, nothing is written."""

import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from growth.config import Config, load_config
from growth.damage import CHECKPOINT, PREVIOUS, checkpoint, damage_of, readable
from growth.errors import InputError
from growth.events import standing
from growth.page.markup import duration
from growth.run_directory import in_use, read_seed
from oracle import Dataset
from oracle.durable import DamageWarning, read_lines

RECENT = 10
"""Latest asked steps whose errors are told."""
LOGS = ("events.jsonl", "metrics.jsonl", "relaxations.jsonl", "provenance.jsonl", CHECKPOINT)


def status_of(run: Path) -> dict[str, Any]:
    """What a run is doing, as plain values.

    Args:
        run: the run directory; a process may be writing to it.

    Returns:
        `state` (running, finished, stopped), `stage` (first labels, first model, growth, certificate, finished),
        `last_activity_s` ago, `host` and `pid` of the latest start; by walker where it stands; of labels how many there
        are, were given, failed (by reason), and how many the budget leaves; of the model its version, its validation
        errors and how wrong it was on the last `RECENT` asked steps, before it learnt them; how busy each part was;
        `damage`, one line for every file that is damaged.

    Raises:
        InputError: not a run directory, or one whose files cannot be read.
    """
    if not (run / "config.yaml").exists():
        raise InputError(f"{run}: not a run directory (no config.yaml); give the directory that `kossel grow` wrote")
    config = load_config(run / "config.yaml")
    with readable(run), warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)  # the same is told in `damage`
        return _told(run, config)


def _told(run: Path, config: Config) -> dict[str, Any]:
    events, metrics = read_lines(run / "events.jsonl", up_to_damage=True), read_lines(run / "metrics.jsonl")
    state = checkpoint(run / CHECKPOINT)[0] or checkpoint(run / PREVIOUS)[0] or {}
    walkers = [_walker(run, config, index, standing(events)) for index in range(config.walkers)]
    models = [line for line in metrics if line["what"] == "model"]
    dataset = Dataset.read(run / "dataset") if (run / "dataset" / "segments").is_dir() else None
    start = ([line for line in read_lines(run / "provenance.jsonl") if line["what"] == "start"] or [{}])[-1]
    finished, held = (run / "certificate.json").exists(), in_use(run)
    grown = all(walker["grown"] for walker in walkers)
    written = [(run / name).stat().st_mtime for name in LOGS if (run / name).exists()]
    return {
        "name": config.name,
        "state": "running" if held else "finished" if finished and grown else "stopped",
        "stage": _stage(models, events, grown, finished and not held),
        "last_activity_s": round(time.time() - max(written, default=time.time()), 1),
        "host": start.get("host"),
        "pid": start.get("pid"),
        "elapsed_s": state.get("elapsed_s"),
        "walkers": walkers,
        "steps": dict(Counter(line["fate"] for line in events)),
        "labels": _labels(dataset, config, metrics),
        "model": _model(models, metrics),
        "busy": _busy(config, state),
        "damage": [*damage_of(run), *(dataset.damage if dataset is not None else [])],
    }


def _walker(run: Path, config: Config, index: int, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    own = [line for line in steps if line["walker"] == index]
    seed = read_seed(run)
    n_atoms = own[-1]["n_atoms"] if own else None if seed is None else len(seed)
    most = config.growth.max_events
    grown = (n_atoms or 0) >= config.growth.n_atoms or (most is not None and len(own) >= most)
    return {
        "walker": index,
        "n_atoms": n_atoms,
        "of": config.growth.n_atoms,
        "grown": grown,
        "step": own[-1]["step"] if own else 0,
        "energy": own[-1]["energy"] if own else None,
        "fate": own[-1]["fate"] if own else None,
    }


def _stage(models: Sequence[Any], events: Sequence[Any], grown: bool, finished: bool) -> str:
    if grown:
        return "finished" if finished else "certificate"
    return "growth" if models or events else "first labels and first model"


def _labels(dataset: Dataset | None, config: Config, metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    n = 0 if dataset is None else len(dataset)
    failed = [] if dataset is None else dataset.failures()
    given = max((line["n_labels"] for line in metrics if line["what"] == "given"), default=0)
    limit = config.budget.labels
    return {
        "n": n,
        "given": given,
        "failed": dict(Counter(failure.reason for failure in failed)),
        "budget": limit,
        "left": None if limit is None else max(limit - (n - given) - len(failed), 0),
    }


def _model(models: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    asked = [line for line in metrics if line["what"] == "error" and line["drawn"]][-RECENT:]
    promoted = [line for line in models if line["promoted"]]
    last = promoted[-1] if promoted else {}
    return {
        "version": last.get("version", 0),
        "validation": {key: last.get(key) for key in ("energy_mae_mev_per_atom", "force_mae_mev_per_A")},
        "before_learning": {
            "n": len(asked),
            "energy_mae_mev_per_atom": _mean([abs(line["energy_error"]) / line["n_atoms"] * 1e3 for line in asked]),
            "force_mae_mev_per_A": _mean([line["force_error_mean"] * 1e3 for line in asked]),
        },
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _busy(config: Config, state: Mapping[str, Any]) -> dict[str, float]:
    elapsed = state.get("elapsed_s") or 0.0
    workers = {"oracle": config.oracle.actors, "surrogate": config.surrogate.actors, "learner": 1}
    if config.pool == "serial":
        workers = dict.fromkeys(workers, 1)
    busy = state.get("busy_s", {})
    return {role: round(busy.get(role, 0.0) / elapsed / n, 3) for role, n in workers.items()} if elapsed else {}


def print_status(console: Console, status: Mapping[str, Any]) -> None:
    """The same as a table."""
    table = Table(title=f"{status['name']}: {status['state']}", show_header=False)
    ago = duration(status["last_activity_s"])
    where = f"process {status['pid']} on {status['host']}" if status["pid"] else "not begun"
    table.add_row("doing", f"{status['stage']}; last sign of life {ago} ago ({where})")
    if status["elapsed_s"] is not None:
        table.add_row("growth so far", duration(status["elapsed_s"]))
    for walker in status["walkers"]:
        energy = "" if walker["energy"] is None else f", {walker['energy'] / walker['n_atoms']:.4f} eV/atom"
        fate = f", last step {walker['fate']}" if walker["fate"] else ""
        size = f"{walker['n_atoms']} of {walker['of']} atoms"
        table.add_row(f"walker {walker['walker']}", f"{size}, step {walker['step']}{energy}{fate}")
    table.add_row("steps", ", ".join(f"{n} {fate}" for fate, n in status["steps"].items()) or "none")
    labels, failed = status["labels"], sum(status["labels"]["failed"].values())
    reasons = ", ".join(f"{n} {reason}" for reason, n in labels["failed"].items())
    left = "" if labels["left"] is None else f"; {labels['left']} of {labels['budget']} left"
    if reasons:
        failed = f"{failed} ({reasons})"
    table.add_row("labels", f"{labels['n']}, {labels['given']} of them given{left}; {failed} failed")
    model = status["model"]
    table.add_row("model", f"v{model['version']:04d}, validation {_errors(model['validation'])}")
    before = model["before_learning"]
    if before["n"]:
        table.add_row(f"last {before['n']} asked steps", f"wrong by {_errors(before)} before learning")
    if status["busy"]:
        table.add_row("busy", ", ".join(f"{role} {share:.0%}" for role, share in status["busy"].items()))
    for text in status["damage"]:
        table.add_row("damaged", text)
    console.print(table)
    if status["state"] == "stopped":
        console.print("Nobody works on it; the command that began it goes on.")


def _errors(of: Mapping[str, Any]) -> str:
    told = [
        f"{of[key]:.1f} {unit}"
        for key, unit in (("energy_mae_mev_per_atom", "meV/atom"), ("force_mae_mev_per_A", "meV/Å"))
        if of.get(key) is not None
    ]
    return ", ".join(told) or "not measured"
