"""Run directories as a campaign leaves them, made in a moment: crystals cut out of fcc Al, an invented surrogate."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from growth.calibration import Calibration, audits_of, calibrated, told
from growth.config import Config, load_config
from growth.events import Event, replay
from growth.run_directory import RunDirectory
from oracle import Dataset, FailedLabel, Method
from oracle.outcome import RawLabel, labelled

DEMO = Path(__file__).parents[3] / "growth" / "configs" / "al_emt.yaml"
TOLERANCES = {"delta_e": 0.08, "energy": 0.01, "forces": 0.3}


def config_of(name: str, walkers: int, n_atoms: int, *overrides: str) -> Config:
    return load_config(
        DEMO, [f"name={json.dumps(name)}", f"walkers={walkers}", f"growth.n_atoms={n_atoms}", "pool=serial", *overrides]
    )


def imitate(
    path: Path,
    n_steps: int = 6,
    walkers: int = 2,
    n_seed: int = 14,
    name: str = "imitation",
    asked: int = 4,
    finished: bool = True,
    overrides: Sequence[str] = (),
) -> Path:
    """A run whose walkers take n_steps each; the first `asked` of them have a label."""
    config = config_of(name, walkers, n_seed + n_steps, *overrides)
    run = RunDirectory(path)
    run.settle_config(config.model_dump(mode="json"))
    sites = fcc_sites(n_seed + n_steps)
    seed = run.settle_seed(Atoms(f"Al{n_seed}", sites[:n_seed]))
    run.record_start({"python": "3.11", "cpus": "2", "kossel": "0.1.0"})
    for walker in range(walkers):
        grow(run, seed, sites, walker, n_steps)
    with Dataset.open(path / "dataset", method=Method.from_dict(config.oracle.method)) as dataset:
        label_some(run, dataset, seed, walkers, asked)
    run.write_checkpoint({"elapsed_s": 120.0, "busy_s": {"oracle": 60.0, "surrogate": 30.0, "learner": 20.0}})
    if finished:
        certify(run, walkers, n_seed + n_steps)
    run.close()
    return path


def fcc_sites(n: int) -> np.ndarray:
    """The n sites of fcc Al nearest to a point, (n, 3) Å, from the inside out."""
    crystal = bulk("Al", a=4.0, cubic=True).repeat(2 * int(np.ceil((n / 4) ** (1 / 3))) + 3)
    centre = crystal.cell.sum(axis=0) / 2
    order = np.argsort(np.linalg.norm(crystal.positions - centre, axis=1), kind="stable")
    return np.asarray(crystal.positions[order[:n]] - centre)


def grow(run: RunDirectory, seed: Atoms, sites: np.ndarray, walker: int, n_steps: int) -> None:
    """Every step puts an atom at the next site; the atoms near it move a little."""
    rng = np.random.default_rng(walker)
    crystal, lines = seed.copy(), []
    for step in range(1, n_steps + 1):
        event = event_at(crystal, sites[len(crystal)], step, rng)
        crystal = replay(crystal, [event])
        lines.append({**event.to_dict(), **decided(walker, step, event.energy)})
        scored = crystal.copy()
        scored.info = {"energy": event.energy, "member_energies": np.array([event.energy, event.energy + 0.02])}
        scored.arrays["forces"] = np.zeros((len(crystal), 3))
        scored.arrays["forces_std"] = rng.uniform(0.01, 0.2, len(crystal))
        run.write_structures("sites", walker, step, [scored])
    run.append("events", *lines)


def event_at(crystal: Atoms, place: np.ndarray, step: int, rng: np.random.Generator) -> Event:
    """An atom arrives at a place."""
    n = len(crystal) + 1
    near = np.flatnonzero(np.linalg.norm(crystal.positions - place, axis=1) < 3.5).tolist()
    moved = {str(k): (crystal.positions[k] + rng.normal(0, 0.02, 3)).tolist() for k in near}
    moved[str(n - 1)] = place.tolist()
    energy = -3.4 * n + 3.0 * n ** (2 / 3)
    return Event(
        step, "attach", True, "Al", n - 1, place.tolist(), moved, n, energy, -2.5, 0.01, 0.2, 3, 0.9, True
    )  # fmt: skip


def decided(walker: int, step: int, energy: float) -> dict[str, Any]:
    """How the step was decided: the first four were asked about, some later ones were in doubt without a label left."""
    fate, reason = ("queried", "query: delta_e 0.2 eV") if step <= 4 else ("accepted", None)
    if step % 3 == 0 and step > 4:
        reason = "budget spent; delta_e 0.2 eV"
    return {
        "walker": walker,
        "model_version": 1 + step // 3,
        "attempt": 0,
        "energy_std": 0.02,
        "fate": fate,
        "reason": reason,
        "promised": {"delta_e": [0.0, 0.1], "energy": 0.01, "forces": 0.3},
    }


def label_some(run: RunDirectory, dataset: Dataset, seed: Atoms, walkers: int, asked: int) -> None:
    """EMT's labels of the first steps, the surrogate's errors on them, one failure, and the models that learnt them."""
    lines = run.lines("events")
    errors: list[dict[str, Any]] = []
    for walker in range(walkers):
        own = [line for line in lines if line["walker"] == walker][:asked]
        for line in own:
            crystal = replay(seed, [other for other in own if other["step"] <= line["step"]])
            crystal.info = {"config_type": "growth", "reason": "query", "model_version": str(line["model_version"])}
            dataset.add([with_label(crystal)])
            errors.append(error_line(line))
    run.append("metrics", *errors)
    dataset.add_failures([FailedLabel(seed, "timeout", "<b>longer</b> than 60 s")] if asked else [])
    told_of = told(errors, calibration(errors), TOLERANCES, 0.2)
    for version in (1, 2, 3):
        figures = {"n_structures": 5, "energy_mae_mev_per_atom": 9.0 / version, "force_mae_mev_per_A": 90.0 / version}
        line = {"what": "model", "version": version, "promoted": version != 2, "seconds": 3.0, **figures}
        run.append("metrics", {**line, "n_labels": 10 * version, "elapsed_s": 40.0 * version})
        run.append("metrics", {"what": "calibration", "version": version, **told_of})


def with_label(crystal: Atoms) -> Atoms:
    """EMT's label on a crystal."""
    shown = crystal.copy()
    shown.calc = EMT()
    energy = float(shown.get_potential_energy())
    return labelled(crystal, RawLabel(energy, energy, shown.get_forces(), {}), Method.from_dict({"kind": "emt"}).hash)


def calibration(errors: Sequence[dict[str, Any]]) -> Calibration:
    return calibrated(errors, 1)


def error_line(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "error",
        "group": f"w{line['walker']:02d}-{line['step']}-0-0-v{line['model_version']}",
        "reason": "query",
        "n_atoms": line["n_atoms"],
        "carved_from": None,
        "site": 0,
        "drawn": True,
        "chance": 1.0,
        "energy_error": 0.05 * (-1) ** line["step"],
        "energy_std": 0.02,
        "energy_radius": 0.01,
        "delta_e_std": 0.05,
        "delta_e_radius": 0.1,
        "worst_force_error": 0.1,
        "force_error_mean": 0.05,
        "force_std": 0.1,
        "force_radius": 0.3,
        "model_version": str(line["model_version"]),
        "seconds": 0.1,
    }


def certify(run: RunDirectory, walkers: int, n_atoms: int) -> None:
    """A certificate of two steps, and a summary."""
    path = [
        {"walker": 0, "step": step, "n_atoms": 14 + step, "predicted": -40.0, "labelled": -40.1, "energy_error": 0.1,
         "energy_std": 0.02, "force_mae": 0.05, "force_std_mean": 0.04}
        for step in (5, 6)
    ]  # fmt: skip
    held = audits_of([], TOLERANCES)
    run.write_json(
        "certificate.json",
        {
            "n_steps": 2,
            "n_carved": 0,
            "n_without_label": 0,
            "energy_mae_mev_per_atom": 5.1,
            "energy_mae_mev_per_atom_se": 0.4,
            "force_mae_mev_per_A": 50.0,
            "force_mae_mev_per_A_se": 4.0,
            "n_site_steps": 1,
            "n_delta_e": 2,
            "delta_e_mae_mev": 30.0,
            "delta_e_mae_mev_se": None,
            "barrier_mae_mev": None,
            "best_site_first": 1,
            "path": path,
            "final": [
                {
                    "n_atoms": n_atoms,
                    "oracle_free_energy": -50.0,
                    "oracle_max_force": 0.1,
                    "labelled_atoms": n_atoms,
                    "energy_mae_mev_per_atom": 3.2,
                    "force_mae_mev_per_A": 41.0,
                }
            ]
            * walkers,
            "extension": {
                "n_structures": 4,
                "first": {"version": 1, "energy_mae_mev_per_atom": 12.5, "force_mae_mev_per_A": 90.0},
                "newest": {"version": 3, "energy_mae_mev_per_atom": 3.5, "force_mae_mev_per_A": 45.0},
            },
            "intervals": {"level": 0.9, "tolerances": TOLERANCES, "audits": held, "afterwards": held, "doubted": held},
            "n_labels": 4,
            "n_failed": 0,
        },
    )
    run.write_json("summary.json", {"wall_time_s": 120.0})


def append_step(path: Path, walker: int, step: int, n_seed: int = 14) -> None:
    """One step more, as the loop writes it."""
    run = RunDirectory(path)
    seed = run.seed
    assert seed is not None
    own = [line for line in run.lines("events") if line["walker"] == walker]
    crystal = replay(seed, own)
    event = event_at(crystal, fcc_sites(n_seed + step)[-1], step, np.random.default_rng(step))
    run.append("events", {**event.to_dict(), **decided(walker, step, event.energy)})
    run.close()
