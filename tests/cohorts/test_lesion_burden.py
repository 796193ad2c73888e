import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multifocal.cohorts import (
    STRATA,
    Cohort,
    brain_mask,
    check_cohort,
    lesion_share,
    lesion_shares,
    open_cohort,
    stratum,
)
from multifocal.errors import UserError
from multifocal.evaluation import evaluate_cohort
from multifocal.metrics import burden
from multifocal.volumes import Geometry, Volume, write


def test_brain_is_finite_and_not_zero():
    image = np.array([[0.0, -1.0], [np.nan, 2.0]])
    assert brain_mask(image).tolist() == [[False, True], [False, True]]


def test_share_by_case(tmp_path, make_bonbid, bonbid_paths, grid):
    cohort = open_cohort(make_bonbid(tmp_path, ("a", "b")))
    write(bonbid_paths(tmp_path, "b")["label"], Volume(np.zeros(grid.size, np.float32), grid))
    assert lesion_shares(cohort) == {"a": 3 / 48, "b": 0.0}


def test_without_a_label_or_a_brain(tmp_path, make_bonbid, bonbid_paths, grid):
    case = open_cohort(make_bonbid(tmp_path, ("a",))).cases[0]
    with pytest.raises(UserError, match="case a: no label"):
        lesion_share(replace(case, label=None))
    write(bonbid_paths(tmp_path, "a")["adc"], Volume(np.zeros(grid.size, np.float32), grid))
    with pytest.raises(UserError, match=r"case a: .*a-ADC_ss.mha: every voxel is 0"):
        lesion_share(case)


def test_the_share_of_two_arrays():
    brain = np.array([[True, True], [True, False]])
    assert burden(np.array([[0, 3], [0, 0]]), brain) == 1 / 3
    assert burden(np.ones((2, 2)), brain) == 4 / 3  # a label that leaves the brain
    assert burden(np.zeros((2, 2)), brain) == 0
    with pytest.raises(ValueError, match="brain is empty"):
        burden(np.ones((2, 2)), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, "no lesion"),
        (1e-9, "<1 %"),
        (0.00999, "<1 %"),
        (0.01, "1-5 %"),
        (0.05, "1-5 %"),
        (0.0501, ">5 %"),
        (1.0, ">5 %"),
        (1.2, ">5 %"),
    ],
)
def test_limits(share, expected):
    assert stratum(share) == expected


@given(st.floats(0, 2), st.floats(0, 2))
def test_more_lesion_is_never_a_lower_stratum(a, b):
    low, high = sorted((a, b))
    assert STRATA.index(stratum(low)) <= STRATA.index(stratum(high))


@pytest.mark.parametrize("share", [-0.1, math.nan, math.inf])
def test_what_is_no_share(share):
    with pytest.raises(ValueError, match="share is"):
        stratum(share)


def test_instances_have_a_share_of_the_whole_image_wherever_it_is_asked(tmp_path):
    """Half of the image is black, which is no background there."""
    grid = Geometry((8, 6), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    labels, image = np.zeros(grid.size, np.uint8), np.full(grid.size, 9, np.uint8)
    labels[1:3, 1:4], labels[5, 2], image[2:], image[4:] = 1, 2, 7, 0
    for name, array in (("images/a", image), ("masks/a", labels)):
        write(tmp_path / f"flat/{name}.png", Volume(array, grid))
    write(tmp_path / "out/a_lesion.png", Volume((labels > 0).astype(np.uint8), grid))
    cohort = open_cohort(tmp_path / "flat")
    assert cohort.label_kind == "instances"
    scored = evaluate_cohort(tmp_path / "out", cohort).rows[0]["share_of_brain"]
    [report] = check_cohort(cohort)
    assert lesion_shares(cohort) == {"a": scored} and report.share == scored == 7 / 48
    assert [problem.text for problem in report.problems] == []
    as_masks = Cohort(cohort.name, cohort.root, cohort.layout, cohort.cases)  # the values are numbers all the same
    assert lesion_shares(as_masks, kind="instances") == {"a": 7 / 24}
