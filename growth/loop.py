"""The campaign: walkers grow, the oracle labels what they doubt, the learner hands out better models; no barrier.

The loop composes the three parts and knows nothing of Ray: it hands tasks to a `growth.pool.Pool` and reacts to what
comes back. Truth is on disk (`RunDirectory`, `Dataset`), so that a new process takes the run up where it stood.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from growth.asking import Doubt, doubt_over, draw
from growth.campaign_state import Labels, Models
from growth.carve import affordable
from growth.config import Config
from growth.errors import CampaignError
from growth.initial_set import PretrainSettings, given_labels, given_model, initial_structures, structures_to_teach
from growth.policy import Policy
from growth.pool import Done, OrderedPool, Pool, Task
from growth.questions import Answer, Questions
from growth.run_directory import RunDirectory
from growth.simulator import GrowthSettings, Kind, Proposal, apply, boltzmann, init
from growth.turns import Request, Turn, Walker, requests_about, restored, told, without_open_steps
from growth.verdict import energies_after, verdict
from oracle import Dataset, FailedLabel

INITIAL_SET, PROPOSE, DRAW, AUDIT, PRETRAIN = 1, 2, 3, 4, 6
"""First words of the seeds of independent random streams; 5 is `certificate.CERTIFICATE`."""
HEAD_LEARNS = 1500
"""Latest relaxations from which a site head learns."""
NO_SITE_ATTEMPTS = 3
"""Searches without a site for one step before the run stops; each is taught by labels of where the last one ended."""
CLOCK_S = 10.0
"""Of its clocks that a run which is killed may lose."""
SHOWN = (
    "walker",
    "step",
    "kind",
    "n_atoms",
    "energy",
    "energy_std",
    "delta_e_error",
    "model_version",
    "fate",
    "seconds",
)
"""What is reported of a step as it is taken."""
Report = Callable[[dict[str, Any]], None]


class Campaign:
    """One run, from the first label to the last grown atom.

    Args:
        config: the resolved settings.
        run: the open run directory.
        dataset: the open dataset of the run.
        pool: where tasks run.
        seed: the seed crystal, (n_atoms,).
        report: called with one mapping for everything worth showing.
    """

    def __init__(
        self, config: Config, run: RunDirectory, dataset: Dataset, pool: Pool, seed: Atoms, report: Report
    ) -> None:
        self.config, self.run_directory, self.report, self.seed = config, run, report, seed
        self.pool = OrderedPool(pool) if config.deterministic else pool
        state = run.checkpoint(exact=config.deterministic)
        self._mark: dict[str, int] = state.get("mark", {})
        if config.deterministic:
            run.return_to(self._mark)
        self.labels = Labels(dataset, run, config, self._mark.get("labels", 0) if config.deterministic else None)
        self.models = Models(run, self.pool)
        self.questions = Questions(self.pool, self.labels, self.models, config)
        events = without_open_steps(run)
        self.walkers = self._restore_walkers(events)
        doubts = (line["doubt"] for line in events if line.get("doubt") is not None)
        self.policy = Policy(config, self.labels, self.models, self.questions, doubts, lambda: self.elapsed)
        self._n_proposed = 0
        self._started = self._checkpointed = time.monotonic()
        self._round: dict[int, int] = {}
        self._elapsed_before = float(state.get("elapsed_s", 0.0))
        self._busy_before: dict[str, float] = state.get("busy_s", {})
        if self.models.version >= state.get("model_version", 0):
            self.models.trained = set(state.get("trained_uids", []))
        inexact = ["the result will not be bit for bit that of an undisturbed run, for labels are lost"]
        for text in (*run.damage, *(inexact if config.deterministic and dataset.damage else [])):
            report({"what": "say", "text": text})

    # ------------------------------------------------------------------ the run

    def run(self) -> None:
        """Grow every walker to its target size.

        Raises:
            CampaignError: labels keep failing, or a part raised.
        """
        if all(walker.status == "done" for walker in self.walkers):
            return
        self._first_labels()
        self._first_model()
        while any(walker.status != "done" or walker.open for walker in self.walkers):
            if self.config.deterministic and self._round_is_over():
                self._begin_round()
            self._dispatch()
            self._react()
        while self.pool.pending():
            self._react()
        self.labels.recover()
        self._learn(least=1)
        while self.pool.pending("learner"):
            self._react()
        if self.config.deterministic:
            self._begin_round()
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write what the other files do not say: clocks and which labels the model has seen.

        Of a deterministic run only between two rounds, for it goes on from there.
        """
        if not self.config.deterministic:
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        self._checkpointed = time.monotonic()
        self.run_directory.write_checkpoint(
            {
                "elapsed_s": self.elapsed,
                "busy_s": self.busy,
                "model_version": self.models.version,
                "trained_uids": sorted(self.models.trained),
                "mark": self._mark,
            },
        )

    @property
    def elapsed(self) -> float:
        """Wall time of the run, resumptions included, s."""
        return self._elapsed_before + time.monotonic() - self._started

    @property
    def busy(self) -> dict[str, float]:
        """Seconds of work by role, summed over workers."""
        return {role: self._busy_before.get(role, 0.0) + s for role, s in self.pool.busy_seconds.items()}

    # ------------------------------------------------------------------ start

    def _round_is_over(self) -> bool:
        """Whether every walker that is not done has taken its step and nothing is under way."""
        return not self.pool.pending() and all(
            w.status == "done" or (w.status == "ready" and w.state.step > self._round.get(w.index, -1))
            for w in self.walkers
        )

    def _begin_round(self) -> None:
        """Let every walker take one step more, and note where the run stands: interrupted, it goes on from here."""
        self._round = {walker.index: walker.state.step for walker in self.walkers}
        self._mark = {**self.run_directory.mark(), "labels": len(self.labels)}
        self._write_checkpoint()
        self.labels.settle()

    def _restore_walkers(self, events: Sequence[dict[str, Any]]) -> list[Walker]:
        """As the log has them."""
        crystal = init(self.seed).crystal
        walkers = [
            restored(index, crystal, [line for line in events if line["walker"] == index])
            for index in range(self.config.walkers)
        ]
        last = {line["walker"]: line["fate"] for line in events}
        awaited = {"rejected", "queried"} if self.config.ask.learn_first else {"rejected"}
        for walker in walkers:
            if last.get(walker.index) in awaited and not self.config.deterministic:  # which begins between two rounds
                walker.status, walker.needs = "learning", self.labels.uids()
            self._finish_if_grown(walker)
        return walkers

    def _first_labels(self) -> None:
        if self.models.version > 0:
            return
        self.labels.take_over(given_labels(self.config.initial, self.labels.method, self._elements))
        if self.config.initial.model is not None and self.config.initial.n == 0:
            return
        rng = np.random.default_rng([INITIAL_SET, self.config.seed])
        initial, limit = self.config.initial, self.config.budget.labels
        within = initial if limit is None else initial.model_copy(update={"n": min(initial.n, limit)})
        structures = initial_structures(self.seed, species_of(self.config.growth), within, rng)
        pieces = affordable(structures, self.config.oracle.max_atoms)
        beyond = sum(self.labels.known(piece) is None for piece in pieces) - self.policy.left
        pieces = pieces[: len(pieces) - int(max(beyond, 0))]  # n says how many about: atoms and dimers come on top
        for piece in pieces:
            piece.info["reason"] = "initial"
        self._ask([Request(piece, None) for piece in pieces])
        while self.pool.pending("oracle"):
            self._react()

    def _first_model(self) -> None:
        if self.models.version > 0:
            return
        training, validation = self.labels.split()
        files = given_model(self.config.initial, self.labels.method, self._elements)
        if files is not None:
            self.models.under_way = self.labels.given
            self.pool.submit(Task("learner", "take_over", "first", (files, validation, 1)))
            while self.pool.pending("learner"):
                self._react()
            return
        if not training:
            raise CampaignError("no structure of the initial set could be labelled; see dataset/failed_labels.jsonl")
        self.report({"what": "train", "n_labels": len(self.labels)})
        self.models.under_way = self.labels.uids()
        self.pool.submit(Task("learner", "train", "first", (training, validation, 1, self.config.seed, self._taught())))
        while self.pool.pending("learner"):
            self._react()

    def _taught(self) -> tuple[PretrainSettings, list[Atoms]] | None:
        """What a cheap method teaches the first model before the oracle's labels do, if it is to."""
        initial, growth = self.config.initial, self.config.growth
        if initial.pretrain is None:
            return None
        rng = np.random.default_rng([PRETRAIN, self.config.seed])
        species = species_of(growth)
        return initial.pretrain, structures_to_teach(
            self.seed, species, growth.n_atoms, initial.pretrain.n, initial, rng
        )

    @property
    def _elements(self) -> list[str]:
        """Symbols that the campaign meets."""
        return [*self.seed.symbols, *species_of(self.config.growth)]

    # ------------------------------------------------------------------ dispatch

    def _dispatch(self) -> None:
        self._learn()
        for walker in sorted(self.walkers, key=lambda walker: walker.state.step):  # who is behind comes first
            if walker.status == "ready" and walker.state.step <= self._round.get(walker.index, walker.state.step):
                self._propose(walker)
        for walker in self.walkers:
            if not self.pool.pending("surrogate") and self.policy.may_speculate(walker):
                self._speculate(walker)
        if not self.pool.pending() and not (self.config.deterministic and self._round_is_over()):
            raise CampaignError(f"nothing left to do while walkers wait: {[w.status for w in self.walkers]}")

    def _propose(self, walker: Walker) -> None:
        walker.status = "proposing"
        walker.turn.model_version = self.models.version
        walker.turn.uniform = float(self._rng(DRAW, walker, with_attempt=False).random())
        kind = self._next_kind(walker)
        ask = self.config.ask
        sure = self.labels.calibration.delta_e.sure_std(ask.delta_e_tolerance, ask.risk)
        entropy, stop = self._entropy(PROPOSE, walker), self.policy.stop_std(walker.turn)
        arguments = (self.models.version, self.models.shared, walker.state, kind, entropy, walker.index, sure, stop)
        self._n_proposed += 1
        walker.task = f"{walker.index} {self._n_proposed}"
        self.pool.submit(Task("surrogate", "propose", walker.task, arguments))

    def _speculate(self, walker: Walker) -> None:
        """Take the step as the surrogate has it, and go on; the answer confirms it or takes it back."""
        turn = walker.turn
        walker.open.append(turn)
        self._accept(walker, "speculative", turn.reason)
        if walker.status == "ready":
            self._propose(walker)

    def _learn(self, least: int | None = None) -> None:
        """Start an update where there is something to learn and somebody waits, or enough has come in."""
        if self.pool.pending("learner"):
            return
        unseen = self.labels.uids() - self.models.trained
        waiting = any(walker.status == "learning" for walker in self.walkers)
        if not unseen or not (waiting or len(unseen) >= (least or self.config.learner.labels_per_update)):
            self._release_walkers()
            return
        new, replayed, validation = self.labels.split_for_update(unseen)
        if not new:
            self.models.trained |= unseen
            self._release_walkers()
            return
        self.models.under_way = self.labels.uids()
        version = self.models.version + 1
        seed, learnt = self.config.seed + version, self.run_directory.relaxations(HEAD_LEARNS)
        arguments = (self.models.shared, new, replayed, validation, version, seed, learnt)
        self.pool.submit(Task("learner", "update", "update", arguments))

    def _ask(self, requests: Sequence[Request]) -> None:
        """Put structures to the oracle; what it has said before is an answer at once."""
        for request, answer in self.questions.ask(requests):
            self._hand_over(request, answer)

    # ------------------------------------------------------------------ react

    def _react(self) -> None:
        for done in self.pool.wait(timeout=5.0):
            match done.task.role:
                case "surrogate" if done.task.call == "assess":
                    self._on_assessed(done)
                case "surrogate":
                    self._on_proposal(done)
                case "oracle":
                    self._on_labels(done)
                case "learner":
                    self._on_model(done)

    def _on_proposal(self, done: Done) -> None:
        walker = self.walkers[int(done.task.key.split()[0])]
        if done.task.key != walker.task:  # of a step that has been rolled back
            return
        walker.task = ""
        if walker.open and not isinstance(done.result, Proposal):  # perhaps because of a step that was not to be taken
            walker.status = "blocked"
            return
        if done.error:
            raise CampaignError(f"walker {walker.index}, step {walker.state.step + 1}: {done.error}")
        walker.turn.seconds = done.seconds
        if not isinstance(done.result, Proposal):
            self._on_no_sites(walker, done.result)
            return
        search = {"walker": walker.index, "step": walker.state.step + 1, "attempt": walker.turn.attempt}
        self.run_directory.write_relaxations(search, done.result.learnt)
        self._pass(walker, done.result)
        self._choose(walker, done.result, np.array([site.energy for site in done.result.sites]))
        assert walker.turn.doubt is not None
        policy, stopped = self.policy, walker.turn.doubt.stopped
        policy.note(walker.turn)
        uniform = float(self._rng(AUDIT, walker).random())
        reason = policy.reason_to_ask(walker.turn, uniform)
        in_doubt = reason is not None and policy.is_doubtful(walker.turn)
        ended = policy.end if reason else None
        spared = in_doubt and not ended and not stopped and not policy.worth_a_label(walker.turn, self.walkers)
        if reason and not spared and policy.learner_is_behind:
            walker.status, walker.needs = "learning", self.labels.uids()
        elif ended and self.config.budget.when_spent == "stop":
            walker.status = "done"
            self.report({"what": "say", "text": f"w{walker.index:02d} ends: {ended}, {reason}"})
        elif ended and stopped:
            walker.status = "ready"  # to be relaxed to the end, now that nobody can be asked
        elif ended or policy.is_spent:
            self._accept(walker, "accepted", f"{ended}; {reason}" if ended else None)
        elif reason and not spared:
            self._query(walker, reason)
        elif policy.audits(uniform):
            self._audit(walker, spared)
        else:
            self._accept(walker, "accepted", f"spared; {reason}" if spared else None)

    def _pass(self, walker: Walker, proposal: Proposal) -> None:
        """Note what happened beyond doubt before what is proposed."""
        if proposal.start is None:
            return
        told = {"walker": walker.index, "model_version": walker.turn.model_version, "attempt": walker.turn.attempt}
        fate = {"energy_std": None, "fate": "accepted"}
        self.run_directory.append("events", *({**told, **event.to_dict(), **fate} for event in proposal.passed))
        walker.state, walker.turn.before, walker.turn.attempt = proposal.start, proposal.start, 0
        self.run_directory.write_structures("grown", walker.index, walker.state.step, [walker.state.crystal])

    def _choose(self, walker: Walker, proposal: Proposal, energies: np.ndarray) -> None:
        """Draw a site by `energies` (n_sites,) with the step's own random number, and look at the doubt about it."""
        if proposal.duration is None:
            kT = self.config.growth.kT
            choice = draw(energies, kT, walker.turn.uniform)
            proposal = replace(proposal, choice=choice, probabilities=boltzmann(energies, kT))
        walker.turn.proposal = proposal
        walker.turn.doubt = self._doubt(proposal)

    def _doubt(self, proposal: Proposal) -> Doubt:
        kT, ask, in_time = self.config.growth.kT, self.config.ask, proposal.duration is not None
        return doubt_over(proposal.sites, proposal.choice, kT, self.labels.calibration, ask, all_count=in_time)

    def _on_assessed(self, done: Done) -> None:
        """The surrogate has spoken about what was cut out: now the oracle is asked, unless the step is gone."""
        requests = self.questions.assessed(done)
        turn = requests[0].turn
        if turn is None or self.walkers[turn.walker].is_live(turn):
            self._ask(requests)

    def _on_no_sites(self, walker: Walker, rejected: list[Atoms]) -> None:
        """Nothing sound was found, so the surrogate is wrong here: let it learn from where its search ended."""
        walker.no_site_attempts += 1
        if walker.no_site_attempts > NO_SITE_ATTEMPTS:
            raise CampaignError(
                f"walker {walker.index}: no site found on {len(walker.state.crystal)} atoms, in "
                f"{walker.no_site_attempts} searches"
            )
        finite = [structure for structure in rejected if np.isfinite(structure.positions).all()]
        structures = affordable(finite, self.config.oracle.max_atoms)[: self.policy.most_at_once]
        if not structures:
            walker.status = "ready"
            return
        walker.status, walker.turn.proposal = "labelling", None
        walker.turn.pending = len(structures)
        version = str(walker.turn.model_version)
        for structure in structures:
            structure.info = {"config_type": "growth", "model_version": version, "reason": "no_site"}
        self._ask([Request(structure, walker.turn, i) for i, structure in enumerate(structures)])

    def _query(self, walker: Walker, reason: str) -> None:
        walker.status, walker.turn.reason = "labelling", f"query: {reason}"
        ask = self.config.ask
        chance = ask.random_probability if ask.arm == "random" else 1.0
        self._ask_about(walker, self.policy.sites_to_query(walker.turn), chance)

    def _audit(self, walker: Walker, spared: bool) -> None:
        """Take the step, and have it and its nearest rival labelled: what the error of sure steps is.

        Of steps that were `spared` though in doubt, so that calibration knows of them too.
        """
        ask = self.config.ask
        sites, reason = (
            self.policy.sites(walker.turn, ask.sites_per_query),
            "audit of the spared" if spared else "audit",
        )
        requests = requests_about(walker.turn, sites, reason, ask.audit_probability, self.config.oracle.max_atoms)
        self._accept(walker, "audited", reason)
        self._ask(requests)

    def _ask_about(self, walker: Walker, sites: Sequence[int], chance: float) -> None:
        requests = requests_about(walker.turn, sites, "query", chance, self.config.oracle.max_atoms)
        walker.turn.pending += len(requests)
        self._ask(requests)

    def _on_labels(self, done: Done) -> None:
        answers = self.questions.answered(done)
        line = {
            "what": "labels",
            "n_labels": len(self.labels),
            "failed": self.labels.n_failed,
            "seconds": done.seconds,
            "n_atoms": max(len(request.structure) for request, _ in answers),
        }
        self.run_directory.append("metrics", {**line, "outcomes": outcomes(answers)})
        self.report(line)
        for request, outcome in answers:
            self._hand_over(request, outcome)

    def _hand_over(self, request: Request, outcome: Atoms | FailedLabel) -> None:
        """Give an answer of the oracle to the step that waits for it."""
        turn = request.turn
        if turn is None:
            return
        walker = self.walkers[turn.walker]
        turn.labels[request.site], turn.asked[request.site] = outcome, request
        turn.pending -= 1
        if turn.pending == 0 and turn is walker.turn:
            self._decide(walker)
        elif turn.pending == 0 and any(turn is other for other in walker.open):
            self._judge(walker, turn)

    def _judge(self, walker: Walker, turn: Turn) -> None:
        """The oracle has answered about a step that was taken without waiting: it stands, or the walker goes back.

        It stands too where labels alone would have settled it the same way.
        """
        assert turn.proposal is not None
        truth, against = verdict(turn, self.config.ask)
        taken = turn.proposal.choice
        if taken not in truth:
            against = "no label succeeded"
        elif against and turn.attempt >= self.config.ask.max_attempts:
            redrawn = draw(energies_after(turn, truth), self.config.growth.kT, turn.uniform)
            against = None if redrawn == taken or turn.proposal.duration is not None else against
        line = {"walker": walker.index, "step": turn.before.step + 1, "attempt": turn.attempt}
        if against is None:
            walker.open = [other for other in walker.open if other is not turn]
            self.run_directory.append("events", {**line, "fate": "confirmed", "reason": turn.reason})
            if walker.status == "blocked" and not walker.open:
                walker.status = "ready"
            return
        self.run_directory.append("events", {**line, "fate": "rolled_back", "reason": f"{turn.reason}; {against}"})
        self.run_directory.forget(walker.index, turn.before.step + 1)
        self.report({"what": "say", "text": f"w{walker.index:02d} goes back to step {turn.before.step}: {against}"})
        turn.rollbacks = walker.turn.rollbacks + 1
        gone = next(k for k, other in enumerate(walker.open) if other is turn)
        for other in (*walker.open[gone + 1 :], walker.turn):
            self.questions.withdraw(other)
        walker.open = walker.open[:gone]
        walker.state, walker.turn, walker.task, walker.status = turn.before, turn, "", "labelling"
        walker.no_site_attempts = 0
        self._decide(walker)

    def _decide(self, walker: Walker) -> None:
        """The oracle has answered: take the better-founded choice, or wait for a model that has learnt the answer."""
        turn = walker.turn
        proposal = turn.proposal
        if proposal is None:
            walker.next_attempt(turn.attempt)
            walker.status, walker.needs = "learning", self.labels.uids()
            return
        truth, against = verdict(turn, self.config.ask)
        if against and turn.attempt < self.config.ask.max_attempts:
            self._reject(walker, against, learn=bool(truth))
            return
        energies = energies_after(turn, truth)
        if np.isinf(energies).all() and proposal.duration is None:
            raise CampaignError(
                f"walker {walker.index}: no site on {len(walker.state.crystal)} atoms could be labelled"
            )
        self._choose(walker, proposal, energies)
        assert turn.proposal is not None
        choice = turn.proposal.choice
        if isinstance(turn.labels.get(choice), FailedLabel):  # in growth in time, where energies draw nothing
            if turn.attempt < self.config.ask.max_attempts:
                self._reject(walker, "its label failed", learn=bool(truth))
            else:
                self._accept(walker, "accepted", f"{turn.reason}; its label failed")
            return
        carved = any(request.carved_from for request in turn.asked.values())  # another carve would not compare
        if choice not in truth and not carved and not self.policy.is_spent:
            self._ask_about(walker, [choice], 1.0)
            return
        if turn.proposal.sites[choice].stopped:
            self._reject(walker, "no minimum to take", learn=True)
            return
        reason = turn.reason if not against else f"{turn.reason}; {against}"
        self._accept(walker, "queried" if choice in truth else "accepted", reason)

    def _reject(self, walker: Walker, against: str, learn: bool) -> None:
        """Drop what was proposed, and propose anew, on a model that has learnt the answer if there is one."""
        turn = walker.turn
        self._log_event(walker, {"fate": "rejected", "reason": f"{turn.reason}; {against}"})
        walker.next_attempt(turn.attempt + 1)
        walker.status, walker.needs = "learning" if learn else "ready", self.labels.uids()

    def _accept(self, walker: Walker, fate: str, reason: str | None) -> None:
        proposal = walker.turn.proposal
        assert proposal is not None
        chosen = proposal.sites[proposal.choice]
        walker.state, event = apply(walker.state, proposal)
        step = walker.state.step
        order = [proposal.choice, *(i for i in range(len(proposal.sites)) if i != proposal.choice)]
        self.run_directory.write_sites(walker.index, step, [proposal.sites[i] for i in order])
        self.run_directory.write_structures("grown", walker.index, step, [walker.state.crystal])
        assert walker.turn.doubt is not None
        told = {"energy_std": chosen.energy_std, "fate": fate, "reason": reason}
        self._log_event(walker, {**event.to_dict(), **told, "promised": walker.turn.doubt.promised.told(order)})
        walker.status, walker.no_site_attempts = "ready", 0
        walker.next_turn(walker.turn.unasked + 1 if fate == "accepted" else 0)
        if fate == "queried" and self.config.ask.learn_first:
            walker.status, walker.needs = "learning", self.labels.uids()
        self._finish_if_grown(walker)
        if time.monotonic() - self._checkpointed > CLOCK_S:
            self.checkpoint()

    def _on_model(self, done: Done) -> None:
        if done.error:
            raise CampaignError(f"the learner failed: {done.error}")
        files, metrics = done.result
        self.models.trained |= self.models.under_way
        if metrics["promoted"]:
            self.models.adopt(files)
            self.labels.calibrate(self.models.version)
            self._look_again()
        line = {"what": "model", "version": self.models.version, "seconds": done.seconds, **metrics}
        self.run_directory.append("metrics", {**line, "n_labels": len(self.labels), "elapsed_s": self.elapsed})
        self.report(line)
        honesty = {"version": self.models.version, **self.labels.told()}
        self.run_directory.append("metrics", {"what": "calibration", **honesty})
        self._release_walkers()
        self.checkpoint()

    def _look_again(self) -> None:
        """Take back the questions that no oracle has begun on: the newest model may doubt less, or something else."""
        for walker in self.walkers:
            turn = walker.turn
            waits = walker.status == "labelling" and turn.proposal is not None and not turn.labels
            if waits and self.questions.withdraw(turn):
                step = {"walker": walker.index, "step": turn.before.step + 1, "attempt": turn.attempt}
                seen = {"by": turn.model_version, "again_by": self.models.version}
                self.run_directory.append("metrics", {"what": "withdrawn", **step, **seen})
                walker.next_attempt(turn.attempt)
                walker.status = "ready"

    # ------------------------------------------------------------------ small things

    def _release_walkers(self) -> None:
        for walker in self.walkers:
            if walker.status == "learning" and walker.needs <= self.models.trained:
                walker.status = "ready"

    def _next_kind(self, walker: Walker) -> Kind:
        return "hop" if walker.state.step % (1 + self.config.growth.hops_per_step) else "attach"

    def _finish_if_grown(self, walker: Walker) -> None:
        growth = self.config.growth
        grown = len(walker.state.crystal) >= growth.n_atoms and self._next_kind(walker) == "attach"
        if grown or (growth.max_events is not None and walker.state.step >= growth.max_events):
            walker.status = "done"

    def _entropy(self, purpose: int, walker: Walker, with_attempt: bool = True) -> list[int]:
        place = [purpose, self.config.seed, walker.index, walker.state.step]
        return [*place, walker.turn.attempt, walker.no_site_attempts] if with_attempt else place

    def _rng(self, purpose: int, walker: Walker, with_attempt: bool = True) -> np.random.Generator:
        return np.random.default_rng(self._entropy(purpose, walker, with_attempt))

    def _log_event(self, walker: Walker, event: dict[str, Any]) -> None:
        line = told(walker, event, self.models.version, self.config.ask)
        self.run_directory.append("events", line)
        if line["fate"] != "rejected":
            self.report({"what": "step", **self._progress(line)})

    def _progress(self, line: dict[str, Any]) -> dict[str, Any]:
        share = self.busy.get("oracle", 0.0) / max(self.elapsed, 1e-9) / self.pool.size("oracle")
        return {**{key: line[key] for key in SHOWN}, "n_labels": len(self.labels), "oracle_busy": share}


def species_of(settings: GrowthSettings) -> list[str]:
    """Symbols of the arriving atoms."""
    return list(settings.fluxes)


def outcomes(answers: Sequence[Answer]) -> list[tuple[str, str, int]]:
    """Why the oracle was asked, what came of it (`labelled`, or why not), and how often."""
    found = [
        (request.structure.info["reason"], outcome.reason if isinstance(outcome, FailedLabel) else "labelled")
        for request, outcome in answers
    ]
    return [(*both, n) for both, n in Counter(found).items()]
