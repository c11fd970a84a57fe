"""The run directory: torn files, two drivers, changed settings."""

from pathlib import Path

import pytest

from growth.errors import InputError
from growth.run_directory import RunDirectory


def test_a_torn_last_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.append("events", {"step": 1})
    run.append("events", {"step": 2})
    log = run.path / "events.jsonl"
    for cut in range(1, len('{"step": 2}\n') + 1):
        log.write_bytes(b'{"step": 1}\n' + b'{"step": 2}\n'[:-cut])
        assert run.lines("events") == [{"step": 1}]
        run.append("events", {"step": 9})
        assert run.lines("events") == [{"step": 1}, {"step": 9}]


def test_two_drivers_on_one_run_are_refused(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match="in use"):
        RunDirectory(tmp_path / "run")
    first.close()
    RunDirectory(tmp_path / "run").close()


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        RunDirectory(tmp_path / "file")


def test_resuming_with_other_settings_names_them(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.settle_config({"seed": 1, "growth": {"n_atoms": 20, "temperature_K": 300}})
    run.settle_config({"seed": 1, "growth": {"n_atoms": 55, "temperature_K": 300}})
    with pytest.raises(InputError, match=r"growth\.temperature_K"):
        run.settle_config({"seed": 1, "growth": {"n_atoms": 55, "temperature_K": 400}})


def test_models_are_whole_or_absent(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert run.latest_model() is None
    run.save_model(1, {"model.json": b"{}", "model.safetensors": b"abc"})
    partial = run.path / "models" / "v0002.partial"
    partial.mkdir()
    (partial / "model.json").write_bytes(b"{")
    assert run.latest_model() == (1, {"model.json": b"{}", "model.safetensors": b"abc"})
    run.save_model(2, {"model.json": b"[]"})
    assert run.latest_model() == (2, {"model.json": b"[]"})
