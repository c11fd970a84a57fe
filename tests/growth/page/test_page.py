"""The page as a file: whole, small, closed to the world, and made of any run."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from growth.errors import InputError
from growth.page.content import content_of, named
from growth.page.page import html_of, write_report
from oracle.durable import seal, unseal
from tests.growth.page.imitation import append_step, config_of, imitate

HOSTILE = "<img src=x onerror=alert(1)><!--<script>"
"""As a name of a run may be."""
HOSTILE_REASON = "</script><script>alert(1)</script>&amp;"
SHORT = Path(__file__).parents[3] / "docs" / "results" / "al55-gpaw" / "run"


class Page(HTMLParser):
    """What stands where: texts of scripts, attributes, and all that is not script or style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._inside != "style":
            self.words += data

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "data")))

    @property
    def policy(self) -> str:
        content = next(a["content"] for tag, a in self.tags if tag == "meta" and "http-equiv" in a)
        assert content is not None
        return content


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def rewrite_events(run: Path, change: dict[str, Any]) -> None:
    events = [unseal(line) for line in (run / "events.jsonl").read_bytes().splitlines()]
    (run / "events.jsonl").write_text("".join(seal({**event, **change}) + "\n" for event in events if event))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imitate(tmp_path_factory.mktemp("page") / "run")


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return page_of(run)


def test_headings_answer_what_a_reader_asks_in_order(page: Page) -> None:
    asked = ["What grew", "How sure are we", "What it cost", "What next", "Do it again", "Words"]
    places = [page.words.rindex(heading) for heading in asked]
    assert places == sorted(places)


def test_the_words_say_what_the_files_say(page: Page) -> None:
    words = " ".join(page.words.split())
    for told in (
        "Two Al crystals grew atom by atom from a seed of 14 atoms to 20 atoms",
        "effective-medium theory (EMT)",
        "Finished",
        "5.1 ± 0.4 meV/atom",
        "In 1 of 1 steps the surrogate ranked the oracle's best site first",
        "query: ΔE between sites 0.2 eV",
        "<b>longer</b> than 60 s",  # a failure's detail, as text
        "The labels ran out before the end",
        "kossel grow",
        "2 min 0 s",
    ):
        assert told in words


def test_numbers_for_the_script_are_those_of_the_run(run: Path, page: Page) -> None:
    data = page.data
    assert [walker["sizes"] for walker in data["walkers"]] == [list(range(14, 21))] * 2
    assert len(data["energies"]) == 12
    assert data["energies"][0]["energy_ev_per_atom"] == pytest.approx((-3.4 * 15 + 3.0 * 15 ** (2 / 3)) / 15, rel=1e-4)
    assert data["structures"]["sizes"] == [15, 16, 17, 18] * 2
    assert [model["promoted"] for model in data["models"]] == [True, False, True]
    assert {role["role"]: role["share"] for role in data["busy"]}["oracle"] == pytest.approx(0.5)


def test_no_request_can_leave_and_no_foreign_script_can_run(page: Page) -> None:
    policy = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert policy["default-src"] == policy["connect-src"] == policy["base-uri"] == "'none'"
    running = [text for attributes, text in page.scripts if "type" not in attributes]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in running]
    assert policy["script-src"].split() == hashes
    assert not [a for _, a in page.tags if any(key.startswith("on") for key in a)]
    assert not [(tag, a) for tag, a in page.tags if any(str(a.get(key) or "#")[0] != "#" for key in ("src", "href"))]


def test_a_hostile_name_is_only_text(tmp_path: Path) -> None:
    run = imitate(tmp_path / "run", name=HOSTILE, finished=False)
    rewrite_events(run, {"reason": HOSTILE_REASON})
    page = page_of(run)
    assert page.data["name"] == HOSTILE
    assert page.data["energies"][0]["reason"] == HOSTILE_REASON
    assert HOSTILE in page.words
    assert f"queried: {HOSTILE_REASON}" in page.words
    assert not [a for tag, a in page.tags if tag == "img" and a.get("src") == "x"]
    assert len(page.scripts) == 6


def test_licences_of_what_is_inside_are_inside(page: Page) -> None:
    assert "University of Pittsburgh" in page.words
    assert "Plotly" in page.words


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_500_steps_of_two_growing_crystals_are_below_10_mb(tmp_path: Path) -> None:
    run = imitate(tmp_path / "run", n_steps=500, asked=3)
    written = write_report(run, tmp_path / "page.html")
    assert written.stat().st_size < 10e6
    data = Page(written.read_text()).data
    assert [walker["sizes"][-1] for walker in data["walkers"]] == [514, 514]
    assert [walker["left_out"] for walker in data["walkers"]] == [0, 0]


@pytest.mark.skipif(not SHORT.is_dir(), reason="the run is not in this checkout")
def test_a_run_with_gpaw_is_told(tmp_path: Path) -> None:
    page = Page(write_report(SHORT, tmp_path / "page.html").read_text())
    assert "density-functional theory (GPAW)" in page.words
    assert "The walkers grew different structures" in page.words
    errors = page.data["errors"]
    assert sum(error["structure"] is not None for error in errors) == len(errors) == 100


@pytest.mark.parametrize(
    "lost",
    [
        ["certificate.json"],
        ["certificate.json", "summary.json", "state"],
        ["certificate.json", "metrics.jsonl", "dataset"],
        ["certificate.json", "events.jsonl", "metrics.jsonl", "dataset", "state"],
        ["certificate.json", "events.jsonl", "metrics.jsonl", "dataset", "state", "seed.json", "provenance.jsonl"],
        ["sites"],
    ],
)
def test_a_run_of_which_little_is_there_is_told(run: Path, tmp_path: Path, lost: list[str]) -> None:
    part = tmp_path / "run"
    shutil.copytree(run, part)
    for name in lost:
        shutil.rmtree(part / name) if (part / name).is_dir() else (part / name).unlink()
    words = page_of(part).words
    assert "What grew" in words
    assert ("Finished" in words) == ("certificate.json" not in lost)


def test_growth_without_an_oracle_is_told(tmp_path: Path) -> None:
    alone = ["ask.arm=nothing", "initial.n=0", "certificate={path_steps: 0, label_final: false}"]
    words = page_of(imitate(tmp_path / "run", walkers=1, asked=0, finished=False, overrides=alone)).words
    assert "One Al crystal grew" in words
    assert "the oracle was not asked" in words
    assert "No label failed." in words


def test_a_damaged_log_is_told_and_the_rest_shown(run: Path, tmp_path: Path) -> None:
    part = tmp_path / "run"
    shutil.copytree(run, part)
    lines = (part / "events.jsonl").read_bytes().split(b"\n")
    lines[4] = lines[4].replace(b"attach", b"detach")
    (part / "events.jsonl").write_bytes(b"\n".join(lines))
    page = page_of(part)
    assert "damaged line 5" in page.words
    assert len(page.data["energies"]) == 4


def test_growth_in_time_and_a_slab_are_told(tmp_path: Path) -> None:
    in_time = ["growth.kinetics=kmc", "growth.kmc.flux={Al: 1.0e-3}"]
    run = imitate(tmp_path / "run", walkers=1, overrides=in_time)
    rewrite_events(run, {"time": 0.5, "barrier": 0.3, "energy_std": None, "forces_std": None})
    seed = unseal((run / "seed.json").read_bytes())
    assert seed is not None
    seed |= {"cell": (20 * np.eye(3)).tolist(), "pbc": [True, True, False], "fixed": [0, 1]}
    (run / "seed.json").write_text(seal(seed))
    page = page_of(run)
    assert {e["barrier_ev"] for e in page.data["energies"]} == {0.3}
    assert {e["std_mev_per_atom"] for e in page.data["energies"]} == {None}
    assert page.data["walkers"][0]["cell"] == (20 * np.eye(3)).tolist()
    assert page.data["walkers"][0]["fixed"] == [0, 1]


def test_what_is_no_run_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(InputError, match="not a run directory"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="not a run directory"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(run, tmp_path / "nowhere" / "page.html")
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("growth: [")
    with pytest.raises(InputError, match=r"config\.yaml"):
        write_report(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("certificate.json", '{"n_steps": 3}'),
        ("certificate.json", '{"final": [{}]}'),
        ("metrics.jsonl", '{"what": "error"}\n'),
        ("metrics.jsonl", '{"what": "model", "version": 1, "promoted": true}\n'),
        ("events.jsonl", '{"walker": 0, "step": 1, "fate": "accepted", "n_atoms": 15}\n'),
        ("seed.json", "[]"),
    ],
)
def test_files_of_another_shape_are_one_line(run: Path, tmp_path: Path, name: str, content: str) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(InputError):
        write_report(tmp_path / "run")


def test_a_run_that_goes_on_beyond_its_certificate_is_not_finished(tmp_path: Path) -> None:
    run = imitate(tmp_path / "run")
    append_step(run, walker=0, step=7)
    content = content_of(run)
    assert content.state == "stopped"
    assert "The run stopped before its end" in content.sections["findings"]


def test_only_the_served_page_may_ask_for_news(run: Path) -> None:
    content = content_of(run)
    assert "connect-src 'self'" in Page(html_of(content, live=True)).policy
    assert re.search(r'<html[^>]*data-mode="live"', html_of(content, live=True))
    assert re.search(r'<html[^>]*data-mode="still"', html_of(content))


def test_commands_name_the_run_as_the_reader_would(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    assert named(run) == "run"
    assert "kossel grow run/config.yaml --run-dir run" in content_of(Path("run")).sections["again"]
    monkeypatch.chdir(tmp_path)
    assert named(run) == str(run)


def test_the_imitation_is_a_config_that_a_campaign_would_take() -> None:
    assert config_of("x", 2, 20).growth.n_atoms == 20
