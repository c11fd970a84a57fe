"""Label one of the paper's datasets with any method: systems in chunks, chunks to oracles, answers in order to disk.

The directory is a dataset (`oracle.Dataset`) and besides holds `benchmark.json`, what it was begun with, and
`systems.jsonl`, one line a system in their order: the uid of its structure, and its info. Two systems may be one
structure, whose label is stored once.

A chunk becomes one segment, whole or absent, and chunks are stored in their order, whichever is ready first. So the
bytes depend neither on the number of workers nor on interruptions.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ase import Atoms

from growth.benchmark_settings import BenchmarkSettings
from growth.errors import CampaignError, InputError
from growth.pool import Pool, Task
from learner.benchmarks import System
from oracle import Dataset, FailedLabel, LabelSettings, Method
from oracle.durable import read_lines, sha256, write_whole
from oracle.identity import uid

CHUNK = 256
"""Cheap labels that share a segment; a costly label is a chunk of its own, so that little is lost by a stop."""
AHEAD = 1024
"""Structures for each worker that may be under way or wait for the chunks before them."""
LISTED_FAILURES = 20
SYSTEM_KEYS = ("config_type", "series", "scale", "group", "bonds", "extra")

Outcomes: TypeAlias = list[Atoms | FailedLabel]
OpenPool: TypeAlias = Callable[[int, Path, Path | None], AbstractContextManager[Pool]]
"""Opens a pool of oracles for so many chunks, with folders for logs and for a cache."""


@runtime_checkable
class Show(Protocol):
    """What shows how far the labels are."""

    def say(self, text: str) -> None:
        """Show one line."""

    def update(self, done: int, total: int, failed: int) -> None:
        """Show how many structures are done, of how many, and how many labels failed."""


def make_dataset(
    settings: BenchmarkSettings,
    method: Method,
    directory: Path,
    open_pool: OpenPool,
    show: Show,
    chunk_size: int | None = None,
) -> dict[str, Any]:
    """Label a benchmark into a directory; the same call goes on after a stop, and does nothing when all is done.

    Labels that failed are kept as failures and not tried again.

    Returns:
        Counts: systems, structures (different ones), labelled (in all), labelled_now, failed (by reason); dataset and
        method_hash.

    Raises:
        InputError: the settings, the method or the directory cannot be used; nothing is written then.
        CampaignError: a worker failed, or all of the first labels did.
    """
    chunk_size = chunk_size or (CHUNK if method.cheap else 1)
    systems = settings.systems()
    check_method(settings.benchmark, method, systems)
    method_hash = method.hash
    uids = [uid(system.structure, method_hash) for system in systems]
    text = "".join(json.dumps({"uid": u, **system.info}) + "\n" for u, system in zip(uids, systems, strict=True))
    header = {
        **settings.to_dict(),
        "method_hash": method_hash,
        "chunk_size": chunk_size,
        "systems_sha256": sha256(text),
    }
    with Dataset.open(directory, method=method) as dataset:
        settle(directory, dataset, header, text)
        failed = [record["uid"] for record in dataset.failure_records()]
        known = {*dataset.uids, *failed}
        chunks = chunks_to_do(uids, known, chunk_size)
        before, total = len(dataset), len(set(uids))
        show.say(f"{settings.benchmark}: {len(systems)} systems, {total} structures, {len(known)} of them done before")
        show.update(len(known), total, len(failed))
        if chunks:
            cache = None if method.cheap else directory / "cache"
            keeper = _Keeper(dataset, show, total, len(failed))
            with open_pool(len(chunks), directory / "logs", cache) as pool:
                label_in_order([[systems[i] for i in chunk] for chunk in chunks], pool, AHEAD // chunk_size, keeper)
        shutil.rmtree(directory / "cache", ignore_errors=True)
        return {
            "systems": len(systems),
            "structures": total,
            "labelled": len(dataset),
            "labelled_now": len(dataset) - before,
            "failed": dict(sorted(Counter(record["reason"] for record in dataset.failure_records()).items())),
            "dataset": str(directory),
            "method_hash": method_hash,
        }


def check_method(benchmark: str, method: Method, systems: Sequence[System]) -> None:
    """Refuse a method that cannot label the systems.

    Raises:
        InputError: it has no parameters for an element, or does not take periodic structures.
    """
    kinds = {(frozenset(s.stable.numbers.tolist()), *s.stable.pbc.tolist()): s.stable for s in systems}
    for structure in kinds.values():
        reason = method.cannot(structure)
        if reason is not None:
            raise InputError(f"{benchmark}: {reason}")


def settle(directory: Path, dataset: Dataset, header: dict[str, Any], systems: str) -> None:
    """Write what a new directory is begun with, or check that it was begun with the same.

    Raises:
        InputError: it was begun with something else, or by something else.
    """
    path = directory / "benchmark.json"
    if path.exists():
        try:
            begun = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path}: not JSON ({error}); choose another --out") from error
        other = next((key for key in [*begun, *header] if begun.get(key) != header.get(key)), None)
        if other == "systems_sha256":
            raise InputError(f"{directory} was begun with other structures (another QM9?); choose another --out")
        if other is not None:
            raise InputError(
                f"{directory} was begun with {other} {begun.get(other)}, not {header.get(other)}; "
                "repeat that, or choose another --out"
            )
        return
    if len(dataset) or dataset.failure_records():
        raise InputError(f"{directory} holds labels that make-dataset did not make; choose another --out")
    write_whole(directory / "systems.jsonl", systems)
    write_whole(path, json.dumps(header, indent=1) + "\n")


def chunks_to_do(uids: Sequence[str], known: set[str], size: int) -> list[list[int]]:
    """Indices of the structures to label: chunks of `size` systems, less what is known or stands before.

    >>> chunks_to_do(["a", "b", "a", "c", "d", "e"], {"d", "e"}, 2)
    [[0, 1], [3]]
    """
    seen = set(known)
    chunks: list[list[int]] = []
    for start in range(0, len(uids), size):
        chunk = []
        for i in range(start, min(start + size, len(uids))):
            if uids[i] not in seen:
                seen.add(uids[i])
                chunk.append(i)
        chunks.append(chunk)
    return [chunk for chunk in chunks if chunk]


def label_in_order(
    chunks: Sequence[Sequence[System]], pool: Pool, n_ahead: int, store: Callable[[Outcomes], None]
) -> None:
    """Label chunks in a pool; call `store` for each chunk's outcomes in the order of the chunks.

    Args:
        n_ahead: chunks for each worker that may be handed out before the first of them is stored.

    Raises:
        CampaignError: a worker failed as a whole.
    """
    window = max(1, n_ahead) * pool.size("oracle")
    ready: dict[int, Outcomes] = {}
    n_submitted = n_stored = 0
    while n_stored < len(chunks):
        while n_submitted < min(n_stored + window, len(chunks)):
            structures = [system.structure for system in chunks[n_submitted]]
            pool.submit(Task("oracle", "label", str(n_submitted), (structures,)))
            n_submitted += 1
        for done in pool.wait(timeout=5.0):
            if done.error is not None:
                raise CampaignError(f"an oracle worker failed: {done.error}; the same command goes on from here")
            ready[int(done.task.key)] = done.result
        while n_stored in ready:
            store(ready.pop(n_stored))
            n_stored += 1


class _Keeper:
    """Stores the outcomes of a chunk, and shows them."""

    def __init__(self, dataset: Dataset, show: Show, total: int, n_failed: int) -> None:
        self._dataset, self._show, self._total, self._n_failed = dataset, show, total, n_failed
        self._n_listed = 0

    def __call__(self, outcomes: Outcomes) -> None:
        """Failures first: a stop in between then leaves no half chunk.

        Raises:
            CampaignError: nothing but failures so far, and enough of them.
        """
        failed = [outcome for outcome in outcomes if isinstance(outcome, FailedLabel)]
        self._dataset.add_failures(failed)
        self._dataset.add(outcome for outcome in outcomes if isinstance(outcome, Atoms))
        for failure in failed:
            self._list(failure)
        self._n_failed += len(failed)
        self._show.update(len(self._dataset) + self._n_failed, self._total, self._n_failed)
        if not len(self._dataset) and self._n_failed >= LabelSettings().failure_budget:
            raise CampaignError(
                f"all of the first {self._n_failed} labels failed, the last one: {failed[-1].reason}, "
                f"{failed[-1].detail}; mend the method and choose another --out"
            )

    def _list(self, failure: FailedLabel) -> None:
        self._n_listed += 1
        if self._n_listed <= LISTED_FAILURES:
            info = failure.structure.info
            self._show.say(f"{info['series']} scale {info['scale']:.4g} failed: {failure.reason}, {failure.detail}")
        elif self._n_listed == LISTED_FAILURES + 1:
            self._show.say(f"more failures: {self._dataset.directory / 'failed_labels.jsonl'}")


def read_systems(directory: str | Path) -> list[dict[str, Any]]:
    """The lines of `systems.jsonl`: `uid` and info of every system, labelled or not.

    Raises:
        InputError: no benchmark there.
    """
    path = Path(directory) / "systems.jsonl"
    if not path.is_file():
        raise InputError(f"{directory}: no benchmark (no systems.jsonl in it); make one by kossel make-dataset")
    return read_lines(path)


def read_benchmark(directory: str | Path) -> list[Atoms]:
    """The labelled structures in the order of the systems, each with its system's info.

    Systems whose label failed or is still to come are left out; `len(read_systems(DIR))` says how many there should be.

    Raises:
        InputError: no benchmark there.
    """
    systems = read_systems(directory)
    dataset = Dataset.read(directory)
    unused = {structure.info["uid"]: structure for structure in dataset}
    labelled = []
    for line in systems:
        structure = unused.pop(line["uid"], None)
        if structure is None:  # no label, or one that a system before had too
            structure = dataset.find(line["uid"])
        if structure is not None:
            bare = {key: value for key, value in structure.info.items() if key not in SYSTEM_KEYS}
            structure.info = {**bare, **line}
            labelled.append(structure)
    return labelled
