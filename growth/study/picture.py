"""Panels and pictures of structures for the studies' figures, drawn by matplotlib alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from growth.candidates import bond_radius
from growth.study.results import INK

GREY, SIZE = "0.85", 0.95
"""Of atoms without a value; of circles, in bond radii."""


def new_panels(columns: int, width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels in the style of all studies, row by row; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def main_axes(structure: Atoms) -> np.ndarray:
    """(3, 3), rows are the axes of inertia: the longest extent first, the shortest last; right-handed."""
    centred = structure.positions - structure.positions.mean(axis=0)
    _, _, rows = np.linalg.svd(centred, full_matrices=True)
    return np.asarray(rows * [[1.0], [1.0], [np.sign(np.linalg.det(rows))]])


def draw_values(
    axes: Axes,
    structure: Atoms,
    values: np.ndarray,
    view: np.ndarray | None = None,
    cmap: str | Colormap = "viridis",
    norm: Normalize | None = None,
) -> ScalarMappable:
    """Draw atoms coloured by values (n_atoms,), nan grey; returns what a colour bar takes. See `draw_atoms`."""
    shade = ScalarMappable(norm or Normalize(np.nanmin(values), np.nanmax(values)), cmap)
    draw_atoms(axes, structure, [shade.to_rgba(v) if np.isfinite(v) else GREY for v in values], view)
    return shade


def draw_atoms(
    axes: Axes, structure: Atoms, colours: Sequence[Any] | None = None, view: np.ndarray | None = None
) -> np.ndarray:
    """Draw atoms as circles, the far ones first.

    Args:
        axes: one panel, whose frame is taken away.
        structure: what to draw. colours: one for each atom; default grey.
        view: (3, 3), rows are the picture's x and y and the direction to the eye; default x, y, z.

    Returns:
        (3,), Å: the point of the structure that is the picture's origin.
    """
    centre = structure.positions.mean(axis=0)
    x, y, depth = ((structure.positions - centre) @ (np.eye(3) if view is None else view).T).T
    radii = SIZE * np.array([bond_radius(symbol) for symbol in structure.get_chemical_symbols()])
    faces = [GREY] * len(structure) if colours is None else colours
    order = np.argsort(depth, kind="stable")
    circles = [Circle((x[k], y[k]), radii[k]) for k in order]
    axes.add_collection(PatchCollection(circles, facecolors=[faces[k] for k in order], edgecolors=INK, linewidths=0.4))
    rim = 1.1 * radii.max()
    axes.set(xlim=(x.min() - rim, x.max() + rim), ylim=(y.min() - rim, y.max() + rim), aspect="equal")
    axes.axis("off")
    return np.asarray(centre)
