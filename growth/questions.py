"""What the oracle is being asked, and what a surrogate is to say first: from requests to answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from growth.asking import doubt_over
from growth.campaign_state import Labels, Models
from growth.config import Config
from growth.errors import CampaignError
from growth.pool import Done, Pool, Role, Task
from growth.relax import Relaxed
from growth.turns import Request, Turn, with_prediction
from learner.acquisition import order_of_questions
from oracle import FailedLabel

Answer = tuple[Request, Atoms | FailedLabel]


class Questions:
    """Requests on their way.

    Args:
        pool: where they go. labels: that there are. models: of the run. config: the resolved settings.
    """

    def __init__(self, pool: Pool, labels: Labels, models: Models, config: Config) -> None:
        self._pool, self._labels, self._models, self._config = pool, labels, models, config
        self._batches: dict[str, list[Request]] = {}
        self._others: dict[str, list[Request]] = {}
        self._n = 0
        self._unlearnt: list[np.ndarray] = []
        self._version = models.version

    @property
    def under_way(self) -> int:
        """Labels that are still to come."""
        return sum(len(batch) for batch in self._batches.values())

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Send structures to the oracle: one batch for a cheap method, a task each for an expensive one.

        Of what was cut out of a crystal the surrogate that took the step is heard first (`assessed`), for it has seen
        the whole alone. What the oracle is being asked already is not asked again; one answer serves both.

        Returns:
            What the oracle has said before.
        """
        if any(request.carved_from and request.forces is None for request in requests):
            structures = [request.structure for request in requests]
            version = int(structures[0].info["model_version"])
            self._submit("surrogate", "assess", requests, (version, self._models.files(version), structures))
            return []
        answers: list[Answer] = []
        unknown: list[Request] = []
        for request in requests:
            key, answer = self._labels.key(request.structure), self._labels.known(request.structure)
            if answer is not None:
                answers.append((request, answer))
            elif key in self._others:
                self._others[key].append(request)
            else:
                self._others[key] = []
                unknown.append(request)
        per_task = max(len(unknown), 1) if self._labels.method.cheap else 1
        for start in range(0, len(unknown), per_task):
            batch = unknown[start : start + per_task]
            self._submit("oracle", "label", batch, ([request.structure for request in batch],))
        if not self._labels.method.cheap:
            self._order()
        return answers

    def assessed(self, done: Done) -> list[Request]:
        """Requests with what a surrogate has now said of their structures, and the doubt about these."""
        requests = self._batches.pop(done.task.key)
        if done.error:
            raise CampaignError(f"a carve of {len(requests[0].structure)} atoms: {done.error}")
        found: list[Relaxed] = done.result
        drawn = next((k for k, request in enumerate(requests) if request.drawn), 0)
        doubt = doubt_over(found, drawn, self._config.growth.kT, self._labels.calibration, self._config.ask)
        pairs = zip(requests, found, strict=True)
        return [with_prediction(request, piece, k, doubt) for k, (request, piece) in enumerate(pairs)]

    def answered(self, done: Done) -> list[Answer]:
        """Store what the oracle has said; every request that it answers, the same structure's from elsewhere too.

        Raises:
            CampaignError: more labels failed than the failure budget allows.
        """
        requests = self._batches.pop(done.task.key)
        outcomes = done.result or [FailedLabel(r.structure, "crash", str(done.error)) for r in requests]
        self._labels.store(requests, outcomes, done.seconds)
        self._unlearnt += [request.features for request in requests if request.features is not None]
        return [
            (asker, outcome)
            for request, outcome in zip(requests, outcomes, strict=True)
            for asker in (request, *self._others.pop(self._labels.key(request.structure)))
        ]

    def withdraw(self, turn: Turn) -> bool:
        """Take back all that a step asks the oracle, if none of it has been begun and nobody else waits for it."""
        keys = [key for key, batch in self._batches.items() if any(request.turn is turn for request in batch)]
        alone = all(request.turn is turn for key in keys for request in self._batches[key])
        wanted = [self._labels.key(request.structure) for key in keys for request in self._batches[key]]
        if not keys or not alone or any(self._others.get(key) for key in wanted):
            return False
        if not self._pool.withdraw("oracle", keys):
            return False
        for key in keys:
            del self._batches[key]
        for key in wanted:
            del self._others[key]
        return True

    def _order(self) -> None:
        """Have the steps that wait for the oracle asked about by doubt, and by how unlike what is asked already.

        Audits keep their place in the queue: which of them have been answered must not depend on anybody's doubt.
        """
        if self._models.version != self._version:  # the present model's std tells what it has learnt
            self._version, self._unlearnt = self._models.version, []
        waiting, asked = set(self._pool.waiting("oracle")), list(self._unlearnt)
        steps: dict[int, list[str]] = {}
        first: list[Request] = []
        for key, (request, *_) in self._batches.items():
            if request.features is None:
                continue
            if key not in waiting:
                asked.append(request.features)
            elif request.turn is not None and request.turn.doubt is not None:
                if id(request.turn) not in steps:
                    first.append(request)
                steps.setdefault(id(request.turn), []).append(key)
        if len(first) < 2:
            return
        turns = [request.turn for request in first if request.turn is not None]
        doubts = np.array([turn.doubt.ratio(self._config.ask) for turn in turns if turn.doubt is not None])
        features = np.array([request.features for request in first])
        known = np.array(asked).reshape(-1, features.shape[1])
        order = order_of_questions(doubts, features, known, np.array([float(turn.passed) for turn in turns]))
        for turn in turns[: order[0]]:
            turn.passed += 1
        self._pool.prefer("oracle", [key for k in order for key in steps[id(turns[k])]])

    def _submit(self, role: Role, call: str, requests: Sequence[Request], arguments: tuple[Any, ...]) -> None:
        self._n += 1
        self._batches[str(self._n)] = list(requests)
        self._pool.submit(Task(role, call, str(self._n), arguments))
