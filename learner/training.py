"""Training: from scratch (`train`), and on from what is known (`update`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from scipy.special import stdtrit

from .committee import Committee, Header
from .data import Example, dataset_hash, join_examples, make_examples, reference_energies
from .errors import InputError
from .fit import Fit
from .metrics import Numbers, evaluate, structure_errors
from .model_files import write_whole
from .settings import NetworkSettings, TrainSettings, UpdateSettings
from .vimpnn import VIMPNN, seeded

Errors = dict[str, np.ndarray]
Progress = Callable[[Numbers], None]

MEASURED, MEASURED_ATOMS = 400, 20_000
SLACK = {"energy_mae_mev_per_atom": 0.5, "force_mae_mev_per_A": 5.0}
"""By how much an update may be worse on a bin of the validation set, beside the tolerance."""
BY_CHANCE = 0.025
"""Share of updates, no worse than the model before them, that are refused by chance."""
FEWEST = 3
"""Structures whose mean errors can tell that one model is worse than another."""
WILD = 10.0
"""Times the former error at which one structure alone tells."""


@dataclass(frozen=True)
class TrainResult:
    """A trained committee.

    Attributes:
        committee: with the running mean of the weights.
        history: what was logged, one entry every `validate_every` steps.
        metrics: of the committee on the validation set (on the training set where that is empty).
    """

    committee: Committee
    history: list[Numbers]
    metrics: Numbers


@dataclass(frozen=True)
class UpdateResult:
    """What an update came to.

    Attributes:
        committee: the better one: the updated committee if promoted, else the one that was handed in.
        promoted: whether the updated one is not worse, see `not_worse` and `not_wild`.
        metrics: of the committee that is returned; `before` and `after` by size bin.
        reason: one line on the decision.
    """

    committee: Committee
    promoted: bool
    metrics: dict[str, Any]
    reason: str


def train(
    structures: Sequence[Atoms],
    validation: Sequence[Atoms],
    network: NetworkSettings = NetworkSettings(),
    settings: TrainSettings = TrainSettings(),
    seed: int = 0,
    *,
    e0: dict[int, float] | None = None,
    start: Committee | None = None,
    method_hash: str | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TrainResult:
    """Train a committee from scratch. With a budget in steps the same seed gives the same weights.

    Args:
        structures: labelled; single atoms among them give E0.
        validation: labelled, may be empty; only looked at.
        network: shape of the networks.
        settings: budget and rates.
        seed: of initial weights, data order and bootstrap weights.
        e0: eV by atomic number, instead of E0 from the structures.
        start: whose weights are begun with, and what was measured or fitted with them, instead of random ones: it has
            learnt a surface that is alike. Its shape counts, not `network`.
        method_hash: recorded; that of the structures' info by default.
        progress: called with the log entry after every step.
        checkpoint: a directory; if it holds a checkpoint of this very training, that is gone on from.

    Raises:
        InputError: no structure to learn from, a structure without energy, mixed method hashes, or an element of the
            validation set that training does not have, or elements other than those of `start`.
    """
    method_hash = common_method([*structures, *validation], method_hash)
    species = sorted({int(z) for a in structures for z in a.numbers})
    if e0 is None:
        e0, source = reference_energies(structures, species)
    else:
        source, e0 = "given", {z: e0[z] for z in sorted(set(e0) | set(species))}
    if start is not None and set(start.header.species) != set(e0):
        raise InputError(f"start knows the elements {start.header.species}, the structures have {sorted(e0)}")
    if start is not None:
        network, e0 = start.network.settings, {z: e0[z] for z in start.header.species}
    net = seeded(network, list(e0), seed) if start is None else start.copy().network
    learnt = [a for a in structures if len(a) > 1]
    if not learnt:
        raise InputError("nothing to learn from: no labelled structure of more than one atom")
    examples = make_examples(learnt, e0, network.cutoff, net.dtype)
    make_examples(validation, e0, network.cutoff, net.dtype)
    if start is None:
        standardise(net, examples)
    header = Header.model_validate(
        {
            "network": network,
            "species": list(e0),
            "channels": list(net.basis.channels),
            "e0": list(e0.values()),
            "e0_source": source,
            "method_hash": method_hash,
            "dataset_hash": dataset_hash(structures),
            "n_labels": len(structures),
        }
    )
    fit = Fit(net, [examples], [1.0], settings, seed)
    key = _key(header, settings, seed, start)
    history = _resume(fit, checkpoint, key) if checkpoint is not None else []
    while fit.progress < 1:
        entry = fit.step()
        if progress is not None:
            progress(entry)
        if fit.n_steps % settings.validate_every == 0:
            history.append({**entry, **_validation(fit, header, validation)})
            if checkpoint is not None:
                _store(fit, checkpoint, key, history)
    committee = Committee(_with_state(net, fit.averaged()), header)
    metrics = evaluate(committee, list(validation) or learnt)
    committee.header = header.model_copy(update={"metrics": metrics})
    return TrainResult(committee, history, metrics)


def update(
    committee: Committee,
    new: Sequence[Atoms],
    replay: Sequence[Atoms],
    validation: Sequence[Atoms],
    settings: UpdateSettings = UpdateSettings(),
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> UpdateResult:
    """Learn from new labels without forgetting the old: warm start, replay, and promotion only if not worse.

    Args:
        committee: the present one; not changed.
        new: labelled structures that it has not seen.
        replay: labelled structures that it has seen (all of them, or any part).
        validation: frozen, labelled; may be empty. Means over fewer than `FEWEST` tell nothing: then the update is
            promoted if it has learnt `new` and none of them is off wildly.
        settings: budget, rates, tolerance.
        seed: of data order and bootstrap weights.
        progress: called with the log entry after every step.

    Raises:
        InputError: nothing new, an element that the committee does not know, no energy, another method.
    """
    common_method([*new, *replay, *validation], committee.method_hash)
    if not any(len(a) > 1 for a in new):
        raise InputError("nothing new to learn from")
    net = committee.copy().network
    parts = [[a for a in part if len(a) > 1] for part in (new, replay)]
    groups = [make_examples(part, committee.e0, net.cutoff, net.dtype) for part in parts]
    share = [settings.new_share, 1 - settings.new_share] if groups[1] else [1.0, 0.0]
    fit = Fit(net, groups, share, settings, seed)
    while fit.progress < 1:
        entry = fit.step()
        if progress is not None:
            progress(entry)
    known = [*new, *replay]
    header = committee.header.model_copy(update={"dataset_hash": dataset_hash(known), "n_labels": len(known)})
    updated = Committee(_with_state(net, fit.averaged()), header)
    judged = list(validation) if len(validation) >= FEWEST else [*validation, *new]
    before, after = (by_size(c, judged, settings.size_bins) for c in (committee, updated))
    promoted, reason = not_worse(before, after, settings.tolerance)
    if promoted and 0 < len(validation) < FEWEST:
        promoted, reason = not_wild(before["all"], after["all"], len(validation))
    best = updated if promoted else committee
    figures = evaluate(best, list(validation) or judged)
    metrics: dict[str, Any] = {**figures, "before": means(before), "after": means(after), "reason": reason}
    if promoted:
        updated.header = header.model_copy(update={"metrics": figures})
    return UpdateResult(best, promoted, metrics, reason)


def by_size(committee: Committee, structures: Sequence[Atoms], edges: Sequence[int]) -> dict[str, Errors]:
    """`structure_errors` of all structures, and of those in each bin of sizes that holds at least `FEWEST`."""
    errors = structure_errors(committee, structures)
    bins = np.searchsorted(np.asarray(edges), [len(a) for a in structures])
    out = {"all": errors}
    for k in sorted(set(bins.tolist())):
        name = f"<={edges[k]}" if k < len(edges) else f">{edges[-1]}"
        if (bins == k).sum() >= FEWEST:
            out[name] = {key: values[bins == k] for key, values in errors.items()}
    return out


def not_worse(before: dict[str, Errors], after: dict[str, Errors], tolerance: float) -> tuple[bool, str]:
    """Whether no bin is worse by more than is let pass and more than chance explains.

    Let pass are the tolerance (relative) plus `SLACK`. Chance explains what Student's t allows the mean difference
    between the two models on the same structures, so that it alone refuses a share `BY_CHANCE` of updates, however
    many bins are looked at.

    Args:
        before, after: from `by_size`, of the same structures.
        tolerance: relative increase of a mean absolute error that is let pass.
    """
    looked_at = [(name, key) for name, old in before.items() for key in SLACK if key in old]
    for name, key in looked_at:
        was, rise = float(before[name][key].mean()), after[name][key] - before[name][key]
        error = float(rise.std(ddof=1)) / len(rise) ** 0.5 if len(rise) > 1 else 0.0
        chance = error * float(stdtrit(max(len(rise) - 1, 1), 1 - BY_CHANCE / len(looked_at)))
        if not rise.mean() <= max(was * tolerance + SLACK[key], chance):
            return False, f"{key} of {name} atoms rose from {was:.1f} to {was + float(rise.mean()):.1f}"
    return True, "not worse on any bin"


def not_wild(before: Errors, after: Errors, n: int) -> tuple[bool, str]:
    """Whether none of the first n structures is off ten times as much as the worst of them was, and slack.

    Args:
        before, after: from `structure_errors`, of the same structures. n: of a validation set too small for means.
    """
    for key, slack in SLACK.items():
        if key not in before:
            continue
        was, now = float(before[key][:n].max()), float(after[key][:n].max())
        if not now <= WILD * (was + slack):
            return False, f"{key} of one of {n} validating structures rose from {was:.1f} to {now:.1f}"
    return True, "new labels learnt; too few validate to compare means"


def means(errors: dict[str, Errors]) -> dict[str, dict[str, float]]:
    """Mean errors and number of structures of each bin."""
    return {
        name: {"n_structures": len(next(iter(of.values()))), **{key: float(v.mean()) for key, v in of.items()}}
        for name, of in errors.items()
    }


@torch.no_grad()
def standardise(network: VIMPNN, examples: Sequence[Example]) -> None:
    """Set what is measured or fitted, not learnt: the bond basis, the size of messages, the cohesion, the scale of ε.

    All by at most `MEASURED` structures or `MEASURED_ATOMS` atoms, evenly drawn. The scale of ε (eV) is the root mean
    square of the forces (eV/Å) that the cohesion leaves.
    """
    n_atoms = sum(len(e.forces) for e in examples) / len(examples)
    few = max(1, min(MEASURED, int(MEASURED_ATOMS / n_atoms)))
    batch = join_examples(examples[:: -(-len(examples) // few)])
    network.standardise(batch.graph)
    left = network.cohesion.fit(batch, network.basis.pair(batch.graph), network.settings.cohesion)
    network.energy_scale.fill_(max(left, 1e-2))


def common_method(structures: Sequence[Atoms], expected: str | None) -> str | None:
    """The one method hash of the structures.

    Raises:
        InputError: there are several, or another than the expected.
    """
    found = {str(a.info["method_hash"]) for a in structures if a.info.get("method_hash")}
    found |= {expected} if expected else set()
    if len(found) > 1:
        raise InputError(f"labels of different methods do not mix: {', '.join(sorted(found))}")
    return next(iter(found), None)


def _with_state(network: VIMPNN, state: dict[str, torch.Tensor]) -> VIMPNN:
    """A copy of a network with other weights."""
    copy = VIMPNN(network.settings, network.species, network.basis.channels)
    copy.load_state_dict(state)
    return copy


def _validation(fit: Fit, header: Header, validation: Sequence[Atoms]) -> Numbers:
    """Errors of the running mean on the validation set, as `validation_…`."""
    if not validation:
        return {}
    metrics = evaluate(Committee(_with_state(fit.network, fit.averaged()), header), validation)
    return {f"validation_{k}": v for k, v in metrics.items()}


def _key(header: Header, settings: TrainSettings, seed: int, start: Committee | None) -> str:
    """What a checkpoint must agree on to be gone on from."""
    begun = "" if start is None else start.header.model_dump_json()
    return hashlib.sha256(f"{header.model_dump_json()}{settings.model_dump_json()}{seed}{begun}".encode()).hexdigest()


def _store(fit: Fit, checkpoint: Path, key: str, history: list[Numbers]) -> None:
    """Write a checkpoint; the JSON, written last, names the hash of the tensors."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    tensors, facts = fit.state()
    data = save_tensors(tensors)
    facts |= {"key": key, "history": history, "sha256": hashlib.sha256(data).hexdigest()}
    write_whole(checkpoint / "fit.safetensors", data)
    write_whole(checkpoint / "fit.json", json.dumps(facts).encode())


def _resume(fit: Fit, checkpoint: Path, key: str) -> list[Numbers]:
    """Go on from a checkpoint if it is whole and of this training; returns its history, or [] for a fresh start."""
    try:
        facts = json.loads((checkpoint / "fit.json").read_bytes())
        data = (checkpoint / "fit.safetensors").read_bytes()
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    if facts["key"] != key or facts["sha256"] != hashlib.sha256(data).hexdigest():
        return []
    try:
        fit.restore(load_tensors(data), facts)
    except SafetensorError as error:
        raise InputError(f"the checkpoint in {checkpoint} cannot be read: {error}") from error
    return list(facts["history"])
