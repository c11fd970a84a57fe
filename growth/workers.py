"""What a pool's workers do, as plain classes that know nothing of who runs them; the oracle is in `oracle_worker`."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from growth.energy_model import CommitteeModel
from growth.errors import NoSitesError
from growth.initial_set import PretrainSettings
from growth.known_region import from_adatom
from growth.pretraining import labelling_by, pretrained
from growth.promising import Relaxations
from growth.proposals import Proposer
from growth.relax import Relaxed
from growth.simulator import GrowthSettings, Kind, Proposal, State, as_they_are
from learner import Committee, TrainSettings, UpdateSettings, evaluate, train, update
from learner.settings import DeviceName, NetworkSettings
from learner.site_head import SiteHead
from oracle import Method

Files = dict[str, bytes]
ENOUGH = 30
"""Relaxations from which on a site head is taught."""


def set_threads(threads: int) -> None:
    """Let torch use `threads` cores in this process."""
    import torch

    torch.set_num_threads(threads)


class SurrogateWorker:
    """Grows: proposes the next atom of a walker on a given version of the committee, and says what that thinks.

    Args:
        settings: the growth settings.
        threads: cores that torch may use.
        device: where the committee is computed.
    """

    def __init__(self, settings: GrowthSettings, threads: int = 1, device: DeviceName = "auto") -> None:
        set_threads(threads)
        self._proposer, self._device = Proposer(settings), device
        self._version = -1
        self._committee: Committee | None = None
        self._model: CommitteeModel | None = None
        self._head: SiteHead | None = None

    def propose(
        self,
        version: int,
        files: Files,
        state: State,
        kind: Kind,
        entropy: Sequence[int],
        walker: int,
        sure: float,
        stop_std: float = np.inf,
    ) -> Proposal | list[Atoms]:
        """The next step of a walker at `state` on model `version` (its `files`); see `Proposer.propose`.

        Returns:
            A `Proposal`; where no sound site was found, the structures that the search ended in, for the oracle to see.
        """
        model = self._on(version, files)
        state = replace(state, crystal=state.crystal.copy())  # what Ray hands out is read-only
        rng = np.random.default_rng(list(entropy))
        try:
            proposal = self._proposer.propose(state, model, rng, kind, walker, sure, self._head, stop_std)
        except NoSitesError as error:
            return error.structures
        assert self._committee is not None
        return replace(proposal, features=features_of_last(self._committee, [s.structure for s in proposal.sites]))

    def assess(self, version: int, files: Files, structures: Sequence[Atoms]) -> list[Relaxed]:
        """What model `version` (its `files`) says of structures as they are."""
        return as_they_are([structure.copy() for structure in structures], self._on(version, files))

    def _on(self, version: int, files: Files) -> CommitteeModel:
        """The model of a version; the site head goes with it."""
        if version != self._version or self._model is None:
            committee, self._head = model_of(files)
            self._committee = committee.to(self._device)
            self._model = CommitteeModel(self._committee)
            self._version = version
        return self._model

    def close(self) -> None:
        self._model = self._committee = None


class LearnerWorker:
    """Trains committees, from scratch and onwards.

    Args:
        network: architecture of a new committee.
        train_settings, update_settings: how to train from scratch and how to go on.
        threads: cores that torch may use.
    """

    def __init__(
        self, network: NetworkSettings, train_settings: TrainSettings, update_settings: UpdateSettings, threads: int = 1
    ) -> None:
        set_threads(threads)
        self._network = network
        self._train = train_settings
        self._update = update_settings

    def train(
        self,
        labelled: Sequence[Atoms],
        validation: Sequence[Atoms],
        version: int,
        seed: int,
        taught: tuple[PretrainSettings, Sequence[Atoms]] | None = None,
    ) -> tuple[Files, dict[str, Any]]:
        """A new committee; its files and its metrics on `validation`.

        Where structures are to be `taught`, it learns a cheap method's labels of these first.
        """
        start = None if taught is None else self._pretrained(*taught, labelled, seed)
        result = train(labelled, validation, network=self._network, settings=self._train, seed=seed, start=start)
        told = {} if taught is None else {"pretrained": start is not None}
        return files_of(result.committee, version, result.metrics), {"promoted": True, **told, **result.metrics}

    def _pretrained(
        self, settings: PretrainSettings, structures: Sequence[Atoms], labelled: Sequence[Atoms], seed: int
    ) -> Committee | None:
        """A committee that has learnt a cheap method's labels; None where that could label too few."""
        teacher = labelling_by(Method.from_dict(settings.method))
        budget = self._train.model_copy(update={"steps": settings.steps, "minutes": None})
        return pretrained(structures, labelled, teacher, self._network, budget, seed)

    def take_over(self, files: Files, validation: Sequence[Atoms], version: int) -> tuple[Files, dict[str, Any]]:
        """The committee of `files` under a version of this run, and its metrics on `validation`, where there is any."""
        committee, head = model_of(files)
        metrics = evaluate(committee, validation) if validation else committee.metrics
        return files_of(committee, version, metrics, head), {"promoted": True, "taken_over": True, **metrics}

    def update(
        self,
        files: Files,
        new: Sequence[Atoms],
        replay: Sequence[Atoms],
        validation: Sequence[Atoms],
        version: int,
        seed: int,
        learnt: Relaxations,
    ) -> tuple[Files, dict[str, Any]]:
        """The committee of `files` trained on; where it got worse, the old one and `promoted: False`.

        With it goes a site head that knows what the walkers' searches have `learnt`.
        """
        result = update(model_of(files)[0], new, replay, validation, settings=self._update, seed=seed)
        metrics = {"promoted": result.promoted, **result.metrics}
        head = learnt.head() if len(learnt) >= ENOUGH else None
        return files_of(result.committee, version, metrics, head), metrics

    def close(self) -> None:
        """Nothing is held between calls."""


def features_of_last(committee: Committee, structures: Sequence[Atoms]) -> np.ndarray:
    """What the surroundings of the last atom look like to the networks, (n_structures, n_features).

    Of a cluster only what the last atom's energy depends on is looked at, so the cost does not grow with it.
    """
    seen = []
    for structure in structures:
        near = np.linalg.norm(from_adatom(structure), axis=1) <= committee.reach / 2
        seen.append(structure if structure.pbc.any() else structure[near])
    return np.array([atoms[-1] for atoms in committee.features(seen)], dtype=np.float32)


def model_of(files: Files) -> tuple[Committee, SiteHead | None]:
    """The committee whose model directory holds `files`, and the site head, if there is one."""
    with tempfile.TemporaryDirectory(prefix="kossel-model-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return Committee.load(Path(folder)), SiteHead.load(folder)


def files_of(committee: Committee, version: int, metrics: Mapping[str, Any], head: SiteHead | None = None) -> Files:
    """The model directory of a committee, and its site head, as values that travel between machines."""
    with tempfile.TemporaryDirectory(prefix="kossel-model-") as folder:
        target = Path(folder) / "model"
        committee.save(target, version=version, metrics=dict(metrics))
        if head is not None:
            head.save(target)
        return {file.name: file.read_bytes() for file in target.iterdir()}
