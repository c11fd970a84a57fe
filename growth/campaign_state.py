"""What a campaign keeps while it runs: labels, how wrong the surrogate was before each, and model versions."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from growth.calibration import calibrated, counted, gain, told
from growth.config import Config
from growth.errors import CampaignError
from growth.pool import Pool
from growth.run_directory import RunDirectory
from growth.split import split
from growth.turns import Request
from growth.verdict import free_energy, worst_force_error
from oracle import Dataset, FailedLabel, Method, uid
from oracle.cache import LabelCache


class Labels:
    """The labels of a run: the dataset, how wrong the surrogate was before each, and the calibration from it.

    Args:
        dataset: open. run: the open run directory. config: the resolved settings.
        n_known: of a run that goes back to an earlier point, how many labels it had there. Those after it are paid for,
            and not known until the oracle is asked for them again.
    """

    def __init__(self, dataset: Dataset, run: RunDirectory, config: Config, n_known: int | None = None) -> None:
        self.method = Method.from_dict(config.oracle.method)
        self.method_hash = self.method.hash
        self._dataset, self._run, self._config = dataset, run, config
        self._ahead = set() if n_known is None else set(dataset.uids[n_known:])
        self._paid = LabelCache(run.paid) if config.oracle.cache is None else None
        if self._paid is not None:
            for label in filter(None, map(dataset.find, self._ahead)):
                self._paid.put(label)
        self._failed = {uid(f.structure, self.method_hash): f for f in dataset.failures()}
        lines = run.lines("metrics")
        self._errors: list[dict[str, Any]] = [line for line in lines if line["what"] == "error"]
        self.n_given = max((line["n_labels"] for line in lines if line["what"] == "given"), default=0)
        self._queries = Counter(map(_query_of, filter(_is_query, self._errors)))
        self.given: set[str] = set()
        self._calibrated = (-1, -1)
        self.calibrate(max((line["version"] for line in lines if line["what"] == "model"), default=0))

    def __len__(self) -> int:
        return len(self._dataset) - len(self._ahead)

    def uids(self) -> set[str]:
        return set(self._dataset.uids) - self._ahead

    def budget_left(self, asked: int) -> float:
        """Labels that may still be asked for; those that the run was given cost nothing."""
        limit = self._config.budget.labels
        return float("inf") if limit is None else limit - (len(self) - self.n_given) - self.n_failed - asked

    def take_over(self, labelled: Sequence[Atoms]) -> None:
        """Keep labels that others have paid for, before any of the run's own; doing it again changes nothing."""
        if not labelled:
            return
        self.given = {uid(structure, self.method_hash) for structure in labelled}
        self.n_given = len(self.given)
        self._run.append("metrics", {"what": "given", "n_labels": self.n_given})
        self._add(labelled)

    def split(self) -> tuple[list[Atoms], list[Atoms]]:
        """Training and validation structures."""
        known = [structure for structure in self._dataset if structure.info["uid"] not in self._ahead]
        return split(known, self._config.learner.validation_fraction)

    def key(self, structure: Atoms) -> str:
        """The uid of a structure."""
        return uid(structure, self.method_hash)

    def known(self, structure: Atoms) -> Atoms | FailedLabel | None:
        """What the oracle has said of a structure before, in this run or the one that it goes on from."""
        key = self.key(structure)
        return (None if key in self._ahead else self._dataset.find(key)) or self._failed.get(key)

    def split_for_update(self, unseen: set[str]) -> tuple[list[Atoms], list[Atoms], list[Atoms]]:
        """New training structures, those to replay, and the validation set."""
        training, validation = self.split()
        new = [s for s in training if s.info["uid"] in unseen]
        return new, [s for s in training if s.info["uid"] not in unseen], validation

    def store(self, requests: Sequence[Request], outcomes: Sequence[Atoms | FailedLabel], seconds: float) -> None:
        """Keep labels and failures, and note how wrong the surrogate was.

        Raises:
            CampaignError: more labels failed than the failure budget allows.
        """
        labelled = [outcome for outcome in outcomes if isinstance(outcome, Atoms)]
        failed = [outcome for outcome in outcomes if isinstance(outcome, FailedLabel)]
        new = self._add(labelled)
        if self._paid is not None and not self._config.deterministic:
            self._paid.forget(new)
        if failed:
            self._dataset.add_failures(failed)
            self._failed |= {uid(f.structure, self.method_hash): f for f in failed}
            if self.n_failed > max(10, 0.3 * len(self)):
                raise CampaignError(
                    f"{self.n_failed} labels failed against {len(self)} that succeeded "
                    f"(the last: {failed[-1].reason}, {failed[-1].detail}); see dataset/failed_labels.jsonl, and once "
                    f"the cause is mended `kossel dataset retry {self._dataset.directory}`"
                )
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Atoms) and request.forces is not None and outcome.info["uid"] in new:
                self._note_error(request, outcome, seconds / len(requests))
        self.calibrate(self._version)

    def recover(self) -> None:
        """Keep labels that were paid for before an interruption and not asked for again."""
        if self._paid is not None:
            left = [label for label in self._paid if label.info["method_hash"] == self.method_hash]
            for label in left:
                label.info |= {"config_type": "growth", "reason": "recovered"}
            self._add(left)
            self.settle()

    def settle(self) -> None:
        """Let the oracle forget labels that are known, and safe in the dataset."""
        if self._paid is not None:
            self._paid.forget(self._paid.uids() & self.uids())

    def _add(self, labelled: Sequence[Atoms]) -> set[str]:
        """Keep labels; the uids of those that were not known."""
        uids = {self.key(structure) for structure in labelled}
        new = set(self._dataset.add(labelled)) | (uids & self._ahead)
        self._ahead -= uids
        return new

    @property
    def per_query(self) -> float:
        """Labels that a query has taken so far, on average; before any, as many as it may."""
        n = self._queries.total()
        return n / len(self._queries) if n else float(self._config.ask.sites_per_query)

    def gain(self) -> float | None:
        """By which share errors before learning have lately fallen; None where too few steps were asked to say."""
        return gain(self._errors, self._config.ask.tolerances, self._config.budget.gain_steps)

    @property
    def n_failed(self) -> int:
        """Structures that got no label."""
        return len(self._failed)

    def _note_error(self, request: Request, label: Atoms, seconds: float) -> None:
        assert request.forces is not None
        error = request.energy - free_energy(label)
        difference = request.forces - label.calc.results["forces"]
        line: dict[str, Any] = {
            "what": "error",
            "uid": self.key(label),
            "group": request.group,
            "reason": request.structure.info["reason"],
            "n_atoms": len(label),
            "carved_from": request.carved_from,
            "site": request.site,
            "drawn": request.drawn,
            "chance": request.chance,
            "energy_error": error,
            "energy_std": request.energy_std,
            "energy_radius": request.energy_radius,
            "delta_e_std": request.delta_e_std,
            "delta_e_radius": request.delta_e_radius,
            "worst_force_error": worst_force_error(request.forces, label),
            "force_error_mean": float(np.mean(np.abs(difference))),
            "force_std": request.force_std,
            "force_radius": request.force_radius,
            "model_version": request.structure.info["model_version"],
            "seconds": seconds,
        }
        self._run.append("metrics", line)
        self._errors.append(line)
        if _is_query(line):
            self._queries[_query_of(line)] += 1

    def calibrate(self, version: int) -> None:
        """Redo the calibration for a model version, with the labels so far, where either is new."""
        made_of = counted(len(self._errors)), version
        if made_of != self._calibrated:
            self._calibrated, self._version = made_of, version
            self.calibration = calibrated(self._errors[: made_of[0]], version)

    def told(self) -> dict[str, Any]:
        """What the run knows of its own honesty."""
        return told(self._errors, self.calibration, self._config.ask.tolerances, self._config.ask.risk)


def _is_query(line: dict[str, Any]) -> bool:
    return bool(line["reason"] == "query")


def _query_of(line: dict[str, Any]) -> str:
    """The step that was asked about; of one asked about again, the same."""
    return str(line["group"]).removesuffix("-again")


class Models:
    """The model versions of a run and which labels they have seen."""

    def __init__(self, run: RunDirectory, pool: Pool) -> None:
        self._run, self._pool = run, pool
        self.version = 0
        self.shared: Any = None
        self.trained: set[str] = set()
        self.under_way: set[str] = set()
        found = run.latest_model()
        if found is not None:
            self.version, files = found
            self.shared = pool.share(files)

    def files(self, version: int) -> Any:
        """A handle of a version's files."""
        return self.shared if version == self.version else self._pool.share(self._run.model(version))

    def adopt(self, files: dict[str, bytes]) -> None:
        """Make `files` the next version: on disk first, then for the walkers."""
        self._run.save_model(self.version + 1, files)
        self.version += 1
        self.shared = self._pool.share(files)
