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
TABS = ("Personalize", "Explore", "Sound", "3D fields", "Edit 3D", "Compress", "Results")
AXE = os.environ.get("MAPFIELD_AXE")
"""Path of axe.min.js of npm's axe-core, with which the pages' accessibility is tested."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as a visitor's machine would run it."""
    root = tmp_path_factory.mktemp("app")
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


def note(page: playwright.Page, kind: str) -> playwright.Locator:
    """The message beside a button of the open tab."""
    return page.locator(f".note.{kind}").locator("visible=true").first


def test_every_tab_begins_with_a_finished_example(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    places = ("#samples", "#map", "#spectrogram", "#student", "#edited", "#compared")
    names = ("personalize", "explorer", "sound", "fields", "edit", "codec")
    for tab, place, name in zip(TABS, places, names, strict=False):
        enter(page, tab)
        shows(page, place)
        keep(page, name, tmp_path)
    enter(page, "Results")
    expect(page.get_by_text("There are no results yet.")).to_be_visible(timeout=WAIT)


def test_a_word_is_learned_and_drawn_and_found_again(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Four pictures of a teapot").click()
    page.get_by_label("New word").fill("<pot>")
    unfold(page, "More")
    fill(page, "number input for Steps", 10)
    page.get_by_role("button", name="Learn the word").click()
    expect(page.get_by_role("textbox", name=re.compile("^Prompt with the word"))).to_have_value(
        "a photo of a <pot> on the beach", timeout=WAIT
    )
    page.reload()
    enter(page, "Results")
    shows(page, "#results")
    page.locator("#results img").first.click()
    expect(page.locator("#summary").get_by_text("Word <pot>")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Use again").click()
    expect(page.get_by_label("New word")).to_have_value("<pot>", timeout=WAIT)
    page.get_by_role("button", name="Explore this word").click()
    expect(page.get_by_role("textbox", name=re.compile("^Prompts, one a line"))).to_have_value(
        re.compile("<pot> on the beach"), timeout=WAIT
    )


def test_a_refusal_stands_beside_its_button_and_the_results_stay(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    prompt = page.get_by_role("textbox", name=re.compile("^Prompt with the word"))
    expect(prompt).to_have_value(re.compile("<teapot>"), timeout=WAIT)
    prompt.fill('a photo of a dog <img src=x onerror="window.pwned=1">')
    page.get_by_role("button", name="Draw", exact=True).click()
    refused = note(page, "refused")
    expect(refused).to_contain_text("does not have the word <teapot> in it; add it", timeout=WAIT)
    expect(refused).to_contain_text("<img src=x")
    assert page.evaluate("window.pwned") is None
    shows(page, "#samples")
    shows(page, "#pictures")
    assert page.locator("[data-testid=toast-body]").count() == 0
    (tmp_path / "wrong.png").write_bytes(b"no picture")
    enter(page, "Compress")
    shows(page, "#compared")
    panel = page.get_by_role("tabpanel").locator("visible=true")
    panel.get_by_role("button", name=re.compile("Clear|Remove", re.I)).first.click()
    panel.locator("input[type=file]").first.set_input_files(tmp_path / "wrong.png")
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Compress", exact=True).click()
    expect(note(page, "refused")).to_contain_text("wrong.png is not a picture that can be read", timeout=WAIT)
    shows(page, "#compared")


def test_waiting_jobs_are_cancelled_and_a_closed_page_s_job_ends(visit: Visit) -> None:
    first, second = visit(), visit()
    unfold(first, "More")
    fill(first, "number input for Steps", 1000)
    first.get_by_role("button", name="Learn the word").click()
    expect(note(first, "busy")).to_contain_text("s", timeout=WAIT)
    enter(second, "Sound")
    shows(second, "#spectrogram")
    second.get_by_role("button", name="Make a sound").click()
    expect(note(second, "busy")).to_contain_text("Waiting: 1 job is before yours", timeout=WAIT)
    second.get_by_role("button", name="Cancel").locator("visible=true").click()
    expect(note(second, "said")).to_contain_text("The job was cancelled.", timeout=WAIT)
    second.get_by_role("button", name="Make a sound").click()
    expect(note(second, "busy")).to_contain_text("Waiting", timeout=WAIT)
    first.context.close()
    expect(note(second, "busy")).not_to_contain_text("Waiting", timeout=10_000)


def test_a_map_is_entered_and_left(visit: Visit) -> None:
    page = visit()
    enter(page, "Explore")
    whole = page.get_by_text("24 pictures").first
    expect(whole).to_be_visible(timeout=WAIT)
    page.locator("#map img").click(position={"x": 60, "y": 60})
    expect(page.get_by_text("24 pictures")).to_have_count(0, timeout=WAIT)
    page.get_by_role("button", name="Zoom out").click()
    expect(whole).to_be_visible(timeout=WAIT)


def test_objects_are_turned_by_the_mouse_and_by_keys(visit: Visit) -> None:
    page = visit()
    enter(page, "Edit 3D")
    shows(page, "#edited")
    image = page.locator("#edited img")
    first = str(image.get_attribute("src"))
    box = image.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 110, steps=4)
    page.mouse.up()
    expect(image).not_to_have_attribute("src", first, timeout=WAIT)
    azimuth = page.get_by_label("range slider for Azimuth").locator("visible=true")
    assert azimuth.input_value() != "235"
    turned = str(image.get_attribute("src"))
    azimuth.press("ArrowRight")
    expect(image).not_to_have_attribute("src", turned, timeout=WAIT)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Done so far")).to_have_value(re.compile("→ instance"), timeout=WAIT)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled(timeout=WAIT)


def test_a_phone_shows_all_of_it(visit: Visit) -> None:
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    shows(page, "#samples")
    for name in TABS[1:]:
        tab = page.get_by_role("tab", name=name, exact=True)
        if not tab.is_visible():
            page.locator(".overflow-menu button").first.click()
            page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()
        else:
            tab.click()
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390, name


@pytest.mark.skipif(AXE is None, reason="no axe-core: npm pack axe-core, and name its axe.min.js in MAPFIELD_AXE")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_has_a_serious_fault_of_accessibility(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    page.evaluate(Path(str(AXE)).read_text(encoding="utf-8"))
    found = {}
    for name in TABS:
        enter(page, name)
        page.wait_for_timeout(1500)
        rules = "{resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']}"
        told = page.evaluate(f"axe.run(document, {rules})")
        serious = [one for one in told["violations"] if one["impact"] in ("serious", "critical")]
        found[name] = [(one["id"], one["nodes"][0]["html"][:200]) for one in serious]
    assert not any(found.values()), found


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
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel || ''").strip())
    assert {"Learn the word", "Draw", "Explore this word"} <= reached
