"""A run as its files tell it, read once for a page; nothing is written, no process is asked."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from growth.config import load_config
from growth.damage import CHECKPOINT, CONFIG, LOGS, PREVIOUS, checkpoint, readable
from growth.events import standing
from growth.run_directory import read_seed
from growth.status import status_of
from oracle import Dataset
from oracle.durable import DamageWarning, read_lines, unseal

Line = dict[str, Any]


@dataclass(frozen=True)
class RunFiles:
    """What a page is made of.

    Attributes:
        path: the run directory. config: its settings as plain values. status: as `growth.status.status_of` tells.
        seed: the crystal that growth began with; None where the run has not come so far.
        log: all lines of events.jsonl. steps: those that hold. metrics: all lines of metrics.jsonl.
        starts: when and with what processes took the run up. checkpoint: the latest.
        summary, certificate: as at the end of the run; empty before. dataset: the labels, where there are any.
    """

    path: Path
    config: Mapping[str, Any]
    status: Mapping[str, Any]
    seed: Atoms | None
    log: Sequence[Line]
    steps: Sequence[Line]
    metrics: Sequence[Line]
    starts: Sequence[Line]
    checkpoint: Mapping[str, Any]
    summary: Mapping[str, Any]
    certificate: Mapping[str, Any]
    dataset: Dataset | None

    def metric(self, what: str) -> list[Line]:
        """The lines of metrics.jsonl of one kind."""
        return [line for line in self.metrics if line["what"] == what]

    def walker(self, index: int) -> list[Line]:
        """The steps of one walker that hold."""
        return [line for line in self.steps if line["walker"] == index]

    @property
    def n_walkers(self) -> int:
        return int(self.config["walkers"])

    @property
    def is_over(self) -> bool:
        """Whether the certificate speaks of the crystals as they stand now."""
        sizes = [final["n_atoms"] for final in self.certificate.get("final", [])]
        return bool(sizes) and sizes == [walker["n_atoms"] for walker in self.status["walkers"]]

    @property
    def state(self) -> str:
        """`finished`, `running`, `stopped`, or `not begun`."""
        if self.is_over:
            return "finished"
        if self.status["state"] == "running":
            return "running"
        return "stopped" if self.starts else "not begun"


def read_run(run: Path) -> RunFiles:
    """Read what a page shows, also while a process writes to the run.

    Raises:
        InputError: not a run directory, or one whose files cannot be read.
    """
    status = status_of(run)
    with readable(run), warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)  # the same is told in `status["damage"]`
        return _read(run, status)


def _read(run: Path, status: Mapping[str, Any]) -> RunFiles:
    log = read_lines(run / "events.jsonl", up_to_damage=True)
    provenance = read_lines(run / "provenance.jsonl")
    return RunFiles(
        path=run,
        config=load_config(run / CONFIG).model_dump(mode="json"),
        status=status,
        seed=read_seed(run),
        log=log,
        steps=standing(log),
        metrics=read_lines(run / "metrics.jsonl"),
        starts=[line for line in provenance if line["what"] == "start"],
        checkpoint=checkpoint(run / CHECKPOINT)[0] or checkpoint(run / PREVIOUS)[0] or {},
        summary=_json(run / "summary.json"),
        certificate=_json(run / "certificate.json"),
        dataset=Dataset.read(run / "dataset") if (run / "dataset" / "segments").is_dir() else None,
    )


def _json(path: Path) -> dict[str, Any]:
    return (unseal(path.read_bytes().strip()) or {}) if path.exists() else {}


def signature(run: Path) -> str:
    """Changes whenever the files of a run do that a page is made of; costs a few look-ups."""
    names = [*(f"{log}.jsonl" for log in LOGS), CHECKPOINT, "certificate.json", "summary.json", "dataset/segments"]
    found = [(run / name).stat() if (run / name).exists() else None for name in names]
    return "-".join("0" if stat is None else f"{stat.st_mtime_ns:x}.{stat.st_size:x}" for stat in found)
