"""The whole loop in one process: labels, learns, grows, resumes; EMT as the oracle, a very small committee."""

import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from rich.console import Console

from growth.campaign_state import Labels
from growth.cli import main
from growth.config import Config, load_config
from growth.errors import CampaignError, InputError
from growth.events import standing
from growth.initial_set import InitialSettings, given_labels, initial_structures
from growth.loop import Campaign
from growth.oracle_worker import OracleWorker
from growth.run import launch
from growth.run_directory import RunDirectory
from growth.seeds import make_seed
from growth.simulator import Proposal, init, replay
from growth.split import split
from growth.status import print_status, status_of
from growth.turns import Walker
from growth.workers import SurrogateWorker
from learner import Committee, evaluate
from oracle import Dataset, FailedLabel, Method, label, read_labelled, uid
from oracle.batch import BatchWorker
from oracle.cache import LabelCache

DEMO = Path(__file__).parents[2] / "growth" / "configs" / "al_emt.yaml"
SMALL = [
    "pool=serial",
    "growth.n_atoms=17",
    "growth.hops_per_step=1",
    "growth.sites.max_candidates=5",
    "growth.sites.n_competing=3",
    "growth.sites.max_steps=30",
    "initial.n=16",
    "learner.network={n_members: 2, n_features: 8, n_steps: 1, n_directions: 4}",
    "learner.train.steps=120",
    "learner.update.steps=15",
    "ask.audit_probability=0.3",
    "certificate={path_steps: 4, site_steps: 2}",
]


def small(*overrides: str) -> Config:
    return load_config(DEMO, [*SMALL, *overrides])


def events_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def counted_labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that every structure's uid is added to when the oracle is asked for its label."""
    asked: list[str] = []
    label = OracleWorker.label

    def counted(self: OracleWorker, structures: Sequence[Atoms]) -> list[Atoms | FailedLabel]:
        asked.extend(uid(structure, "") for structure in structures)
        return label(self, structures)

    monkeypatch.setattr(OracleWorker, "label", counted)
    return asked


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("loop") / "run"
    launch(small(), run)
    return run


def test_every_walker_grew_to_its_size(finished: Path) -> None:
    for walker in ("w00", "w01"):
        crystals = [read(path) for path in sorted((finished / "grown" / walker).glob("*.extxyz"))]
        assert len(crystals[-1]) == 17
        sizes = [len(crystal) for crystal in crystals]
        assert sizes == sorted(sizes)


def test_events_rebuild_the_crystals_exactly(finished: Path) -> None:
    config = small()
    for walker in range(2):
        lines = [e for e in events_of(finished) if e["walker"] == walker and e["fate"] != "rejected"]
        rebuilt = replay(init(make_seed(config.structure)).crystal, lines)
        grown = read(finished / "grown" / f"w{walker:02d}" / f"{lines[-1]['step']:06d}.extxyz")
        assert rebuilt.get_chemical_formula() == grown.get_chemical_formula()
        assert np.abs(rebuilt.positions - grown.positions).max() < 1e-8  # extxyz keeps 8 decimals


def test_events_say_who_vouched(finished: Path) -> None:
    for event in events_of(finished):
        assert event["fate"] in {"accepted", "audited", "queried", "rejected"}
        assert event["model_version"] >= 1
        assert (event["reason"] is None) == (event["fate"] == "accepted")
        if event["reason"] is not None:
            stds = [atom["std"] for atom in event["worst_atoms"]]
            assert stds == sorted(stds, reverse=True)
            assert stds[0] > 0
            assert all(0 <= atom["atom"] < event["n_atoms"] + 1 for atom in event["worst_atoms"])
        assert event["n_atoms"] >= 14


def test_what_was_queried_is_labelled_and_what_was_accepted_unasked_is_not(finished: Path) -> None:
    run, dataset = RunDirectory(finished), Dataset.read(finished / "dataset")
    assert dataset.method_hash is not None
    for event in events_of(finished):
        if event["fate"] != "rejected":
            accepted = run.read_sites(event["walker"], event["step"])[0]
            labelled = dataset.find(uid(accepted, dataset.method_hash)) is not None
            assert labelled == (event["fate"] in ("queried", "audited")), event
    run.close()


def test_the_certificate_holds_no_structure_that_was_learnt(finished: Path) -> None:
    learnt, held_out = Dataset.read(finished / "dataset"), Dataset.read(finished / "certificate")
    certificate = json.loads((finished / "certificate.json").read_text())
    assert not set(learnt.uids) & set(held_out.uids)
    learnt_energies = {round(s.info["REF_free_energy"], 9) for s in learnt.structures()}
    assert not {round(point["labelled"], 9) for point in certificate["path"]} & learnt_energies


def test_the_certificate_tells_what_learning_has_brought(finished: Path) -> None:
    """Errors of the first and the newest model on its labels, as `kossel evaluate` has them, and on what grew."""
    told = json.loads((finished / "certificate.json").read_text())
    labels = Dataset.read(finished / "certificate").structures()
    newest = max(path.name for path in (finished / "models").glob("v*"))
    for name, version in (("first", "v0001"), ("newest", newest)):
        expected = evaluate(Committee.load(finished / "models" / version), labels)
        for error in ("energy_mae_mev_per_atom", "force_mae_mev_per_A"):
            assert told["extension"][name][error] == pytest.approx(expected[error], rel=1e-3)
    assert told["extension"]["n_structures"] == len(labels) == told["n_labels"]
    assert [final["labelled_atoms"] for final in told["final"]] == [17, 17]
    dataset = Dataset.read(finished / "dataset")
    assert dataset.method_hash is not None
    for walker, final in enumerate(told["final"]):
        crystal = read(max((finished / "grown" / f"w{walker:02d}").glob("*.extxyz")))
        learnt = dataset.find(uid(crystal, dataset.method_hash)) is not None
        assert (final["force_mae_mev_per_A"] is None) == learnt


def test_some_labels_validate_and_none_of_those_is_trained_on(tmp_path: Path) -> None:
    """About a tenth of the structures is held out, whatever their uids look like."""
    config = small("initial.n=60")
    structures = initial_structures(make_seed(config.structure), ["Al"], config.initial, np.random.default_rng(0))
    training, validation = split(structures, 0.2)
    assert 4 <= len(validation) <= 24
    assert len(training) + len(validation) == len(structures)
    assert all(len(structure) > 1 for structure in validation)


def test_reports_are_written(finished: Path) -> None:
    for name in ("summary.json", "energy_per_atom.png", "predicted_labelled.png", "std_error.png", "crystals.png"):
        assert (finished / name).stat().st_size > 0
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["labels"] == len(Dataset.read(finished / "dataset"))


def test_the_files_tell_what_a_run_is_doing(finished: Path, tmp_path: Path) -> None:
    """Finished; at work while a process holds it; stopped in the middle, told from a copy of half of its files."""
    summary, told = json.loads((finished / "summary.json").read_text()), status_of(finished)
    assert (told["state"], told["stage"]) == ("finished", "finished")
    assert [walker["n_atoms"] for walker in told["walkers"]] == [17, 17]
    assert told["labels"]["n"] == summary["labels"]
    assert told["steps"] == summary["fates"]
    assert told["model"]["version"] == summary["model_versions"]
    assert told["busy"]["oracle"] == pytest.approx(summary["time"]["oracle"]["share_of_wall"], abs=0.1)
    half = tmp_path / "half"
    shutil.copytree(finished, half)
    (half / "certificate.json").unlink()
    lines = (half / "events.jsonl").read_text().splitlines(keepends=True)
    (half / "events.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    assert (status_of(half)["state"], status_of(half)["stage"]) == ("stopped", "growth")
    assert sum(status_of(half)["steps"].values()) == 3
    directory = RunDirectory(half)
    assert status_of(half)["state"] == "running"
    directory.close()
    console = Console(record=True, width=200)
    print_status(console, status_of(half))
    assert "the command that began it goes on" in console.export_text()
    (half / "metrics.jsonl").write_text('{"what": "model"}\n')
    with pytest.raises(InputError, match="cannot be read"):
        status_of(half)
    with pytest.raises(InputError, match="not a run directory"):
        status_of(tmp_path)


def test_the_same_seed_gives_the_same_crystal_and_another_seed_another(finished: Path, tmp_path: Path) -> None:
    launch(small("growth.n_atoms=15"), tmp_path / "again")
    launch(small("growth.n_atoms=15", "seed=1"), tmp_path / "other")
    first = [read(root / "grown/w00/000001.extxyz") for root in (finished, tmp_path / "again", tmp_path / "other")]
    assert np.array_equal(first[0].positions, first[1].positions)
    assert not np.allclose(first[0].positions, first[2].positions)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop in the middle of a step, run the same command again: nothing is lost, nothing is paid for twice."""
    run, config = tmp_path / "run", small()
    accept = Campaign._accept
    accepted = 0

    def stop_at_third(self: Campaign, walker: Walker, fate: str, reason: str | None) -> None:
        nonlocal accepted
        accepted += 1
        if accepted == 3:
            raise KeyboardInterrupt
        accept(self, walker, fate, reason)

    asked = counted_labels(monkeypatch)
    monkeypatch.setattr(Campaign, "_accept", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        launch(config, run)
    before = events_of(run)
    labels = set(Dataset.read(run / "dataset").uids)
    monkeypatch.setattr(Campaign, "_accept", accept)
    launch(config, run)
    after = events_of(run)
    assert after[: len(before)] == before
    assert labels <= set(Dataset.read(run / "dataset").uids)
    assert len(asked) == len(set(asked))
    steps = [e["step"] for e in after if e["walker"] == 0 and e["fate"] != "rejected"]
    assert steps == list(range(1, len(steps) + 1))


def test_a_run_that_stops_before_its_first_model_pays_for_no_label_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = tmp_path / "run", small("growth.n_atoms=15")
    asked = counted_labels(monkeypatch)
    first_model = Campaign._first_model

    def stop(self: Campaign) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Campaign, "_first_model", stop)
    with pytest.raises(KeyboardInterrupt):
        launch(config, run)
    monkeypatch.setattr(Campaign, "_first_model", first_model)
    launch(config, run)
    assert len(asked) == len(set(asked)) >= 16


def test_labels_that_were_made_and_never_arrived_are_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver dies while labels are on their way; grown anew, the crystal does not need all of them."""
    run, config = tmp_path / "run", small("growth.n_atoms=15")

    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Labels, "store", die)
        with pytest.raises(KeyboardInterrupt):
            launch(config, run)
    made = {path.name.split(".")[0] for path in run.glob("state/paid/*/*.extxyz")}
    assert len(made) == 16
    assert not len(Dataset.read(run / "dataset"))
    other = label([Atoms("Al3", [[0, 0, 0], [0, 0, 2.8], [0, 2.5, 1.4]])], Method.from_dict({"kind": "emt"}))[0]
    assert isinstance(other, Atoms)
    LabelCache(run / "state" / "paid").put(other)
    paid: list[str] = []
    serve = BatchWorker.__call__

    def counted(self: BatchWorker, structures: Sequence[Atoms]) -> Any:
        paid.extend(uid(structure, other.info["method_hash"]) for structure in structures)
        return serve(self, structures)

    monkeypatch.setattr(BatchWorker, "__call__", counted)
    launch(config, run)
    assert paid
    assert not made & set(paid)
    dataset = Dataset.read(run / "dataset")
    assert {*made, other.info["uid"]} <= set(dataset.uids)
    found = dataset.find(other.info["uid"])
    assert found is not None
    assert found.info["reason"] == "recovered"
    assert not list(run.glob("state/paid/*/*.extxyz"))


def test_a_full_disk_is_told_in_one_line_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run, left = tmp_path / "run", 60
    sync = os.fsync

    def full(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    settings = [word for override in [*SMALL, "growth.n_atoms=15"] for word in ("--set", override)]
    command = ["grow", str(DEMO), "--run-dir", str(run), *settings]
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(SystemExit) as stopped:
            main(command)
    assert stopped.value.code == 1
    told = capfd.readouterr().err.strip().splitlines()
    assert told == ["stopped: no space left on device; make room, and the same command goes on from here"]
    labels = set(Dataset.read(run / "dataset").uids)
    assert labels
    main(command)
    assert labels <= set(Dataset.read(run / "dataset").uids)
    assert (run / "certificate.json").exists()


def test_an_oracle_that_fails_at_everything_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="label"):
        launch(small("oracle.labels.force_cap=1e-12"), tmp_path / "run")
    assert (tmp_path / "run" / "dataset" / "failed_labels.jsonl").stat().st_size > 0


def test_a_spent_budget_is_kept_to(tmp_path: Path) -> None:
    launch(small("budget.labels=20", "growth.n_atoms=16", "ask.force_tolerance=0.001"), tmp_path / "run")
    assert len(Dataset.read(tmp_path / "run" / "dataset")) <= 20
    assert any("budget spent" in (e["reason"] or "") for e in events_of(tmp_path / "run"))


@pytest.fixture(scope="module")
def paid_for(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of an earlier campaign, as `kossel export` writes them."""
    folder = tmp_path_factory.mktemp("paid")
    launch(small("growth.n_atoms=15", "initial.n=14", "seed=7"), folder / "run")
    Dataset.read(folder / "run" / "dataset").export(folder / "labels.extxyz")
    return folder / "labels.extxyz"


def test_a_campaign_builds_on_the_labels_of_another(
    paid_for: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    labelled = read_labelled(paid_for)
    given = {structure.info["uid"] for structure in labelled}
    asked = counted_labels(monkeypatch)
    config = small("growth.n_atoms=15", "initial.n=0", f"initial.labelled=[{paid_for}]", "budget.labels=3")
    for _ in range(2):  # the second time everything is there
        launch(config, run)
    learnt = set(Dataset.read(run / "dataset").uids)
    assert given <= learnt
    assert len(learnt - given) <= 3
    assert json.loads((run / "summary.json").read_text())["labels_given"] == len(given)
    assert not {uid(structure, "") for structure in labelled} & set(asked)
    assert len(asked) == len(set(asked))


def test_given_labels_with_other_elements_are_left_out(paid_for: Path, tmp_path: Path) -> None:
    labelled = read_labelled(paid_for)
    mixed = labelled[-1].copy()
    mixed.symbols[0] = "Cu"
    mixed.calc = labelled[-1].calc
    write(tmp_path / "mixed.extxyz", [*labelled, mixed])
    settings, method = InitialSettings(labelled=(tmp_path / "mixed.extxyz",)), Method.from_dict({"kind": "emt"})
    assert len(given_labels(settings, method, ["Al", "Al"])) == len(labelled)
    assert len(given_labels(settings, method, ["Al", "Cu"])) == len(labelled) + 1


def test_labels_of_another_method_or_none_are_not_built_on(paid_for: Path, tmp_path: Path) -> None:
    other = read_labelled(paid_for)
    for structure in other:
        structure.info["method_hash"] = "a" * 16
    write(tmp_path / "other.extxyz", other)
    for path, said in ((tmp_path / "other.extxyz", "of method a"), (tmp_path / "none.extxyz", "no such file")):
        with pytest.raises(InputError, match=said):
            launch(small(f"initial.labelled=[{path}]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


NO_CERTIFICATE = "certificate={path_steps: 0, site_steps: 0, label_final: false, relax_final: false}"
FROZEN = ["growth.n_atoms=16", "initial.n=0", "ask.arm=nothing", NO_CERTIFICATE]


def test_a_campaign_grows_on_the_model_of_another_without_an_oracle(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted_labels(monkeypatch)
    newest = sorted((finished / "models").iterdir())[-1]
    for name, given in (("a", finished), ("b", newest)):
        launch(small(*FROZEN, f"initial.model={given}"), tmp_path / name)
    assert not asked
    events = [events_of(tmp_path / name) for name in "ab"]
    assert events[0] and all(event["fate"] == "accepted" for event in events[0])
    assert [event["position"] for event in events[0]] == [event["position"] for event in events[1]]
    models = [path.name for path in (tmp_path / "a" / "models").iterdir()]
    assert models == ["v0001"]
    weights = "model.safetensors"
    assert (tmp_path / "a" / "models" / "v0001" / weights).read_bytes() == (newest / weights).read_bytes()


def test_a_campaign_goes_on_teaching_the_model_that_it_was_given(
    finished: Path, paid_for: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = [f"initial.model={finished}", f"initial.labelled=[{paid_for}]", "initial.n=0"]
    launch(small(*given, "growth.n_atoms=15", "ask.delta_e_tolerance=0.001", "ask.max_attempts=0"), run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    models = [line for line in lines if line["what"] == "model"]
    assert models[0]["taken_over"] and len(models) > 1
    assert not any("taken_over" in line for line in models[1:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method_hash": "a" * 16}, "learnt labels of method a"),
        ({"species": [29]}, "does not know Al"),
        (None, "no model in"),
    ],
)
def test_a_model_that_cannot_be_gone_on_from_is_refused(
    finished: Path, tmp_path: Path, change: dict[str, Any] | None, words: str
) -> None:
    given = tmp_path / "model"
    given.mkdir()
    if change is not None:
        newest = sorted((finished / "models").iterdir())[-1]
        header = json.loads((newest / "model.json").read_text()) | change
        (given / "model.json").write_text(json.dumps(header))
    with pytest.raises(InputError, match=words):
        launch(small(*FROZEN, f"initial.model={given}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_walker_does_not_go_unasked_for_longer_than_is_let(tmp_path: Path) -> None:
    sure = [
        "ask.max_attempts=0",
        "ask.delta_e_tolerance=99",
        "ask.energy_tolerance=99",
        "ask.force_tolerance=99",
        "ask.audit_probability=0",
    ]
    launch(small(*sure, "ask.max_unasked=2", "walkers=1"), tmp_path / "run")
    fates = [event["fate"] for event in events_of(tmp_path / "run")]
    assert fates == (["accepted", "accepted", "queried"] * 9)[: len(fates)]
    assert len(fates) >= 3


def test_a_walker_that_asked_waits_for_the_model_that_has_learnt_the_answer(tmp_path: Path) -> None:
    ask = ["ask.force_tolerance=0.0001", "ask.max_attempts=0", "ask.learn_first=true"]
    ask += ["learner.validation_fraction=0.001"]  # answers that all go to the validation set are not waited for
    launch(small(*ask, "walkers=1", "learner.labels_per_update=50", "growth.hops_per_step=0"), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    kinds = [line["what"] for line in lines if line["what"] in ("error", "model")]
    asked = [k for k, kind in enumerate(kinds) if kind == "error"]
    assert [event["fate"] for event in events_of(tmp_path / "run")] == ["queried"] * 3
    assert all("model" in kinds[a + 1 : b + 1] for a, b in zip(asked, asked[2:], strict=False))  # two sites a step


def test_a_walker_that_waited_for_a_model_waits_for_it_when_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the learner had seen the answer: the next step is proposed by a model that has."""
    accept, run = Campaign._accept, tmp_path / "run"
    ask = ["ask.force_tolerance=0.0001", "ask.max_attempts=0", "ask.learn_first=true", "learner.labels_per_update=50"]
    config = small(
        *ask, "walkers=1", "growth.hops_per_step=0", "learner.validation_fraction=0.001", "growth.n_atoms=16"
    )

    def stop(self: Campaign, walker: Walker, fate: str, reason: str | None) -> None:
        accept(self, walker, fate, reason)
        raise KeyboardInterrupt

    monkeypatch.setattr(Campaign, "_accept", stop)
    with pytest.raises(KeyboardInterrupt):
        launch(config, run)
    monkeypatch.setattr(Campaign, "_accept", accept)
    launch(config, run)
    assert [(event["fate"], event["model_version"]) for event in events_of(run)] == [("queried", 1), ("queried", 2)]


def without_sites(monkeypatch: pytest.MonkeyPatch, searches: int) -> None:
    """The first searches find nothing but crystals in which the adatom has landed somewhere."""
    propose, failed = SurrogateWorker.propose, []

    def sometimes(self: SurrogateWorker, *arguments: Any) -> Proposal | list[Atoms]:
        found = propose(self, *arguments)
        if len(failed) == searches or not isinstance(found, Proposal):
            return found
        failed.append(found)
        return [site.structure for site in found.sites]

    monkeypatch.setattr(SurrogateWorker, "propose", sometimes)


@pytest.mark.parametrize(("ask", "asked"), [([], 2), (["ask.arm=nothing"], 0), (["budget.labels=16"], 0)])
def test_a_search_without_a_site_is_made_again_and_learnt_from_where_one_may_ask(
    ask: list[str], asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sites(monkeypatch, 1)
    launch(small("walkers=1", "growth.hops_per_step=0", "growth.n_atoms=15", *ask), tmp_path / "run")
    labels = Dataset.read(tmp_path / "run" / "dataset").structures()
    assert sum(label.info["reason"] == "no_site" for label in labels) == asked
    assert [event["n_atoms"] for event in standing(events_of(tmp_path / "run"))] == [15]


def test_searches_without_a_site_end_a_run_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_sites(monkeypatch, 9)
    with pytest.raises(CampaignError, match="no site found on 14 atoms, in 4 searches"):
        launch(small("walkers=1", "growth.hops_per_step=0", "growth.n_atoms=15", "ask.arm=nothing"), tmp_path / "run")


def test_the_first_labels_keep_to_the_budget(tmp_path: Path) -> None:
    """As many structures as are asked for may be a few more than that, with atoms and dimers."""
    short = ["growth.n_atoms=15", "walkers=1", "growth.hops_per_step=0"]
    launch(small("initial.n=16", "budget.labels=11", *short), tmp_path / "run")
    kinds = [label.info["config_type"] for label in Dataset.read(tmp_path / "run" / "dataset").structures()]
    assert len(kinds) == 11
    assert {"isolated_atom", "dimer", "seed", "scaled", "adatom"} <= set(kinds)


IN_TIME = [
    "walkers=1",
    "structure={kind: slab, species: Al, facet: '100', repeat: [3, 3, 3]}",
    "growth.kinetics=kmc",
    "growth.hops_per_step=0",
    "growth.n_atoms=30",
    "learner.train.steps=300",
    "growth.max_events=6",
    "growth.temperature_K=300",
    "growth.kmc={flux: {Al: 1.0e+3}, table: {max_searches: 8, batch: 8, highest: 1.5, radius: 5.0, "
    "saddles: {radius: 4.5, fmax: 0.05, max_calls: 150}}}",
    "ask.audit_probability=1.0",
    "ask.delta_e_tolerance=1.0",
    "ask.energy_tolerance=1.0",
    "ask.force_tolerance=10",
    "certificate={path_steps: 2, site_steps: 2, relax_final: false}",
]


def test_growth_in_time_is_told_checked_and_resumed(tmp_path: Path) -> None:
    config, run = small(*IN_TIME), tmp_path / "run"
    launch(small(*IN_TIME, "growth.max_events=2"), run)
    first = events_of(run)
    launch(config, run)
    lines = [line for line in events_of(run) if line["fate"] != "rejected"]
    assert lines[: len(first)] == first
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert times[0] > 0
    assert {line["kind"] for line in lines} >= {"attach"}
    last = read(sorted((run / "grown" / "w00").glob("*.extxyz"))[-1])
    rebuilt = replay(init(make_seed(config.structure)).crystal, lines)
    assert (rebuilt.positions == last.positions).all()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    audits = [line for line in metrics if line["what"] == "error" and line["reason"] == "audit"]
    climbed = [line for line in lines if line["barrier"] is not None and line["energy_std"] is not None]
    assert climbed, "no event in time climbed a barrier"
    groups = {line["group"] for line in audits}
    assert len(audits) >= len(groups) + 2 * min(len(climbed), 1)  # saddle and minimum beside where it led
    assert "barrier_mae_mev" in json.loads((run / "certificate.json").read_text())


@pytest.mark.parametrize("which", [slice(0, 1), slice(0, 3)], ids=["where it led", "all"])
def test_growth_in_time_goes_on_where_a_label_fails(
    which: slice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is drawn anew, and taken at last, marked: its rate is no energy that another label could correct."""
    label = OracleWorker.label

    def failing(self: OracleWorker, structures: Sequence[Atoms]) -> list[Atoms | FailedLabel]:
        outcomes = label(self, structures)
        for k in range(len(structures))[which]:
            if structures[k].info["reason"] == "query":
                outcomes[k] = FailedLabel(structures[k], "crash", "made to")
        return outcomes

    monkeypatch.setattr(OracleWorker, "label", failing)
    ask = ["ask.arm=everything", "ask.max_attempts=1", "growth.max_events=1"]
    launch(small(*IN_TIME, *ask), tmp_path / "run")
    events = events_of(tmp_path / "run")
    assert {event["fate"] for event in events if "its label failed" in (event["reason"] or "")} >= {"accepted"}
    assert len(standing(events)) == 1


def test_a_crystal_too_large_for_the_oracle_is_asked_about_in_carves(tmp_path: Path) -> None:
    """Labels stay small while the crystal grows; each tells how wrong the surrogate was on that very cluster."""
    run = tmp_path / "run"
    config = small("growth.n_atoms=23", "growth.hops_per_step=0", "oracle.max_atoms=20", "ask.max_attempts=0")
    launch(config, run)
    labelled = Dataset.read(run / "dataset").structures()
    assert max(len(structure) for structure in labelled) == 20
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    carved = [line for line in lines if line["what"] == "error" and line["carved_from"]]
    assert carved
    assert all(line["n_atoms"] == 20 < line["carved_from"] <= 23 for line in carved)
    assert all(line["energy_std"] > 0 and line["force_std"] > 0 for line in carved)
    certificate = json.loads((run / "certificate.json").read_text())
    assert {final["oracle_free_energy"] for final in certificate["final"]} == {None}
    assert {final["labelled_atoms"] for final in certificate["final"]} == {20}
    before = events_of(run)
    launch(config, run)
    assert events_of(run) == before


def test_accepted_steps_of_a_large_crystal_are_certified_by_carves(tmp_path: Path) -> None:
    run = tmp_path / "run"
    launch(small("growth.n_atoms=22", "growth.hops_per_step=0", "oracle.max_atoms=20", "ask.arm=nothing"), run)
    certificate = json.loads((run / "certificate.json").read_text())
    sizes = [point["n_atoms"] for point in certificate["path"]]
    assert certificate["n_steps"] == 4
    large = [event for event in events_of(run) if event["n_atoms"] > 20 and certified(event, certificate)]
    assert certificate["n_carved"] == len(large)
    assert max(sizes) == 20
    assert certificate["intervals"]["afterwards"]["forces"]["n"] == 4
    assert certificate["intervals"]["afterwards"]["energy"]["n"] == 4 - certificate["n_carved"]
    assert [final["labelled_atoms"] for final in certificate["final"]] == [20, 20]
    assert all(final["energy_mae_mev_per_atom"] > 0 for final in certificate["final"])


def certified(event: dict[str, Any], certificate: dict[str, Any]) -> bool:
    """Whether an event is one of the certificate's steps."""
    return (event["walker"], event["step"]) in [(point["walker"], point["step"]) for point in certificate["path"]]


def test_labels_that_will_not_last_go_to_the_most_doubtful_steps_all_along(tmp_path: Path) -> None:
    scarce = ["budget.labels=24", "growth.n_atoms=24", "growth.hops_per_step=0", "ask.energy_tolerance=0.0001"]
    last = {}
    for paced in (True, False):
        run = tmp_path / str(paced)
        launch(small(*scarce, "ask.max_attempts=0", f"budget.paced={paced}"), run)
        assert len(Dataset.read(run / "dataset")) <= 24
        asked = [event for event in events_of(run) if event["fate"] == "queried"]
        last[paced] = max(event["n_atoms"] for event in asked)
        spared = [event for event in events_of(run) if (event["reason"] or "").startswith("spared")]
        assert bool(spared) == paced
        if paced:
            doubts = {fate: [event["doubt"] for event in of] for fate, of in (("asked", asked), ("spared", spared))}
            assert np.median(doubts["asked"]) > np.median(doubts["spared"]) > 1
    assert last[True] > last[False]


def test_a_walker_stops_before_the_first_doubtful_step_that_there_is_no_label_for(tmp_path: Path) -> None:
    """A budget of hours too; with more of it the same command goes on."""
    run = tmp_path / "run"
    given = ["ask.energy_tolerance=0.0001", "ask.max_attempts=0", "budget.when_spent=stop"]
    launch(small(*given, "budget.hours=1e-6"), run)
    assert not (run / "events.jsonl").exists()
    assert len(Dataset.read(run / "dataset")) == 16
    launch(small(*given, "budget.labels=20", "budget.hours=1"), run)
    fates = [event["fate"] for event in events_of(run)]
    assert 0 < fates.count("queried") <= 4
    assert not any("budget spent" in (event["reason"] or "") for event in events_of(run))
    assert max(event["n_atoms"] for event in events_of(run)) < 17


def test_labels_that_bring_nothing_are_asked_for_no_more(tmp_path: Path) -> None:
    run = tmp_path / "run"
    doubtful = ["ask.delta_e_tolerance=0.001", "ask.force_tolerance=0.001", "ask.max_attempts=0"]
    launch(
        small(*doubtful, "growth.hops_per_step=0", "budget.least_gain=0.99", "budget.gain_steps=3", "walkers=3"), run
    )
    events = events_of(run)
    ends = [k for k, event in enumerate(events) if "labels bring too little" in (event["reason"] or "")]
    assert ends
    assert all(events[k]["fate"] == "accepted" for k in ends)
    assert sum(event["fate"] == "queried" for event in events) >= 6


FAR = ["growth.n_atoms=20", "growth.hops_per_step=0", "walkers=1", "ask.speculate=2", "learner.labels_per_update=20"]
"""One walker that may be two steps ahead of the oracle, asks often, and waits for no model."""


def slow_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels come only when nothing else can be done."""
    monkeypatch.setattr("growth.pool.ROLES", ("learner", "surrogate", "oracle"))


def ahead(events: Sequence[dict[str, Any]]) -> list[int]:
    """After each line, how many steps await an answer."""
    waiting: set[int] = set()
    counts = []
    for event in events:
        if event["fate"] == "speculative":
            waiting.add(event["step"])
        if event["fate"] == "confirmed":
            waiting.discard(event["step"])
        if event["fate"] == "rolled_back":
            waiting = {step for step in waiting if step < event["step"]}
        counts.append(len(waiting))
    return counts


def test_a_walker_goes_on_while_labels_are_awaited_and_they_confirm_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_oracle(monkeypatch)
    run = tmp_path / "run"
    lenient = ["ask.delta_e_tolerance=9", "ask.energy_tolerance=0.0001", "ask.force_tolerance=9"]
    launch(small(*FAR, *lenient), run)
    events, dataset = events_of(run), Dataset.read(run / "dataset")
    fates = [event["fate"] for event in events]
    assert fates.count("confirmed") == fates.count("speculative") >= 5
    assert max(ahead(events)) == 2
    assert ahead(events)[-1] == 0
    assert dataset.method_hash is not None
    grown = read(run / "grown" / "w00" / "000006.extxyz")
    steps = standing(events)
    assert np.array_equal(replay(init(make_seed(small().structure)).crystal, steps).positions, grown.positions)
    directory = RunDirectory(run)
    for step in steps:
        if step["fate"] == "queried":
            accepted = directory.read_sites(step["walker"], step["step"])[0]
            assert dataset.find(uid(accepted, dataset.method_hash)) is not None
    directory.close()


def test_a_label_that_contradicts_takes_a_walker_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the step that it is about; what had been grown on it is gone, and labels of that are learnt all the same."""
    slow_oracle(monkeypatch)
    asked = counted_labels(monkeypatch)
    run = tmp_path / "run"
    launch(small(*FAR, "ask.force_tolerance=0.02", "ask.max_attempts=1", "ask.stop_beyond=null"), run)
    events = events_of(run)
    back = [k for k, event in enumerate(events) if event["fate"] == "rolled_back"]
    assert back
    assert any(ahead(events)[k - 1] == 2 for k in back)
    for k in back:
        after = next(event for event in events[k + 1 :] if event["fate"] != "confirmed")
        assert after["step"] == events[k]["step"]
    steps = standing(events)
    assert [step["step"] for step in steps] == list(range(1, 7))
    grown = read(run / "grown" / "w00" / "000006.extxyz")
    assert np.array_equal(replay(init(make_seed(small().structure)).crystal, steps).positions, grown.positions)
    assert json.loads((run / "summary.json").read_text())["fates"]["rolled_back"] == len(back)
    assert len(asked) == len(set(asked))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    drawn = [line["group"] for line in lines if line["what"] == "error" and line["drawn"]]
    assert len(drawn) == len(set(drawn))


def test_what_waits_for_the_oracle_is_looked_at_again_by_a_newer_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not paid for as the older one would have had it."""
    slow_oracle(monkeypatch)
    asked = counted_labels(monkeypatch)
    run = tmp_path / "run"
    busy = ["walkers=3", "learner.labels_per_update=1", "ask.speculate=0", "learner.update.tolerance=9"]
    launch(
        small(
            *busy, "ask.max_attempts=0", "growth.n_atoms=16", "growth.hops_per_step=0", "ask.delta_e_tolerance=0.001"
        ),
        run,
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    withdrawn = [line for line in lines if line["what"] == "withdrawn"]
    assert withdrawn
    groups = {line["group"] for line in lines if line["what"] == "error"}
    events = events_of(run)
    for line in withdrawn:
        name = f"w{line['walker']:02d}-{line['step']}-{line['attempt']}-"
        assert not any(group.startswith(name) and f"-v{line['by']}" in group for group in groups)
        step = [line[key] for key in ("walker", "step", "attempt")]
        told = [event for event in events if [event[key] for key in ("walker", "step", "attempt")] == step]
        assert told
        assert all(event["model_version"] >= line["again_by"] for event in told)
    assert len(asked) == len(set(asked))
    assert [event["n_atoms"] for event in standing(events)].count(16) == 3


def test_steps_that_no_answer_has_confirmed_are_taken_back_when_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_oracle(monkeypatch)
    run = tmp_path / "run"
    config = small(*FAR, "ask.energy_tolerance=0.0001", "ask.force_tolerance=9", "ask.delta_e_tolerance=9")
    accept = Campaign._accept

    def stop_when_two_ahead(self: Campaign, walker: Walker, fate: str, reason: str | None) -> None:
        accept(self, walker, fate, reason)
        if len(walker.open) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Campaign, "_accept", stop_when_two_ahead)
    with pytest.raises(KeyboardInterrupt):
        launch(config, run)
    before = events_of(run)
    monkeypatch.setattr(Campaign, "_accept", accept)
    propose = Campaign._propose
    monkeypatch.setattr(Campaign, "_propose", lambda self, walker: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        launch(config, run)
    assert len(list((run / "grown" / "w00").glob("*"))) == len(standing(events_of(run)))
    monkeypatch.setattr(Campaign, "_propose", propose)
    launch(config, run)
    after = events_of(run)
    assert after[: len(before)] == before
    assert (after[len(before)]["fate"], after[len(before)]["reason"]) == ("rolled_back", "interrupted")
    assert after[len(before)]["step"] == before[-2]["step"]
    assert [step["step"] for step in standing(after)] == list(range(1, 7))


def test_a_step_whose_own_label_failed_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle has no answer about some crystals of 16 atoms; none of those stands as queried."""
    slow_oracle(monkeypatch)
    label, failed = OracleWorker.label, []

    def failing(self: OracleWorker, structures: Sequence[Atoms]) -> list[Atoms | FailedLabel]:
        outcomes = label(self, structures)
        for k, structure in enumerate(structures):
            if structure.info["reason"] == "query" and len(structure) == 16 and len(failed) < 2:
                failed.append(uid(structure, ""))
                outcomes[k] = FailedLabel(structure, "crash", "made to")
        return outcomes

    monkeypatch.setattr(OracleWorker, "label", failing)
    run = tmp_path / "run"
    launch(small(*FAR, "ask.energy_tolerance=0.0001", "ask.force_tolerance=9", "ask.delta_e_tolerance=9"), run)
    dataset = Dataset.read(run / "dataset")
    assert failed
    assert any(event["fate"] == "rolled_back" and "no label" in event["reason"] for event in events_of(run))
    directory = RunDirectory(run)
    assert dataset.method_hash is not None
    for step in standing(events_of(run)):
        accepted = directory.read_sites(step["walker"], step["step"])[0]
        assert (step["fate"] != "queried") or dataset.find(uid(accepted, dataset.method_hash)) is not None
    directory.close()


def test_what_left_the_known_region_is_asked_about_and_never_taken(tmp_path: Path) -> None:
    """Its label is learnt, and the step is searched for anew; the last time relaxations go to their end."""
    run = tmp_path / "run"
    cautious = ["ask.stop_beyond=1.5", "ask.force_tolerance=0.15", "ask.max_attempts=1", "ask.arm=committee"]
    launch(small(*cautious, "growth.n_atoms=16", "walkers=1"), run)
    events, dataset = events_of(run), Dataset.read(run / "dataset")
    left = [event for event in events if event["reason"] and "left the known region" in event["reason"]]
    assert left
    for event in left:
        assert (event["fate"], event["attempt"]) == ("rejected", 0)
        assert event["n_stopped"] >= 1
        assert event["seconds"] > 0
    assert all(event["n_stopped"] == 0 for event in events if event["attempt"] == 1)
    assert standing(events)[-1]["n_atoms"] == 16
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    drawn = [line["group"] for line in lines if line["what"] == "error" and line["drawn"]]
    for event in left:
        assert any(group.startswith(f"w00-{event['step']}-0-") for group in drawn)
    directory = RunDirectory(run)
    for step in standing(events):
        if step["fate"] == "queried":
            accepted = directory.read_sites(step["walker"], step["step"])[0]
            assert dataset.method_hash is not None
            assert dataset.find(uid(accepted, dataset.method_hash)) is not None
    directory.close()


@pytest.mark.parametrize("given", [["ask.arm=nothing"], ["ask.stop_beyond=null"], ["budget.labels=17"]])
def test_where_nobody_can_be_asked_relaxations_go_to_their_end(given: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    close = [] if "ask.stop_beyond=null" in given else ["ask.stop_beyond=1.01"]
    short = ["growth.n_atoms=15", "growth.hops_per_step=0", "walkers=1", "certificate={path_steps: 0, site_steps: 0}"]
    launch(small(*close, "ask.force_tolerance=0.01", *given, *short), run)
    events = events_of(run)
    assert [event["n_atoms"] for event in standing(events)] == [15]
    assert all(event["n_stopped"] == 0 for event in standing(events))


WITH_A_CLOCK = ["growth.kinetics=kmc", "growth.kmc={flux: {Al: 1.0}}", "growth.hops_per_step=0"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([*WITH_A_CLOCK, "oracle.max_atoms=30"], "max_atoms: expected none"),
        (["ask.learn_first=true", "ask.speculate=2"], "speculate: expected 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        small(*given)
