"""Splits into train, validation and test: pure functions of the `info` of the systems and of a seed.

Each takes one `info` mapping a system, in order (`[structure.info for structure in read_benchmark(DIR)]`), and returns
indices into that list. What is marked `extra` is in no part.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from learner.errors import InputError

Infos = Sequence[Mapping[str, Any]]


class Split(NamedTuple):
    """Indices of the systems of each part, increasing: (n_train,), (n_validation,), (n_test,)."""

    train: Int[np.ndarray, " n_train"]
    validation: Int[np.ndarray, " n_validation"]
    test: Int[np.ndarray, " n_test"]


def split_randomly(infos: Infos, seed: int, parts: tuple[int, int, int] = (6, 2, 2)) -> Split:
    """The paper's split of Crystal Growth: each system for itself, 60/20/20 %.

    Crystals of successive sizes of one growth seed, and scales of one crystal, fall into different parts.
    """
    members = _members(infos)
    return _assemble(members, _cut(len(members), np.random.default_rng(seed), parts))


def split_by_molecule(infos: Infos, seed: int, parts: tuple[int, int, int] = (8, 1, 1)) -> Split:
    """The paper's split of Augmented QM9: 80/10/10 % of the molecules (`group`), all scales of one on one side."""
    members = _members(infos)
    names, molecule = np.unique(_column(infos, members, "group"), return_inverse=True)
    return _assemble(members, _cut(len(names), np.random.default_rng(seed), parts)[molecule])


def split_by_growth_seed(infos: Infos, seed: int, parts: tuple[int, int, int] = (3, 1, 1)) -> Split:
    """Crystal Growth by whole growth seeds: of each five successive ones of an element 3 train, 1 validates, 1 tests.

    So 12/4/4 of 20 and 3/1/1 of 5, and a growth seed is on one side whether its stable or its unstable systems are
    split, or both.

    Raises:
        InputError: a group that is not named like `Al-07`.
    """
    members = _members(infos)
    names, growth_seed = np.unique(_column(infos, members, "group"), return_inverse=True)
    sides = np.array([_side_of_growth_seed(str(name), seed, parts) for name in names], dtype=int)
    return _assemble(members, sides[growth_seed])


def split_by_scale(infos: Infos, n_train: int = 8) -> Split:
    """The paper's split of Infinite Crystal: of each element `n_train` evenly spaced scales train, with both ends.

    The others are validation and test by turns.
    """
    members = _members(infos)
    groups, scales = _column(infos, members, "group"), _column(infos, members, "scale")
    sides = np.zeros(len(members), dtype=int)
    for group in np.unique(groups):
        order = np.flatnonzero(groups == group)
        order = order[np.argsort(scales[order], kind="stable")]
        train = np.linspace(0, len(order) - 1, min(n_train, len(order))).round().astype(int)
        others = np.delete(order, train)
        sides[others] = 1 + np.arange(len(others)) % 2
    return _assemble(members, sides)


def _members(infos: Infos) -> Int[np.ndarray, " n"]:
    return np.array([i for i, info in enumerate(infos) if not info.get("extra", False)], dtype=int)


def _column(infos: Infos, members: Int[np.ndarray, " n"], key: str) -> Shaped[np.ndarray, " n"]:
    return np.array([infos[i][key] for i in members])


def _cut(n: int, rng: np.random.Generator, parts: tuple[int, int, int]) -> Int[np.ndarray, " n"]:
    """A side (0, 1, 2) for each of n things, at random; sizes in the ratio of `parts`, rounded in favour of the first.

    >>> np.bincount(_cut(21, np.random.default_rng(0), (8, 1, 1))).tolist()
    [17, 2, 2]
    """
    ends = [-(-n * done // sum(parts)) for done in np.cumsum(parts).tolist()]
    sides = np.empty(n, dtype=int)
    sides[rng.permutation(n)] = np.searchsorted(ends, np.arange(n), side="right")
    return sides


def _side_of_growth_seed(group: str, seed: int, parts: tuple[int, int, int]) -> int:
    """Which part a growth seed is in: its place in the shuffled block of five to which it belongs."""
    named = re.fullmatch(r"(.+)-(\d+)", group)
    if named is None:
        raise InputError(f"group {group!r}: expected a growth seed such as 'Al-07'")
    block, place = divmod(int(named[2]), sum(parts))
    rng = np.random.default_rng([seed, zlib.crc32(named[1].encode()), block])
    return int(_cut(sum(parts), rng, parts)[place])


def _assemble(members: Int[np.ndarray, " n"], sides: Int[np.ndarray, " n"]) -> Split:
    return Split(*(members[sides == side] for side in range(3)))
