"""Labelled benchmarks: the same bytes in whatever order answers come and however often it is stopped; refusals."""

import importlib.util
import io
import json
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from rich.console import Console

from growth.benchmark_settings import BenchmarkSettings, parse_lattice_constants, parse_sizes
from growth.cli import main
from growth.errors import CampaignError, InputError
from growth.label_progress import LabelProgress
from growth.make_dataset import SYSTEM_KEYS, make_dataset, read_benchmark, read_systems
from growth.pool import Done, Pool, Role, Task
from learner.benchmarks import SCALES, split_by_scale
from oracle import Dataset, FailedLabel, Method
from oracle.outcome import RawLabel, labelled

METHOD = Method.from_dict({"kind": "emt"})
SETTINGS = BenchmarkSettings("infinite-crystal", limit=13)
Answer = Callable[[Atoms], Atoms | FailedLabel]


def by_emt(structure: Atoms) -> Atoms | FailedLabel:
    """A label made in this process."""
    bare = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
    bare.calc = EMT()
    energy = float(bare.get_potential_energy())
    return labelled(structure, RawLabel(energy, energy, bare.get_forces(), {}), METHOD.hash)


def failing_beyond(scale: float) -> Answer:
    def answer(structure: Atoms) -> Atoms | FailedLabel:
        if structure.info["scale"] > scale:
            return FailedLabel(structure.copy(), "not_converged", "too thin")
        return by_emt(structure)

    return answer


class OddPool:
    """A pool of three workers that answers in an odd order, and is interrupted after `n` answers."""

    def __init__(self, answer: Answer, seed: int, n: float = np.inf, error: str | None = None) -> None:
        self.busy_seconds: dict[Role, float] = {}
        self.most_pending = 0
        self._answer, self._rng, self._n, self._error = answer, np.random.default_rng(seed), n, error
        self._queue: deque[Task] = deque()

    def share(self, value: Any) -> Any:
        return value

    def submit(self, task: Task) -> None:
        self._queue.append(task)
        self.most_pending = max(self.most_pending, len(self._queue))

    def withdraw(self, role: Role, keys: Collection[str]) -> bool:
        return False

    def waiting(self, role: Role) -> list[str]:
        return []

    def prefer(self, role: Role, keys: Sequence[str]) -> None: ...

    def wait(self, timeout: float | None = None) -> list[Done]:
        if self._n <= 0:
            raise KeyboardInterrupt
        self._n -= 1
        self._queue.rotate(int(self._rng.integers(len(self._queue))))
        task = self._queue.popleft()
        return [Done(task, [self._answer(structure) for structure in task.arguments[0]], 0.0, self._error)]

    def pending(self, role: Role | None = None) -> int:
        return len(self._queue)

    def size(self, role: Role) -> int:
        return 3

    def close(self) -> None:
        self._queue.clear()


class Lines:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.updates: list[tuple[int, int, int]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, done: int, total: int, failed: int) -> None:
        self.updates.append((done, total, failed))


def make(
    directory: Path,
    pool: Pool | None = None,
    settings: BenchmarkSettings = SETTINGS,
    chunk_size: int = 4,
    show: Lines | None = None,
) -> dict[str, Any]:
    @contextmanager
    def open_pool(n_chunks: int, logs: Path, cache: Path | None) -> Iterator[Pool]:
        yield pool or OddPool(by_emt, 0)

    return make_dataset(settings, METHOD, directory, open_pool, show or Lines(), chunk_size)


def content(directory: Path) -> dict[str, bytes]:
    """Every file that must not differ between two runs."""
    files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return {name: files[name].read_bytes() for name in sorted(files) if name not in ("provenance.jsonl", ".lock")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 systems in 7 chunks, made without interruption."""
    directory = tmp_path_factory.mktemp("whole") / "data"
    make(directory)
    return directory


def test_what_is_written(whole: Path) -> None:
    assert sorted(content(whole)) == sorted(
        [
            "benchmark.json",
            "dataset.json",
            *(f"segments/{i:06d}.extxyz{end}" for i in range(7) for end in ("", ".sha256")),
            "systems.jsonl",
        ]
    )
    assert Dataset.read(whole).verify() == []
    begun = json.loads((whole / "benchmark.json").read_text())
    assert begun["method_hash"] == METHOD.hash
    assert (begun["benchmark"], begun["limit"]) == ("infinite-crystal", 13)


def test_read_in_the_order_of_the_systems(whole: Path) -> None:
    structures = read_benchmark(whole)
    systems = SETTINGS.systems()
    assert len(structures) == len(systems) == len(read_systems(whole)) == 26
    for structure, system in zip(structures, systems, strict=True):
        assert {key: structure.info[key] for key in SYSTEM_KEYS if key in structure.info} == system.info
        assert np.array_equal(structure.cell, system.structure.cell)
        bare = system.structure
        bare.calc = EMT()
        assert structure.get_potential_energy() == bare.get_potential_energy()
    assert [len(part) for part in split_by_scale([structure.info for structure in structures])] == [16, 6, 4]


@pytest.mark.parametrize("seed", range(1, 4))
def test_the_order_of_answers_does_not_matter(seed: int, whole: Path, tmp_path: Path) -> None:
    make(tmp_path / "data", OddPool(by_emt, seed))
    assert content(tmp_path / "data") == content(whole)


@pytest.mark.parametrize("stops", [(0, 3), (1, 1, 2), (6,), (5, 0)])
def test_stopped_and_gone_on_with(stops: tuple[int, ...], whole: Path, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    for seed, n in enumerate(stops):
        with pytest.raises(KeyboardInterrupt):
            make(directory, OddPool(by_emt, seed, n))
        assert (directory / "systems.jsonl").read_bytes() == (whole / "systems.jsonl").read_bytes()
    n_before = len(Dataset.read(directory))
    summary = make(directory)
    assert summary["labelled"] == n_before + summary["labelled_now"] == 26
    assert content(directory) == content(whole)


@pytest.mark.parametrize("moment", ["add", "add_failures"])
def test_stopped_while_a_chunk_is_stored(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "whole", OddPool(failing_beyond(1.2), 0))
    original, calls = getattr(Dataset, moment), []

    def torn(self: Dataset, items: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, items)

    monkeypatch.setattr(Dataset, moment, torn)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "data", OddPool(failing_beyond(1.2), 0))
    make(tmp_path / "data", OddPool(failing_beyond(1.2), 0))
    one, two = (content(tmp_path / name) for name in ("whole", "data"))
    failed = [[json.loads(line)["uid"] for line in c.pop("failed_labels.jsonl").splitlines()] for c in (one, two)]
    assert one == two
    assert failed[0] == failed[1]


def test_made_again_nothing_is_labelled(whole: Path) -> None:
    before = content(whole)
    summary = make(whole, OddPool(by_emt, 0, n=0))
    assert (summary["labelled"], summary["labelled_now"]) == (26, 0)
    assert content(whole) == before


def test_failures_are_counted_and_listed_and_others_go_on(tmp_path: Path) -> None:
    show = Lines()
    summary = make(tmp_path / "data", OddPool(failing_beyond(1.44), 0), show=show)
    assert summary["failed"] == {"not_converged": 4}
    assert summary["labelled"] == 22
    assert show.updates[-1] == (26, 26, 4)
    assert "Al scale 1.45 failed: not_converged, too thin" in show.said
    assert len([line for line in show.said if "failed" in line]) == 4
    structures = read_benchmark(tmp_path / "data")
    assert len(structures) == 22 == len(read_systems(tmp_path / "data")) - 4
    assert max(structure.info["scale"] for structure in structures) <= 1.44
    again = make(tmp_path / "data", OddPool(by_emt, 0, n=0))
    assert again["failed"] == {"not_converged": 4}


def test_a_hopeless_method_stops(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="all of the first 20 labels failed, the last one: not_converged, too thin"):
        make(tmp_path / "data", OddPool(failing_beyond(0.0), 0))


def test_a_worker_that_raises_stops_and_nothing_is_lost(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="an oracle worker failed: OSError: no room; the same command goes on"):
        make(tmp_path / "data", OddPool(by_emt, 0, error="OSError: no room"))
    make(tmp_path / "data")
    assert content(tmp_path / "data") == content(whole)


def test_what_is_under_way_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("growth.make_dataset.AHEAD", 2)
    pool = OddPool(by_emt, 0)
    make(tmp_path / "data", pool, chunk_size=1)
    assert pool.most_pending == 6


@pytest.mark.parametrize(("n", "left"), [(5, True), (np.inf, False)])
def test_a_costly_label_is_kept_at_once(n: float, left: bool, tmp_path: Path) -> None:
    """A chunk and a segment of its own; until the chunks before it are there, it is in the cache."""
    costly = Method.from_dict({"kind": "ase", "calculator": "vasp"})
    caches: list[Path | None] = []

    def answer(structure: Atoms) -> Atoms | FailedLabel:
        return labelled(structure, RawLabel(1.0, 1.0, None, {}), costly.hash)

    @contextmanager
    def open_pool(n_chunks: int, logs: Path, cache: Path | None) -> Iterator[Pool]:
        assert n_chunks == 10
        assert cache is not None
        cache.mkdir()
        caches.append(cache)
        yield OddPool(answer, 0, n)

    settings = BenchmarkSettings("infinite-crystal", limit=5)
    try:
        make_dataset(settings, costly, tmp_path / "data", open_pool, Lines())
    except KeyboardInterrupt:
        assert left
    assert caches == [tmp_path / "data" / "cache"]
    assert caches[0].exists() == left
    assert len(list((tmp_path / "data" / "segments").glob("*.extxyz"))) == len(Dataset.read(tmp_path / "data"))


def test_one_structure_of_two_systems_is_labelled_once(tmp_path: Path) -> None:
    settings = BenchmarkSettings("crystal-growth", sizes=(15, 15))
    summary = make(tmp_path / "data", settings=settings, chunk_size=16)
    assert summary["systems"] == 140
    assert summary["structures"] == summary["labelled"] < 140
    structures = read_benchmark(tmp_path / "data")
    systems = settings.systems()
    for structure, system in zip(structures, systems, strict=True):
        assert {key: structure.info[key] for key in SYSTEM_KEYS if key in structure.info} == system.info
        assert np.allclose(structure.positions, system.structure.positions, atol=2e-5)
    twins = [structure for structure in structures if structure.info["uid"] == structures[0].info["uid"]]
    assert all(twin.arrays["positions"] is not structures[0].arrays["positions"] for twin in twins[1:])


@pytest.mark.skipif(
    importlib.util.find_spec("qm9pack") is None or importlib.util.find_spec("rdkit") is None,
    reason="qm9pack and RDKit are not installed",
)
def test_molecules_keep_their_bonds(tmp_path: Path) -> None:
    settings = BenchmarkSettings("augmented-qm9", limit=2)
    make(tmp_path / "data", settings=settings)
    structures = read_benchmark(tmp_path / "data")
    assert [structure.info["bonds"] for structure in structures] == [system.bonds for system in settings.systems()]
    assert [structure.info.get("extra", False) for structure in structures] == [False] * 20 + [True] * 10
    assert [structure.info["scale"] for structure in structures] == list(SCALES) * 3
    stored = Dataset.read(tmp_path / "data").structures()
    assert [structure.info["bonds"] for structure in stored] == [structure.info["bonds"] for structure in structures]


# ---------------------------------------------------------------- refusals


@pytest.fixture
def method_file(tmp_path: Path) -> Path:
    path = tmp_path / "emt.yaml"
    path.write_text("kind: emt\n")
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line that a refused command says."""
    with pytest.raises(SystemExit) as ended:
        main(["make-dataset", *map(str, words)])
    said = capsys.readouterr()
    assert ended.value.code == 2, said.err
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) == 1
    return said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["infinite-cristal"], "did you mean 'infinite-crystal'"),
        (["zzz"], "known: augmented-qm9, infinite-crystal, crystal-growth"),
        (["infinite-crystal", "--sizes", "15-75"], "--sizes means nothing for infinite-crystal, which takes"),
        (["augmented-qm9", "--lattice-constant", "Al=4"], "--lattice-constant means nothing for augmented-qm9"),
        (["crystal-growth", "--qm9", "x.csv"], "--qm9 means nothing for crystal-growth"),
        (["infinite-crystal", "--seed", "3"], "--seed means nothing"),
        (["crystal-growth", "--seed", "-1"], "seed is -1"),
        (["crystal-growth", "--sizes", "15"], "sizes are '15'"),
        (["crystal-growth", "--sizes", "10-75"], "sizes 10-75"),
        (["crystal-growth", "--limit", "0"], "limit is 0"),
        (["infinite-crystal", "--lattice-constant", "Fe=2.9"], "lattice constant 'Fe=2.9'"),
        (["infinite-crystal", "--lattice-constant", "Al=-1"], "lattice constant 'Al=-1'"),
        (["infinite-crystal", "--workers", "0"], "--workers"),
        (["augmented-qm9", "--qm9", "nowhere.tar.bz2"], "nowhere.tar.bz2: no such file"),
        ([], "benchmark"),
    ],
)
def test_bad_words_are_refused(
    words: list[str], said: str, method_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said.lower() in refused(capsys, *words, "--method", method_file, "--out", tmp_path / "data").lower()
    assert not (tmp_path / "data").exists()


def test_a_method_that_cannot_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "qm9.csv"
    rows = [f"{index},\"['F','H']\",\"[[0,0,0],[0,0,0.93]]\"" for index in (*range(1, 10_277), 21_991)]
    table.write_text("\n".join(['"Index","Elements","XYZ_Ang"', *rows]) + "\n")
    (tmp_path / "emt.yaml").write_text("kind: emt\n")
    words = ["augmented-qm9", "--qm9", table, "--limit", "3", "--method", tmp_path / "emt.yaml"]
    assert "no parameters for F" in refused(capsys, *words, "--out", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    words[-1] = tmp_path / "none.yaml"
    assert "none.yaml" in refused(capsys, *words, "--out", tmp_path / "data")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--limit", "14"], "was begun with limit 13, not 14; repeat that, or choose another --out"),
        (["--limit", "13", "--lattice-constant", "Al=3.995"], "was begun with lattice_constants"),
        (["--limit", "13"], "was begun with chunk_size 4, not 256"),
    ],
)
def test_other_settings_are_refused(
    change: list[str], said: str, method_file: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(whole)
    line = refused(capsys, "infinite-crystal", *change, "--method", method_file, "--out", whole)
    assert said in line
    assert content(whole) == before


def test_another_method_or_benchmark_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lj.yaml").write_text("kind: lj\n")
    words = ["infinite-crystal", "--limit", "13", "--method", tmp_path / "lj.yaml", "--out", whole]
    assert "method" in refused(capsys, *words)
    with pytest.raises(InputError, match="was begun with benchmark infinite-crystal, not crystal-growth"):
        make(whole, settings=BenchmarkSettings("crystal-growth", limit=2))


def test_other_structures_under_the_same_settings_are_refused(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systems = SETTINGS.systems()
    monkeypatch.setattr(BenchmarkSettings, "systems", lambda self: systems[:-1])
    with pytest.raises(InputError, match="was begun with other structures"):
        make(whole)


def test_somebody_elses_dataset_is_refused(tmp_path: Path) -> None:
    with Dataset.open(tmp_path, method=METHOD) as dataset:
        dataset.add([by_emt(Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.7]]))])
    with pytest.raises(InputError, match="holds labels that make-dataset did not make"):
        make(tmp_path)


def test_a_broken_header_is_refused(tmp_path: Path) -> None:
    make(tmp_path, settings=BenchmarkSettings("infinite-crystal", limit=1))
    (tmp_path / "benchmark.json").write_text("{")
    with pytest.raises(InputError, match=r"benchmark.json: not JSON"):
        make(tmp_path, settings=BenchmarkSettings("infinite-crystal", limit=1))


def test_what_is_no_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no benchmark \(no systems.jsonl in it\)"):
        read_benchmark(tmp_path)


@pytest.mark.parametrize("text", ["15", "a-b", "15-", "-20", "15-75-90", ""])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="such as 15-75"):
        parse_sizes(text)


def test_lattice_constants_replace_the_measured_ones() -> None:
    assert parse_lattice_constants(["Cu=3.59", "Al=3.995"]) == {"Al": 3.995, "Cu": 3.59}
    assert parse_lattice_constants([]) == {"Al": 4.05, "Cu": 3.61}


# ---------------------------------------------------------------- progress, the command


def test_progress_is_lines_where_there_is_no_terminal() -> None:
    output = io.StringIO()
    with LabelProgress(Console(file=output, soft_wrap=True)).shown() as progress:
        progress.say("[bold] is no markup here")
        for done in range(0, 101, 10):
            progress.update(done, 100, 2)
    first, *lines = output.getvalue().splitlines()
    assert first == "[bold] is no markup here"
    assert lines[0] == "0/100 structures, 2 failed"
    assert lines[-1].startswith("100/100 structures, 2 failed, ")
    assert len(lines) == 2


def test_progress_is_a_bar_on_a_terminal() -> None:
    output = io.StringIO()
    with LabelProgress(Console(file=output, force_terminal=True, width=100)).shown() as progress:
        progress.update(50, 100, 2)
        progress.update(100, 100, 2)
    assert "100/100" in output.getvalue()
    assert "structures, " not in output.getvalue()


def test_the_command_labels_and_says_so(method_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["make-dataset", "crystal-growth", "--sizes", "15-20", "--limit", "6", "--workers", "1"]
    main([*words, "--method", str(method_file), "--out", str(tmp_path / "data")])
    said = capsys.readouterr().out
    assert "6/6 structures, 0 failed" in said
    assert json.loads(said[said.index("{") :])["labelled"] == 6
    structures = read_benchmark(tmp_path / "data")
    assert [structure.info["config_type"] for structure in structures] == (
        ["crystal-growth-stable"] * 4 + ["crystal-growth-unstable"] * 2
    )
    assert all(structure.get_forces().shape == (len(structure), 3) for structure in structures)


def test_failed_labels_show_in_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lj.yaml").write_text("kind: lj\nepsilon: 2.0\nsigma: 2.6\nrc: 6.0\n")
    words = ["make-dataset", "crystal-growth", "--sizes", "15-15", "--limit", "40", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--method", str(tmp_path / "lj.yaml"), "--out", str(tmp_path / "data")])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "labels that failed: " in said.err
    n_failed = sum(json.loads(said.out[said.out.index("{") :])["failed"].values())
    assert 0 < n_failed < 40
    assert len(read_benchmark(tmp_path / "data")) == 40 - n_failed
