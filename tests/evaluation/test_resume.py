"""An evaluation that was interrupted goes on, and takes nothing that has changed since."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multifocal.cohorts import Case, Cohort, ImageFile
from multifocal.evaluation import cohort as scoring
from multifocal.evaluation import evaluate_cohort
from multifocal.evaluation.resume import fingerprint
from multifocal.metrics import ScoringOptions
from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((8, 7, 6), (1.0, 2.0, 4.0), (5.0, -3.0, 2.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def mask(place):
    array = np.zeros(GRID.size, np.uint8)
    array[place : place + 2, 2:4, 2:4] = 1
    return Volume(array, GRID)


@pytest.fixture
def cohort(tmp_path):
    cases = []
    for number, name in enumerate("abcd"):
        write(tmp_path / f"{name}_adc.mha", Volume(np.ones(GRID.size, np.int16), GRID))
        write(tmp_path / f"{name}_label.mha", mask(number))
        write(tmp_path / "out" / f"{name}_lesion.mhd", mask(number + 1))
        if name == "a":  # a header may name any file
            header = tmp_path / "out" / "a_lesion.mhd"
            lines = header.read_text().splitlines()
            (old,) = (line.partition("= ")[2] for line in lines if line.startswith("ElementDataFile"))
            (tmp_path / "out" / old).rename(tmp_path / "out" / "voxels of a.raw")
            header.write_text("\n".join([*lines[:-1], "ElementDataFile = voxels of a.raw", ""]))
        adc, label = ImageFile(tmp_path / f"{name}_adc.mha"), ImageFile(tmp_path / f"{name}_label.mha")
        cases.append(Case(name, name, {"adc": adc}, label))
    return Cohort("demo", tmp_path, "manifest", tuple(cases))


@pytest.fixture
def scored(monkeypatch):
    """The names of the cases that are scored, and the name at which Ctrl-C comes."""
    score_case_files = scoring._score

    class Scored(list):
        interrupt = None

    names = Scored()

    def score(task):
        if task.case.name == names.interrupt:
            raise KeyboardInterrupt
        names.append(task.case.name)
        return score_case_files(task)

    monkeypatch.setattr(scoring, "_score", score)
    return names


def same(found, expected):
    np.testing.assert_equal(vars(found), vars(expected))


def interrupted(cohort, tmp_path, scored):
    scored.interrupt = "c"
    with pytest.raises(KeyboardInterrupt):
        evaluate_cohort(tmp_path / "out", cohort, journal=tmp_path / "journal")
    assert scored == ["a", "b"]
    scored.interrupt = None
    scored.clear()


def test_finished_cases_are_not_scored_again(cohort, tmp_path, scored):
    whole = evaluate_cohort(tmp_path / "out", cohort)
    scored.clear()
    interrupted(cohort, tmp_path, scored)
    done = []
    found = evaluate_cohort(
        tmp_path / "out", cohort, journal=tmp_path / "journal", progress=lambda *state: done.append(state)
    )
    assert scored == ["c", "d"] and done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    same(found, whole)


def touch(path):
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))


CHANGES = {
    "prediction": lambda folder: write(folder / "out" / "a_lesion.mhd", mask(3)),
    "label": lambda folder: write(folder / "a_label.mha", mask(4)),
    "brain": lambda folder: touch(folder / "a_adc.mha"),
    "voxels elsewhere": lambda folder: touch(folder / "out" / "voxels of a.raw"),
    "prediction that is gone": lambda folder: [file.unlink() for file in (folder / "out").glob("a_lesion.*")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_case_whose_files_changed_is_scored_again(cohort, tmp_path, scored, change):
    interrupted(cohort, tmp_path, scored)
    CHANGES[change](tmp_path)
    found = evaluate_cohort(tmp_path / "out", cohort, journal=tmp_path / "journal", allow_missing=True)
    assert scored == ["a", "c", "d"]
    same(found, evaluate_cohort(tmp_path / "out", cohort, allow_missing=True))


@pytest.mark.parametrize("options", [{"tolerance": 1.0}, {"matching": "iou"}, {"min_size": 0.1}, {"labels": [1]}])
def test_other_settings_score_all_again(cohort, tmp_path, scored, options):
    interrupted(cohort, tmp_path, scored)
    evaluate_cohort(tmp_path / "out", cohort, journal=tmp_path / "journal", **options)
    assert scored == ["a", "b", "c", "d"]


def test_another_version_scores_all_again(cohort, tmp_path, scored, monkeypatch):
    interrupted(cohort, tmp_path, scored)
    monkeypatch.setattr("multifocal.__version__", "9")
    evaluate_cohort(tmp_path / "out", cohort, journal=tmp_path / "journal")
    assert scored == ["a", "b", "c", "d"]


@pytest.mark.parametrize("end", ["", '{"key": "', '\n[1, 2]\nnull\n{"key": 3}\n', "\x00\x00"])
def test_a_line_that_was_cut_off_counts_as_not_there(cohort, tmp_path, scored, end):
    interrupted(cohort, tmp_path, scored)
    journal = tmp_path / "journal"
    journal.write_text(journal.read_text()[:-40] + end)
    evaluate_cohort(tmp_path / "out", cohort, journal=journal)
    assert scored == ["b", "c", "d"]
    scored.clear()
    evaluate_cohort(tmp_path / "out", cohort, journal=journal)
    assert scored == []


def test_a_journal_of_bytes_is_none(cohort, tmp_path, scored):
    (tmp_path / "journal").write_bytes(b"\xff\xfe\n")
    evaluate_cohort(tmp_path / "out", cohort, journal=tmp_path / "journal")
    assert scored == ["a", "b", "c", "d"]


def test_cases_may_come_and_go(cohort, tmp_path, scored):
    interrupted(cohort, tmp_path, scored)
    fewer = replace(cohort, cases=cohort.cases[1:3])
    for name in "ad":
        for file in (tmp_path / "out").glob(f"{name}_lesion.*"):
            file.unlink()
    found = evaluate_cohort(tmp_path / "out", fewer, journal=tmp_path / "journal")
    assert scored == ["c"] and [row["case"] for row in found.rows] == ["b", "c"]


def test_processes_keep_what_they_finish(cohort, tmp_path):
    journal = tmp_path / "journal"
    found = evaluate_cohort(tmp_path / "out", cohort, journal=journal, workers=2)
    kept = journal.read_text()
    same(evaluate_cohort(tmp_path / "out", cohort, journal=journal), found)
    assert journal.read_text() == kept


def test_a_fingerprint_is_spelled_as_in_journals_of_old(tmp_path, monkeypatch):
    """Of a case without files on disk: what commit 8a783c5 made of it."""
    monkeypatch.setattr("multifocal.__version__", "1")
    case = Case("a", "p", {"adc": ImageFile(Path("a_adc.mha"))}, ImageFile(Path("a_label.mha")))
    found = [
        fingerprint(case, prediction, options=ScoringOptions(**options), classes=classes, is_of_brain=is_of_brain)
        for prediction, options, classes, is_of_brain in (
            (Path("a_lesion.mha"), {}, None, True),
            (None, {"matching": "iou", "tolerance": 1.0}, {"core": (1, 4)}, False),
        )
    ]
    assert [key[:16] for key in found] == ["54bf4700a3d56b75", "3006f3e452c313da"]
