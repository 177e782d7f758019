"""The report as a person sees it, in Chromium: on a wide screen and on a phone, light and dark, without a network.

CDNLAB_KEEP_SCREENSHOTS=FOLDER keeps a picture of each.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.report.writer import write_report
from tests.integration.lab.report.browser import Browser, Page, find_chromium
from tests.recorded_runs import DURATION, KILLED, REGIONS, write_recorded_run
from tests.unit.lab.report.test_page import write_synthetic_run

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

WIDE, PHONE = (1280, 900), (390, 844)
MOST_LOAD_SECONDS = 5.0
"""On a machine that does something else as well; alone it takes 0.4 s."""
PANELS = [
    "done",
    "requests",
    "results",
    "hit-ratio",
    "origin-fetches",
    "errors",
    "latency-p50",
    "latency-p95",
    "latency-p99",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of 100,000 requests with a history."""
    return write_report(write_recorded_run(tmp_path_factory.mktemp("recorded") / "run", 100_000))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run without a history and without places."""
    return write_report(write_synthetic_run(tmp_path_factory.mktemp("plain") / "run"))


@pytest.fixture
def wide(browser: Browser, recorded: Path) -> Iterator[Page]:
    with browser.open(recorded.as_uri(), *WIDE, is_dark=False, is_phone=False) as page:
        yield page


def keep(page: Page, name: str) -> None:
    """Where whoever runs the tests wants it."""
    if folder := os.environ.get("CDNLAB_KEEP_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.picture(Path(folder) / f"{name}.png")


def count(page: Page, selector: str) -> int:
    return int(page.evaluate(f"document.querySelectorAll({selector!r}).length"))


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("is_phone", [False, True], ids=["wide", "phone"])
def test_every_drawing_is_there_without_a_complaint_or_a_request(
    browser: Browser, recorded: Path, *, is_phone: bool, is_dark: bool
) -> None:
    width, height = PHONE if is_phone else WIDE
    with browser.open(recorded.as_uri(), width, height, is_dark=is_dark, is_phone=is_phone) as page:
        keep(page, f"recorded-{'phone' if is_phone else 'wide'}-{'dark' if is_dark else 'light'}")
        assert page.complaints == []
        assert page.requests == [recorded.as_uri()]
        assert page.evaluate("[...document.querySelectorAll('.panel')].map(each => each.dataset.panel)") == PANELS
        empty = "[...document.querySelectorAll('.panel > svg')].filter(each => each.getBoundingClientRect().height < 50 || each.children.length < 5).length"
        assert page.evaluate(empty) == 0
        curves = (
            "[...document.querySelectorAll('[data-series]')].filter(each => each.getAttribute('d').length < 50).length"
        )
        assert page.evaluate(curves) == 0
        assert count(page, ".panel [data-mark]") == 30
        assert count(page, "[data-site]") == 9 + 9 + 3 + 2 + 1 + 1, (
            "viewers, POPs, regional caches, origins, router, control plane"
        )
        assert count(page, "[data-arc=edge]") == len(REGIONS)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no scrolling sideways"
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
        assert (max(ground) < 64) == is_dark
        assert page.load_seconds < MOST_LOAD_SECONDS


def test_a_run_of_files_only_is_drawn_as_well(browser: Browser, plain: Path) -> None:
    with browser.open(plain.as_uri(), *PHONE, is_dark=True, is_phone=True) as page:
        keep(page, "plain-phone-dark")
        assert page.complaints == []
        assert page.evaluate("[...document.querySelectorAll('.panel')].map(each => each.dataset.panel)") == PANELS
        assert count(page, "[data-site]") == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_labels_of_the_timeline_run_into_nothing(wide: Page, browser: Browser, recorded: Path) -> None:
    """Neither into each other nor out of the picture, with thirty marks."""
    script = """(() => {
      const boxes = [...document.querySelectorAll('[data-panel=done] text')].filter(each => each.textContent).map(each => each.getBoundingClientRect());
      const frame = document.querySelector('[data-panel=done] svg').getBoundingClientRect();
      const out = boxes.filter(box => box.left < frame.left - 1 || box.right > frame.right + 1).length;
      const over = boxes.filter((one, place) => boxes.some((other, place2) => place2 > place && one.left < other.right - 1 && other.left < one.right - 1
        && one.top < other.bottom - 3 && other.top < one.bottom - 3)).length;
      return [out, over];
    })()"""
    assert wide.evaluate(script) == [0, 0]
    with browser.open(recorded.as_uri(), *PHONE, is_dark=False, is_phone=True) as phone:
        assert phone.evaluate(script) == [0, 0]


def test_evidence_opens_by_one_click(wide: Page) -> None:
    shown = "[...document.querySelectorAll('.evidence')].filter(each => each.checkVisibility()).map(each => each.innerText).join('\\n')"
    assert wide.evaluate(shown) == ""
    wide.click("#verdict summary")
    assert "A viewer in us-west-2 asked for GET" in wide.evaluate(shown)


def test_pointing_at_an_arc_and_at_a_dead_edge_says_their_figures(wide: Page) -> None:
    for selector, words in (
        ("[data-site='edge@IAD89-P1']", (KILLED, "hit ratio")),
        ("[data-site='viewers@sa-east-1']", ("viewers", "requests")),
    ):
        wide.mouse("mouseMoved", *wide.middle(selector))
        wide.frames()
        told = wide.evaluate("document.querySelector('#world-drawing .tip').innerText")
        assert all(word in told for word in words), told


def test_a_finger_has_the_same_figures_as_a_pointer(browser: Browser, recorded: Path) -> None:
    """They stay when it is lifted."""
    with browser.open(recorded.as_uri(), *PHONE, is_dark=True, is_phone=True) as page:
        page.tap("[data-site='edge@IAD89-P1']")
        assert f"{KILLED}: kill" in page.evaluate("document.querySelector('#world-drawing .tip').innerText")
        page.tap("[data-panel=latency-p95] > svg")
        assert "us-west-2" in page.evaluate("document.querySelector('#timeline-drawing .tip').innerText")
        page.click("#verdict summary")
        assert page.evaluate("document.querySelector('.evidence').checkVisibility()")


def test_a_phase_shows_its_own_traffic_and_its_own_faults(wide: Page) -> None:
    assert count(wide, "[data-hurt]") == 1
    wide.click("#world-drawing .choices button:nth-child(2)")
    assert wide.evaluate("document.querySelector('#world-drawing [aria-pressed=true]').textContent") == "Before"
    assert count(wide, "[data-hurt]") == 0


def test_dragging_over_a_stretch_shows_that_stretch(wide: Page) -> None:
    ticks = "[...document.querySelectorAll('[data-panel=requests] svg > text')].map(each => each.textContent).filter(each => / s$/.test(each))"
    assert wide.evaluate(ticks)[-1] == f"{DURATION} s"
    x, y = wide.middle("[data-panel=requests] > svg")
    wide.mouse("mousePressed", x, y, is_held=True)
    wide.mouse("mouseMoved", x + 100, y, is_held=True)
    wide.mouse("mouseReleased", x + 100, y)
    wide.frames()
    assert wide.evaluate(ticks)[-1] != f"{DURATION} s"
    assert wide.evaluate("document.querySelector('.reset').checkVisibility()")
    wide.click(".reset")
    assert wide.evaluate(ticks)[-1] == f"{DURATION} s"


def test_a_region_can_be_hidden_in_every_panel(wide: Page) -> None:
    drawn = "[...document.querySelectorAll('[data-series=us-east-1]')].length"
    assert wide.evaluate(drawn) == 5
    wide.evaluate(
        "[...document.querySelectorAll('.legend button')].find(each => each.textContent === 'us-east-1').click()"
    )
    assert wide.evaluate(drawn) == 0
