"""The tree against the definition: two minima part where the best path between them is highest."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from growth.errors import InputError
from growth.study.disconnectivity import (
    DisconnectivitySettings,
    Tree,
    disconnectivity,
    disconnectivity_tree,
    write_disconnectivity,
)
from tests.growth.study.landscapes import made, result_of

Case = tuple[np.ndarray, list[tuple[int, int, float]]]


@st.composite
def landscapes(draw: st.DrawFn) -> Case:
    n = draw(st.integers(1, 12))
    energies = np.array(draw(st.lists(st.floats(-5, 0), min_size=n, max_size=n)))
    node = st.integers(0, n - 1)
    rises = draw(st.lists(st.tuples(node, node, st.floats(0, 3)), max_size=25))
    return energies, [(a, b, max(energies[a], energies[b]) + rise) for a, b, rise in rises]


def minimax(energies: np.ndarray, saddles: list[tuple[int, int, float]], a: int, b: int) -> float:
    """Lowest height at which the graph of all lower saddles joins a and b: tried height by height."""
    for height in sorted({energy for _, _, energy in saddles}):
        graph = nx.Graph()
        graph.add_nodes_from(range(len(energies)))
        graph.add_edges_from((i, j) for i, j, energy in saddles if energy <= height)
        if nx.has_path(graph, a, b):
            return height
    return float("inf")


@settings(max_examples=150, deadline=None)
@given(landscapes())
def test_minima_part_at_the_minimax_energy(case: Case) -> None:
    energies, saddles = case
    tree = disconnectivity_tree(energies, saddles)
    for a in range(len(energies)):
        for b in range(a):
            assert tree.merge_energy(a, b) == tree.merge_energy(b, a) == minimax(energies, saddles, a, b)


@settings(max_examples=100, deadline=None)
@given(landscapes())
def test_the_tree_is_one(case: Case) -> None:
    energies, saddles = case
    tree = disconnectivity_tree(energies, saddles)
    graph = nx.Graph()
    graph.add_nodes_from(range(len(energies)))
    graph.add_edges_from((a, b) for a, b, _ in saddles)
    assert (tree.parent < 0).sum() == nx.number_connected_components(graph)
    assert len(tree.energies) - len(energies) == len(energies) - nx.number_connected_components(graph)
    inner = tree.parent >= 0
    assert (tree.energies[tree.parent[inner]] >= tree.energies[inner]).all()
    assert sorted(tree.order()) == list(range(len(energies)))
    for fork in range(len(energies), len(tree.energies)):
        assert tree.energies[fork] == saddles[tree.saddle[fork]][2]


@settings(max_examples=100, deadline=None)
@given(landscapes())
def test_branches_do_not_cross(case: Case) -> None:
    """The minima below every fork stand side by side."""
    tree = disconnectivity_tree(*case)
    order = tree.order()
    for node in range(len(tree.parent)):
        below = [k for k in range(tree.n_minima) if node in ancestors(tree, k)]
        places = sorted(order.index(k) for k in below)
        assert places == list(range(places[0], places[0] + len(places)))


def ancestors(tree: Tree, node: int) -> list[int]:
    found = [node]
    while tree.parent[found[-1]] >= 0:
        found.append(int(tree.parent[found[-1]]))
    return found


def test_barriers_to_lower_minima() -> None:
    tree = disconnectivity_tree(np.array([0.0, 1.0, 0.5]), [(0, 1, 3.0), (1, 2, 2.0), (0, 2, 2.5)])
    assert tree.barrier(1) == 1.0
    assert tree.barrier(2) == 2.0
    assert tree.barrier(0) == float("inf")
    assert tree.order() in ([0, 1, 2], [1, 2, 0], [0, 2, 1], [2, 1, 0])


def test_unknown_minima_are_refused() -> None:
    with pytest.raises(InputError, match=r"saddles\[0\]: expected numbers of 2 minima"):
        disconnectivity_tree(np.zeros(2), [(0, 2, 1.0)])


def test_files(tmp_path: Path) -> None:
    network = result_of(made([0.0, 0.3, 0.2, 0.7], [(0, 1, 1.0), (1, 2, 0.6), (1, 1, 0.5)]))
    network.oracle_minima.update({0: -4.0, 2: float("nan"), 1: -3.6})
    network.oracle_saddles.update({0: -2.9})
    for levels in (0, 20):
        told = write_disconnectivity(disconnectivity(network, DisconnectivitySettings(levels=levels)), tmp_path)
        assert told["minima"] == 4
        assert told["separate_parts"] == 2
        assert told["highest_fork_ev"] == 1.0
        assert told["deepest_trap_ev"] == pytest.approx(0.8)
    assert {path.name for path in tmp_path.iterdir()} == {f"disconnectivity.{end}" for end in ("json", "csv", "png")}
