"""What a pool's workers do, as plain classes that know nothing of who runs them; the oracle is in `oracle_worker`."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from growth.energy_model import CommitteeModel
from growth.errors import NoSitesError
from growth.simulator import GrowthSettings, Kind, Proposal, State, propose, propose_hop
from learner import Committee, TrainSettings, UpdateSettings, train, update
from learner.settings import DeviceName, NetworkSettings

Files = dict[str, bytes]


def set_threads(threads: int) -> None:
    """Let torch use `threads` cores in this process."""
    import torch

    torch.set_num_threads(threads)


class SurrogateWorker:
    """Grows: proposes the next atom of a walker on a given version of the committee.

    Args:
        settings: the growth settings.
        threads: cores that torch may use.
        device: where the committee is computed.
    """

    def __init__(self, settings: GrowthSettings, threads: int = 1, device: DeviceName = "auto") -> None:
        set_threads(threads)
        self._settings, self._device = settings, device
        self._version = -1
        self._model: CommitteeModel | None = None

    def propose(
        self, version: int, files: Files, state: State, kind: Kind, entropy: Sequence[int]
    ) -> Proposal | list[Atoms]:
        """Competing next crystals of `state` on model `version` (its `files`), and the one that was drawn.

        Returns:
            A `Proposal`; where no sound site was found, the structures that the search ended in, for the oracle to see.
        """
        if version != self._version or self._model is None:
            self._model = CommitteeModel(committee_of(files).to(self._device))
            self._version = version
        state = State(state.crystal.copy(), state.step)  # what Ray hands out is read-only
        search = propose if kind == "attach" else propose_hop
        try:
            return search(state, self._model, np.random.default_rng(list(entropy)), self._settings)
        except NoSitesError as error:
            return error.structures

    def close(self) -> None:
        self._model = None


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
        self, labelled: Sequence[Atoms], validation: Sequence[Atoms], version: int, seed: int
    ) -> tuple[Files, dict[str, Any]]:
        """A new committee; its files and its metrics on `validation`."""
        result = train(labelled, validation, network=self._network, settings=self._train, seed=seed)
        return files_of(result.committee, version, result.metrics), {"promoted": True, **result.metrics}

    def update(
        self,
        files: Files,
        new: Sequence[Atoms],
        replay: Sequence[Atoms],
        validation: Sequence[Atoms],
        version: int,
        seed: int,
    ) -> tuple[Files, dict[str, Any]]:
        """The committee of `files` trained on; where it got worse, the old one and `promoted: False`."""
        result = update(committee_of(files), new, replay, validation, settings=self._update, seed=seed)
        metrics = {"promoted": result.promoted, **result.metrics}
        return files_of(result.committee, version, metrics), metrics

    def close(self) -> None:
        """Nothing is held between calls."""


def committee_of(files: Files) -> Committee:
    """The committee whose model directory holds `files`."""
    with tempfile.TemporaryDirectory(prefix="kossel-model-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return Committee.load(Path(folder))


def files_of(committee: Committee, version: int, metrics: Mapping[str, Any]) -> Files:
    """The model directory of `committee` as values that travel between machines."""
    with tempfile.TemporaryDirectory(prefix="kossel-model-") as folder:
        target = Path(folder) / "model"
        committee.save(target, version=version, metrics=dict(metrics))
        return {file.name: file.read_bytes() for file in target.iterdir()}
