"""The page in a real browser: each tab's main flow, wrong input, cancelling, two visitors, a phone.

With MAPFIELD_SCREENSHOTS=docs/images/app the pictures of the manual are made anew.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser: install chromium to test the page in it"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: install the extra 'test'")
expect = playwright.expect
WAIT = 300_000
"""Milliseconds for a job; a quiet machine needs a tenth at most."""
TABS = (
    "Word",
    "Map",
    "Sound",
    "Fields",
    "Edit",
    "File",
    "Your results",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as a visitor's machine would run it, with a teacher that just knows what is empty."""
    import nerf

    root = tmp_path_factory.mktemp("app")
    nerf.train("robot", "hash", steps=200, output_dir=root / "teachers" / "robot")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "demos", "--output", str(root)], cwd=Path(__file__).parents[2],
        env=os.environ | {"GRADIO_SERVER_PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{port}/").close()
                break
            except OSError:
                assert process.poll() is None, "the app did not start"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


Visit = Callable[..., playwright.Page]


@pytest.fixture
def visit(address: str, browser: playwright.Browser) -> Iterator[Visit]:
    """A new visitor's page; settings are those of a browser context."""
    with ExitStack() as stack:

        def opened(**settings: object) -> playwright.Page:
            context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | settings)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(WAIT)
            page.goto(address)
            expect(page.get_by_role("button", name="Learn the word")).to_be_visible(timeout=WAIT)
            page.wait_for_function("localStorage.getItem('mapfield-visitor')")  # before it the page has no visitor
            return page

        yield opened


def enter(page: playwright.Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()


def unfold(page: playwright.Page, name: str) -> None:
    """Open what is folded away; Gradio builds it only then, and sets its values once more just after."""
    page.get_by_role("button", name=re.compile(f"^{name}")).click()
    page.wait_for_timeout(500)  # no hand is faster


def fill(page: playwright.Page, label: str, value: int) -> None:
    field = page.get_by_label(label).locator("visible=true").first
    field.fill(str(value))
    field.press("Tab")
    page.wait_for_timeout(100)
    expect(field).to_have_value(str(value))


def uploaded(page: playwright.Page, count: int) -> None:
    """Wait until that many files are listed; names and their endings are apart there."""
    expect(page.locator("table.file-preview tr:visible")).to_have_count(count, timeout=WAIT)


def shows(page: playwright.Page, place: str) -> None:
    """Wait for a picture in a place."""
    expect(page.locator(f"{place} img").first).to_be_visible(timeout=WAIT)


def keep(page: playwright.Page, name: str, folder: Path) -> Path:
    """A screenshot, in the manual's folder where that is asked for."""
    page.wait_for_timeout(500)  # pictures fade in
    path = Path(os.environ.get("MAPFIELD_SCREENSHOTS", folder)).resolve() / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as shot:
        small = shot.convert("RGB").quantize(128)
    small.save(path, optimize=True)
    return path


def test_a_word_is_learned_and_drawn_and_found_again(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("button", name="Four pictures of a teapot").click()
    uploaded(page, 4)
    unfold(page, "More")
    fill(page, "number input for Steps", int(os.environ.get("MAPFIELD_STEPS", 10)))
    page.get_by_role("button", name="Learn the word").click()
    shows(page, "#samples")
    fill(page, "number input for Pictures", 2)
    page.get_by_role("button", name="Draw", exact=True).click()
    shows(page, "#pictures")
    keep(page, "personalize", tmp_path)
    page.reload()
    enter(page, "Your results")
    shows(page, "#results")


def test_a_map_is_entered_and_left(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    enter(page, "Map")
    fill(page, "number input for Pictures of each", 2)
    fill(page, "number input for Steps", 4)
    page.get_by_role("button", name="Draw the map").click()
    whole = page.get_by_text("12 pictures").first
    expect(whole).to_be_visible(timeout=WAIT)
    shows(page, "#map")
    keep(page, "explorer", tmp_path)
    page.locator("#map img").click(position={"x": 60, "y": 60})
    expect(page.get_by_text("12 pictures")).to_have_count(0, timeout=WAIT)
    page.get_by_role("button", name="Zoom out").click()
    expect(whole).to_be_visible(timeout=WAIT)
    page.get_by_role("radio").first.click()
    expect(page.get_by_text("12 pictures")).to_have_count(0, timeout=WAIT)


def test_two_visitors_hear_sounds_at_once(visit: Visit, tmp_path: Path) -> None:
    pages = [visit(), visit(color_scheme="dark")]
    for page in pages:
        enter(page, "Sound")
        page.get_by_text("bell.png").first.click()
        fill(page, "number input for Sounds to choose the best of", 1)
    for page in pages:
        page.get_by_role("button", name="Make a sound").click()
    for page in pages:
        shows(page, "#spectrogram")
    keep(pages[1], "sound-dark", tmp_path)
    for page in pages:
        enter(page, "Your results")
        expect(page.locator("#results img")).to_have_count(1, timeout=WAIT)


def test_a_field_is_taught_and_looked_at(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    enter(page, "Fields")
    fill(page, "number input for Steps", 100)
    page.get_by_role("button", name="Teach").click()
    shows(page, "#student")
    first = page.locator("#student img").get_attribute("src")
    page.get_by_label("range slider for Azimuth").press("ArrowRight")  # the keyboard turns it too
    expect(page.locator("#student img")).not_to_have_attribute("src", str(first), timeout=WAIT)
    keep(page, "fields", tmp_path)


def test_a_chair_is_edited_by_words_and_turned(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    enter(page, "Edit")
    shows(page, "#edited")
    first = page.locator("#edited img").get_attribute("src")
    page.get_by_label("What it should be").fill("a red chair")
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.locator("#edited img")).not_to_have_attribute("src", str(first), timeout=WAIT)
    expect(page.get_by_label("Done so far")).to_have_value(re.compile("→.*a red chair"), timeout=WAIT)
    page.get_by_role("button", name="Turn it around").click()
    expect(page.get_by_role("img", name="Film of both")).to_be_visible(timeout=WAIT)
    keep(page, "edit", tmp_path)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Done so far")).to_have_value(re.compile("→ instance"), timeout=WAIT)


def test_a_picture_becomes_a_file_and_what_is_no_picture_does_not(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    enter(page, "File")
    upload = page.get_by_role("tabpanel").locator("visible=true").locator("input[type=file]").first
    (tmp_path / "wrong.png").write_bytes(b"no picture")
    upload.set_input_files(tmp_path / "wrong.png")
    uploaded(page, 1)
    page.get_by_role("button", name="Compress").click()
    expect(page.get_by_text("not a picture that can be read").first).to_be_visible(timeout=WAIT)
    page.reload()
    enter(page, "File")
    page.get_by_text("cactus.png").first.click()
    uploaded(page, 1)
    page.get_by_role("button", name="Compress").click()
    expect(page.locator("#rates").get_by_text("mapfield")).to_be_visible(timeout=WAIT)
    keep(page, "codec", tmp_path)


def test_a_job_is_cancelled(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Four pictures of a teapot").click()
    uploaded(page, 4)
    unfold(page, "More")
    fill(page, "number input for Steps", 1000)
    page.get_by_role("button", name="Learn the word").click()
    expect(page.get_by_text("of 1000").first).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.get_by_text("the job was cancelled").first).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("Error", exact=True)).to_have_count(0)  # that is for what went wrong
    expect(page.get_by_text("of 1000")).to_have_count(0)


def test_a_phone_shows_all_of_it(visit: Visit, tmp_path: Path) -> None:
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    keep(page, "phone", tmp_path)
    for name in TABS[1:]:
        tab = page.get_by_role("tab", name=name, exact=True)
        if not tab.is_visible():
            page.locator(".overflow-menu button").first.click()
            page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()
        else:
            tab.click()
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390, name


def test_everything_has_a_name_and_the_keyboard_reaches_it(visit: Visit) -> None:
    page = visit()
    for name in TABS:
        enter(page, name)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('button, input, textarea')].filter(e => e.offsetParent
            && e.type != 'file' && !(e.labels?.length || e.ariaLabel || e.title || e.innerText?.trim()
            || e.getAttribute('aria-labelledby') || e.closest('label') || e.querySelector('img[alt]')
            )).map(e => e.outerHTML.slice(0, 200))"""
        )
        assert not unnamed, name
    enter(page, TABS[0])
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel || ''").strip())
    assert {"Learn the word", "Cancel", "Draw"} <= reached
