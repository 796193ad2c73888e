"""How sure a system is, judged: by files whose answers are known, and by what is refused."""

import json

import numpy as np
import pytest

from multifocal.cohorts import Case, Cohort, ImageFile
from multifocal.errors import UserError
from multifocal.evaluation.uncertainty import evaluate_uncertainty, uncertainty_tables, write_uncertainty
from multifocal.systems.calibration import OddsCounts, reliability
from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((10, 10, 6), (2.0, 2.0, 5.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
CASES = 24


def made(root, *, members=True, probabilities=True, subjects=CASES):
    """Cases whose members agree where the final mask is right, and a probability that is right on average."""
    random, cases = np.random.default_rng(0), []
    for number in range(CASES):
        name = f"c{number:02}"
        p = np.zeros(GRID.size, np.float32)
        p[2:5, 2:6, 1:4] = random.uniform(0.3, 0.9)
        p[7:9, 7:9, 2:4] = random.uniform(0.0, 0.5)
        truth = random.random(GRID.size) < p
        write(root / f"{name}_adc.mha", Volume(np.full(GRID.size, 900, np.int16), GRID))
        write(root / f"{name}_label.mha", Volume(truth.astype(np.uint8), GRID))
        out = root / "out"
        write(out / f"{name}_lesion.mha", Volume((p > 0.25).astype(np.uint8), GRID))
        if probabilities:
            write(out / f"{name}_probability.mha", Volume(p, GRID))
        for which, factor in enumerate((0.8, 1.1)) if members else ():
            own = np.clip(p * factor, 0, 1)
            home = out / "parts" / f"{which}-m"
            write(home / f"{name}_lesion.mha", Volume((own > 0.35).astype(np.uint8), GRID))
            write(home / f"{name}_probability.mha", Volume(own, GRID))
        images = {"adc": ImageFile(root / f"{name}_adc.mha")}
        cases.append(Case(name, f"s{number % subjects}", images, ImageFile(root / f"{name}_label.mha")))
    return Cohort("demo", root, "manifest", tuple(cases))


def test_everything_is_judged_with_intervals(tmp_path):
    cohort = made(tmp_path)
    found = evaluate_uncertainty(tmp_path / "out", cohort, samples=100)
    summary = found.summary
    assert (summary["cases"], summary["subjects"], summary["members"]) == (CASES, CASES, ["0-m", "1-m"])
    risks = [1 - row["dice"] for row in found.cases]
    assert summary["case"]["chance"]["aurc"]["value"] == pytest.approx(np.mean(risks))
    for name, scores in summary["case"].items():
        for area in ("aurc", "augrc"):
            assert scores[area]["low"] <= scores[area]["value"] <= scores[area]["high"], name
        assert scores["gain"]["value"] == pytest.approx(np.mean(risks) - scores["aurc"]["value"])
        assert scores["aurc"]["value"] >= summary["case"]["truth"]["aurc"]["value"]
    assert summary["case"]["expected_dice"]["aurc"]["value"] < summary["case"]["chance"]["aurc"]["value"]
    true = np.mean([row["true"] for row in found.lesions])
    assert summary["lesion"]["chance"]["ppv_area"]["value"] == pytest.approx(true)
    assert summary["case"]["chance"]["gain"]["high"] == pytest.approx(0, abs=1e-12)
    assert summary["lesion"]["lsu"]["gain"]["value"] == pytest.approx(
        summary["lesion"]["lsu"]["ppv_area"]["value"] - true
    )
    assert {"lsu", "probability", "entropy", "small"} < summary["lesion"].keys()
    assert summary["voxel"]["temperature"] == pytest.approx(1, abs=0.1)  # the probability is right
    for bound in summary["missed"]:
        assert bound["missed"]["value"] <= bound["at_most"] and bound["times_lesion"] >= 1 - bound["at_most"]


def test_reliability_before_is_that_of_all_voxels_together(tmp_path):
    from multifocal.volumes import read

    cohort = made(tmp_path)
    found = evaluate_uncertainty(tmp_path / "out", cohort, samples=10).summary["voxel"]["before"]
    p = np.concatenate([read(tmp_path / "out" / f"{case.name}_probability.mha").array.ravel() for case in cohort])
    y = np.concatenate([case.label.read().array.ravel() for case in cohort])
    assert found["brier"]["value"] == pytest.approx(np.mean((p - y) ** 2), rel=1e-4)
    assert found["ece"]["value"] == pytest.approx(reliability(OddsCounts.of(p, y > 0), 1.0).ece)


def test_cases_of_a_subject_are_drawn_and_left_out_together(tmp_path):
    cohort = made(tmp_path, subjects=4)
    found = evaluate_uncertainty(tmp_path / "out", cohort, samples=200).summary
    apart = evaluate_uncertainty(
        tmp_path / "out", Cohort("x", tmp_path, "manifest", made(tmp_path).cases), samples=200
    ).summary
    assert found["subjects"] == 4
    assert found["case"]["chance"]["aurc"]["value"] == apart["case"]["chance"]["aurc"]["value"]
    assert found["case"]["chance"]["aurc"] != apart["case"]["chance"]["aurc"]


@pytest.mark.parametrize("having", ["members", "probabilities"])
def test_what_needs_what_is_not_there_is_left_out(tmp_path, having):
    cohort = made(tmp_path, members=having == "members", probabilities=having == "probabilities")
    found = evaluate_uncertainty(tmp_path / "out", cohort, samples=10).summary
    assert ("agreement" in found["case"], "lsu" in found["lesion"]) == (having == "members",) * 2
    assert ("expected_dice" in found["case"], "voxel" in found) == (having == "probabilities",) * 2
    assert found["missed"] and uncertainty_tables(found)


def test_files_are_written_together(tmp_path):
    found = evaluate_uncertainty(tmp_path / "out", made(tmp_path), samples=10)
    write_uncertainty(found, tmp_path / "scores")
    assert json.loads((tmp_path / "scores" / "uncertainty.json").read_text()) == found.summary
    lines = (tmp_path / "scores" / "uncertainty_lesions.csv").read_text().splitlines()
    assert lines[0].startswith("case,number,true") and len(lines) == 1 + len(found.lesions)
    assert len((tmp_path / "scores" / "uncertainty.csv").read_text().splitlines()) == 1 + CASES


def test_few_cases_bound_nothing_and_say_so(tmp_path):
    cohort = made(tmp_path)
    few = cohort.subset([case.name for case in cohort.cases[:3]])
    found = evaluate_uncertainty(tmp_path / "out", few, others=[case.name for case in cohort], samples=10).summary
    assert [bound["threshold"] for bound in found["missed"]] == [None, None]
    assert any("too few cases" in column._cells for column in uncertainty_tables(found)[-1].columns)


def test_a_case_alone_without_lesion_is_no_error(tmp_path):
    cohort = made(tmp_path)
    one = cohort.subset(["c00"])
    for kind in ("label", "out/c00_lesion"):
        file = tmp_path / (f"c00_{kind}.mha" if "/" not in kind else f"{kind}.mha")
        write(file, Volume(np.zeros(GRID.size, np.uint8), GRID))
    found = evaluate_uncertainty(tmp_path / "out", one, others=[case.name for case in cohort], samples=10).summary
    assert (found["lesion"], found["missed"], found["voxel"]["after"]) == ({}, [], None)


def test_what_is_no_probability_is_refused(tmp_path):
    cohort = made(tmp_path)
    write(tmp_path / "out" / "c03_probability.mha", Volume(np.full(GRID.size, 7.0, np.float32), GRID))
    with pytest.raises(UserError, match=r"c03_probability.mha: is not of values from 0 to 1"):
        evaluate_uncertainty(tmp_path / "out", cohort)


def test_masks_alone_are_refused_with_the_cure(tmp_path):
    with pytest.raises(UserError, match="predict with --probabilities --parts"):
        evaluate_uncertainty(tmp_path / "out", made(tmp_path, members=False, probabilities=False))


def test_a_lacking_probability_is_named(tmp_path):
    cohort = made(tmp_path)
    (tmp_path / "out" / "c05_probability.mha").unlink()
    with pytest.raises(UserError, match="no probability of case c05"):
        evaluate_uncertainty(tmp_path / "out", cohort)
