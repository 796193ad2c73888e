import json
import re
import shutil
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest

from multifocal.cohorts import Cohort, fingerprint, open_cohort
from multifocal.errors import UserError
from multifocal.evaluation import read_results
from multifocal.files import WRITING, write_csv
from multifocal.reports import write_report
from multifocal.reports.cases import embed
from multifocal.reports.study_data import Arm, CellRecord
from multifocal.reports.tables import RankedRow, Ranking, cell_lines
from multifocal.studies import CellResult
from multifocal.volumes import Volume, read, write

NASTY = "<script>alert('1')</script>"


class Page(HTMLParser):
    """What a page says and what it asks for."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "xlink:href", "src") and value]

    def handle_data(self, data):
        self.text += data


def test_every_link_leads_to_a_file_of_the_report(report):
    folder = report.parent
    for file in folder.rglob("*.html"):
        page = Page(file)
        ids = set(re.findall(r'\bid="([^"]+)"', file.read_text(encoding="utf-8")))
        for link in page.links:
            if link.startswith("data:,"):
                continue
            if link.startswith("#"):
                assert link[1:] in ids, link
                continue
            target = (file.parent / unquote(link)).resolve()
            assert target.is_file(), link
            assert target.is_relative_to(folder.resolve()), link


def test_an_arm_that_has_seen_its_cases_is_marked(small_study, report):
    assert "known from training" not in Page(report).text
    file = small_study / "arms" / "b" / "summary.json"
    case = read_results(file.parent).rows[0]["case"]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seen": {case: "train"}}))
    text = Page(write_report(small_study)).text
    assert "b: 1 of 6 cases is known from training" in text and "a: 1 of" not in text


def test_nothing_comes_from_a_network(report):
    own = [
        file
        for file in report.parent.rglob("*")
        if file.suffix in (".html", ".css", ".js", ".svg") and "niivue" not in file.name
    ]
    for file in own:
        text = file.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text)) - {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        assert not addresses, (file, addresses)
        assert not re.search(r"\bfetch\(|XMLHttpRequest|@import", text), file


def test_the_first_page_has_every_part(report):
    page = Page(report)
    for words in (
        "Ranking",
        "Beside the published numbers",
        "Somebody 2025, table 1",
        "Differences from the first",
        "Case by case, by stratum",
        "Detection by lesion size",
        "Small lesions (<0.05 ml)",
        "Validation Dice",
        "Loss and its terms",
        "Dice against true volume",
        "Worst and best of each arm",
        "Cells that did not finish",
        "<b>bold</b>",
        "cohort.fingerprint",
        "started.1.versions.torch",
        "study.yaml, every default spelled out",
    ):
        assert words in page.text, words
    cases = [link for link in page.links if link.startswith("cases/") and link.endswith(".html")]
    assert len(set(cases)) == 5
    assert list((report.parent / "figures").glob("*.svg"))
    assert {file.name for file in (report.parent / "data").iterdir()} == {"table.csv", "table.tex"}
    assert (report.parent / "assets" / "niivue-LICENSES.txt").exists()


def test_the_same_study_gives_the_same_report(report, phantom, tmp_path):
    copy = Path(shutil.copytree(report.parent.parent, tmp_path / "study"))
    before = {file.relative_to(copy): file.read_bytes() for file in (copy / "report").rglob("*") if file.is_file()}
    write_report(copy, open_cohort(phantom), workers=2)
    after = {file.relative_to(copy): file.read_bytes() for file in (copy / "report").rglob("*") if file.is_file()}
    assert before == after


def test_without_a_cohort_there_are_tables_and_charts(small_study):
    page = Page(write_report(small_study))
    assert "Written without the cohort" in page.text
    assert "All cases" in page.text
    assert not [link for link in page.links if link.startswith("cases/")]


@pytest.mark.parametrize(
    ("arms", "first", "note"),
    [
        (
            {"a": -1.5, "b": -2.0, "c": -2.0},
            "b, c (tied)",
            "that of b (which shares the first rank with c), with",
        ),
        ({"a": -2.0, "b": -2.0}, "a, b (tied)", "minus that of a (which shares the first rank with b), with"),
        ({"a": -1.5, "b": -2.0}, "b", "minus that of b, with"),
    ],
)
def test_all_that_share_the_first_rank_are_named(small_cohort, tmp_path, study_of, arms, first, note):
    """Arms of one threshold have the same masks; of two thresholds the lower one is the better one here."""
    study = study_of(tmp_path / "study", open_cohort(small_cohort), arms, epochs=2, failed=False)
    text = " ".join(Page(write_report(study)).text.split())
    assert f"ranked first{first} Ranking" in text
    assert note in text


def test_ranks_that_are_equal_but_for_rounding_share_the_first_place():
    def row(name, rank):
        return RankedRow(Arm(0, name, Path(), None), {"RA": {"rank": rank, "first": None}}, {})

    tied = Ranking("all", 4, (row("a", 4 / 3), row("b", 1 / 3 + 1 / 3 + 2 / 3), row("c", 2.0)), {})
    assert tied.first == ("a", "b")
    assert Ranking("all", 4, (row("a", None),), {}).first == ()


def test_what_tuned_and_combined_arms_took_is_that_of_the_cells_they_are_made_of():
    def cell(arm, seconds):
        result = CellResult(arm=arm, fold=0, seed=0, state="done", fingerprint="", seconds=seconds)
        return CellRecord(arm, 0, 0, result)

    arms = [
        Arm(number, name, Path(), None, of)
        for number, (name, of) in enumerate({"a": (), "b": (), "a+tuned": ("a",), "both": ("b", "a")}.items())
    ]
    lines = cell_lines(SimpleNamespace(arms=arms, cells=[cell("a", 1.0), cell("b", 4.0)]))
    assert [(line.done, line.seconds) for line in lines] == [(1, 1.0), (1, 4.0), (1, 1.0), (2, 2.5)]


def test_another_cohort_is_refused(small_study, small_cohort, phantom, tmp_path):
    with pytest.raises(UserError, match="which cohort cohort does not have"):
        write_report(small_study, open_cohort(phantom))
    changed = Path(shutil.copytree(small_cohort, tmp_path / "changed"))
    file = next((changed / "2Z_ADC").iterdir())
    volume = read(file)
    write(file, Volume(volume.array + np.float32(1), volume.geometry))
    with pytest.raises(UserError, match="other data than cohort changed holds now"):
        write_report(small_study, open_cohort(changed))
    assert not (small_study / "report").exists()


def test_no_study_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a study's folder"):
        write_report(tmp_path)


def test_empty_predictions_missing_masks_and_arms_that_failed_are_shown(small_study, small_cohort):
    cohort = open_cohort(small_cohort)
    for file in (small_study / "arms" / "a" / "masks").iterdir():
        volume = read(file)
        write(file, Volume(np.zeros_like(volume.array), volume.geometry))
    next((small_study / "arms" / "a" / "masks").glob("S_1*")).unlink()
    shutil.rmtree(small_study / "arms" / "b")
    shutil.rmtree(small_study / "comparison")
    shutil.rmtree(small_study / "cells")
    report = write_report(small_study, cohort)
    assert "The study's folder holds no comparison." in Page(report).text
    case = Page(report.parent / "cases" / "S_1-VISIT_01.html")
    assert "not scored on this case" in case.text
    assert "no mask" in case.text


def test_a_study_of_which_nothing_has_run_is_shown(small_study):
    for name in ("arms", "cells", "comparison"):
        shutil.rmtree(small_study / name)
    assert "6 cells did not finish" in Page(write_report(small_study)).text


def test_a_cohort_without_strata_or_lesions(small_study, small_cohort):
    arm = small_study / "arms" / "a"
    shutil.rmtree(small_study / "arms" / "b")
    shutil.rmtree(small_study / "comparison")
    rows = (
        (arm / "cases.csv")
        .read_text()
        .replace("1-5 %", "no lesion")
        .replace("<1 %", "no lesion")
        .replace(">5 %", "no lesion")
    )
    (arm / "cases.csv").write_text(rows)
    header = (arm / "lesions.csv").read_text().splitlines()[0].split(",")
    write_csv(arm / "lesions.csv", [], columns=header)
    assert "No lesion in any case" in Page(write_report(small_study)).text


def test_names_are_text_wherever_they_stand(small_study, small_cohort, tmp_path):
    root = Path(shutil.copytree(small_cohort, tmp_path / "nasty"))
    old, new = "S_1-VISIT_01", "S_1-VISIT_01 <script>alert('1')<:script>"
    # A slash cannot be in a case's name; everything else that hurts can.
    manifest = ["case,subject,adc,zadc,label"]
    for number in range(6):
        name = f"S_{number}-VISIT_01"
        files = [
            f"1ADC_ss/{name}-ADC_ss.mha",
            f"2Z_ADC/Zmap_{name}-ADC_smooth2mm_clipped10.mha",
            f"3LABEL/{name}_lesion.mha",
        ]
        manifest.append(f"{new if name == old else name},S_{number},{','.join(files)}")
    (root / "cases.csv").write_text("\n".join(manifest) + "\n")
    cohort = open_cohort(root / "cases.csv")
    for arm in ("a", "b"):
        home = small_study / "arms" / arm
        (home / "masks" / f"{old}_lesion.nii.gz").rename(home / "masks" / f"{new}_lesion.nii.gz")
        for name in ("cases.csv", "lesions.csv"):
            (home / name).write_text((home / name).read_text().replace(old, new))
    about = json.loads((small_study / "study.json").read_text())
    about["cohort"] |= {"fingerprint": fingerprint(cohort), "name": NASTY}
    (small_study / "study.json").write_text(json.dumps(about))
    text = (small_study / "study.yaml").read_text().replace("name: thresholds", f'name: "{NASTY}"')
    (small_study / "study.yaml").write_text(text)
    report = write_report(small_study, cohort)
    for file in report.parent.rglob("*.html"):
        page = Page(file)
        own = 1 if file.name == "index.html" else 4
        assert page.tags.count("script") == own, file
    assert new in Page(report).text
    assert NASTY in Page(report).text
    names = {path.name for path in (report.parent / "cases").iterdir()}
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)


def test_2d_images_have_a_page_without_the_viewer(flat_study):
    folder, study = flat_study
    report = write_report(study, open_cohort(folder))
    pages = list((report.parent / "cases").glob("*.html"))
    assert len(pages) == 4
    for file in pages:
        page = Page(file)
        assert "the 3D viewer does not apply" in page.text
        assert not any("niivue" in link or "volumes.js" in link for link in page.links)
        assert "true area49 pixels" in page.text
    text = " ".join(Page(report).text.split())
    assert "Dice against true area" in text and "Lesion share of the image" in text and "MASD (pixels)" in text
    for page in (report, *pages):
        shown = Page(page).text.partition("What was run")[0]  # study.yaml is as it is
        for word in ("brain", " ml", "(ml)", "mm)", "voxel", "xial", "patient", "olume"):
            assert word not in shown, (page.name, word)


def test_a_report_that_fails_leaves_the_old_one_and_no_debris(small_study, small_cohort, monkeypatch):
    cohort = open_cohort(small_cohort)
    first = write_report(small_study, cohort)
    before = first.read_text()
    calls = []

    def full(*arguments):
        calls.append(arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embed, "nifti", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_report(small_study, cohort)
    assert calls
    assert first.read_text() == before
    assert not [path for path in small_study.iterdir() if path.name.startswith(WRITING)]
    monkeypatch.undo()
    (small_study / "report" / "old.txt").write_text("")
    write_report(small_study, cohort)
    assert not (small_study / "report" / "old.txt").exists()


def test_a_damaged_mask_is_named(small_study, small_cohort):
    file = next((small_study / "arms" / "b" / "masks").iterdir())
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UserError, match=re.escape(file.name)):
        write_report(small_study, open_cohort(small_cohort))
    assert not (small_study / "report").exists()


def test_masks_and_data_of_a_study_whose_names_are_decomposed_are_found(small_cohort, study_of, tmp_path):
    """As studies of before there was one form have them, and as macOS may write files."""
    name, old = "Zo\u00eb", "Zoe\u0308"
    for file in small_cohort.rglob("*S_1-*"):
        target = tmp_path / "cohort" / file.relative_to(small_cohort)
        target.parent.mkdir(parents=True, exist_ok=True)
        for number in (1, 2, 3):
            shutil.copy(file, target.with_name(target.name.replace("S_1", f"{name}_{number}")))
    cohort = open_cohort(tmp_path / "cohort")
    study = study_of(tmp_path / "study", cohort, {"a": -1.5}, epochs=2, failed=False)
    for mask in list((study / "arms/a/masks").iterdir()):
        mask.rename(mask.with_name(unicodedata.normalize("NFD", mask.name)))
    about = json.loads((study / "study.json").read_text())
    decomposed = [replace(case, name=case.name) for case in cohort]
    for case in decomposed:
        object.__setattr__(case, "name", unicodedata.normalize("NFD", case.name))
    about["cohort"]["fingerprint"] = fingerprint(Cohort(cohort.name, cohort.root, cohort.layout, tuple(decomposed)))
    (study / "study.json").write_text(json.dumps(about))
    assert old in next((study / "arms/a/masks").iterdir()).name
    page = write_report(study, cohort)
    pages = list((page.parent / "cases").glob("*.html"))
    assert len(pages) == 3 and not any("no mask" in file.read_text(encoding="utf-8") for file in pages)


def test_the_parts_of_a_system_stand_beside_the_whole(parts_report, report):
    study = parts_report.parent.parent
    rows = {part: read_results(study / "arms/vote/parts" / part).rows for part in ("0-low", "1-middle", "2-high")}
    whole = read_results(study / "arms/vote").rows
    page = parts_report.read_text(encoding="utf-8")
    section = page[page.index('id="parts"') : page.index('id="cases"')]
    for name, own in {"vote": whole, **rows}.items():
        line = re.search(rf'<th scope="row">{name}.*?</tr>', section, re.DOTALL).group()
        values = re.findall(r"<td[^>]*>([^<]*)</td>", line)
        assert values[0] == f"{np.mean([row['dice'] for row in own]):.3f}"
        counts = [int(sum(row[key] for row in own)) for key in ("predicted_lesions", "missed", "false")]
        assert [int(values[3]), int(values[5]), int(values[6])] == counts
    assert ">one<" not in section
    for case in sorted((parts_report.parent / "cases").glob("*.html")):
        text = case.read_text(encoding="utf-8")
        section = text[text.index('id="parts"') : text.index('id="projections"')]
        assert section.count('<div class="side">') == 4 and 'id="parts"' in text
        mine = next(row for row in rows["0-low"] if row["case"] == case.stem)
        assert f">{mine['dice']:.3f}<" in section
        names = ["vote", "vote/0-low", "vote/1-middle", "vote/2-high", "one"]
        options = re.findall(r'<option value="(\d)">([^<]*)</option>', text)
        assert options[:5] == [(str(number), name) for number, name in enumerate(names)]
        volumes = (case.parent / case.stem / "volumes.js").read_text(encoding="utf-8")
        assert [arm["name"] for arm in json.loads(volumes.partition(" = ")[2].rstrip(";\n"))["arms"]] == names
    # Systems that are one have none.
    for file in (report, *(report.parent / "cases").glob("*.html")):
        assert 'id="parts"' not in file.read_text(encoding="utf-8") and "#parts" not in file.read_text(encoding="utf-8")
