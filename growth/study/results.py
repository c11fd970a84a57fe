"""How the studies write what they found: JSON and CSV for reading on, extended XYZ for structures, PNG for looking."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from growth.run_directory import exact_frame
from oracle.durable import write_whole

INK, BAND, ACCENT, SECOND = "#1f2933", "#9fb3c8", "#d64545", "#2f7d8c"
"""Colours: lines and text, bands and guides, what is measured by the oracle, a second series."""


def new_figure(width: float = 6.0, height: float = 4.0) -> tuple[Figure, Axes]:
    """A figure with one panel in the style of all studies; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def write_figure(path: Path, figure: Figure) -> None:
    """Write `figure` as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values and arrays as JSON; what is not finite becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n")


def write_csv(path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Write columns of equal length, their names (with units) on the first line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(plain(list(column)) for column in columns.values()), strict=True))


def write_structures(path: Path, structures: Sequence[Atoms]) -> None:
    """Write structures, with energies in `info` and forces in arrays, as extended XYZ for ASE, OVITO and pymatgen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(exact_frame(structure) for structure in structures))


def plain(value: Any) -> Any:
    """JSON-like data of mappings, sequences, arrays and numbers.

    >>> plain({"a": np.array([1.0, np.nan]), "n": np.int64(3)})
    {'a': [1.0, None], 'n': 3}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
