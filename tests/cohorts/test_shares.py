from dataclasses import replace

import numpy as np
import pytest

from multifocal.cohorts import lesion_share, lesion_shares, open_cohort
from multifocal.cohorts.shares import brain_mask
from multifocal.errors import UserError
from multifocal.volumes import Volume, write


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
