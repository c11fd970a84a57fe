"""What a campaign measures while it runs, as figures that a monitor shows.

The logs are the truth: `figures` says what a line of theirs comes to, and `Follower` hands on what a run's logs have
gained. Whoever shows them (Ray's metrics for Prometheus, TensorBoard) is told name, value and tags, and knows nothing
of the logs.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from growth.pool import ROLES, Pool
from oracle.durable import unseal

Line = Mapping[str, Any]
FOLLOWED = ("events", "metrics")
"""Logs that figures come from."""
SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Upper ends of the classes into which durations are counted, s."""
QUANTITIES = ("delta_e", "energy", "forces")


@dataclass(frozen=True)
class Metric:
    """Something that is watched.

    Attributes:
        kind: a gauge goes up and down, a counter is added to, a histogram counts durations by class.
        description: with the unit, in ASCII. tags: what tells its values apart. boundaries: of a histogram's classes.
    """

    kind: Literal["gauge", "counter", "histogram"]
    description: str
    tags: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()


METRICS = {
    "kossel_atoms": Metric("gauge", "atoms of the crystal", ("walker",)),
    "kossel_energy_ev_per_atom": Metric("gauge", "energy of the crystal, eV/atom", ("walker",)),
    "kossel_energy_std_mev_per_atom": Metric("gauge", "std of it over the committee, meV/atom", ("walker",)),
    "kossel_delta_e_error_mev": Metric("gauge", "error expected of the energy between sites, meV", ("walker",)),
    "kossel_doubt": Metric("gauge", "largest expected error over its tolerance; above 1: in doubt", ("walker",)),
    "kossel_model_lag": Metric("gauge", "versions by which the step's model was behind", ("walker",)),
    "kossel_steps": Metric("counter", "lines of events.jsonl", ("fate",)),
    "kossel_step_seconds": Metric("histogram", "wall time of a proposal, s", (), SECONDS),
    "kossel_answers": Metric("counter", "answers of the oracle", ("outcome", "reason")),
    "kossel_labels": Metric("gauge", "labels in the dataset"),
    "kossel_label_seconds": Metric("histogram", "wall time of a label, s", (), SECONDS),
    "kossel_asked_energy_error_mev_per_atom": Metric("gauge", "of the last label, before it was learnt", ()),
    "kossel_asked_force_error_mev_per_angstrom": Metric("gauge", "of the last label, before it was learnt", ()),
    "kossel_model_version": Metric("gauge", "version of the newest model"),
    "kossel_updates": Metric("counter", "trainings that ended", ("verdict",)),
    "kossel_update_seconds": Metric("histogram", "wall time of a training, s", (), SECONDS),
    "kossel_validation_energy_mae_mev_per_atom": Metric("gauge", "on labels never trained on, meV/atom"),
    "kossel_validation_force_mae_mev_per_angstrom": Metric("gauge", "on labels never trained on, meV/angstrom"),
    "kossel_validation_coverage_90": Metric("gauge", "share within 90 % of the committee's normal distribution"),
    "kossel_coverage": Metric("gauge", "share of audited steps within the 90 % interval promised", ("quantity",)),
    "kossel_queue": Metric("gauge", "tasks queued or under way", ("role",)),
    "kossel_workers": Metric("gauge", "workers there are", ("role",)),
    "kossel_busy_share": Metric("gauge", "share of the workers' time since the process began", ("role",)),
}


class Figure(NamedTuple):
    """A value of a metric: what a gauge is now, what a counter gains, what a histogram counts."""

    name: str
    value: float
    tags: Mapping[str, str]


def figures(log: str, line: Line) -> Iterator[Figure]:
    """What a line of a log comes to.

    Args:
        log: `events` or `metrics`.

    >>> list(figures("events", {"walker": 0, "n_atoms": 15, "fate": "rolled_back"}))
    [Figure(name='kossel_steps', value=1.0, tags={'fate': 'rolled_back'}),
     Figure(name='kossel_atoms', value=15.0, tags={'walker': '00'})]
    """
    of = {"labels": _of_labels, "error": _of_error, "model": _of_model, "calibration": _of_calibration}
    translate = _of_event if log == "events" else of.get(line["what"])
    yield from translate(line) if translate else ()


def _of_event(line: Line) -> Iterator[Figure]:
    yield Figure("kossel_steps", 1.0, {"fate": line["fate"]})
    n_atoms = line.get("n_atoms")
    yield from _told(
        {
            "kossel_atoms": n_atoms,
            "kossel_energy_ev_per_atom": _scaled(line.get("energy"), n_atoms),
            "kossel_energy_std_mev_per_atom": _scaled(line.get("energy_std"), n_atoms, 1e3),
            "kossel_delta_e_error_mev": _scaled(line.get("delta_e_error"), 1, 1e3),
            "kossel_doubt": line.get("doubt"),
            "kossel_model_lag": line.get("model_lag"),
        },
        {"walker": f"{line['walker']:02d}"},
    )
    yield from _told({"kossel_step_seconds": line.get("seconds")})


def _of_labels(line: Line) -> Iterator[Figure]:
    for reason, outcome, n in line["outcomes"]:
        yield Figure("kossel_answers", float(n), {"outcome": outcome, "reason": reason})
    yield from _told({"kossel_labels": line["n_labels"]})
    n_answers = sum(n for *_, n in line["outcomes"])
    for _ in range(n_answers):
        yield Figure("kossel_label_seconds", line["seconds"] / n_answers, {})


def _of_error(line: Line) -> Iterator[Figure]:
    yield from _told(
        {
            "kossel_asked_energy_error_mev_per_atom": abs(line["energy_error"]) / line["n_atoms"] * 1e3,
            "kossel_asked_force_error_mev_per_angstrom": line["force_error_mean"] * 1e3,
        }
    )


def _of_model(line: Line) -> Iterator[Figure]:
    yield Figure("kossel_updates", 1.0, {"verdict": "promoted" if line["promoted"] else "kept the old one"})
    yield from _told(
        {
            "kossel_model_version": line["version"],
            "kossel_update_seconds": line["seconds"],
            "kossel_labels": line["n_labels"],
            "kossel_validation_energy_mae_mev_per_atom": line.get("energy_mae_mev_per_atom"),
            "kossel_validation_force_mae_mev_per_angstrom": line.get("force_mae_mev_per_A"),
            "kossel_validation_coverage_90": line.get("coverage_90"),
        }
    )


def _of_calibration(line: Line) -> Iterator[Figure]:
    for quantity in QUANTITIES:
        told = line.get(quantity) or {}
        yield from _told({"kossel_coverage": (told.get("coverage") or {}).get("share")}, {"quantity": quantity})


def _told(values: Mapping[str, float | None], tags: Mapping[str, str] | None = None) -> Iterator[Figure]:
    """Those that are there, and finite."""
    for name, value in values.items():
        if value is not None and math.isfinite(value):
            yield Figure(name, float(value), tags or {})


def _scaled(value: float | None, by: float | None, factor: float = 1.0) -> float | None:
    return None if value is None or not by else factor * value / by


def pool_figures(pool: Pool, elapsed: float) -> Iterator[Figure]:
    """What a pool is at, `elapsed` s after it began."""
    for role in ROLES:
        size = pool.size(role)
        share = pool.busy_seconds.get(role, 0.0) / max(elapsed, 1e-9) / max(size, 1)
        yield Figure("kossel_queue", float(pool.pending(role)), {"role": role})
        yield Figure("kossel_workers", float(size), {"role": role})
        yield Figure("kossel_busy_share", share, {"role": role})


class Follower:
    """Shows what a run's logs have gained since the last call: at the first call all that they have.

    Gauges are shown at every call, changed or not, for monitors forget what they have not been told for some seconds.

    Args:
        run: the run directory, whose logs only grow from now on. show: is told every figure.
    """

    def __init__(self, run: Path, show: Callable[[Figure], None]) -> None:
        self._run, self._show = run, show
        self._read = dict.fromkeys(FOLLOWED, 0)
        self._gauges: dict[tuple[str, ...], Figure] = {}
        self._began = time.monotonic()

    def __call__(self, pool: Pool) -> None:
        """Show the new lines, and what the pool is at."""
        gained = (figure for log in FOLLOWED for line in self._new(log) for figure in figures(log, line))
        for figure in chain(gained, pool_figures(pool, time.monotonic() - self._began)):
            if METRICS[figure.name].kind == "gauge":
                self._gauges[figure.name, *figure.tags.values()] = figure
            else:
                self._show(figure)
        for figure in self._gauges.values():
            self._show(figure)

    def _new(self, log: str) -> Iterator[Line]:
        """Whole lines that were not there at the last call; damaged ones are passed over, the run has told of them."""
        path = self._run / f"{log}.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read[log])
            gained, newline, _ = file.read().rpartition(b"\n")
        self._read[log] += len(gained) + len(newline)
        yield from filter(None, map(unseal, gained.split(b"\n")))
