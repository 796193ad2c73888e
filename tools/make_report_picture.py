"""Make docs/report.png: the top of a report and a case of it, side by side, as a browser shows them.

    multifocal data phantom build/cohort --cases 15 --seed 1
    multifocal study tools/report_study.yaml build/cohort --out build/study
    multifocal report build/study build/cohort
    python tools/make_report_picture.py build/study/report

Needs Chromium and the extras `reports` and `test`.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).parents[1] / "docs" / "report.png"
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WIDTH, HEIGHT, GAP = 1180, 1500, 24
COLOURS = 160


def main(report: Path) -> None:
    """Take the pictures and write them as one."""
    cases = sorted((report / "cases").glob("*.html"), key=lambda page: page.stat().st_size)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(300_000)
        page.goto((report / "index.html").resolve().as_uri())
        shots = [page.screenshot()]
        page.goto(cases[-1].resolve().as_uri())
        page.wait_for_selector(".viewer[data-ready=true]")
        page.wait_for_timeout(3000)
        shots.append(page.screenshot())
        browser.close()
    picture = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT), "#9aa0a6")
    for number, shot in enumerate(shots):
        picture.paste(Image.open(BytesIO(shot)), (number * (WIDTH + GAP), 0))
    small = picture.resize((picture.width * 3 // 5, picture.height * 3 // 5), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(OUT, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
