"""Splits of a dataset into training, validation and test files that cut no group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ase import Atoms

from oracle.dataset import Dataset
from oracle.durable import whole_file
from oracle.errors import InputError, nearest
from oracle.export import plain_frame
from oracle.identity import hash_of

PARTS = ("train", "validation", "test")


def split(
    directory: str | Path,
    out: str | Path,
    ratio: Sequence[float] = (80, 10, 10),
    by: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Write `train.extxyz`, `validation.extxyz` and `test.extxyz`; a part whose share is 0 is not written.

    Groups are put in the order of a hash of seed and name, then cut by the ratio of their number: the same structures
    and seed give the same split, in whatever order they were labelled.

    Args:
        directory: a dataset.
        out: folder to write to; created when it is not there.
        ratio: shares of training, validation and test.
        by: key of `info`; structures with the same value stay together. By default each structure stands for itself.
        seed: another number gives another split.

    Returns:
        By part: `structures`, `groups` and `file`.

    Raises:
        InputError: a structure has no such key, too few groups for the ratio, or the folder cannot be written.
    """
    dataset, out = Dataset.read(directory), Path(out)
    names = {structure.info["uid"]: _group(structure, by, directory) for structure in dataset}
    parts = assign(names.values(), ratio, seed)
    written = [part for part, share in zip(PARTS, ratio, strict=True) if share > 0]
    counts: dict[str, Any] = {
        part: {
            "structures": sum(parts[name] == part for name in names.values()),
            "groups": sum(found == part for found in parts.values()),
            "file": str(out / f"{part}.extxyz"),
        }
        for part in written
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        left = [str(out / f"{part}.extxyz") for part in PARTS if part not in written]
        if any(Path(path).exists() for path in left):
            raise InputError(f"split into {out}: {', '.join(left)} is of another split; remove it")
        with ExitStack() as stack:
            files = {part: stack.enter_context(whole_file(out / f"{part}.extxyz")) for part in written}
            for structure in dataset:
                files[parts[names[structure.info["uid"]]]].write(plain_frame(structure))
    except OSError as error:
        raise InputError(f"split into {out}: cannot be written ({error.strerror})") from error
    return counts


def assign(groups: Iterable[str], ratio: Sequence[float], seed: int = 0) -> dict[str, str]:
    """Return the part of each group.

    Args:
        groups: their names, in any order, as often as they come.
        ratio: shares of training, validation and test.
        seed: decides, with the name of a group, where it comes in the order that is cut.

    Raises:
        InputError: a ratio that is not three shares, or so few groups that a part with a share would be empty.

    >>> sorted(assign(["a", "b", "c", "d", "e"], (60, 20, 20)).values())
    ['test', 'train', 'train', 'train', 'validation']
    """
    ordered = sorted(set(groups), key=lambda name: hash_of([seed, name], digits=32))
    if len(ratio) != len(PARTS) or min(ratio) < 0 or not 0 < sum(ratio) < float("inf"):
        raise InputError(f"ratio is {_text(ratio)}; expected three shares for {', '.join(PARTS)}, such as 80/10/10")
    exact = [len(ordered) * share / sum(ratio) for share in ratio]
    counts = [int(number) for number in exact]
    by_remainder = sorted(range(len(PARTS)), key=lambda part: (counts[part] - exact[part], part))
    for part in by_remainder[: len(ordered) - sum(counts)]:
        counts[part] += 1
    if any(share > 0 and count == 0 for share, count in zip(ratio, counts, strict=True)):
        raise InputError(f"{len(ordered)} groups are too few for a ratio of {_text(ratio)}: a part would be empty")
    names = [part for part, count in zip(PARTS, counts, strict=True) for _ in range(count)]
    return dict(zip(ordered, names, strict=True))


def parse_ratio(text: str) -> tuple[float, ...]:
    """Return the shares of a ratio as a user writes it.

    Raises:
        InputError: not numbers between slashes.

    >>> parse_ratio("80/10/10")
    (80.0, 10.0, 10.0)
    """
    try:
        return tuple(float(word) for word in text.split("/"))
    except ValueError as error:
        raise InputError(f"ratio is {text!r}; expected three shares between slashes, such as 80/10/10") from error


def _group(structure: Atoms, by: str | None, directory: str | Path) -> str:
    info = structure.info
    if by is None:
        return str(info["uid"])
    if by not in info:
        hint = nearest(by, info)
        raise InputError(f"dataset {directory}, structure {info['uid']}: no key {by!r} to split by; {hint}")
    return str(info[by])


def _text(ratio: Sequence[float]) -> str:
    return "/".join(f"{share:g}" for share in ratio)
