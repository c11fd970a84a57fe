"""What the command line does with labels and datasets, as plain functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from oracle import gates
from oracle.dataset import Dataset
from oracle.errors import InputError
from oracle.extxyz import read_structures
from oracle.identity import uid
from oracle.labelled import read_labelled
from oracle.labeller import Labeller, Outcome
from oracle.methods import Method
from oracle.outcome import FailedLabel, labels_of
from oracle.settings import LabelSettings

_DEFAULTS = LabelSettings()
_CHUNK = 256  # cheap labels that share a segment


def silent(line: str) -> None:
    """Report progress to nobody."""


def label_file(
    path: str | Path,
    method: Method,
    dataset_dir: str | Path,
    settings: LabelSettings = _DEFAULTS,
    progress: Callable[[str], None] = silent,
) -> dict[str, Any]:
    """Label the structures of a file into a dataset; what it has already is skipped, so the same call resumes.

    Args:
        path: structures, any format that ASE reads.
        method: the energy surface.
        dataset_dir: created when it is not there.
        settings: time, processes, gates.
        progress: called with one line a label.

    Returns:
        Counts: structures, labelled, known (already there, or twice in the file), failed (by reason).

    Raises:
        InputError: a structure cannot be labelled at all (overlap, not finite, unknown element: nothing is labelled or
            written then), the dataset is of another method or cannot be written, or too many labels failed in a row.
    """
    structures = read_structures(path)
    for index, structure in enumerate(structures):
        reason = gates.before(structure, settings) or method.cannot(structure)
        if reason is not None:
            raise InputError(f"{path}, structure {index}: {reason}")
    with Dataset.open(dataset_dir, method=method) as dataset:
        return label_into(dataset, structures, method, settings, progress)


def retry_failed(
    dataset_dir: str | Path,
    method: Method,
    settings: LabelSettings = _DEFAULTS,
    progress: Callable[[str], None] = silent,
) -> dict[str, Any]:
    """Label again what failed in a dataset; returns counts as `label_file` does."""
    Dataset.read(dataset_dir)
    with Dataset.open(dataset_dir, method=method) as dataset:
        failed = [failure.structure for failure in dataset.failures()]
        return label_into(dataset, failed, method, settings, progress)


def label_into(
    dataset: Dataset,
    structures: Sequence[Atoms],
    method: Method,
    settings: LabelSettings = _DEFAULTS,
    progress: Callable[[str], None] = silent,
) -> dict[str, Any]:
    """Label structures into an open dataset; every costly label is stored as soon as it is there."""
    wanted = {_uid_or_index(structure, method.hash, i): structure for i, structure in enumerate(structures)}
    todo = [structure for key, structure in wanted.items() if key not in dataset]
    at_once = _CHUNK if method.cheap else max(len(todo), 1)  # costly ones keep every process busy to the end
    failed: Counter[str] = Counter()
    pending: list[Atoms] = []
    done = in_a_row = 0

    def store(_index: int, outcome: Outcome) -> None:
        nonlocal done, in_a_row
        done += 1
        progress(f"{done}/{len(todo)} {describe(outcome)}")
        if isinstance(outcome, FailedLabel):
            dataset.add_failures([outcome])
            failed[outcome.reason] += 1
            in_a_row += 1
            if in_a_row >= settings.failure_budget:
                raise InputError(f"{in_a_row} labels failed in a row, the last one: {outcome.reason}, {outcome.detail}")
            return
        in_a_row = 0
        pending.append(outcome)
        if not method.cheap:
            flush()

    def flush() -> None:
        dataset.add(pending)
        pending.clear()

    with Labeller(method, settings, scratch=dataset.directory / "logs") as labeller:
        for start in range(0, len(todo), at_once):
            try:
                labeller(todo[start : start + at_once], progress=store)
            finally:
                flush()
    return {
        "structures": len(structures),
        "labelled": len(todo) - sum(failed.values()),
        "known": len(structures) - len(todo),
        "failed": dict(sorted(failed.items())),
        "dataset": str(dataset.directory),
        "method_hash": method.hash,
    }


def describe(outcome: Outcome) -> str:
    """Return one line on an outcome."""
    if isinstance(outcome, FailedLabel):
        return f"{outcome.structure.get_chemical_formula()} failed: {outcome.reason}, {outcome.detail}"
    label = labels_of(outcome)
    forces = "" if label.forces is None else f", largest force {np.linalg.norm(label.forces, axis=1).max():.3f} eV/Å"
    wall_s = label.provenance.get("wall_time_s")
    timing = "" if wall_s is None else f", {wall_s:.2g} s"
    return f"{outcome.get_chemical_formula()} {label.energy / len(outcome):.4f} eV/atom{forces}{timing}"


def import_labelled(
    path: str | Path,
    dataset_dir: str | Path,
    method: Method,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> int:
    """Take labelled structures from a file into a dataset as labels of `method`; return how many are new.

    Raises:
        InputError: a structure without an energy, or a label that says it is of another method.
    """
    structures = read_labelled(path, energy_key, forces_key)
    for index, structure in enumerate(structures):
        own = structure.info.setdefault("method_hash", method.hash)
        if own != method.hash:
            raise InputError(f"{path}, structure {index}: label of method {own}, not of the given method {method.hash}")
    with Dataset.open(dataset_dir, method=method) as dataset:
        return len(dataset.add(structures))


def dataset_info(dataset_dir: str | Path) -> dict[str, Any]:
    """Return what a dataset holds, as JSON-like data: counts, sizes, species, method, failures, problems."""
    dataset = Dataset.read(dataset_dir)
    structures = dataset.structures()
    sizes = [len(structure) for structure in structures]
    per_atom = [structure.info["REF_energy"] / len(structure) for structure in structures]
    return {
        "structures": len(structures),
        "atoms": {"total": sum(sizes), "least": min(sizes, default=0), "most": max(sizes, default=0)},
        "species": dict(sorted(Counter(str(symbol) for s in structures for symbol in s.symbols).items())),
        "config_types": dict(sorted(Counter(s.info.get("config_type", "") for s in structures).items())),
        "periodic": sum(bool(structure.pbc.any()) for structure in structures),
        "energy_per_atom_eV": [min(per_atom), max(per_atom)] if per_atom else [],
        "method_hash": dataset.method_hash,
        "method": dataset.method,
        "failed": dict(sorted(Counter(failure.reason for failure in dataset.failures()).items())),
        "problems": dataset.verify(),
    }


def _uid_or_index(structure: Atoms, method_hash: str, index: int) -> str:
    """A structure without a uid (positions not finite) stands for itself: its label will fail with a reason."""
    try:
        return uid(structure, method_hash)
    except ValueError:
        return f"nonfinite-{index}"
