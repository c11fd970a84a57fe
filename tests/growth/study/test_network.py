"""Explorations of surfaces whose minima and saddles are known, and what interrupts them."""

from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from growth.errors import InputError
from growth.lennard_jones import LennardJonesModel
from growth.saddles import SaddleSettings
from growth.study.exploration import Exploration, NetworkSettings, explore
from growth.study.network import network, write_network
from learner.prediction import Prediction
from tests.growth.egg_box import HEIGHT, EggBox, boxed

EPSILON, SIGMA = 0.1, 2.5
OCTAHEDRON = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]) * SIGMA * 0.8
MODEL = LennardJonesModel(EPSILON, SIGMA)


def lj_settings(**changes: object) -> NetworkSettings:
    climbs = SaddleSettings(radius=None, fmax=1e-4, max_calls=400, ceiling=0.6, shallow=1e-5, same_energy=1e-5)
    given = {"same": 0.1, "same_energy": 1e-5, "bond_length": 2 ** (1 / 6) * SIGMA, "max_searches": 64, "missing": 0.02}
    given["searches_per_minimum"] = 32
    return NetworkSettings(**{**given, **changes}, saddles=climbs)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exploration, Path]:
    """Lennard-Jones 6, and its checkpoint."""
    path = tmp_path_factory.mktemp("six") / "network.jsonl"
    return explore(Atoms("Ar6", OCTAHEDRON), MODEL, lj_settings(), np.random.default_rng(0), path), path


def test_six_atoms_have_two_minima(six: tuple[Exploration, Path]) -> None:
    """Octahedron and capped bipyramid: Cambridge Cluster Database."""
    landscape = six[0].landscape
    assert np.sort(landscape.energies) / EPSILON == pytest.approx([-12.712062, -12.302928], abs=1e-5)
    assert [landscape.minima[k].order for k in np.argsort(landscape.energies)] == [48, 4]
    assert {tuple(sorted(saddle.ends)) for saddle in landscape.saddles} >= {(0, 1), (1, 1)}
    for saddle in landscape.saddles:
        assert saddle.n_unstable == 1
        assert saddle.energy > landscape.energies[list(saddle.ends)].max()
    assert all(minimum.n_unstable == 0 for minimum in landscape.minima)


def test_degenerate_rearrangements_are_counted_but_no_edges(six: tuple[Exploration, Path]) -> None:
    landscape = six[0].landscape
    graph = landscape.graph()
    assert all(a != b for a, b in graph.edges())
    own = sum(saddle.ends[0] == saddle.ends[1] for saddle in landscape.saddles)
    assert sum(d["degenerate"] for _, d in graph.nodes(data=True)) == own > 0
    assert graph.number_of_edges() == len(landscape.joining) == len(landscape.saddles) - own
    assert graph.nodes[0]["energy"] == landscape.minima[0].energy


def test_an_interrupted_exploration_comes_out_the_same(six: tuple[Exploration, Path], tmp_path: Path) -> None:
    whole, written = six
    path = tmp_path / "network.jsonl"
    lines = written.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:50])
    resumed = explore(Atoms("Ar6", OCTAHEDRON), MODEL, lj_settings(), np.random.default_rng(7), path)
    assert path.read_bytes() == written.read_bytes()
    assert resumed.outcomes == whole.outcomes
    assert resumed.found == whole.found
    assert resumed.n_searches == whole.n_searches
    assert np.array_equal(resumed.landscape.energies, whole.landscape.energies)


def test_a_checkpoint_of_another_study_is_refused(six: tuple[Exploration, Path]) -> None:
    with pytest.raises(InputError, match="its settings differ"):
        explore(Atoms("Ar6", OCTAHEDRON), MODEL, lj_settings(same=0.15), np.random.default_rng(0), six[1])


def test_a_longer_budget_goes_on_from_a_shorter_one(six: tuple[Exploration, Path], tmp_path: Path) -> None:
    path = tmp_path / "network.jsonl"
    path.write_bytes(six[1].read_bytes())
    further = explore(
        Atoms("Ar6", OCTAHEDRON),
        MODEL,
        lj_settings(searches_per_minimum=33, max_searches=65),
        np.random.default_rng(0),
        path,
    )
    assert further.outcomes.total() == 65
    assert len(further.landscape.saddles) >= len(six[0].landscape.saddles)


@pytest.mark.slow
def test_seven_atoms_have_four_minima() -> None:
    """Tsai & Jordan, J. Phys. Chem. 97, 11227 (1993)."""
    start = Atoms("Ar7", [*OCTAHEDRON, [0.8 * SIGMA] * 3])
    settings = lj_settings(max_searches=600, searches_per_minimum=200, missing=0.01)
    landscape = explore(start, MODEL, settings, np.random.default_rng(0)).landscape
    known = [-16.505384, -15.935043, -15.593211, -15.533060]
    assert np.sort(landscape.energies) / EPSILON == pytest.approx(known, abs=1e-5)


def test_minima_of_a_crystal_are_one_up_to_its_symmetry(tmp_path: Path) -> None:
    """Every well of the box is a copy of the first; of the ways out of it three differ."""
    model, pairing = EggBox(0.1), 0.1
    climbs = SaddleSettings(radius=None, fmax=1e-3, push=0.7)
    settings = NetworkSettings(max_searches=48, missing=0.01, bond_length=9.0, saddles=climbs)
    found = network(boxed(4), model, settings, np.random.default_rng(0), oracle=Failing())
    landscape = found.landscape
    assert len(landscape.minima) == 1
    heights = sorted(saddle.energy - landscape.minima[0].energy for saddle in landscape.saddles)
    assert len(heights) == 3
    assert heights[0] < 2 * HEIGHT < heights[2]
    assert heights[1] == pytest.approx(2 * HEIGHT, abs=1e-4)
    assert heights[2] - heights[0] == pytest.approx(2 * pairing, rel=0.1)
    assert found.completeness > 0.9
    assert np.isnan(found.oracle_minima[0])
    told = write_network(found, tmp_path)
    assert told["minima"] == 1
    assert told["degenerate"] == told["saddles"] == 3


class Failing(EggBox):
    """An oracle whose labels fail."""

    def __call__(self, structures: object) -> Prediction:
        found = super().__call__(structures)  # type: ignore[arg-type]
        found.energies[:] = np.nan
        return found


def test_files(six: tuple[Exploration, Path], tmp_path: Path) -> None:
    path = tmp_path / "network.jsonl"
    path.write_bytes(six[1].read_bytes())
    rng = np.random.default_rng(0)
    found = network(Atoms("Ar6", OCTAHEDRON), MODEL, lj_settings(), rng, MODEL, checkpoint=path)
    assert found.n_searches == 64
    told = write_network(found, tmp_path)
    assert told["minima"] == 2
    assert told["lowest_ev"] == pytest.approx(-12.712062 * EPSILON, abs=1e-6)
    assert found.oracle_minima == pytest.approx(dict(enumerate(found.landscape.energies)))
    frames = read(tmp_path / "network.extxyz", index=":")
    assert [frame.info["kind"] for frame in frames].count("minimum") == 2
    assert len(frames) == 2 + told["saddles"]
    assert nx.read_graphml(tmp_path / "network.graphml").number_of_nodes() == 2
    names = {file.name.removeprefix("network") for file in tmp_path.iterdir()}
    assert names == {".json", ".jsonl", ".extxyz", ".png", ".graphml", "_minima.csv", "_saddles.csv"}


def test_chance_of_something_new() -> None:
    known = Exploration()
    assert known.missing_from(0) == 1.0
    known.found[0] = Counter({3: 1, 4: 5, 5: 4})
    assert known.missing_from(0) == pytest.approx(2 / 11)


def test_a_start_that_does_not_rest_is_refused() -> None:
    with pytest.raises(InputError, match="expected a structure that relaxes"):
        explore(Atoms("Ar2", [[0, 0, 0], [0, 0, 0.05]]), MODEL, lj_settings(), np.random.default_rng(0))
