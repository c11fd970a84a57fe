"""Figures for monitors: what lines of logs come to, and that following a run counts what its files hold."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from growth.config import load_config
from growth.events import standing
from growth.live import METRICS, Figure, Follower, figures
from growth.pool import SerialPool, Task
from growth.run import launch
from growth.tensorboard_files import write_tensorboard
from oracle import Dataset
from oracle.durable import append_lines, read_lines

ROOT = Path(__file__).parents[2]
SMALL = [
    "pool=serial",
    "growth.n_atoms=16",
    "growth.hops_per_step=0",
    "growth.sites.max_candidates=5",
    "growth.sites.n_competing=3",
    "growth.sites.max_steps=20",
    "initial.n=12",
    "learner.network={n_members: 2, n_features: 8, n_steps: 1, n_directions: 4}",
    "learner.train.steps=60",
    "learner.update.steps=10",
    "ask.audit_probability=0.5",
    "certificate={path_steps: 2, site_steps: 1, relax_final: false}",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("live") / "run"
    launch(load_config(ROOT / "growth" / "configs" / "al_emt.yaml", SMALL), directory)
    return directory


class Shown:
    """What a monitor would know: gauges as they are, sums of counters, all observations of histograms."""

    def __init__(self) -> None:
        self.gauges: dict[tuple[str, ...], float] = {}
        self.counters: Counter[tuple[str, ...]] = Counter()
        self.observed: dict[str, list[float]] = {}

    def __call__(self, figure: Figure) -> None:
        metric = METRICS[figure.name]
        assert set(figure.tags) == set(metric.tags)
        key = (figure.name, *(figure.tags[tag] for tag in metric.tags))
        match metric.kind:
            case "gauge":
                self.gauges[key] = figure.value
            case "counter":
                assert figure.value >= 0
                self.counters[key] += figure.value  # type: ignore[assignment]
            case "histogram":
                self.observed.setdefault(figure.name, []).append(figure.value)


def idle() -> SerialPool:
    return SerialPool({})


def test_a_followed_run_is_what_its_files_hold(run: Path) -> None:
    shown = Shown()
    Follower(run, shown)(idle())
    events, metrics = read_lines(run / "events.jsonl"), read_lines(run / "metrics.jsonl")
    fates = Counter(line["fate"] for line in events)
    assert {key[1]: n for key, n in shown.counters.items() if key[0] == "kossel_steps"} == fates
    assert len(shown.observed["kossel_step_seconds"]) == sum("seconds" in line for line in events)
    assert shown.gauges["kossel_atoms", "00"] == shown.gauges["kossel_atoms", "01"] == 16
    last = [line for line in standing(events) if line["walker"] == 1][-1]
    assert shown.gauges["kossel_energy_ev_per_atom", "01"] == pytest.approx(last["energy"] / 16, rel=1e-12)
    dataset = Dataset.read(run / "dataset")
    assert shown.gauges[("kossel_labels",)] == len(dataset)
    answers = {key[1:]: n for key, n in shown.counters.items() if key[0] == "kossel_answers"}
    assert answers["labelled", "initial"] == sum(s.info["reason"] == "initial" for s in dataset.structures())
    assert sum(n for (outcome, _), n in answers.items() if outcome == "labelled") >= len(dataset)
    models = [line for line in metrics if line["what"] == "model"]
    assert shown.gauges[("kossel_model_version",)] == max(line["version"] for line in models)
    force = shown.gauges[("kossel_validation_force_mae_mev_per_angstrom",)]
    assert force == pytest.approx(models[-1]["force_mae_mev_per_A"])
    seconds = sum(line["seconds"] for line in metrics if line["what"] == "labels")
    assert sum(shown.observed["kossel_label_seconds"]) == pytest.approx(seconds)


def test_pieces_make_the_whole_and_torn_and_damaged_lines_do_not_count(run: Path, tmp_path: Path) -> None:
    content = (run / "events.jsonl").read_bytes()
    whole, piecewise = Shown(), Shown()
    Follower(run, whole)(idle())
    follow = Follower(tmp_path, piecewise)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(content), 20))
    for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True):
        with (tmp_path / "events.jsonl").open("ab") as file:
            file.write(content[start:stop])
        follow(idle())
    steps = {key: n for key, n in whole.counters.items() if key[0] == "kossel_steps"}
    assert piecewise.counters == steps
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(content.splitlines(keepends=True)[0].replace(b'"walker": 0', b'"walker": 1'))
    append_lines(tmp_path / "metrics.jsonl", [{"what": "unheard of"}])
    follow(idle())
    assert piecewise.counters == steps


def test_what_a_pool_is_at() -> None:
    shown, pool = Shown(), idle()
    for key in "abc":
        pool.submit(Task("oracle", "label", key))
    Follower(Path("nowhere"), shown)(pool)
    assert shown.gauges["kossel_queue", "oracle"] == 3
    assert shown.gauges["kossel_queue", "learner"] == 0
    assert shown.gauges["kossel_workers", "surrogate"] == 1
    assert shown.gauges["kossel_busy_share", "oracle"] == 0


def test_figures_are_finite_and_of_a_clock_beyond_doubt_there_are_few() -> None:
    line = {"walker": 3, "n_atoms": 7, "energy": -3.5, "energy_std": None, "fate": "accepted", "doubt": float("inf")}
    assert [(f.name, f.value) for f in figures("events", line)] == [
        ("kossel_steps", 1.0),
        ("kossel_atoms", 7.0),
        ("kossel_energy_ev_per_atom", -0.5),
    ]


def test_descriptions_are_such_as_ray_takes() -> None:
    assert all(metric.description.isascii() and metric.description for metric in METRICS.values())


def queries(panel: object) -> Iterator[str]:
    """Every PromQL expression in a dashboard."""
    if isinstance(panel, dict):
        for key, value in panel.items():
            if key in ("expr", "query") and isinstance(value, str):
                yield value
            else:
                yield from queries(value)
    elif isinstance(panel, list):
        for item in panel:
            yield from queries(item)


def exported(name: str) -> set[str]:
    """The names under which Ray offers a metric to Prometheus."""
    ends = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}[METRICS[name].kind]
    return {f"ray_{name}{end}" for end in ends}


def test_the_dashboard_shows_what_is_exported_and_all_of_it() -> None:
    dashboard = json.loads((ROOT / "docs" / "monitoring" / "grafana-dashboard.json").read_text())
    expressions = list(queries(dashboard))
    named = {name for text in expressions for name in re.findall(r"\bray_kossel_\w+", text)}
    known = {name: exported(name) for name in METRICS}
    assert named <= set.union(*known.values())
    assert not [name for name, ends in known.items() if not ends & named]
    for text in expressions:
        for name, tags in re.findall(r"by ?\(([^)]*)\) ?\(\w+\(ray_(kossel_\w+)", text):
            assert tags, (name, text)
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert not [name for name in METRICS if f"`{name}`" not in page]


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    dashboard = json.loads((ROOT / "docs" / "monitoring" / "grafana-dashboard.json").read_text())
    assert dashboard["id"] is None
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["uid"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(box["x"] >= 0 and box["x"] + box["w"] <= 24 for box in boxes)
    cells = [(x, y) for b in boxes for x in range(b["x"], b["x"] + b["w"]) for y in range(b["y"], b["y"] + b["h"])]
    assert len(set(cells)) == len(cells), "panels lie on one another"
    sources = {panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"}
    assert sources == {"${datasource}"}
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "run"}


def test_tensorboard_files_hold_the_same(run: Path, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    written = write_tensorboard(run, tmp_path / "board")
    assert {path.name for path in written} == {"campaign", "w00", "w01"}
    walker = event_accumulator.EventAccumulator(str(tmp_path / "board" / "w01")).Reload()
    lines = [line for line in read_lines(run / "events.jsonl") if line["walker"] == 1]
    atoms = walker.Scalars("kossel_atoms")
    assert [(entry.step, entry.value) for entry in atoms] == [(line["step"], line["n_atoms"]) for line in lines]
    campaign = event_accumulator.EventAccumulator(str(tmp_path / "board" / "campaign")).Reload()
    models = [line for line in read_lines(run / "metrics.jsonl") if line["what"] == "model"]
    versions = campaign.Scalars("kossel_model_version")
    assert [(entry.step, entry.value) for entry in versions] == [(line["n_labels"], line["version"]) for line in models]
    fates = Counter(line["fate"] for line in read_lines(run / "events.jsonl"))
    for fate, n in fates.items():
        assert campaign.Scalars(f"kossel_steps/{fate}")[-1].value == n
    assert "name: al_emt" in str(campaign.Tensors("config/text_summary")[0].tensor_proto.string_val[0])
    before = sorted(path.name for path in (tmp_path / "board" / "w01").iterdir())
    write_tensorboard(run, tmp_path / "board")
    assert len(list((tmp_path / "board" / "w01").iterdir())) == len(before), "written anew, not beside"
