"""Distances in crystals that repeat."""

import numpy as np
from ase import Atoms


def nearest_images(vectors: np.ndarray, crystal: Atoms) -> np.ndarray:
    """Vectors (n, 3) moved by cell vectors into the cell around the origin (exact for cells that are not skewed)."""
    if not crystal.pbc.any():
        return vectors
    cell = crystal.cell.complete()[:]
    scaled = vectors @ np.linalg.inv(cell)
    return np.asarray(vectors - np.where(crystal.pbc, np.round(scaled), 0.0) @ cell)


def narrowest(crystal: Atoms) -> float:
    """Least distance between opposite faces of the cell in periodic directions, Å; infinite for a cluster."""
    if not crystal.pbc.any():
        return float("inf")
    heights = 1.0 / np.linalg.norm(np.linalg.inv(crystal.cell.complete()[:]), axis=0)
    return float(heights[crystal.pbc].min())
