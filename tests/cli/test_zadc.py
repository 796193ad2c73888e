"""`multifocal zadc` and `multifocal atlas build`: what they write, what they doubt, and what they refuse."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from multifocal.cohorts import open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.normative import Atlas
from multifocal.volumes import Geometry, Volume, read, read_geometry, write


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "cohort"
    write_phantom(folder, cases=3, seed=0)
    return folder


@pytest.fixture(scope="module")
def how(cohort, tmp_path_factory):
    """Options that name an atlas which is a case of the cohort."""
    folder, mean = tmp_path_factory.mktemp("atlas"), open_cohort(cohort).cases[0].images["adc"].read()
    deviation = np.where(mean.array != 0, 150, 0).astype(np.float32)
    Atlas(Volume(mean.array.astype(np.float32), mean.geometry), Volume(deviation, mean.geometry)).save(folder, {})
    return "--atlas", folder / "mean.nii.gz", "--atlas-sd", folder / "sd.nii.gz"


@pytest.fixture
def scan(cohort, tmp_path):
    path = tmp_path / "adc.nii.gz"
    write(path, open_cohort(cohort).cases[0].images["adc"].read())
    return path


def flattened(volume: Volume) -> Volume:
    """Return a slice of a volume as an image of two dimensions."""
    grid = Geometry(volume.geometry.size[:2], volume.geometry.spacing[:2], (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    return Volume(volume.array[:, :, volume.array.shape[2] // 2].copy(), grid)


def test_an_atlas_of_a_cohort_makes_its_z_adc(cohort, scan, multifocal, tmp_path):
    ended = multifocal("atlas", "build", cohort, "-o", tmp_path / "atlas")
    assert ended.code == 0, ended.err
    about = json.loads((tmp_path / "atlas/atlas.json").read_text())
    assert about["made_from"] == "pairs of ADC and Z-ADC" and len(about["cases"]) == 3
    assert multifocal("atlas", "build", cohort, "-o", tmp_path / "atlas").code == 2

    how = ("--atlas", tmp_path / "atlas/mean.nii.gz", "--atlas-sd", tmp_path / "atlas/sd.nii.gz")
    ended = multifocal("zadc", scan, *how, "-o", tmp_path / "zadc.nii.gz")
    assert ended.code == 0 and "correlation with the atlas" in ended.out
    theirs = open_cohort(cohort).cases[0].images["zadc"].read().array
    ours, brain = read(tmp_path / "zadc.nii.gz").array, read(scan).array != 0
    assert np.corrcoef(ours[brain], theirs[brain])[0, 1] > 0.5


def test_normal_scans_make_an_atlas_and_those_with_lesions_do_not(multifocal, tmp_path):
    write_phantom(tmp_path / "cohort", cases=4, seed=1)
    cases = open_cohort(tmp_path / "cohort").cases
    for case in cases[:3]:
        label = case.label.read()
        write(case.label.path, Volume(np.zeros_like(label.array), label.geometry))
    lesion = cases[3].label.read()
    write(cases[3].label.path, Volume(np.ones_like(lesion.array), lesion.geometry))
    ended = multifocal("atlas", "build", tmp_path / "cohort", "--normal", "-o", tmp_path / "atlas")
    assert ended.code == 0 and "3 of 4 cases have no lesion" in ended.out, ended.err
    about = json.loads((tmp_path / "atlas/atlas.json").read_text())
    assert about["made_from"] == "normal scans" and about["cases"] == [case.name for case in cases[:3]]
    atlas = Atlas.load(tmp_path / "atlas/mean.nii.gz", tmp_path / "atlas/sd.nii.gz")
    assert 900 < np.median(atlas.mean.array[atlas.brain]) < 2000


def test_normal_scans_need_three(cohort, multifocal, tmp_path):
    for case in open_cohort(cohort).cases[1:]:
        assert case.label is not None
    ended = multifocal("atlas", "build", cohort, "--normal", "-o", tmp_path / "atlas")
    assert ended.code == 2 and "an atlas needs 3 cases or more" in ended.err and not (tmp_path / "atlas").exists()


def test_the_training_cases_of_a_fold_make_it(cohort, multifocal, tmp_path):
    names = [case.name for case in open_cohort(cohort)]
    file = tmp_path / "folds.json"
    ended = multifocal("data", "folds", cohort, "--out", file, "--k", 3)
    assert ended.code == 0, ended.err
    ended = multifocal("atlas", "build", cohort, "-o", tmp_path / "atlas", "--folds", file, "--fold", 0)
    assert ended.code == 2 and "found 2" in ended.err and len(names) == 3


def test_a_scan_has_a_map_on_its_own_grid_and_a_fit_beside_it(scan, how, multifocal, tmp_path):
    out = tmp_path / "new/zadc.nii.gz"
    ended = multifocal("zadc", scan, *how, "-o", out)
    assert ended.code == 0, ended.err
    assert not read_geometry(out).differences(read_geometry(scan))
    assert read_geometry(out).nifti == read_geometry(scan).nifti
    fit = json.loads((tmp_path / "new/zadc_fit.json").read_text())
    assert fit["correlation"] > 0.95 and fit["overlap"] > 0.98 and abs(fit["volume"] - 1) < 0.05
    out.unlink()
    again = multifocal("zadc", scan, *how, "-o", out)
    assert again.code == 2 and "zadc_fit.json: exists already" in again.err and not out.exists()
    assert multifocal("zadc", scan, *how, "-o", out, "--overwrite").code == 0 and out.exists()
    for part in how[1::2]:
        before = Path(part).read_bytes()
        lost = multifocal("zadc", scan, *how, "-o", part, "--overwrite")
        assert lost.code == 2 and "is a part of the atlas" in lost.err and Path(part).read_bytes() == before


def test_a_cohort_has_a_map_a_case_and_what_fits_poorly_is_told(cohort, how, multifocal, tmp_path):
    shutil.copytree(cohort, tmp_path / "cohort")
    cases = open_cohort(tmp_path / "cohort").cases
    adc = cases[1].images["adc"].read()
    write(cases[1].images["adc"].path, Volume(adc.array[:, :, ::-1].copy(), adc.geometry))  # head and feet exchanged
    ended = multifocal("zadc", tmp_path / "cohort", *how, "-o", tmp_path / "maps")
    assert ended.code == 0, ended.err
    for case in cases:
        found = tmp_path / f"maps/{case.name}_zadc.mha"
        assert not read_geometry(found).differences(case.images["adc"].read().geometry)
        assert found.with_name(f"{found.stem}_fit.json").exists()
    assert f"{cases[1].images['adc'].path}: correlation with the atlas" in ended.err
    assert "3 maps" in ended.out and "fit the atlas poorly" in ended.out


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.unlink(), "adc.nii.gz"),
        (lambda path: path.write_bytes(b"no image"), "adc.nii.gz"),
        (lambda path: write(path, Volume(read(path).array / 1000, read_geometry(path))), "multiply it by 1000"),
        (lambda path: write(path, Volume(read(path).array * 0, read_geometry(path))), "empty brain"),
        (
            lambda path: write(path, flattened(read(path))),
            "2 dimensions",
        ),
    ],
)
def test_what_is_no_adc_is_refused_in_a_line_and_nothing_written(scan, how, multifocal, tmp_path, spoil, told):
    spoil(scan)
    ended = multifocal("zadc", scan, *how, "-o", tmp_path / "new/zadc.nii.gz")
    assert ended.code == 2 and told in ended.err and "Traceback" not in ended.err
    assert not (tmp_path / "new").exists()


def test_wrong_names_and_atlases_are_refused(scan, how, multifocal, tmp_path):
    itself = multifocal("zadc", scan, *how, "-o", scan, "--overwrite")
    assert itself.code == 2 and "the scan itself" in itself.err
    assert multifocal("zadc", scan, *how, "-o", tmp_path / "folder").code == 2
    zadc = tmp_path / "S1_zadc.nii.gz"  # a cohort's own map, where its maps would go
    shutil.copy(scan, zadc)
    (tmp_path / "cases.csv").write_text(f"case,adc,zadc\nS1,{scan},{zadc}\n")
    itself = multifocal("zadc", tmp_path / "cases.csv", *how, "-o", tmp_path, "--overwrite")
    assert itself.code == 2 and "S1_zadc.nii.gz: is the scan itself, or a file of the cohort" in itself.err
    zadc.unlink()
    exchanged = (how[0], how[3], how[2], how[1])
    for atlas in (exchanged, (how[0], tmp_path / "none.nii.gz", *how[2:]), (*how[:3], scan)):
        ended = multifocal("zadc", scan, *atlas, "-o", tmp_path / "zadc.nii.gz")
        assert ended.code == 2 and "Traceback" not in ended.err and not (tmp_path / "zadc.nii.gz").exists()


def test_a_cohort_without_the_maps_is_refused_with_the_cure(cohort, how, multifocal, tmp_path):
    adc_alone, zadc_alone = tmp_path / "adc.csv", tmp_path / "zadc.csv"
    cases = open_cohort(cohort).cases
    for file, name in ((adc_alone, "adc"), (zadc_alone, "zadc")):
        lines = [f"{case.name},{case.images[name].path}" for case in cases]
        file.write_text("\n".join([f"case,{name}", *lines, ""]))
    ended = multifocal("zadc", zadc_alone, *how, "-o", tmp_path / "maps")
    assert ended.code == 2 and "the cases have no map adc, but zadc" in ended.err
    ended = multifocal("atlas", "build", adc_alone, "-o", tmp_path / "atlas")
    assert ended.code == 2 and "no map zadc" in ended.err and "--normal" in ended.err
    ended = multifocal("atlas", "build", zadc_alone, "--normal", "-o", tmp_path / "atlas")
    assert ended.code == 2 and "no map adc" in ended.err and not (tmp_path / "atlas").exists()
