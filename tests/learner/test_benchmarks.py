"""The paper's three datasets: counts, scales, compositions, limits, and QM9 from every kind of file."""

import importlib.util
import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers, reference_states
from hypothesis import given
from hypothesis import strategies as st

from learner.benchmarks import SCALES, System, augmented_qm9, crystal_growth, infinite_crystal
from learner.benchmarks.bond_orders import bond_orders
from learner.benchmarks.crystal_growth import VARIANTS, picks, shares
from learner.benchmarks.fcc import LATTICE_CONSTANTS, SEED_SITES, grow_on_lattice
from learner.benchmarks.qm9_files import read_molecules
from learner.benchmarks.qm9_indices import EXTRA_INDEX, molecule_indices
from learner.benchmarks.system import ConfigType, spread
from learner.curves import scaled
from learner.errors import InputError

needs_qm9 = pytest.mark.skipif(
    importlib.util.find_spec("qm9pack") is None or importlib.util.find_spec("rdkit") is None,
    reason="qm9pack and RDKit are not installed",
)
LIKE_QM9 = (
    "4\ngdb 2\t293.6 293.5 191.4 1.6\n"
    "N\t-0.0404260543\t 1.0241077531\t 0.0625637998\t-0.707143\n"
    "H\t 0.0172574639\t 0.0125452063\t-2.7377*^-2\t 0.23571\n"
    "H\t 0.9157893661\t 1.3587451948\t-0.0287577581\t 0.23571\n"
    "H\t-0.5202777357\t 1.3435321258\t-0.7755426124\t 0.23572\n"
    "1103.8733\t1684.1158\nN\tN\nInChI=1S/H3N/h1H3\tInChI=1S/H3N/h1H3\n"
)
TABLE = (
    '"Index","Elements","XYZ_Ang"\n'
    '1,"[\'C\']","[[0.,0.,0.]]"\n'
    "2,\"['N','H','H','H']\",\"[[-0.0404260543,1.0241077531,0.0625637998],[0.0172574639,0.0125452063,-.027377],"
    '[0.9157893661,1.3587451948,-0.0287577581],[-0.5202777357,1.3435321258,-0.7755426124]]"\n'
)


@pytest.fixture(scope="module")
def crystals() -> list[System]:
    return crystal_growth()


@pytest.fixture(scope="module")
def molecules() -> list[System]:
    """The whole set, without the time that RDKit takes for its bonds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learner.benchmarks.qm9.bond_orders", lambda molecule, name: "")
        return augmented_qm9()


def test_the_scales_are_the_papers() -> None:
    assert np.array_equal(SCALES, np.linspace(0.9, 1.5, 10))


def test_a_scale_multiplies_every_distance_and_the_cell() -> None:
    crystal = Atoms("Al2", positions=[[0, 0, 0], [1, 2, 2]], cell=[4, 5, 6], pbc=[True, False, True])
    larger = scaled(crystal, 1.25)
    assert larger.get_distance(0, 1) == pytest.approx(3.75)
    assert np.array_equal(larger.cell.lengths(), [5, 6.25, 7.5])
    assert np.array_equal(larger.pbc, crystal.pbc)


@given(st.integers(1, 500), st.integers(1, 600))
def test_spread_is_even_and_complete(n: int, n_wanted: int) -> None:
    chosen = spread(n, n_wanted)
    assert len(set(chosen)) == len(chosen) == min(n, n_wanted)
    assert set(chosen) <= set(range(n))
    steps = np.diff([-chosen[0] - 1, *chosen, 2 * n - chosen[-1] - 1])
    assert steps.max() - steps.min() <= 2


# ---------------------------------------------------------------- Augmented QM9


def test_the_ten_thousand_molecules() -> None:
    indices = molecule_indices()
    assert len(set(indices)) == 10_000
    assert indices == sorted(indices)
    assert (indices[0], indices[-1]) == (1, 10_276)
    assert not {58, 186, 10_249} & set(indices)


@needs_qm9
def test_augmented_qm9_in_full(molecules: list[System]) -> None:
    inside = [system for system in molecules if not system.extra]
    assert len(inside) == 100_000
    assert Counter(system.scale for system in inside) == dict.fromkeys(SCALES, 10_000)
    series = {system.series: system.stable for system in inside}
    assert len(series) == 10_000
    assert {str(symbol) for stable in series.values() for symbol in stable.symbols} == set("HCNOF")
    assert [system.series for system in inside[::10]] == [f"qm9-{index:06d}" for index in molecule_indices()]
    assert all(system.group == system.series for system in inside)


@needs_qm9
def test_the_extra_molecule(molecules: list[System]) -> None:
    extra = [system for system in molecules if system.extra]
    assert [system.scale for system in extra] == list(SCALES)
    assert {system.series for system in extra} == {f"qm9-{EXTRA_INDEX:06d}"}
    assert extra[0].stable.get_chemical_formula() == "C5H7N3O"
    assert extra[0].structure.info["extra"] is True
    first = min(s.series for s in molecules if s.stable.get_chemical_formula() == "C5H7N3O")
    assert first == extra[0].series
    assert any(s.stable.get_chemical_formula() == "C3H4O3" for s in molecules)


def assert_one_molecule(system: System) -> None:
    """Every atom can be reached over bonds."""
    pairs = [tuple(map(int, bond.split(":")[0].split("-"))) for bond in system.bonds.split()]
    reached = {0}
    for _ in system.stable:
        reached |= {i for pair in pairs if reached & set(pair) for i in pair}
    assert reached == set(range(len(system.stable))), system.series


@needs_qm9
def test_bonds_hold_a_molecule_together() -> None:
    for system in augmented_qm9(limit=60)[::10]:
        assert_one_molecule(system)


@needs_qm9
@pytest.mark.slow
def test_rdkit_finds_the_bonds_of_all_molecules() -> None:
    for system in augmented_qm9()[::10]:
        assert_one_molecule(system)


@needs_qm9
def test_a_limit_spreads_molecules(molecules: list[System]) -> None:
    few = augmented_qm9(limit=20)
    series = list(dict.fromkeys(system.series for system in few if not system.extra))
    assert len(series) == 20
    assert len(few) == 20 * 10 + 10
    places = [molecule_indices().index(int(name[4:])) for name in series]
    assert places == list(range(250, 10_000, 500))
    assert {(s.series, s.scale) for s in few} <= {(s.series, s.scale) for s in molecules}


@needs_qm9
def test_bond_orders_of_known_molecules() -> None:
    found = read_molecules([1, 4, 5, 6, 214])
    orders = {index: Counter(b[-1] for b in bond_orders(m, "m").split()) for index, m in found.items()}
    assert orders[1] == {"1": 4}  # CH4
    assert orders[4] == {"1": 2, "3": 1}  # C2H2
    assert orders[5] == {"1": 1, "3": 1}  # HCN
    assert orders[6] == {"1": 2, "2": 1}  # CH2O
    assert orders[214] == {"a": 6, "1": 6}  # benzene
    assert bond_orders(found[6], "m") == "0-1:2 0-2:1 0-3:1"


@needs_qm9
def test_a_molecule_whose_valences_do_not_fill_is_refused() -> None:
    with pytest.raises(InputError, match="qm9-000000: RDKit finds no bond types"):
        bond_orders(Atoms("CH", positions=[[0, 0, 0], [0, 0, 1.1]]), "qm9-000000")


def write_archive(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:bz2") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_qm9_from_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "dsgdb9nsd_000002.xyz").write_text(LIKE_QM9)
    (tmp_path / "table.csv").write_text(TABLE)
    archive = write_archive(tmp_path / "qm9.tar.bz2", {"readme": "x", "a/dsgdb9nsd_000002.xyz": LIKE_QM9})
    (tmp_path / "one").write_text(TABLE)
    found = [read_molecules([2], tmp_path / name)[2] for name in ("folder", "table.csv", archive.name)]
    assert found[0] == found[1] == found[2]
    assert found[0].get_chemical_formula() == "H3N"
    assert found[0].positions[1, 2] == -0.027377


@needs_qm9
def test_the_package_and_the_original_files_agree(tmp_path: Path) -> None:
    (tmp_path / "dsgdb9nsd_000002.xyz").write_text(LIKE_QM9)
    assert np.allclose(read_molecules([2])[2].positions, read_molecules([2], tmp_path)[2].positions, atol=2e-7)


def test_members_that_climb_out_or_link_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.xyz").write_text(LIKE_QM9)
    path = tmp_path / "qm9.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("dsgdb9nsd_000002.xyz")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside.xyz")
        archive.addfile(link)
    with pytest.raises(InputError, match="no molecule of index 2"):
        read_molecules([2], path)
    upwards = write_archive(tmp_path / "up.tar.bz2", {"../dsgdb9nsd_000002.xyz": LIKE_QM9})
    assert len(read_molecules([2], upwards)) == 1
    assert not (tmp_path.parent / "dsgdb9nsd_000002.xyz").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside.xyz", "qm9.tar", "up.tar.bz2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "no such file"),
        ("a.csv", "Index,SMILES\n1,C\n", "no column 'Elements'"),
        ("a.csv", "", "no column 'Index'"),
        ("a.csv", TABLE.replace("2,", "two,", 1), "line 3: index is 'two'"),
        ("a.csv", TABLE.replace("'N'", "'U'"), "element 'U'"),
        ("a.csv", TABLE.replace("-.027377", "nan"), "not finite"),
        ("a.csv", TABLE.replace("-.027377", "x"), "4 x 3 numbers"),
        ("a.csv", TABLE.replace("0.0125452063,", ""), "4 x 3 numbers"),
        ("a.csv", TABLE.replace("2,", "3,", 1), "no molecule of index 2"),
        ("a.csv", TABLE.replace("\n2,", "\n2,2,"), "line 3: 4 columns, expected 3"),
        ("a.csv", "\x00\x80\x81", "cannot be read|no column"),
        ("folder", LIKE_QM9.replace("gdb 2", "gdb 3"), "does not begin like"),
        ("folder", LIKE_QM9.replace("4\ngdb", "40\ngdb"), "40 lines"),
        ("folder", LIKE_QM9.replace("4\ngdb", "0\ngdb"), "0 atoms"),
        ("folder", "", "does not begin like"),
    ],
)
def test_broken_qm9_is_one_line(name: str, content: str | None, said: str, tmp_path: Path) -> None:
    source = tmp_path / name
    if name == "folder":
        source.mkdir()
    if content is not None:
        path = source / "dsgdb9nsd_000002.xyz" if name == "folder" else source
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=said) as refused:
        read_molecules([2], source)
    assert "\n" not in str(refused.value)


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "qm9.tar.bz2", {f"dsgdb9nsd_{i:06d}.xyz": LIKE_QM9 for i in range(1, 60)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"qm9\.tar\.bz2"):
        read_molecules([2, 70], path)


# ---------------------------------------------------------------- Infinite Crystal


def test_infinite_crystal_in_full() -> None:
    systems = infinite_crystal()
    assert len(systems) == 40_000
    assert Counter(system.group for system in systems) == {"Al": 20_000, "Cu": 20_000}
    for species, a in (("Al", 4.05), ("Cu", 3.61)):
        scales = [system.scale for system in systems if system.series == species]
        assert np.array_equal(scales, np.linspace(0.9, 1.5, 20_000))
        cell = next(system for system in systems if system.series == species).structure
        assert len(cell) == 1
        assert cell.pbc.all()
        assert cell.cell.volume == pytest.approx((0.9 * a) ** 3 / 4)


def test_lattice_constants_are_ases() -> None:
    assert {symbol: reference_states[atomic_numbers[symbol]]["a"] for symbol in ("Al", "Cu")} == LATTICE_CONSTANTS


def test_points_of_the_infinite_crystal() -> None:
    systems = infinite_crystal(limit=40, lattice_constants={"Al": 3.995})
    scales = np.array([system.scale for system in systems])
    assert len(scales) == 40
    assert (scales[0], scales[-1]) == (0.9, 1.5)
    assert np.allclose(np.diff(scales), 0.6 / 39, atol=1e-4)
    assert systems[0].structure.cell.volume == pytest.approx((0.9 * 3.995) ** 3 / 4)


# ---------------------------------------------------------------- Crystal Growth


def test_crystal_growth_in_full(crystals: list[System]) -> None:
    stable = [system for system in crystals if system.config_type == "crystal-growth-stable"]
    unstable = [system for system in crystals if system.config_type == "crystal-growth-unstable"]
    assert (len(stable), len(unstable), len(crystals)) == (4_000, 10_000, 14_000)
    assert Counter(len(system.stable) for system in stable) == dict.fromkeys(range(15, 115), 40)
    assert Counter(system.group for system in stable) == {
        f"{species}-{number:02d}": 100 for species in ("Al", "Cu") for number in range(20)
    }
    assert {system.scale for system in stable} == {1.0}
    counted = Counter((system.group, len(system.stable), system.scale) for system in unstable)
    assert set(counted.values()) == {1}
    assert {group for group, _, _ in counted} == {f"{s}-{number:02d}" for s in ("Al", "Cu") for number in range(5)}
    assert {scale for _, _, scale in counted} == set(SCALES)
    assert {system.series for system in unstable} < {system.series for system in stable}


def test_crystals_are_on_the_lattice_and_grow_by_one_atom(crystals: list[System]) -> None:
    grown = {system.series: system.stable for system in crystals}
    for number in (0, 11):
        larger = grown[f"Cu-{number:02d}-114"]
        assert set(larger.symbols) == {"Cu"}
        sites = larger.positions / (3.61 / 2)
        assert np.allclose(sites, sites.round())
        assert (sites.round().astype(int).sum(axis=1) % 2 == sites.round().astype(int)[0].sum() % 2).all()
        for n_atoms in (15, 60, 113):
            assert np.array_equal(grown[f"Cu-{number:02d}-{n_atoms:03d}"].positions, larger.positions[:n_atoms])
    assert not np.array_equal(grown["Al-00-114"].positions / 4.05, grown["Cu-00-114"].positions / 3.61)
    assert not np.array_equal(grown["Al-00-114"].positions, grown["Al-01-114"].positions)


def test_the_same_seed_gives_the_same_crystals(crystals: list[System]) -> None:
    small = crystal_growth((15, 18), seed=0)
    assert len(small) == 2 * 4 * (20 + 50)
    within = [system for system in crystals if len(system.stable) <= 18]
    for one, two in zip(small, within, strict=True):
        assert one.info == two.info
        assert np.array_equal(one.structure.positions, two.structure.positions)
    other = crystal_growth((15, 18), seed=1)
    assert any(not np.array_equal(a.stable.positions, b.stable.positions) for a, b in zip(small, other, strict=True))


@given(st.integers(14, 60), st.integers(0, 2**32 - 1), st.booleans())
def test_growth_on_the_lattice(n_atoms: int, seed: int, most_coordinated: bool) -> None:
    sites = grow_on_lattice(n_atoms, np.random.default_rng(seed), most_coordinated)
    assert {tuple(site) for site in sites[:14].tolist()} == set(SEED_SITES)
    assert len({tuple(site) for site in sites.tolist()}) == n_atoms
    assert (sites.sum(axis=1) % 2 == 0).all()
    for k in range(14, n_atoms):
        beside = (np.sort(np.abs(sites[:k] - sites[k]), axis=1) == [0, 1, 1]).all(axis=1)
        assert beside.any()


def test_random_growth_reaches_every_surface_position() -> None:
    fifteenth = {tuple(grow_on_lattice(15, np.random.default_rng(k))[14].tolist()) for k in range(800)}
    around = {
        tuple(np.add(site, step).tolist())
        for site in SEED_SITES
        for step in np.ndindex(3, 3, 3)
        if np.abs(np.subtract(step, 1)).sum() == 2
    }
    around = {tuple(np.subtract(site, 1).tolist()) for site in around} - set(SEED_SITES)
    assert fifteenth == around


@given(st.sampled_from(sorted(VARIANTS)), st.integers(1, 2_000), st.integers(15, 114), st.integers(0, 99))
def test_a_limit_is_spread(config_type: ConfigType, n: int, low: int, more: int) -> None:
    high, variants = min(low + more, 114), VARIANTS[config_type]
    n = min(n, len(variants) * (high - low + 1))
    chosen = list(picks(low, high, variants, n))
    assert len(set(chosen)) == len(chosen) == n
    for column, choices in zip(
        zip(*chosen, strict=True),
        ({number for number, _ in variants}, range(low, high + 1), {scale for _, scale in variants}),
        strict=True,
    ):
        counts = [Counter(column)[choice] for choice in choices]
        assert sum(counts) == n
        assert max(counts) - min(counts) <= max(2, n // 25)


def test_a_limit_takes_the_same_systems_out_of_all(crystals: list[System]) -> None:
    everything = {(s.config_type, s.series, s.scale): s for s in crystals}
    few = crystal_growth(limit=60)
    assert len(few) == 60
    for system in few:
        whole = everything[system.config_type, system.series, system.scale]
        assert np.array_equal(whole.structure.positions, system.structure.positions)
    assert len(crystal_growth((15, 16), limit=10_000)) == 280


def test_the_gpaw_subset_is_spread() -> None:
    systems = crystal_growth((15, 30), limit=150)
    assert Counter(s.group[:2] for s in systems) == {"Al": 75, "Cu": 75}
    assert Counter(s.config_type for s in systems) == {"crystal-growth-stable": 76, "crystal-growth-unstable": 74}
    scales = Counter(s.scale for s in systems if s.scale != 1.0)
    assert set(scales) == set(SCALES)
    assert max(scales.values()) - min(scales.values()) <= 2
    sizes = Counter(len(s.stable) for s in systems)
    assert set(sizes) == set(range(15, 31))
    assert max(sizes.values()) - min(sizes.values()) <= 4
    assert len({s.group for s in systems}) == 40


@given(st.integers(0, 60), st.lists(st.integers(0, 20), min_size=1, max_size=6))
def test_shares_are_fair(n: int, capacities: list[int]) -> None:
    parts = shares(n, capacities)
    assert sum(parts) == min(n, sum(capacities))
    assert all(part <= capacity for part, capacity in zip(parts, capacities, strict=True))
    unfilled = [part for part, capacity in zip(parts, capacities, strict=True) if part < capacity]
    assert not unfilled or max(parts) - min(unfilled) <= 1


@pytest.mark.parametrize("sizes", [(14, 20), (15, 115), (30, 20)])
def test_sizes_outside_of_the_papers_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"sizes {sizes[0]}-{sizes[1]}"):
        crystal_growth(sizes)


@pytest.mark.parametrize("benchmark", [augmented_qm9, infinite_crystal, crystal_growth])
def test_a_limit_of_nothing_is_refused(benchmark) -> None:
    with pytest.raises(InputError, match="limit is 0"):
        benchmark(limit=0)
