"""The page on a run in a real Chromium: drawn, linked, alone with its file, at every width, and live."""

import io
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from growth.page.page import write_report
from growth.page.serve import PageServer
from tests.growth.page.imitation import append_step, imitate

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
HOSTILE = "<img src=x onerror=window.hacked=1><!--<script>"
PATIENCE_S = 90.0
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (chromium, chromium-browser, google-chrome)"),
]


class Reader:
    """A page that is open, and all that it did beside showing itself.

    Attributes:
        page: playwright's. requests: addresses asked for. complaints: console messages and errors.
    """

    def __init__(self, browser: Any, address: str, before: str = "", **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **context})
        self.context.set_default_timeout(1e3 * PATIENCE_S)
        if before:
            self.context.add_init_script(before)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)
        self.until("document.documentElement.dataset.ready === 'yes'")

    def until(self, condition: str) -> None:
        """Wait until an expression holds. (`page.wait_for_function` evaluates strings inside the page: it may not.)"""
        deadline = time.monotonic() + PATIENCE_S
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, condition
            self.page.wait_for_timeout(50)

    def crystal(self) -> np.ndarray:
        """What is drawn of the crystal, (height, width, 3), from 0 to 1."""
        return picture(self.page.locator("#stage").screenshot())

    @property
    def step(self) -> int:
        return int(self.page.locator("#slider").input_value())

    @property
    def told(self) -> str:
        return str(self.page.locator("#told").inner_text())

    def click_point(self, plot: str, trace: int, point: int) -> None:
        """Click where a plot has drawn a point."""
        self.page.locator(f"#{plot}").scroll_into_view_if_needed()
        x, y = self.page.evaluate(
            """([plot, trace, point]) => {
                const place = document.getElementById(plot), {xaxis, yaxis} = place._fullLayout;
                const box = place.querySelector(".nsewdrag").getBoundingClientRect(), of = place._fullData[trace];
                return [box.left + xaxis.d2p(of.x[point]), box.top + yaxis.d2p(of.y[point])];
            }""",
            [plot, trace, point],
        )
        self.page.mouse.move(x, y)
        self.page.wait_for_timeout(100)
        self.page.mouse.click(x, y)
        self.page.wait_for_timeout(400)


def picture(png: bytes) -> np.ndarray:
    return np.asarray(imread(io.BytesIO(png), format="png"))[:, :, :3]


def drawn(image: np.ndarray) -> float:
    """Share of the pixels that are not background."""
    inside = image[8:-8, 8:-8]
    return float((np.abs(inside - inside[0, 0]).max(axis=2) > 0.05).mean())


def changed(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels that differ."""
    return float((np.abs(one - other).max(axis=2) > 0.05).mean())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_GL)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imitate(tmp_path_factory.mktemp("browser") / "run", name=HOSTILE)


@pytest.fixture(scope="module")
def address(run: Path) -> str:
    return write_report(run).as_uri()


@pytest.fixture(scope="module")
def opened(browser: Any, address: str) -> Reader:
    """Open once; every test that takes it leaves it at the last step of walker 0, coloured by age."""
    return Reader(browser, address)


def test_the_crystal_is_drawn_and_follows_the_slider(opened: Reader) -> None:
    assert opened.page.locator("#stage canvas").evaluate("c => !c.getContext('2d')")
    last = opened.crystal()
    assert drawn(last) > 0.1
    opened.page.locator("#slider").fill("0")
    seed = opened.crystal()
    assert 0.05 < drawn(seed) < drawn(last)
    assert changed(seed, last) > 0.02
    assert "The seed: Al14" in opened.told
    opened.page.locator("#slider").fill("6")
    assert changed(opened.crystal(), last) < 0.005
    assert "Step 6: Al20" in opened.told


def test_colours_change_what_is_drawn(opened: Reader) -> None:
    seen = {}
    for mode in ("age", "order", "species", "std"):
        opened.page.locator("#mode").select_option(mode)
        seen[mode] = opened.crystal()
        assert drawn(seen[mode]) > 0.1
        assert opened.page.locator("#legend").inner_text()
    assert all(changed(seen[a], seen[b]) > 0.02 for a in seen for b in seen if a < b)
    opened.page.locator("#inside").check()
    assert drawn(opened.crystal()) < 0.7 * drawn(seen["std"])
    opened.page.locator("#inside").uncheck()
    opened.page.locator("#mode").select_option("share")
    assert "no model" in opened.page.locator("#legend").inner_text()
    opened.page.locator("#mode").select_option("age")


def test_keys_step_play_and_turn(opened: Reader) -> None:
    opened.page.locator("#stage").focus()
    for key, step in (("ArrowLeft", 5), ("ArrowLeft", 4), ("ArrowRight", 5), ("Home", 0), ("End", 6)):
        opened.page.keyboard.press(key)
        assert opened.step == step
    before = opened.crystal()
    opened.page.keyboard.press("Shift+ArrowLeft")
    assert changed(opened.crystal(), before) > 0.01
    opened.page.locator("#reset").click()
    opened.page.locator("#slider").focus()
    opened.page.keyboard.press("ArrowLeft")
    assert opened.step == 5
    opened.page.locator("#last").press("Enter")
    assert opened.step == 6
    opened.page.locator("#stage").focus()
    opened.page.keyboard.press(" ")  # plays from the beginning
    opened.until("document.getElementById('play').classList.contains('playing')")
    opened.until("!document.getElementById('play').classList.contains('playing')")
    assert opened.step == 6


def test_all_that_is_pressed_shows_that_it_has_the_focus(opened: Reader) -> None:
    for name in ("walker", "mode", "first", "play", "last", "slider", "stage"):
        opened.page.locator(f"#{name}").focus()
        opened.page.keyboard.press("Tab")
        opened.page.keyboard.press("Shift+Tab")
        outline = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", name


def test_a_click_on_a_step_shows_it(opened: Reader) -> None:
    opened.click_point("plot-energy", 3, 1)  # walker 1's line follows the two of walker 0 and its own band
    assert opened.page.locator("#walker").input_value() == "1"
    assert "Step 2: Al16" in opened.told
    opened.page.locator("summary", has_text="The same as a table").click()
    opened.page.locator(".jump[data-walker='0'][data-step='6']").click()
    assert opened.page.locator("#walker").input_value() == "0"
    assert "Step 6: Al20" in opened.told


def test_a_click_on_a_label_shows_its_structure(opened: Reader) -> None:
    for plot, trace in (("plot-parity", 1), ("plot-honest", 0)):
        before = opened.crystal()
        opened.click_point(plot, trace, 2)
        assert "A structure that the oracle labelled: Al17" in opened.told
        opened.page.locator("#stage").scroll_into_view_if_needed()
        assert changed(opened.crystal(), before) > 0.02
        opened.page.locator("#to-growth").click()
        assert "Step 3: Al17" in opened.told
        opened.page.locator("#last").click()


def test_a_click_on_the_certificate_or_a_promise_shows_the_step(opened: Reader) -> None:
    opened.page.locator("#quantity").select_option("energy")
    opened.click_point("plot-promise", 1, 1)
    assert "Step 2: Al16" in opened.told
    opened.click_point("plot-parity", 3, 0)
    assert "Step 5: Al19" in opened.told
    opened.page.locator("#last").click()


def test_an_atom_that_is_clicked_tells_what_it_is(opened: Reader) -> None:
    box = opened.page.locator("#stage").bounding_box()
    assert box is not None
    opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.until("document.getElementById('picked').textContent.startsWith('Atom')")
    assert "Al" in opened.page.locator("#picked").inner_text()


def test_nothing_was_asked_of_anybody_and_nothing_complained(opened: Reader, address: str) -> None:
    assert opened.requests == [address]
    assert opened.complaints == []
    assert opened.page.evaluate("window.hacked") is None
    assert opened.page.locator("h1").inner_text() == HOSTILE


def test_a_script_that_is_slipped_in_does_not_run(opened: Reader) -> None:
    opened.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', "
        "'<img src=x onerror=window.hacked=1><b onclick=window.hacked=1 id=b>b</b>')"
    )
    opened.page.locator("#b").click()
    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("window.hacked") is None
    opened.page.evaluate("document.body.lastElementChild.remove(), document.body.lastElementChild.remove()")


@pytest.mark.parametrize("width", [360, 768])
def test_no_width_makes_the_page_scroll_sideways(browser: Any, address: str, width: int) -> None:
    reader = Reader(browser, address, viewport={"width": width, "height": 800}, has_touch=True, is_mobile=True)
    for _ in range(2):
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
        for summary in reader.page.locator("summary").all():
            summary.click()
    assert drawn(reader.crystal()) > 0.1
    reader.context.close()


def test_darkness_is_followed(opened: Reader) -> None:
    light = opened.page.evaluate("getComputedStyle(document.body).backgroundColor"), opened.crystal()[8, 8]
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_timeout(300)
    dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor"), opened.crystal()[8, 8]
    ink = opened.page.evaluate("getComputedStyle(document.querySelector('#plot-energy .xtitle')).fill")
    opened.page.emulate_media(color_scheme="light")
    assert light[0] == "rgb(255, 255, 255)"
    assert max(map(int, dark[0][4:-1].split(","))) < 60
    assert light[1].min() > 0.9
    assert dark[1].max() < 0.2
    assert min(map(int, ink[4:-1].split(","))) > 150


def test_it_prints_with_a_still_image(opened: Reader) -> None:
    printed = opened.page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert b"/Subtype /Image" in printed
    opened.page.emulate_media(media="print")
    still = opened.page.locator("#still")
    assert still.is_visible()
    assert not opened.page.locator("#stage").is_visible()
    assert drawn(picture(still.screenshot())) > 0.05
    opened.page.emulate_media(media="screen")


def test_without_webgl_the_crystal_is_drawn_all_the_same(browser: Any, address: str) -> None:
    hidden = (
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more)"
        "{ return kind.startsWith('webgl') ? null : get.call(this, kind, ...more); };"
    )
    reader = Reader(browser, address, before=hidden)
    last = reader.crystal()
    assert drawn(last) > 0.1
    reader.page.locator("#slider").fill("0")
    assert changed(reader.crystal(), last) > 0.02
    assert reader.complaints == []
    reader.context.close()


def test_a_served_page_brings_itself_up_to_date(browser: Any, tmp_path: Path) -> None:
    run = imitate(tmp_path / "run", finished=False)
    with PageServer(run) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        reader = Reader(browser, server.url)
        page = reader.page
        reader.until("!document.getElementById('news').hidden")
        assert reader.step == 6
        append_step(run, walker=0, step=7)
        reader.until("document.getElementById('slider').value === '7'")  # who looks at the end stays there
        assert "Step 7: Al21" in reader.told
        assert "Al21" in page.locator("[data-section=walkers]").inner_text()
        page.locator("#slider").fill("2")
        page.locator("summary", has_text="All settings").click()
        append_step(run, walker=0, step=8)
        reader.until("document.getElementById('slider').max === '8'")
        assert reader.step == 2  # who looks elsewhere stays there
        assert "Step 2" in reader.told
        assert page.locator("details", has_text="All settings").get_attribute("open") is not None
        assert {request.split("?")[0] for request in reader.requests} == {server.url, f"{server.url}data.json"}
        assert reader.complaints == []
        server.shutdown()
        server.server_close()
        reader.until("document.getElementById('news').textContent.includes('does not answer')")
        reader.context.close()
