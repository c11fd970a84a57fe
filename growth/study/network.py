"""Minima and saddles around a structure as a network: what was found, how complete it is, and its files."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from ase import Atoms

from growth.energy_model import EnergyModel
from growth.kinetics import unseen
from growth.study.exploration import NetworkSettings, explore
from growth.study.landscape import Landscape
from growth.study.network_figure import draw_network
from growth.study.results import write_csv, write_json, write_structures

CHECKPOINT = "network.jsonl"
"""Name of the file by which an interrupted study goes on."""


@dataclass(frozen=True)
class NetworkResult:
    """A landscape and how well it is known.

    Attributes:
        landscape: minima and saddles.
        n_searches: in all. outcomes: how many ended how.
        in_window: numbers of the minima that were to be searched from, lowest first.
        missing: (n_in_window,), for each of these the chance that one more successful search finds a new saddle; 1
            where none was made. searched: (n_in_window,), how many were made.
        unseen_saddles: saddles that searches so far imply but have not found, around the minima that were searched;
            a lower bound (Chao).
        oracle_minima, oracle_saddles: eV, by number; nan where a label failed.
    """

    landscape: Landscape
    n_searches: int
    outcomes: Counter[str]
    in_window: list[int]
    missing: np.ndarray
    searched: np.ndarray
    unseen_saddles: float
    oracle_minima: dict[int, float]
    oracle_saddles: dict[int, float]

    @property
    def completeness(self) -> float:
        """Mean over the minima in the window of the chance that one more search from it finds what is known."""
        return float(1.0 - self.missing.mean())


def network(
    structure: Atoms,
    model: EnergyModel,
    settings: NetworkSettings,
    rng: np.random.Generator,
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> NetworkResult:
    """Explore the landscape around a structure.

    Args:
        structure: where to begin. model: the surface. settings: see there. rng: every random choice.
        oracle: asked for the lowest minima and the saddles between them.
        checkpoint: JSON lines file of the exploration; where it exists, it is gone on with.

    Raises:
        InputError: the structure does not relax, or the checkpoint is of another study.
    """
    known = explore(structure, model, settings, rng, checkpoint, progress)
    inside = known.within(settings.window)
    counts = np.array([count for found in known.found.values() for count in found.values()])
    asked = known.within(np.inf)[: settings.oracle_minima] if oracle is not None else []
    between = [k for k, saddle in enumerate(known.landscape.saddles) if set(saddle.ends) <= set(asked)]
    answers = np.array([])
    if oracle is not None and asked:
        progress(f"oracle: {len(asked)} minima and {len(between)} saddles")
        points = [known.landscape.minima[k] for k in asked] + [known.landscape.saddles[k] for k in between]
        answers = oracle([point.structure for point in points]).energies
    return NetworkResult(
        landscape=known.landscape,
        n_searches=known.outcomes.total(),
        outcomes=known.outcomes,
        in_window=inside,
        missing=np.array([known.missing_from(k) for k in inside]),
        searched=np.array([known.n_searches[k] for k in inside]),
        unseen_saddles=unseen(counts, np.ones(len(counts)))[0] if len(counts) else float("nan"),
        oracle_minima={k: float(e) for k, e in zip(asked, answers, strict=False)},
        oracle_saddles={k: float(e) for k, e in zip(between, answers[len(asked) :], strict=False)},
    )


def write_network(result: NetworkResult, out: Path) -> dict[str, Any]:
    """Write the network and return the headline numbers.

    `network.json`; `network_minima.csv`, `network_saddles.csv`; `network.graphml` for Gephi, Cytoscape and networkx;
    `network.extxyz`, all minima and then all saddles, each by energy; `network.png`.
    """
    landscape = result.landscape
    lowest = landscape.minima[landscape.lowest].energy
    headline = {
        "minima": len(landscape.minima),
        "saddles": len(landscape.saddles),
        "degenerate": len(landscape.saddles) - len(landscape.joining),
        "lowest_ev": lowest,
        "searches": result.n_searches,
        "minima_in_window": len(result.in_window),
        "minima_searched": int((result.searched > 0).sum()),
        "completeness": result.completeness,
        "unseen_saddles_at_least": result.unseen_saddles,
    }
    minima = _table(landscape, landscape.minima, result.oracle_minima, result.oracle_minima.get(landscape.lowest))
    missing = dict(zip(result.in_window, result.missing.tolist(), strict=True))
    minima["missing"] = [missing.get(k) for k in minima["number"]]
    saddles = _table(landscape, landscape.saddles, result.oracle_saddles, result.oracle_minima.get(landscape.lowest))
    saddles["from"] = [landscape.saddles[k].ends[0] for k in saddles["number"]]
    saddles["to"] = [landscape.saddles[k].ends[1] for k in saddles["number"]]
    write_json(out / "network.json", {**headline, "outcomes": result.outcomes, "minimum": minima, "saddle": saddles})
    write_csv(out / "network_minima.csv", minima)
    write_csv(out / "network_saddles.csv", saddles)
    structures = [_told(landscape.minima[k].structure, "minimum", k, e) for k, e in _pairs(minima)]
    structures += [_told(landscape.saddles[k].structure, "saddle", k, e) for k, e in _pairs(saddles)]
    write_structures(out / "network.extxyz", structures)
    plain = landscape.graph()
    for attributes in [*(d for _, d in plain.nodes(data=True)), *(d for _, _, d in plain.edges(data=True))]:
        del attributes["structure"]
    nx.write_graphml(plain, out / "network.graphml")
    draw_network(
        result.landscape, result.completeness, result.oracle_minima, result.oracle_saddles, out / "network.png"
    )
    return headline


def _table(
    landscape: Landscape, points: list[Any], oracle: dict[int, float], zero: float | None
) -> dict[str, list[Any]]:
    """Columns of minima or saddles by energy; energies above the lowest minimum, the oracle's above its own there."""
    order = sorted(range(len(points)), key=lambda k: points[k].energy)
    lowest = landscape.minima[landscape.lowest].energy
    columns: dict[str, list[Any]] = {
        "number": order,
        "energy_ev": [points[k].energy for k in order],
        "above_lowest_ev": [points[k].energy - lowest for k in order],
        "std_ev": [landscape.std(points[k]) for k in order],
        "symmetry_order": [points[k].order for k in order],
        "log_frequencies": [points[k].log_frequencies for k in order],
        "unstable_modes": [points[k].n_unstable for k in order],
    }
    if oracle and zero is not None:
        columns["oracle_above_lowest_ev"] = [oracle[k] - zero if k in oracle else None for k in order]
    return columns


def _pairs(columns: dict[str, list[Any]]) -> list[tuple[int, float]]:
    return list(zip(columns["number"], columns["energy_ev"], strict=True))


def _told(structure: Atoms, kind: str, number: int, energy: float) -> Atoms:
    told = structure.copy()
    told.info = {"kind": kind, "number": number, "energy": energy}
    return told
