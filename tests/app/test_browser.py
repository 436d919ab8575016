"""The page in a browser: each panel, bad uploads, two sessions, the keyboard alone, a narrow screen, no other address.

Skipped where there is no Playwright or no Chromium. ``TRANSFLOW_SHOTS`` names a folder for pictures of the page.
"""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("TRANSFLOW_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no Chromium", allow_module_level=True)

PATIENCE = 240_000  # milliseconds: the machine may be busy
DRAWN, RED, GREY, BAR, OWN = (
    "Faces drawn by code", "Tinted red", "Without colour", "With a bar over the eyes", "The model's own samples",
)  # fmt: skip


@pytest.fixture(scope="module")
def address():
    """A server of its own, on the next free port."""
    command = [sys.executable, "-m", "transflow", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        line = next(line for line in server.stdout if line.startswith("http://"))
        yield line.split()[0]
        server.terminate()
        server.communicate()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser, address):
    """Open pages, each a session of its own, and close them."""
    contexts = []

    def open_page(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#new img")
        page.wait_for_selector("#prior img")
        return page

    yield open_page
    for context in contexts:
        context.close()


def shot(page, name):
    if folder := os.environ.get("TRANSFLOW_SHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(400)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def choose(page, element, option):
    page.locator(f"#{element} input").click()
    page.get_by_role("option", name=option, exact=True).last.click()  # a list just closed may still be fading


def take(page, key, sample):
    """Take a sample set, and wait until it is shown."""
    choose(page, f"{key}-sample", sample)
    page.wait_for_selector(f"#{key}-strip img")


def picture(page, element):
    return page.locator(f"#{element} img").first.get_attribute("src")


def after(page, element, before):
    """Wait until another picture is shown; return it."""
    page.wait_for_function(
        "([id, src]) => {const i = document.querySelector(`#${id} img`); return i && i.src !== src}",
        arg=[element, before],
    )
    return picture(page, element)


def said(page):
    """The line in the page, once there is one; it is closed."""
    found = page.locator(".toast-body").first
    text = found.inner_text()
    page.locator(".toast-close").first.click()
    found.wait_for(state="detached")
    return text


def upload(page, element, files):
    page.locator(f"#{element} input[type=file]").set_input_files(files)


def test_it_opens_without_asking_any_other_address(browser, address):
    context = browser.new_context()
    page, asked, faults = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#new img", timeout=PATIENCE)
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()
    assert not faults
    context.close()


def test_sliders_redraw_and_the_same_draws_come_back(opened):
    page = opened()
    first = picture(page, "new")
    page.locator("#temperature input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    second = after(page, "new", first)
    page.keyboard.press("ArrowRight")
    assert after(page, "new", second) == first
    page.get_by_label("Covariance", exact=True).check()
    third = after(page, "new", first)
    page.locator("#covariance input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    after(page, "new", third)
    shot(page, "covariance")


def test_leaving_a_picture_out_changes_what_is_drawn(opened):
    page = opened()
    first = picture(page, "new")
    page.locator("#evidence-more > button").click()
    choose(page, "evidence-out", f"{DRAWN} 1")
    after(page, "new", first)
    assert page.locator("#evidence-strip img").count() == 23


def test_a_download_holds_pictures_the_model_and_code(opened, tmp_path):
    page = opened()
    page.locator("#new-again > button").click()
    page.locator("#new-zip").click()
    with page.expect_download() as found:
        page.locator("#new-file a[download]").first.click()
    found.value.save_as(tmp_path / "new.zip")
    names = zipfile.ZipFile(tmp_path / "new.zip").namelist()
    wanted = ("same.py", "same.sh", "mine.safetensors", "evidence/000.png", "page/new/000.png")
    assert {f"transflow-new/{name}" for name in wanted} <= set(names)
    shot(page, "download")


def test_a_way_shows_its_progress_and_plays(opened):
    page = opened()
    page.get_by_role("tab", name="Way to others").click()
    take(page, "other", RED)
    page.locator("#way-go").click()
    page.wait_for_selector("#way-film img[src^='data:image/gif']")
    shot(page, "way")


def test_stop_ends_a_search(opened):
    page = opened()
    page.get_by_role("tab", name="One picture").click()
    take(page, "picture", OWN)
    page.get_by_role("tab", name="Completed").click()
    page.get_by_label("the left half").check()
    page.locator("#complete-go").click()
    page.wait_for_selector("#completed .progress-text")
    begun = time.monotonic()
    page.locator("#complete-stop").click()
    page.wait_for_selector("#completed .progress-text", state="detached")
    assert page.locator("#completed img").count() == 0
    assert time.monotonic() - begun < PATIENCE / 1000


def test_one_picture_is_edited_and_completed_with_a_brush(opened):
    page = opened()
    page.get_by_role("tab", name="One picture").click()
    take(page, "picture", OWN)
    page.wait_for_selector("#edited img")
    page.wait_for_function("(document.querySelector('#which input') || {}).value")
    page.wait_for_timeout(3000)  # the picture that was chosen by itself is drawn once more
    first = picture(page, "edited")
    page.locator("#edit-strength input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    after(page, "edited", first)
    shot(page, "edit")
    page.get_by_role("tab", name="More of an attribute").click()
    take(page, "with", BAR)
    take(page, "without", OWN)
    page.wait_for_selector("#attributed img")
    shot(page, "attribute")
    page.get_by_role("tab", name="Completed").click()
    canvas = page.locator("#editor canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(2000)  # the editor draws itself
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.locator("#complete-go").click()
    page.wait_for_selector("#completed img")
    shot(page, "complete")


def test_classes_are_told_apart(opened):
    page = opened()
    page.get_by_role("tab", name="Classes").click()
    page.get_by_label("Name of class 1").fill("drawn <b>")
    take(page, "class-0", DRAWN)
    take(page, "class-1", GREY)
    take(page, "query", BAR)
    page.locator("#classify-go").click()
    page.wait_for_selector("#classified table")
    assert page.locator("#classified tr").count() == 25
    assert "drawn <b>" in page.locator("#classified tr").first.inner_text()
    assert page.get_by_text("none of these").count() > 1
    shot(page, "classes")


def test_pictures_are_scored(opened):
    page = opened()
    page.get_by_role("tab", name="Scores").click()
    take(page, "scored", GREY)
    page.locator("#score-go").click()
    page.wait_for_selector("#score-table table")
    assert page.locator("#score-table tr").count() == 25
    shot(page, "scores")


def test_bad_uploads_are_one_line_and_nothing_is_lost(opened, tmp_path):
    page = opened()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(5000))
    Image.new("1", (10000, 10000)).save(tmp_path / "huge.png")
    Image.effect_noise((64, 64), 60).save(tmp_path / "good.png")
    many = []
    for i in range(500):
        many.append(tmp_path / f"{i}.png")
        shutil.copy(tmp_path / "good.png", many[-1])
    words = {"text.png": "got a text file", "clip.mp4": "got a video", "huge.png": "at most 50 megapixels"}
    for name, line in words.items():
        upload(page, "evidence-files", [tmp_path / name])
        assert line in said(page)
    upload(page, "evidence-files", many)
    assert "at most 100 pictures in a set; got 500" in said(page)
    assert page.locator("#evidence-strip img").count() == 24
    upload(page, "evidence-files", [tmp_path / "good.png", tmp_path / "text.png"])
    page.get_by_text("1 of 2 files left out").wait_for()
    assert page.locator("#evidence-strip img").count() == 1
    page.get_by_role("button", name="A model file of your own").click()
    upload(page, "own-model", [tmp_path / "good.png"])
    assert "Expected a model file, .safetensors" in said(page)
    shot(page, "mixed")


def test_two_sessions_are_apart(opened, tmp_path):
    first, second = opened(), opened()
    Image.effect_noise((64, 64), 60).save(tmp_path / "mine-alone.png")
    before = picture(second, "new")
    upload(first, "evidence-files", [tmp_path / "mine-alone.png"])
    first.wait_for_function("document.querySelectorAll('#evidence-strip img').length === 1")
    second.locator("#temperature input[type=range]").focus()
    second.keyboard.press("ArrowLeft")
    after(second, "new", before)
    assert second.locator("#evidence-strip img").count() == 24
    assert "mine-alone" not in second.content()
    assert "mine-alone" in first.content()


def test_the_keyboard_alone_is_enough(opened):
    page = opened()

    def tab_to(condition, most=80):
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"(() => {{const e = document.activeElement; return {condition}}})()"):
                return
        raise AssertionError(f"the keyboard does not reach {condition}")

    first = picture(page, "new")
    tab_to("!!e.closest('#evidence-files')")
    tab_to("!!e.closest('#evidence-sample')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    second = after(page, "new", first)
    tab_to("!!e.closest('#temperature') && e.type === 'range'")
    page.keyboard.press("ArrowLeft")
    after(page, "new", second)
    tab_to("!!e.closest('#new-again')")
    page.keyboard.press("Enter")
    tab_to("e.id === 'new-zip'")
    page.keyboard.press("Enter")
    page.wait_for_selector("#new-file a[download]")


def test_a_narrow_screen_shows_it_all(opened):
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "narrow")
    for name in ("Way to others", "One picture", "Classes", "Scores"):
        tab = page.get_by_role("tab", name=name)
        if not tab.is_visible():
            page.locator(".overflow-menu > button").first.click()
            page.get_by_role("button", name=name).last.click()
        else:
            tab.click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    shot(page, "narrow-scores")
