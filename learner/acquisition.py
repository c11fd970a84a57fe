"""How unsure a committee is of what growth decides by: pure functions of arrays.

Growth chooses by differences of energy between competing sites, so the doubt that matters is the spread of each
member's own difference, in which what all sites share cancels.

Of several questions the most doubtful comes first, then what is doubtful and unlike it: the farthest point in the
features of the network, weighted by doubt (V. Zaverkin, D. Holzmüller, I. Steinwart, J. Kästner, Mach. Learn.: Sci.
Technol. 3, 025014 (2022), "MaxDist"; a batch of the most doubtful alone asks the same thing several times).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist


def difference_std(
    member_energies: Float[np.ndarray, "m n"], sites: Int[np.ndarray, " k"]
) -> Float[np.ndarray, " k_less_1"]:
    """Spread over the members of E_site − E_first for each site but the first, eV.

    Args:
        member_energies: (n_members, n_sites) eV.
        sites: (k,) indices; the first is what the others are compared with.

    Returns:
        (k − 1,) population std of each member's own difference.
    """
    differences = member_energies[:, sites[1:]] - member_energies[:, sites[:1]]
    return np.asarray(differences.std(axis=0))


def force_std_near(
    forces_std: Float[np.ndarray, " n"], positions: Float[np.ndarray, "n 3"], adatom: int, radius: float
) -> float:
    """Largest spread of a force on or within `radius` (Å) of the adatom, eV/Å; images are not searched."""
    distance = np.linalg.norm(positions - positions[adatom], axis=1)
    return float(forces_std[distance <= radius].max())


LEAST_NEW = 0.05
"""Share of its doubt that still counts of a question just like another one."""
PATIENCE = 4.0
"""Times that a question is passed over before its doubt counts double."""


def order_of_questions(
    doubts: Float[np.ndarray, " n"],
    features: Float[np.ndarray, "n d"],
    asked: Float[np.ndarray, "k d"],
    passed: Float[np.ndarray, " n"],
) -> list[int]:
    """In which order to ask: each time the question with the largest

        doubt (1 + passed / PATIENCE) max(novelty, LEAST_NEW),   novelty = least distance / largest of all,

    the distance in features being to what is asked already and what comes before it in the order; 1 where there is
    nothing. What has been passed over comes nearer to its turn each time, so none waits for ever.

    Args:
        doubts: of each question, ≥ 0; inf for no number.
        features: of each, in any unit.
        asked: features of what the oracle is at, and of answers that no model has learnt.
        passed: how often something that came later was preferred to each.

    Returns:
        All numbers of questions; equal ones in the order in which they came.

    >>> order_of_questions(np.array([1.0, 3.0, 2.9]), np.array([[0.0], [1.0], [1.0]]), np.empty((0, 1)), np.zeros(3))
    [1, 0, 2]
    """
    worth = np.minimum(np.nan_to_num(doubts, nan=np.inf), 1e9) * (1.0 + passed / PATIENCE)
    apart = cdist(features, np.concatenate([asked, features]))
    novelty = np.full(len(doubts), np.inf)
    if len(asked):
        novelty = apart[:, : len(asked)].min(axis=1)
    largest = float(apart.max(initial=0.0)) or 1.0
    order: list[int] = []
    while len(order) < len(doubts):
        score = worth * np.maximum(np.minimum(novelty / largest, 1.0), LEAST_NEW)
        score[order] = -np.inf
        order.append(int(np.argmax(score)))
        novelty = np.minimum(novelty, apart[:, len(asked) + order[-1]])
    return order
