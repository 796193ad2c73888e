"""`multifocal evaluate`: every rule from the command line, and what the screen shows."""

import csv
import json
import shutil

import numpy as np
import pytest

from multifocal.cohorts import open_cohort
from multifocal.comparison import compare
from multifocal.evaluation import evaluate_cohort, read_results
from multifocal.metrics import METRICS
from multifocal.volumes import Volume, read, write


@pytest.fixture
def masks(multifocal, cohort, tmp_path):
    assert multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks").code == 0
    return tmp_path / "masks"


def plain(text):
    return " ".join(text.split())


def test_lesions_are_written_and_shown(multifocal, cohort, masks, tmp_path):
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores")
    assert (ended.code, ended.err) == (0, "")
    found, expected = read_results(tmp_path / "scores"), evaluate_cohort(masks, open_cohort(cohort))
    np.testing.assert_equal((found.rows, found.lesions), (expected.rows, expected.lesions))
    with (tmp_path / "scores" / "lesions.csv").open() as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {"true", "false"}
    for heading in ("Cases", "Lesions", "Lesions by volume", "HD95 (mm)", "CC-Dice", "volume (ml)", "rate"):
        assert heading in ended.out
    assert "FNR, SEN: in brackets the cases where undefined (only the target is empty)" in plain(ended.out)
    assert f"{found.summary['overall']['metrics']['pq']['mean']:.3f}" in ended.out
    name, group = next(iter(found.summary["lesions"].items()))
    assert f"│ {name}" in ended.out and f"{group['false']} │" in ended.out


def test_masks_that_are_taken_for_label_maps_are_told_in_one_line(multifocal, cohort, masks, tmp_path):
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores", "--label-maps", "both")
    [line] = ended.err.splitlines()
    assert ended.code == 0 and line.startswith(f"warning: {masks}: every prediction and every reference holds at most")


@pytest.mark.parametrize("options", [(), ("--undefined", "diagonal"), ("--label", "a=1", "--label", "b=1")])
def test_means_are_shown_with_the_intervals_of_a_comparison(multifocal, cohort, masks, tmp_path, options):
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores", *options)
    assert (ended.code, ended.err) == (0, "")
    assert "Means over cases; below them 95 % intervals (bootstrap over cases)." in plain(ended.out)
    rule = "diagonal" if "diagonal" in options else "skip"
    results = read_results(tmp_path / "scores")
    found = compare({"": results}, label="a" if "a=1" in options else None, undefined=rule)
    cells = [[cell.strip() for cell in line.split("│")] for line in ended.out.splitlines() if line.count("│") > 6]
    start = next(place for place, row in enumerate(cells) if row[1] == "all")
    shown = dict(zip(("dice", "masd", "nsd"), zip(cells[start][3:6], cells[start + 1][3:6], strict=True), strict=True))
    for metric, (mean, interval) in shown.items():
        score = found.overall.methods[""].metrics[metric]
        assert mean.split()[0] == f"{score.mean:.3f}" and interval == f"{score.low:.3f} to {score.high:.3f}", metric


def test_a_single_case_has_no_interval(multifocal, cohort, masks, tmp_path):
    folds = ("--folds", tmp_path / "folds.json", "--fold", 0)
    multifocal("data", "folds", cohort, "--scheme", "kfold", "--k", 6, "--out", tmp_path / "folds.json")
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores", *folds)
    assert ended.code == 0 and "Means over cases." in ended.out and "interval" not in ended.out


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (("--matching", "iou", "--threshold", "0.3"), {"matching": "iou", "threshold": 0.3, "score": "iou"}),
        (("--matching", "iou", "--score", "dice"), {"matching": "iou", "score": "dice"}),
        (("--matching", "iou", "--strict"), {"matching": "iou", "strict": True, "threshold": 0.5}),
        (("--connectivity", "face", "--min-size", "0.05"), {"connectivity": "face", "min_size_ml": 0.05}),
        (("--convention", "voxel", "--tolerance", "1"), {"convention": "voxel", "tolerance_mm": 1.0}),
        (("--protocol", "bonbid-2023"), {"protocol": "bonbid-2023"}),
        (("--label", "lesion=1", "--label", "all=1,2"), {"labels": {"lesion": [1], "all": [1, 2]}}),
    ],
)
def test_every_rule_reaches_the_cases(multifocal, cohort, masks, tmp_path, options, settings):
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores", *options)
    assert (ended.code, ended.err) == (0, "")
    told = json.loads((tmp_path / "scores" / "summary.json").read_text())["settings"]
    assert {name: told[name] for name in settings} == settings
    names = {"tolerance_mm": "tolerance", "min_size_ml": "min_size"}
    used = {names.get(name, name): value for name, value in told.items() if name != "allow_missing"}
    expected = evaluate_cohort(masks, open_cohort(cohort), **used)
    np.testing.assert_equal(read_results(tmp_path / "scores").rows, expected.rows)


def test_a_folder_may_hold_the_masks_of_all_folds(multifocal, cohort, masks, tmp_path):
    folds = ("--folds", tmp_path / "folds.json", "--fold", 0)
    multifocal("data", "folds", cohort, "--scheme", "kfold", "--k", 3, "--out", tmp_path / "folds.json")
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores", *folds)
    assert (ended.code, ended.err, len(read_results(tmp_path / "scores").rows)) == (0, "", 2)
    mask = next(masks.iterdir())
    mask.rename(masks / "STRANGER_lesion.mha")
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "other", *folds)
    assert ended.code == 2 and "predictions of no case of cohort cohort: STRANGER (remove them)" in ended.err


def test_several_classes_are_shown_one_by_one(multifocal, cohort, masks, tmp_path):
    for path in [*masks.iterdir(), *(cohort / "3LABEL").iterdir()]:
        mask = read(path)
        array = mask.array.astype(np.uint8)
        array[mask.array.shape[0] // 2 :] *= 4
        write(path, Volume(array, mask.geometry))
    wrong = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores")
    assert wrong.code == 2 and "mask holds 4 at" in wrong.err and wrong.err.count("\n") == 1
    ended = multifocal(
        "evaluate", masks, cohort, "--out", tmp_path / "scores", "--label", "left=1", "--label", "right=4"
    )
    assert (ended.code, ended.err) == (0, "")
    rows = read_results(tmp_path / "scores").rows
    assert [row["label"] for row in rows] == ["left", "right"] * 6 and set(METRICS) <= set(rows[0])
    for title in ("Cases (left)", "Lesions (right)", "Lesions by volume (right)"):
        assert title in ended.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label", "core"), "--label core: expected NAME=VALUES, such as core=1,4"),
        (("--label", "core=1,"), "--label core=1,: expected NAME=VALUES"),
        (("--label", "=1"), "--label =1: expected NAME=VALUES"),
        (("--label", "core=0"), "label 'core' has the values (0,); expected whole numbers above 0"),
        (("--label", "a=1", "--label", "a=2"), "--label a=2: a is there twice"),
        (("--label", "a=1", "--label-maps", "both"), "label_maps is 'both', and labels names classes"),
        (("--tolerance", "inf"), "tolerance is inf; expected finite mm, 0 or more"),
        (("--strict",), "strict is about the IoU of a match, and matching is 'overlap'"),
        (("--threshold", "0"), "threshold is 0.0; expected an IoU above 0"),
        (("--protocol", "bonbid-2023", "--tolerance", "1"), "protocol bonbid-2023 measures surfels within 2 mm"),
        (("--protocol", "bonbid-2023", "--undefined", "diagonal"), "--protocol bonbid-2023 leaves undefined distances"),
    ],
)
def test_options_that_cannot_be_are_refused(multifocal, cohort, masks, tmp_path, options, message):
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores", *options)
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert message in ended.err and not (tmp_path / "scores").exists()


def test_how_sure_is_judged_and_told(multifocal, finished_run, cohort, tmp_path):
    options = ("--probabilities", "--parts", "--uncertainty")
    ended = multifocal("predict", finished_run, cohort, "--out", tmp_path / "masks", *options)
    assert ended.code == 0 and "masks of part 1-flip-0" in ended.out and "uncertainty_lesions.csv" in ended.out
    ended = multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores", "--uncertainty")
    assert ended.code == 0 and "How sure: cases" in ended.out
    assert json.loads((tmp_path / "scores" / "uncertainty.json").read_text())["members"] == ["0-as-is", "1-flip-0"]
    multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores", "--overwrite")
    assert not list((tmp_path / "scores").glob("uncertainty*"))


def test_what_uncertainty_needs_is_told_before_anything_is_scored(multifocal, cohort, masks, tmp_path):
    ended = multifocal("evaluate", masks, cohort, "--out", tmp_path / "scores", "--uncertainty")
    assert ended.code == 2 and "predict with --probabilities --parts" in ended.err
    assert not (tmp_path / "scores").exists()


def test_what_is_not_scored_is_not_judged_either(multifocal, finished_run, cohort, tmp_path):
    options = ("--probabilities", "--parts", "--uncertainty")
    assert multifocal("predict", finished_run, cohort, "--out", tmp_path / "masks", *options).code == 0
    other = shutil.copytree(cohort, tmp_path / "other" / cohort.name)
    for case in open_cohort(other):
        label = case.label.read()
        values = label.array.astype(np.uint8)
        values[: values.shape[0] // 2][values[: values.shape[0] // 2] == 0] = 255
        write(case.label.path, Volume(values, label.geometry))
    options = ("--out", tmp_path / "scores", "--uncertainty", "--ignore", "255")
    assert multifocal("evaluate", tmp_path / "masks", other, *options).code == 0
    found = json.loads((tmp_path / "scores" / "uncertainty.json").read_text())
    dice = np.mean([row["dice"] for row in read_results(tmp_path / "scores").rows])
    assert found["case"]["chance"]["aurc"]["value"] == pytest.approx(1 - dice)
