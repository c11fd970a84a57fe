"""Labels: structures in, labelled structures or failures out, in order, whatever happens in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from ase import Atoms

from oracle import gates
from oracle.batch import BatchWorker
from oracle.cache import LabelCache
from oracle.identity import uid
from oracle.methods import Method
from oracle.outcome import FailedLabel, RawFailure, RawLabel, labelled
from oracle.runner import LabelRunner
from oracle.settings import LabelSettings

_DEFAULTS = LabelSettings()
Outcome: TypeAlias = Atoms | FailedLabel


class Labeller:
    """Labels structures by one method; keeps its worker process alive until closed. Use as a context manager.

    Args:
        method: the energy surface.
        settings: time, processes, gates.
        scratch: directory in which the logs of failed labels are kept; by default they are thrown away.
        cache: directory of labels shared between runs, looked up before paying; by default none.
    """

    def __init__(
        self,
        method: Method,
        settings: LabelSettings = _DEFAULTS,
        *,
        scratch: str | Path | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self.method = method
        self.settings = settings
        self.method_hash = method.hash
        self._cache = None if cache is None else LabelCache(Path(cache))
        self._batch = BatchWorker(method, settings) if method.cheap else None
        self._runner = (
            None if method.cheap else LabelRunner(method, settings, None if scratch is None else Path(scratch))
        )

    def __enter__(self) -> Labeller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process of this labeller."""
        for worker in (self._batch, self._runner):
            if worker is not None:
                worker.close()

    def __call__(
        self, structures: Sequence[Atoms], progress: Callable[[int, Outcome], None] | None = None
    ) -> list[Outcome]:
        """Return one outcome a structure, in order; a bad structure never raises.

        Args:
            structures: their `info` passes through to the labelled copies.
            progress: called with the index and the outcome as each one comes.
        """
        outcomes: dict[int, Outcome] = {}

        def settle(index: int, raw: RawLabel | RawFailure) -> None:
            outcomes[index] = self._judge(structures[index], raw)
            if progress is not None:
                progress(index, outcomes[index])

        waiting: list[int] = []
        for index, structure in enumerate(structures):
            known = self._without_paying(structure)
            if known is None:
                waiting.append(index)
            else:
                settle(index, known)
        if self._batch is not None:
            with contextlib.closing(self._batch([structures[i] for i in waiting])) as results:
                for index, raw in zip(waiting, results, strict=True):
                    settle(index, raw)
        else:
            self._run_each(structures, waiting, settle)
        return [outcomes[index] for index in range(len(structures))]

    def _without_paying(self, structure: Atoms) -> RawLabel | RawFailure | None:
        """Refuse what the gates or the method refuse, and serve what the cache knows."""
        reason = gates.before(structure, self.settings) or self.method.refusal(structure)
        if reason is not None:
            return RawFailure("gate_before", reason)
        return None if self._cache is None else self._cache.get(uid(structure, self.method_hash))

    def _run_each(
        self, structures: Sequence[Atoms], waiting: list[int], settle: Callable[[int, RawLabel | RawFailure], None]
    ) -> None:
        """Run a process for each structure, at most `n_parallel` at a time."""
        assert self._runner is not None
        if self.settings.n_parallel == 1:
            for index in waiting:
                settle(index, self._runner(structures[index]))
            return
        with ThreadPoolExecutor(self.settings.n_parallel, thread_name_prefix="label") as pool:
            futures = {pool.submit(self._runner, structures[index]): index for index in waiting}
            try:
                for future in as_completed(futures):
                    settle(futures[future], future.result())
            except BaseException:  # an interrupt must not wait for labels that run for half an hour
                for future in futures:
                    future.cancel()
                self._runner.close()
                raise

    def _judge(self, structure: Atoms, raw: RawLabel | RawFailure) -> Outcome:
        """Apply the gates that come after, and remember what passed."""
        if isinstance(raw, RawFailure):
            return FailedLabel(structure.copy(), raw.reason, raw.detail)
        window = self.settings.energy_per_atom_window or self.method.energy_per_atom_window
        reason = gates.after(structure, raw.energy, raw.free_energy, raw.forces, self.settings, window)
        if reason is not None:
            return FailedLabel(structure.copy(), "gate_after", reason)
        result = labelled(structure, raw, self.method_hash)
        if self._cache is not None and not raw.provenance.get("cached"):
            self._cache.put(result)
        return result


def label(
    structures: Sequence[Atoms],
    method: Method,
    settings: LabelSettings = _DEFAULTS,
    *,
    cache: str | Path | None = None,
) -> list[Outcome]:
    """Label structures once: start what is needed, label, end it. For many calls keep a `Labeller`.

    Returns:
        One labelled structure or `FailedLabel` for each, in order. Labelled structures hold energy, free_energy (eV)
        and forces (eV/Å) in their calculator, and the same as REF_ keys in `info` and `arrays`.
    """
    with Labeller(method, settings, cache=cache) as labeller:
        return labeller(structures)
