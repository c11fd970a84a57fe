"""The labels of a run: how many of which kind, and which structure the surrogate was wrong about."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from growth.page.run_files import RunFiles

MOST_SHOWN = 60_000
"""Atoms of the labelled structures that a page holds; of more only the latest are kept."""
_GROUP = re.compile(r"w(\d+)-(\d+)-")


def own_labels(run: RunFiles) -> list[Atoms]:
    """Labelled structures that this run paid for, in the order in which they came."""
    dataset = run.dataset
    if dataset is None:
        return []
    given = max((line["n_labels"] for line in run.metric("given")), default=0)
    found = (dataset.find(uid) for uid in dataset.uids[given:])
    return [structure for structure in found if structure is not None]


def counts_by_reason(run: RunFiles, own: Sequence[Atoms]) -> dict[str, int]:
    """Labels of the run by why they were asked for, those that it was given and those of the certificate included."""
    given = max((line["n_labels"] for line in run.metric("given")), default=0)
    counts = Counter(str(structure.info.get("reason", "other")) for structure in own)
    certificate = {"certificate": run.certificate.get("n_labels", 0)}
    return {name: n for name, n in {"given": given, **dict(counts.most_common()), **certificate}.items() if n}


def place_of(error: Mapping[str, Any]) -> tuple[int, int] | None:
    """Walker and step that an `error` line of metrics.jsonl is about.

    >>> place_of({"group": "w01-23-0-0-v7-again"})
    (1, 23)
    """
    match = _GROUP.match(str(error["group"]))
    return None if match is None else (int(match[1]), int(match[2]))


def matched(errors: Sequence[Mapping[str, Any]], own: Sequence[Atoms]) -> list[Atoms | None]:
    """The labelled structure of each `error` line, or None where files do not tell.

    Lines name it by `uid`. Those of runs made before they did are told by order, since both were written in the same:
    the k-th error line of a reason, model version and size is about the k-th labelled structure that has them; where
    there are not as many of either, no structure is named.
    """
    known = {structure.info.get("uid"): structure for structure in own}
    named = [known.get(line["uid"]) if "uid" in line else None for line in errors]
    by_order = iter(_by_order([line for line in errors if "uid" not in line], own))
    return [name if "uid" in line else next(by_order) for name, line in zip(named, errors, strict=True)]


def _by_order(errors: Sequence[Mapping[str, Any]], own: Sequence[Atoms]) -> list[Atoms | None]:
    waiting: dict[tuple[str, str, int], list[Atoms]] = defaultdict(list)
    for structure in own:
        waiting[_key(structure.info, len(structure))].append(structure)
    keys = [_key(line, line["n_atoms"]) for line in errors]
    asked = Counter(keys)
    structures = {key: iter(waiting[key]) for key in asked if len(waiting[key]) == asked[key]}
    return [next(structures[key]) if key in structures else None for key in keys]


def _key(of: Mapping[str, Any], n_atoms: int) -> tuple[str, str, int]:
    return str(of.get("reason")), str(of.get("model_version")), n_atoms


def shown(structures: Sequence[Atoms | None]) -> list[int | None]:
    """Numbers under which the page keeps structures, from 0: the latest that fit into `MOST_SHOWN` atoms.

    >>> shown([Atoms("Al4"), None, Atoms("Al3")])
    [0, None, 1]
    """
    sizes = np.array([0 if structure is None else len(structure) for structure in structures], dtype=int)
    fits = np.cumsum(sizes[::-1])[::-1] <= MOST_SHOWN
    kept = (fits & (sizes > 0)).tolist()
    numbers = (np.cumsum(kept) - 1).tolist() if kept else []
    return [number if keep else None for number, keep in zip(numbers, kept, strict=True)]


def said_of_label(structure: Atoms | None, error: float) -> dict[str, float | None]:
    """Labelled and predicted energy per atom, eV, where the structure is known."""
    if structure is None:
        return {"labelled": None, "predicted": None}
    energy = float(structure.get_potential_energy(force_consistent=True))
    return {"labelled": energy / len(structure), "predicted": (energy + error) / len(structure)}
