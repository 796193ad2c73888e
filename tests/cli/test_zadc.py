"""`multifocal zadc` and `multifocal atlas build`: what they write, and what they refuse."""

import json

import numpy as np
import pytest

from multifocal.cohorts import open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.volumes import read, read_geometry, write


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "cohort"
    write_phantom(folder, cases=3, seed=0)
    return folder


def test_an_atlas_of_a_cohort_makes_its_z_adc(cohort, multifocal, tmp_path):
    ended = multifocal("atlas", "build", cohort, "-o", tmp_path / "atlas")
    assert ended.code == 0, ended.err
    about = json.loads((tmp_path / "atlas/atlas.json").read_text())
    assert about["made_from"] == "pairs of ADC and Z-ADC" and len(about["cases"]) == 3
    assert multifocal("atlas", "build", cohort, "-o", tmp_path / "atlas").code == 2

    how = ("--atlas", tmp_path / "atlas/mean.nii.gz", "--atlas-sd", tmp_path / "atlas/sd.nii.gz")
    case = open_cohort(cohort).cases[0]
    scan, one = tmp_path / "adc.nii.gz", tmp_path / "zadc.nii.gz"
    write(scan, case.images["adc"].read())
    ended = multifocal("zadc", scan, *how, "-o", one)
    assert ended.code == 0 and not read_geometry(one).differences(read_geometry(scan))
    assert read_geometry(one).nifti == read_geometry(scan).nifti
    theirs, ours, brain = case.images["zadc"].read().array, read(one).array, read(scan).array != 0
    assert np.corrcoef(ours[brain], theirs[brain])[0, 1] > 0.5
    again = multifocal("zadc", scan, *how, "-o", one)
    assert again.code == 2 and "--overwrite" in again.err
    itself = multifocal("zadc", scan, *how, "-o", scan, "--overwrite")
    assert itself.code == 2 and "the scan itself" in itself.err
    assert multifocal("zadc", scan, *how, "-o", tmp_path / "folder").code == 2


def test_normal_scans_need_three(cohort, multifocal, tmp_path):
    for case in open_cohort(cohort).cases[1:]:
        assert case.label is not None
    ended = multifocal("atlas", "build", cohort, "--normal", "-o", tmp_path / "atlas")
    assert ended.code == 2 and "an atlas needs 3 cases or more" in ended.err
