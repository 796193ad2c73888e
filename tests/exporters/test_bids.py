"""A BIDS derivative, as `multifocal predict --bids` writes it and `evaluate` reads it."""

import json

import numpy as np
import pytest

from multifocal.cohorts import open_cohort
from multifocal.errors import UserError
from multifocal.evaluation.match_files import match_files
from multifocal.exporters import check_bids, write_bids
from multifocal.systems import load_model
from multifocal.volumes import read


@pytest.fixture
def written(small_cohort, tmp_path):
    cohort, model = open_cohort(small_cohort), load_model("hie-synthetic")
    predictions = {case.name: model.predict(case) for case in cohort}
    for case in cohort:
        write_bids(tmp_path, case, predictions[case.name], model="m", digest="ab")
    return tmp_path, cohort, predictions


def test_what_is_written(written):
    folder, cohort, predictions = written
    about = json.loads((folder / "dataset_description.json").read_text())
    assert (about["DatasetType"], about["GeneratedBy"][0]["Name"]) == ("derivative", "multifocal")
    home = folder / "sub-S3" / "ses-VISIT01" / "dwi"
    name = "sub-S3_ses-VISIT01_space-orig_label-lesion_"
    assert sorted(file.name.removeprefix(name) for file in home.iterdir()) == [
        *("mask.json", "mask.nii.gz", "probseg.json", "probseg.nii.gz")
    ]
    case, found = cohort.case("S_3-VISIT_01"), predictions["S_3-VISIT_01"]
    mask, probability = read(home / f"{name}mask.nii.gz"), read(home / f"{name}probseg.nii.gz")
    assert not mask.geometry.differences(case.images["adc"].geometry())
    assert (mask.array == found.mask.array).all() and set(np.unique(mask.array)) <= {0, 1}
    np.testing.assert_array_equal(probability.array, found.probability.array)
    says = json.loads((home / f"{name}mask.json").read_text())
    assert says["Type"] == "Lesion" and says["GeneratedBy"][0]["SHA256"] == "ab"


def test_evaluate_finds_the_masks(written):
    folder, cohort, _ = written
    files = match_files(folder, cohort)
    assert [file.name.partition("_ses")[0] for file in files.values()] == [f"sub-S{number}" for number in range(6)]
    few = cohort.subset([case.name for case in cohort][1:])
    with pytest.raises(UserError, match="predictions of no case of cohort small: sub-S0_ses-VISIT01_space-orig_label"):
        match_files(folder, few)
    files[cohort.cases[0].name].unlink()
    with pytest.raises(UserError, match="no prediction for S_0-VISIT_01"):
        match_files(folder, cohort)
    assert match_files(folder, few)


def test_nothing_is_replaced_unasked(written):
    folder, cohort, _ = written
    with pytest.raises(UserError, match="label-lesion_mask.nii.gz: exists already"):
        check_bids(folder, cohort)
    check_bids(folder, cohort, overwrite=True)
