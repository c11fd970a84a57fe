"""The same structures with another method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms

from oracle.campaign import label_into, silent
from oracle.dataset import Dataset
from oracle.errors import InputError
from oracle.methods import Method
from oracle.settings import LabelSettings

_DEFAULTS = LabelSettings()
_OF_THE_LABEL = ("REF_energy", "REF_free_energy", "uid", "method_hash", "converged", "provenance")


def relabel(
    directory: str | Path,
    method: Method,
    out: str | Path,
    settings: LabelSettings = _DEFAULTS,
    progress: Callable[[str], None] = silent,
) -> dict[str, Any]:
    """Label every structure of a dataset by another method, into a dataset of its own; the same call resumes.

    What `info` says of a structure stays (config_type, series, scale, ...); `parent_uid` becomes the uid of the old
    label.

    Args:
        directory: the dataset whose structures are labelled; it stays as it is.
        method: the other energy surface.
        out: the new dataset.
        settings: time, processes, gates.
        progress: called with one line a label.

    Returns:
        Counts, as `oracle.campaign.label_file` returns them.

    Raises:
        InputError: the labels are of this method already, it cannot take one of the structures (nothing is labelled
            then), or `out` cannot be written or holds labels of another method.
    """
    source = Dataset.read(directory)
    if method.hash == source.method_hash:
        raise InputError(f"dataset {directory} is of method {method.hash} already; give another method")
    structures = [_bare(structure) for structure in source]
    if not structures:
        raise InputError(f"dataset {directory} holds no label: there is nothing to relabel")
    for structure in structures:
        reason = method.cannot(structure)
        if reason is not None:
            raise InputError(f"dataset {directory}, structure {structure.info['parent_uid']}: {reason}")
    with Dataset.open(out, method=method) as dataset:
        return label_into(dataset, structures, method, settings, progress)


def _bare(labelled: Atoms) -> Atoms:
    """Return the structure without its label, and with where it came from."""
    structure = labelled.copy()
    structure.info = {key: value for key, value in labelled.info.items() if key not in _OF_THE_LABEL}
    structure.info["parent_uid"] = labelled.info["uid"]
    structure.arrays.pop("REF_forces", None)
    return structure
