import shutil
from dataclasses import replace

import numpy as np
import pytest

from multifocal.cohorts import case_fingerprint, fingerprint, open_cohort
from multifocal.errors import UserError
from multifocal.volumes import Volume, write


def test_it_depends_on_names_and_contents_only(tmp_path, make_bonbid):
    here = open_cohort(make_bonbid(tmp_path / "here"))
    there = open_cohort(shutil.copytree(tmp_path / "here", tmp_path / "deeper" / "there_test"))
    assert fingerprint(here) == fingerprint(there) == fingerprint(replace(here, cases=here.cases[::-1]))
    assert len(fingerprint(here)) == 64 and set(fingerprint(here)) <= set("0123456789abcdef")
    assert fingerprint(here.subset(["A_1-VISIT_01"])) != fingerprint(here)
    renamed = replace(here, cases=(replace(here.cases[0], name="other"), here.cases[1]))
    assert fingerprint(renamed) != fingerprint(here)
    assert case_fingerprint(renamed.cases[0]) == case_fingerprint(here.cases[0])


@pytest.mark.parametrize("key", ["adc", "zadc", "label"])
@pytest.mark.parametrize("ext", [".mha", ".mhd"])
def test_one_voxel_changes_it(tmp_path, make_bonbid, bonbid_paths, brain, grid, key, ext):
    cohort = open_cohort(make_bonbid(tmp_path, ("a",), ext=ext))
    before = case_fingerprint(cohort.cases[0])
    array = np.array(brain(0)[key])
    write(bonbid_paths(tmp_path, "a", ext)[key], Volume(array, grid))
    assert case_fingerprint(cohort.cases[0]) == before
    array[3, 2, 1] += 1
    write(bonbid_paths(tmp_path, "a", ext)[key], Volume(array, grid))
    assert case_fingerprint(cohort.cases[0]) != before


def test_maps_components_and_labels_are_told_apart(tmp_path, make_bonbid):
    case = open_cohort(make_bonbid(tmp_path)).cases[0]
    adc, zadc = case.images.values()
    variants = [
        case,
        replace(case, label=None),
        replace(case, images={"adc": zadc, "zadc": adc}),
        replace(case, images={"adc": adc}),
        replace(case, images={"adc": replace(adc, component=0), "zadc": zadc}),
    ]
    assert len({case_fingerprint(variant) for variant in variants}) == len(variants)


def test_a_file_that_is_gone(tmp_path, make_bonbid, bonbid_paths):
    cohort = open_cohort(make_bonbid(tmp_path))
    bonbid_paths(tmp_path, "A_2-VISIT_01")["adc"].unlink()
    with pytest.raises(UserError, match="A_2-VISIT_01-ADC_ss.mha: cannot read"):
        fingerprint(cohort)
