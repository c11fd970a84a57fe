"""The oracle as a pool's worker: a plain class that knows nothing of who runs it, and loads no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from growth import teacher  # noqa: F401  makes the kind `model` known
from oracle import FailedLabel, Labeller, LabelSettings, Method


class OracleWorker:
    """Labels structures with one method; holds the method's label process.

    Args:
        method: the method as a mapping.
        settings: limits and numerics of labelling.
        logs: folder for the logs of failed labels.
        cache: a folder of labels shared between runs, or None.
    """

    def __init__(
        self, method: Mapping[str, Any], settings: LabelSettings, logs: Path, cache: Path | None = None
    ) -> None:
        self._labeller = Labeller(Method.from_dict(dict(method)), settings, scratch=logs, cache=cache)

    def label(self, structures: Sequence[Atoms]) -> list[Atoms | FailedLabel]:
        """A labelled structure or a failure for each structure, in order."""
        return self._labeller([structure.copy() for structure in structures])

    def close(self) -> None:
        self._labeller.close()
