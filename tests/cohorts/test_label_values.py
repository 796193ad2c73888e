"""Which label values are refused, against NumPy's own sets of values."""

from pathlib import Path

import numpy as np
import pytest

from multifocal.cohorts import Case, Cohort, ImageFile, check_labels, lesion_shares
from multifocal.cohorts.label_values import is_strange
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((6, 5, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("allowed", [(0, 1), (0, 1, 4), None])
def test_what_is_strange_is_what_is_not_in_the_set(dtype, allowed):
    array = np.random.default_rng(0).integers(0, 6, (7, 8)).astype(dtype)
    known = np.arange(6) if allowed is None else allowed
    assert np.array_equal(is_strange(array, allowed=allowed), ~np.isin(array, known))
    odd = np.array([np.nan, np.inf, -1.0, 0.5, 1.0])
    assert is_strange(odd, allowed=allowed).tolist() == [True, True, True, True, False]


def cohort_of(folder: Path, *values: int, kind="binary") -> Cohort:
    cases = []
    for number, value in enumerate(values):
        label = np.zeros(GRID.size, np.uint8)
        label[1, 1, 1], label[2, 3, 1] = 1, value
        files = {name: folder / f"{number}_{name}.mha" for name in ("adc", "label")}
        write(files["adc"], Volume(np.ones_like(label), GRID))
        write(files["label"], Volume(label, GRID))
        cases.append(Case(str(number), str(number), {"adc": ImageFile(files["adc"])}, ImageFile(files["label"])))
    return Cohort("demo", folder, "manifest", tuple(cases), kind)


@pytest.mark.parametrize("refuse", [check_labels, lesion_shares])
def test_the_first_case_is_told_and_label_maps_are_let_pass(tmp_path, refuse):
    cohort = cohort_of(tmp_path, 1, 2, 255)
    with pytest.raises(UserError, match=r"case 1: .*1_label.mha: mask holds 2 at \(2, 3, 1\); expected only 0 and 1;"):
        refuse(cohort)
    refuse(cohort, kind="instances")
    refuse(cohort_of(tmp_path, 1, 2, 255, kind="instances"))


def test_some_cases_and_named_classes(tmp_path):
    cohort = cohort_of(tmp_path, 1, 2, 255)
    check_labels(cohort, names=["0"])
    check_labels(cohort, allowed=[0, 1, 2, 255])
    with pytest.raises(UserError, match="case 2: .*mask holds 255 at .*; expected only 0, 1, 2; name the values"):
        check_labels(cohort, allowed=[0, 1, 2])
