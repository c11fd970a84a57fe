"""Datasets of one method joined into one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oracle.dataset import Dataset
from oracle.errors import InputError

_CHUNK = 1024  # labels that share a segment


def merge(directory: str | Path, others: Sequence[str | Path]) -> dict[str, Any]:
    """Take the labels and failures of other datasets of the same method into one, each label once.

    The label that is there first stays. `merged_from` in the provenance names the datasets that a label came through.
    Merging again adds nothing.

    Args:
        directory: the dataset to extend; created when it is not there.
        others: dataset directories; they stay as they are.

    Returns:
        Counts: `added` by dataset, `known` (there already), `failed` (failures taken over), `structures` in all.

    Raises:
        InputError: no dataset to take from, one is `directory` itself, or their methods differ (nothing is written).
    """
    directory = Path(directory)
    sources = [Dataset.read(other) for other in dict.fromkeys(map(Path, others))]
    if not sources:
        raise InputError(f"merge into {directory}: name at least one dataset to take from")
    if any(source.directory.resolve() == directory.resolve() for source in sources):
        raise InputError(f"merge into {directory}: a dataset cannot be merged into itself")
    first = _one_method(sources)
    with Dataset.open(directory, first.method_hash, settings=first.method) as target:
        added = {str(source.directory): _take(source, target) for source in sources}
        failed = sum(_take_failures(source, target) for source in sources)
        return {
            "added": added,
            "known": sum(map(len, sources)) - sum(added.values()),
            "failed": failed,
            "structures": len(target),
            "dataset": str(directory),
            "method_hash": target.method_hash,
        }


def _one_method(sources: Sequence[Dataset]) -> Dataset:
    """Return a source that knows its method best, after checking that all are of the same one."""
    hashes = {source.method_hash: str(source.directory) for source in sources if source.method_hash is not None}
    if len(hashes) > 1:
        listed = ", ".join(f"{name}: {method_hash}" for method_hash, name in hashes.items())
        raise InputError(f"labels of different methods do not mix ({listed}); relabel, or merge only one method's")
    return max(sources, key=lambda source: (source.method_hash is not None, source.method is not None))


def _take(source: Dataset, target: Dataset) -> int:
    """Add what is new in a source; return how many."""
    provenance = source.provenance()
    structures = iter(source)
    added = 0
    while chunk := list(itertools.islice(structures, _CHUNK)):
        fresh = [structure for structure in chunk if structure.info["uid"] not in target]
        for structure in fresh:
            structure.info["provenance"] = _with_origin(provenance.get(structure.info["uid"], {}), source)
        added += len(target.add(fresh))
    return added


def _take_failures(source: Dataset, target: Dataset) -> int:
    """Take over failures of structures that the target knows nothing of; return how many."""
    known = {record["uid"] for record in target.failure_records()} | set(target.uids)
    fresh = [record for record in source.failure_records() if record["uid"] not in known]
    target.carry_failures([_with_origin(record, source) for record in fresh])
    return len(fresh)


def _with_origin(record: dict[str, Any], source: Dataset) -> dict[str, Any]:
    return {**record, "merged_from": [*record.get("merged_from", ()), str(source.directory)]}
