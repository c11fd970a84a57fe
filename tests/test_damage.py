"""Files cut or with a bit flipped at every byte of their last record: found, told, and all the rest is used."""

import contextlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from growth import damage
from growth.cli import main
from growth.config import Config, load_config
from growth.errors import InputError
from growth.events import standing
from growth.run import launch
from growth.run_directory import RunDirectory, read_seed
from growth.simulator import init, replay
from growth.status import status_of
from oracle import Dataset
from oracle.durable import DamageWarning, append_lines, mend_lines, read_lines, seal
from oracle.outcome import RawLabel, labelled

DEMO = Path(__file__).parents[1] / "growth" / "configs" / "al_emt.yaml"
SMALL = [
    "pool=serial",
    "growth.n_atoms=15",
    "growth.sites.max_candidates=5",
    "growth.sites.n_competing=3",
    "growth.sites.max_steps=30",
    "initial.n=12",
    "learner.network={n_members: 2, n_features: 8, n_steps: 1, n_directions: 4}",
    "learner.train.steps=60",
    "learner.update.steps=10",
    "ask.audit_probability=0.3",
    "certificate={path_steps: 0, site_steps: 0, label_final: false, relax_final: false}",
]
HASH = "abcdef0123456789"
EVENTS: list[dict[str, Any]] = [
    {"walker": 0, "step": step, "species": "Al", "position": [0.1 * step, -1 / 3, 2e-17], "moved": {}, "reason": None}
    for step in range(1, 4)
]
METRICS: list[dict[str, Any]] = [
    {"what": "error", "group": "0-1-query", "chance": 1.0, "energy_error": error, "force_std": float("nan")}
    for error in (0.25, -1 / 7, 1e-300)
]


def cut(record: bytes) -> Iterator[bytes]:
    """A record without its last byte, and so on, down to one that is not there."""
    yield from (record[:end] for end in range(len(record)))


def flipped(record: bytes, every: bool = True) -> Iterator[bytes]:
    """A record with one bit flipped, at every byte: every bit of it, or one."""
    for place in range(len(record)):
        for bit in range(8) if every else [place % 8]:
            yield record[:place] + bytes([record[place] ^ 1 << bit]) + record[place + 1 :]


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """What is said of damage."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    assert all(issubclass(warning.category, DamageWarning) for warning in caught)
    texts.extend(str(warning.message) for warning in caught)


# ---------------------------------------------------------------------- lines


@pytest.mark.parametrize("records", [EVENTS, METRICS, [{}, {"crc": "mine"}, {}]], ids=["events", "metrics", "odd"])
def test_lines(records: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_lines(path, records)
    content = path.read_bytes()
    assert repr(read_lines(path)) == repr(records)
    assert [json.loads(line)["crc"] for line in content.splitlines()]
    before = content[: content[:-1].rfind(b"\n") + 1]
    last = content[len(before) :]
    for torn in cut(last):
        path.write_bytes(before + torn)
        assert repr(read_lines(path)) == repr(records[:-1])
    for damaged in flipped(last):
        path.write_bytes(before + damaged)
        with told() as texts:
            assert repr(read_lines(path)) == repr(records[:-1])
        assert len(texts) == 1 and texts[0].startswith(f"{path}: damaged line 3")


def test_an_older_log_is_read_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n\n{"step": 2}\n{"step": 3')
    assert read_lines(path) == [{"step": 1}, {"step": 2}]
    append_lines(path, [{"step": 3}])
    assert read_lines(path) == [{"step": 1}, {"step": 2}, {"step": 3}]


@pytest.mark.parametrize(
    "junk", [b"", b"\0" * 40, b"[1]", b"3", b"\xff", b"[" * 100_000, b'{"a": 1, "crc": "00000000"}']
)
def test_junk_among_lines(junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for line in (seal({"step": 1}).encode(), junk, seal({"step": 2}).encode()):
        with path.open("ab") as file:
            file.write(line + b"\n")
    with told() as texts:
        assert read_lines(path) == [{"step": 1}, {"step": 2}]
        assert read_lines(path, up_to_damage=True) == ([{"step": 1}] if junk else [{"step": 1}, {"step": 2}])
    assert texts == ([f"{path}: damaged line 2; skipped", f"{path}: damaged line 2; used up to there"] if junk else [])


@pytest.mark.parametrize("up_to_damage", [False, True])
def test_mending_keeps_the_original(up_to_damage: bool, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_lines(path, EVENTS)
    assert mend_lines(path, up_to_damage=up_to_damage) is None
    for name in ("log.jsonl.damaged", "log.jsonl.damaged.1"):
        content = path.read_bytes().replace(b'"step": 2', b'"step": 7')
        path.write_bytes(content + b'{"torn')
        said = mend_lines(path, up_to_damage=up_to_damage)
        assert said is not None and "damaged line 2" in said and name in said
        assert (tmp_path / name).read_bytes() == content + b'{"torn'
        assert read_lines(path) == (EVENTS[:1] if up_to_damage else [EVENTS[0], EVENTS[2]])
        assert mend_lines(path) is None
        path.unlink()
        append_lines(path, EVENTS)


# ---------------------------------------------------------------------- datasets


def make(number: int) -> Atoms:
    structure = Atoms("Al2", [[0, 0, 0], [0, 0, 2.0 + number / 7]])
    return labelled(structure, RawLabel(-number / 3, -number / 3 - 0.1, np.full((2, 3), 1 / 3), {}), HASH)


def test_segments(tmp_path: Path) -> None:
    """The last of three is the record; it is skipped, and nothing else."""
    with Dataset.open(tmp_path, method_hash=HASH) as dataset:
        uids = [dataset.add([make(number)])[0] for number in range(3)]
    path = tmp_path / "segments" / "000002.extxyz"
    content = path.read_bytes()
    for damaged in (*cut(content), *flipped(content, every=False)):
        path.write_bytes(damaged)
        with told() as texts:
            dataset = Dataset.read(tmp_path)
        assert dataset.uids == uids[:2]
        assert texts == dataset.damage == [f"{path}: content does not match its checksum; segment skipped"]
    assert [structure.info["uid"] for structure in dataset] == uids[:2]


@pytest.mark.parametrize("name", ["segments/000001.extxyz.sha256", "dataset.json"])
def test_what_is_beside_segments(name: str, tmp_path: Path) -> None:
    """A checksum takes its segment with it, unless only the name behind it is hit; the header costs no label."""
    with Dataset.open(tmp_path, method_hash=HASH) as dataset:
        uids = [dataset.add([make(number)])[0] for number in range(2)]
    path = tmp_path / name
    content = path.read_bytes()
    for damaged in (*cut(content), *flipped(content, every=False)):
        path.write_bytes(damaged)
        with told() as texts:
            dataset = Dataset.read(tmp_path)
        lost = name.startswith("segments") and damaged.split()[:1] != content.split()[:1]
        assert dataset.uids == (uids[:1] if lost else uids)
        assert dataset.method_hash == HASH
        assert len(texts) == (lost or (name == "dataset.json" and damaged != content[:-1]))


# ---------------------------------------------------------------------- run directories


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    opened = RunDirectory(tmp_path / "run")
    yield opened
    opened.close()


def test_checkpoint(run: RunDirectory) -> None:
    states = [{"elapsed_s": 1 / 3, "trained_uids": ["a"], "mark": run.mark()}, {"elapsed_s": 0.7, "mark": run.mark()}]
    assert run.checkpoint(exact=True) == run.checkpoint(exact=False) == {}
    run.write_checkpoint(states[0])
    run.write_checkpoint(states[1])
    assert run.checkpoint(exact=True) == states[1] and not run.damage
    path = run.path / damage.CHECKPOINT
    content = path.read_bytes()
    for damaged in (*cut(content), *flipped(content)):
        path.write_bytes(damaged)
        assert damage.checkpoint(path) == (None, f"{path}: damaged")
    assert run.checkpoint(exact=False) == states[0]
    path.unlink()
    assert run.checkpoint(exact=False) == states[0]
    assert [text.split(";")[0] for text in run.damage] == [f"{path}: damaged", f"{path}: not there"]
    assert [line["text"] for line in run.lines("provenance")] == run.damage
    run.write_checkpoint(states[1])
    path.write_bytes(b"")
    run.write_checkpoint(states[1])  # what is damaged never takes the place of the one before
    assert damage.checkpoint(run.path / damage.PREVIOUS)[0] == states[0]


def test_a_mark_holds_as_long_as_what_it_counts_on(run: RunDirectory) -> None:
    run.append("events", *EVENTS[:2])
    run.save_model(1, {"model.json": b"{}", "model.safetensors": b"abc"})
    early = run.mark()
    run.append("events", EVENTS[2])
    run.append("metrics", *METRICS)
    late = run.mark()
    assert run.reaches(early) and run.reaches(late) and run.reaches({})
    assert run.reaches({key: size for key, size in late.items() if key != "crc"})  # of a run from before there was one
    log = run.path / "events.jsonl"
    content = log.read_bytes()
    log.write_bytes(content.replace(b'"step": 3', b'"step": 2'))
    assert run.reaches(early) and not run.reaches(late)
    log.write_bytes(content)
    (run.path / "models" / "v0001" / "model.json").write_bytes(b"[]")
    assert not run.reaches(early)


def test_models(run: RunDirectory) -> None:
    files = [{"model.json": b'{"species": [13]}', "model.safetensors": bytes([n, 7, 9] * 9)} for n in range(3)]
    for version in (1, 2, 3):
        run.save_model(version, files[version - 1])
    newest = run.path / "models" / "v0003"
    for name in ("model.json", "model.safetensors", damage.SUMS):
        content = (newest / name).read_bytes()
        for damaged in (*cut(content), *flipped(content)):
            (newest / name).write_bytes(damaged)
            assert damage.model_problem(newest) == f"{newest}: files do not match SHA256SUMS"
        (newest / name).write_bytes(content)
    assert run.latest_model() == (3, files[2]) and not run.damage
    (newest / "model.safetensors").unlink()
    (run.path / "models" / "v0002" / damage.SUMS).unlink()  # as they once were
    with pytest.raises(InputError, match="do not match"):
        run.model(3)
    assert run.latest_model() == (2, files[1])
    assert run.damage == [
        f"{newest}: files do not match SHA256SUMS; set aside as damaged-v0003, the version before is used"
    ]
    run.save_model(3, files[0])
    assert run.latest_model() == (3, files[0])
    assert run.has_model(2) and not run.has_model(3)  # another one under its number


def refusal(look: Callable[[Path], Any], path: Path, content: bytes, good: Any) -> str:
    """Why a content is refused; empty where it is read as what it should be."""
    path.write_bytes(content)
    try:
        found = look(path)
    except InputError as error:
        return str(error)
    assert found == good
    return ""


@pytest.mark.parametrize("name", [damage.CONFIG, damage.SEED])
def test_seed_and_config(name: str, run: RunDirectory) -> None:
    """They cannot be done without: one line says so. Harmless: a checksum's comment that is none any more."""
    settings = {"name": "x", "growth": {"n_atoms": 15}}
    run.settle_config(settings)
    run.settle_seed(Atoms("Al2", [[0, 0, 0], [0, 0, 2.5]]))
    path, look = run.path / name, damage.read_config if name == damage.CONFIG else damage.read_sealed
    content, good = path.read_bytes(), look(path)
    assert not damage.damage_of(run.path)
    refused = [text for damaged in (*cut(content), *flipped(content)) if (text := refusal(look, path, damaged, good))]
    assert all(text.startswith(f"{path}: damaged") and "restore it" in text and "\n" not in text for text in refused)
    assert len(refused) > len(content) * 9 - (80 if name == damage.CONFIG else 1)
    path.write_bytes(content[:-4])
    assert len(damage.damage_of(run.path)) == 1
    with pytest.raises(InputError, match="damaged"):
        run.settle_config(settings) if name == damage.CONFIG else read_seed(run.path)


# ---------------------------------------------------------------------- campaigns


def small(*overrides: str) -> Config:
    return load_config(DEMO, [*SMALL, *overrides])


def spoil(path: Path, where: float = 0.5) -> None:
    """Flip one bit, so far from the beginning."""
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 4
    path.write_bytes(content)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "run"
    launch(small(), path)
    return path


def spoil_events(run: Path) -> str:
    spoil(run / "events.jsonl")
    return f"{run / 'events.jsonl'}: damaged line"


def spoil_metrics(run: Path) -> str:
    spoil(run / "metrics.jsonl")
    return f"{run / 'metrics.jsonl'}: damaged line"


def spoil_checkpoints(run: Path) -> str:
    spoil(run / damage.CHECKPOINT)
    (run / damage.PREVIOUS).write_bytes(b"")
    return f"{run / damage.CHECKPOINT}: damaged; {run / damage.PREVIOUS}: damaged; clocks and labels learnt are lost"


def spoil_model(run: Path) -> str:
    newest = max((run / "models").glob("v*"))
    spoil(newest / "model.safetensors")
    return f"{newest}: files do not match SHA256SUMS; set aside as damaged-{newest.name}"


@pytest.mark.parametrize("spoiled", [spoil_events, spoil_metrics, spoil_checkpoints, spoil_model])
def test_a_run_goes_on(
    spoiled: Callable[[Path], str], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One atom further, with a damaged file; what happened before stands, as far as it is known."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = read_lines(run / "events.jsonl")
    said = spoiled(run)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert [text for text in status_of(run)["damage"] if text.startswith(said.split(";")[0])]
    assert files == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    known = read_lines_quietly(run / "events.jsonl")
    launch(small("growth.n_atoms=16"), run)
    assert said in capsys.readouterr().out
    after = read_lines(run / "events.jsonl")
    assert after[: len(known)] == known and (known == before) == (spoiled is not spoil_events)
    seed = read_seed(run)
    assert seed is not None
    for walker in range(2):
        steps = [line for line in standing(after) if line["walker"] == walker]
        last = sorted((run / "grown" / f"w{walker:02d}").glob("*.extxyz"))[-1]
        assert int(last.stem) == steps[-1]["step"]
        assert len(replay(init(seed).crystal, steps)) == len(read(last)) == 16
    assert not status_of(run)["damage"]


def outcome(run: Path) -> dict[str, Any]:
    """All of a run that must not depend on chance."""
    events = [
        {key: value for key, value in line.items() if key != "seconds"} for line in read_lines(run / "events.jsonl")
    ]
    parts = ("grown", "sites", "dataset/segments", "models")
    files = [path for part in parts for path in (run / part).rglob("*") if path.is_file()]
    return {"events": events, **{str(path.relative_to(run)): path.read_bytes() for path in files}}


def spoil_newest_checkpoint(run: Path) -> str:
    spoil(run / damage.CHECKPOINT)
    return f"{run / damage.CHECKPOINT}: damaged; the one before is used"


def spoil_beginning(run: Path) -> str:
    spoil(run / "metrics.jsonl", where=0.02)
    return "what it counts on is damaged; the run is grown anew with the labels that it has"


def test_a_deterministic_run_stays_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a copy of its files before the third checkpoint, as a kill would leave them, with one damaged."""
    config, killed, n_written = small("deterministic=true", "growth.n_atoms=16"), tmp_path / "killed", 0
    write = RunDirectory.write_checkpoint

    def copied(self: RunDirectory, state: Mapping[str, Any]) -> None:
        nonlocal n_written
        if n_written == 2:
            shutil.copytree(self.path, killed)
        write(self, state)
        n_written += 1

    monkeypatch.setattr(RunDirectory, "write_checkpoint", copied)
    launch(config, tmp_path / "run")
    monkeypatch.undo()
    undisturbed = outcome(tmp_path / "run")
    for spoiled in (spoil_newest_checkpoint, spoil_beginning):
        run = tmp_path / spoiled.__name__
        shutil.copytree(killed, run)
        said = spoiled(run)
        launch(config, run)
        assert said in capsys.readouterr().out
        assert outcome(run) == undisturbed


def read_lines_quietly(path: Path) -> list[dict[str, Any]]:
    with told():
        return read_lines(path, up_to_damage=True)


def test_a_run_without_its_seed_or_config_says_so(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    for name in (damage.CONFIG, damage.SEED):
        content = (tmp_path / "run" / name).read_bytes()
        spoil(tmp_path / "run" / name)
        with pytest.raises(SystemExit) as stopped:
            main(["grow", str(DEMO), "--run-dir", str(tmp_path / "run"), *(f"--set={given}" for given in SMALL)])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {tmp_path / 'run' / name}: damaged") and said.count("\n") == 1
        (tmp_path / "run" / name).write_bytes(content)
