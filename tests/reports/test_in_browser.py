"""Reports as a reader meets them: in Chromium, from the disk. Screenshots are kept in test-output/."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multifocal.reports import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome")
# A closed network, no GPU, and a container's root.
FLAGS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SHOTS = Path(__file__).resolve().parents[2] / "test-output" / "report"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TALLEST = 8000  # px; beyond, a browser without a GPU repeats itself
READY = 120_000  # ms; drawing without a GPU on a busy machine


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, NAMES)), None)
        if path is None and not Path(playwright.chromium.executable_path).is_file():
            pytest.skip("there is no Chromium; python tools/fit_browser.py says how to get one")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open a page of a report; at the end, nothing may have gone wrong or been asked of a network."""
    contexts, wrong = [], []

    def visit(file: Path, *, size=DESKTOP, **options):
        context = browser.new_context(viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(READY)
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url[:100]}"))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else wrong.append(request.url),
        )
        page.goto(file.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def case(report) -> Path:
    """The page of a case with a lesion."""
    return report.parent / "cases" / "PHANTOM_003-VISIT_01.html"


def shoot(page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    whole = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True, clip=whole)


def column(page, table: str, number: int) -> list[float]:
    cells = page.locator(f"{table} tbody tr td:nth-child({number})").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )
    return [float(cell) for cell in cells]


def pixels(page) -> np.ndarray:
    shot = page.locator("canvas").screenshot()
    return np.asarray(Image.open(BytesIO(shot)).convert("RGB")).astype(int)


def test_a_table_sorts_by_a_click(visit, report):
    page = visit(report)
    table = "[data-panel=stratum]:not([hidden]) table"
    heading = page.locator(f"{table} thead th", has_text="Dice")
    number = heading.evaluate("heading => heading.cellIndex") + 1
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    once = column(page, table, number)
    assert once == sorted(once, reverse=True)
    assert len(set(once)) == 3
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, table, number) == sorted(once)


def test_switches_show_one_stratum_and_one_metric(visit, report):
    page = visit(report)
    panels = page.locator("[data-panel=stratum]")
    assert panels.count() > 1
    assert panels.locator("visible=true").count() > 0
    page.locator("[data-switch=stratum] button").nth(1).click()
    assert [panel.is_visible() for panel in panels.all()][:2] == [False, True]
    page.locator("[data-switch=boxes] button", has_text="NSD").click()
    assert page.locator("[data-panel=boxes][data-value=nsd]").is_visible()
    assert not page.locator("[data-panel=boxes][data-value=dice]").is_visible()


def test_without_scripts_everything_is_there(visit, report):
    page = visit(report, java_script_enabled=False)
    assert all(panel.is_visible() for panel in page.locator("[data-panel=stratum]").all())
    assert not page.locator(".switch").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_first_page_fits_every_screen(visit, report, name, size, scheme):
    page = visit(report, size=size, color_scheme=scheme)
    shoot(page, f"index-{name}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    dark = [sum(map(int, colour[4:-1].split(","))) < 384 for colour in (paper, ink)]
    assert dark == ([False, True] if scheme == "light" else [True, False])
    drawn = page.locator("svg.chart text").first.evaluate("text => getComputedStyle(text).fill")
    assert (sum(map(int, drawn[4:-1].split(","))) < 384) == (scheme == "light")


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_charts_of_uncertainty_show_all_of_their_words(visit, judged, size):
    page = visit(write_report(judged), size=size)
    shoot(page, f"unsure-{size['width']}")
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    beyond = """texts => texts.filter(text => {
      const own = text.getBoundingClientRect(), all = text.ownerSVGElement.getBoundingClientRect();
      return own.left < all.left || own.right > all.right || own.bottom > all.bottom;
    }).map(text => text.textContent)"""
    words = page.locator("#unsure svg text")
    assert words.count() > 30 and words.evaluate_all(beyond) == []
    page.emulate_media(media="print")
    assert page.locator("#unsure table").first.is_visible()


def test_print_is_light_and_leaves_out_what_paper_cannot_do(visit, report):
    page = visit(report, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".contents").is_visible()
    assert not page.locator(".switch").first.is_visible()
    SHOTS.mkdir(parents=True, exist_ok=True)
    assert page.pdf(path=SHOTS / "index.pdf", prefer_css_page_size=True)[:5] == b"%PDF-"


def test_a_point_leads_to_its_case(visit, report):
    page = visit(report)
    point = page.locator("[data-panel=boxes]:not([hidden]) svg.chart a").first
    says, href = point.locator("title").text_content(), point.get_attribute("href")
    page.goto((report.parent / href).as_uri())
    assert page.locator("h1").text_content() == says.partition(":")[0]


def until(page, condition) -> np.ndarray:
    """Return the canvas as soon as it is as it should be; drawing takes its time on a busy machine."""
    for _ in range(READY // 250):
        found = pixels(page)
        if condition(found):
            return found
        page.wait_for_timeout(250)
    raise AssertionError("the canvas never came to be as it should")


def coloured(found: np.ndarray) -> bool:
    return bool((np.ptp(found, axis=2) > 40).any())


@pytest.fixture
def viewer(visit, case):
    """A case's page with its volume drawn."""

    def viewer(**options):
        page = visit(case, **options)
        page.wait_for_selector(".viewer[data-ready=true]")
        return page, until(page, lambda found: found.std() > 10 and coloured(found))

    return viewer


def test_a_volume_is_drawn_and_its_overlays_toggle(viewer):
    page, both = viewer()
    shoot(page, "case-desktop-light")
    # It begins inside the largest true lesion: geometry, overlay and crosshair agree.
    assert page.locator("[role=status]").text_content().endswith(("truth", "both"))
    page.uncheck("[name=prediction]")
    truth = until(page, lambda found: (found != both).any())
    assert coloured(truth)
    page.uncheck("[name=truth]")
    none = until(page, lambda found: not coloured(found))
    assert none.std() > 10
    page.check("[name=truth]")
    page.check("[name=prediction]")
    until(page, lambda found: (found == both).mean() > 0.99)


def test_map_arm_slice_opacity_and_view_change_what_is_seen(viewer):
    page, seen = viewer()
    status = page.locator("[role=status]")

    def changed(before: np.ndarray) -> np.ndarray:
        return until(page, lambda found: found.shape != before.shape or (found != before).any())

    page.check("[name=map][value='1']")
    seen = changed(seen)
    assert "zadc" in status.text_content()
    page.fill("[name=opacity]", "1")
    seen = changed(seen)
    slice_ = int(page.input_value("[name=slice]")) - 4
    page.fill("[name=slice]", str(slice_))
    seen = changed(seen)
    assert f"slice {slice_ + 1} of" in status.text_content()
    page.select_option("[name=arm]", "2")
    seen = changed(seen)
    for view in ("axial", "coronal", "sagittal", "render"):
        page.select_option("[name=view]", view)
        seen = changed(seen)
        assert seen.std() > 5, view


def test_a_case_fits_a_phone(viewer):
    page, _ = viewer(size=PHONE, color_scheme="dark")
    shoot(page, "case-phone-dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_browser_without_webgl_is_told(visit, case):
    page = visit(case)
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.reload()
    page.wait_for_selector(".viewer[data-ready=failed]")
    assert "needs WebGL 2" in page.locator("[role=status]").text_content()
    assert not page.locator(".stage").is_visible()


@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_parts_are_drawn_in_colours_of_their_own_and_can_be_chosen(visit, parts_report, name, size):
    page = visit(parts_report.parent / "cases" / "S_4-VISIT_01.html", size=size)
    colours = page.locator("#parts .key .line").evaluate_all("all => all.map(one => getComputedStyle(one).borderColor)")
    assert len(colours) == len(set(colours)) == 5
    drawn = page.locator("#parts svg .part-0").first.evaluate("path => getComputedStyle(path).stroke")
    assert drawn == colours[2]
    page.wait_for_selector(".viewer[data-ready=true]")
    whole = until(page, lambda found: found.std() > 10 and coloured(found))
    page.select_option("[name=arm]", label="vote/0-low")
    until(page, lambda found: (found != whole).any())
    shoot(page, f"parts-{name}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
