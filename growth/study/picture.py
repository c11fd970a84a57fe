"""Panels and pictures of structures for the studies' figures, drawn by matplotlib alone."""

from collections.abc import Sequence

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


def new_panels(n: int, width: float, height: float, ratios: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure with n panels side by side in the style of all studies; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(1, n, width_ratios=ratios)))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def main_axes(structure: Atoms) -> np.ndarray:
    """(3, 3), rows are the axes of inertia: the longest extent first, the shortest last; right-handed."""
    centred = structure.positions - structure.positions.mean(axis=0)
    _, _, rows = np.linalg.svd(centred, full_matrices=True)
    return np.asarray(rows * [[1.0], [1.0], [np.sign(np.linalg.det(rows))]])


def draw_atoms(
    axes: Axes,
    structure: Atoms,
    values: np.ndarray | None = None,
    view: np.ndarray | None = None,
    cmap: str | Colormap = "viridis",
    norm: Normalize | None = None,
    colours: Sequence[object] | None = None,
    size: float = 0.95,
) -> ScalarMappable | None:
    """Draw atoms as circles, the far ones first.

    Args:
        axes: one panel, whose frame is taken away.
        structure: what to draw. values: (n_atoms,), turned into colours by cmap and norm; nan is grey.
        view: (3, 3), rows are the picture's x and y and the direction to the eye; default x, y, z.
        colours: one for each atom in place of values; default grey. size: of a circle in bond radii.

    Returns:
        What a colour bar takes; None without values.
    """
    rows = np.eye(3) if view is None else view
    x, y, depth = ((structure.positions - structure.positions.mean(axis=0)) @ rows.T).T
    radii = size * np.array([bond_radius(symbol) for symbol in structure.get_chemical_symbols()])
    shade: ScalarMappable | None = None
    faces: list[object] = list(colours) if colours is not None else ["0.85"] * len(structure)
    if values is not None:
        shade = ScalarMappable(norm or Normalize(np.nanmin(values), np.nanmax(values)), cmap)
        faces = [shade.to_rgba(value) if np.isfinite(value) else "0.85" for value in values]
    order = np.argsort(depth, kind="stable")
    circles = [Circle((x[k], y[k]), radii[k]) for k in order]
    axes.add_collection(PatchCollection(circles, facecolors=[faces[k] for k in order], edgecolors=INK, linewidths=0.4))
    axes.set(xlim=(x.min() - 2 * radii.max(), x.max() + 2 * radii.max()), aspect="equal")
    axes.set_ylim(y.min() - 2 * radii.max(), y.max() + 2 * radii.max())
    axes.axis("off")
    return shade
