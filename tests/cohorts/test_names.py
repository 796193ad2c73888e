"""A case whose name has an accent is one case, whichever form of Unicode each of its files has."""

import hashlib
import json
import unicodedata

import numpy as np
import pytest

from multifocal.cohorts import Folds, make_folds, open_cohort
from multifocal.evaluation.match_files import match_files
from multifocal.volumes import Geometry, Volume, write

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
GRID = Geometry((3, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
ONES = Volume(np.ones(GRID.size, np.uint8), GRID)
FORMS = pytest.mark.parametrize(("image", "label"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])


def check(cohort, label):
    assert [case.name for case in cohort] == [COMPOSED]
    assert cohort.case(COMPOSED) is cohort.case(DECOMPOSED) and cohort.subset([DECOMPOSED]) == cohort
    assert cohort.cases[0].label.path == label and cohort.cases[0].label.read().array.all()


@FORMS
def test_images_and_masks(tmp_path, image, label):
    write(tmp_path / f"images/{image}.png", ONES)
    write(tmp_path / f"masks/{label}.png", ONES)
    check(open_cohort(tmp_path), tmp_path / f"masks/{label}.png")


@FORMS
@pytest.mark.parametrize("version", ["folders", "training", "dataset"])
def test_nnunet(tmp_path, image, label, version):
    said = {"channel_names": {"0": "a"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".mha"}
    listed = {
        "training": [{"image": f"imagesTr/{label}.mha", "label": f"labelsTr/{image}.mha"}],
        "dataset": {image: {"images": [f"imagesTr/{label}_0000.mha"], "label": f"labelsTr/{image}.mha"}},
    }
    said |= {key: value for key, value in listed.items() if key == version}
    write(tmp_path / f"imagesTr/{image}_0000.mha", ONES)
    write(tmp_path / f"labelsTr/{label}.mha", ONES)
    (tmp_path / "dataset.json").write_text(json.dumps(said, ensure_ascii=False))
    check(open_cohort(tmp_path), tmp_path / f"labelsTr/{label}.mha")


@FORMS
def test_manifest(tmp_path, image, label):
    write(tmp_path / image / f"{image}.mha", ONES)
    write(tmp_path / f"{label}_lesion.mha", ONES)
    row = f"{image},{label},{label}/{label}.mha,{image}_lesion.mha"
    (tmp_path / "manifest.csv").write_text(f"case,subject,adc,label\n{row}\n")
    cohort = open_cohort(tmp_path)
    check(cohort, tmp_path / f"{label}_lesion.mha")
    assert cohort.cases[0].subject == COMPOSED


@FORMS
def test_two_files_of_one_name_are_a_problem(tmp_path, image, label):
    for name in (image, label):
        write(tmp_path / f"images/{name}.png", ONES)
    with pytest.raises(ValueError, match="a second file for images/"):
        open_cohort(tmp_path)


@FORMS
def test_predictions_and_folds(tmp_path, image, label):
    for name in (image, "b"):
        write(tmp_path / f"images/{name}.png", ONES)
        write(tmp_path / f"masks/{name}.png", ONES)
    cohort = open_cohort(tmp_path)
    write(tmp_path / f"out/{label}_lesion.png", ONES)
    write(tmp_path / "out/b_lesion.png", ONES)
    assert match_files(tmp_path / "out", cohort)[COMPOSED] == tmp_path / f"out/{label}_lesion.png"

    folds = make_folds(cohort, {COMPOSED: 0.0, "b": 0.1}, k=2)
    folds.save(tmp_path / "folds.json")
    text = (tmp_path / "folds.json").read_text()
    (tmp_path / "folds.json").write_text(text.replace(COMPOSED, label))
    assert Folds.load(tmp_path / "folds.json") == folds


def test_folds_that_an_older_version_drew_of_decomposed_names(tmp_path):
    for name in (DECOMPOSED, "b"):
        write(tmp_path / f"images/{name}.png", ONES)
    cohort = open_cohort(tmp_path)
    old = {  # as 0.1 kept it, with the names as they lay on the disk
        "scheme": "kfold", "seed": 0, "cohort": "c",
        "fingerprint": "PRINT",
        "folds": [{"train": ["b"], "validation": [], "test": [DECOMPOSED]},
                  {"train": [DECOMPOSED], "validation": [], "test": ["b"]}],
    }  # fmt: skip
    old["fingerprint"] = hashlib.sha256(f"{DECOMPOSED}\nb".encode()).hexdigest()
    (tmp_path / "folds.json").write_text(json.dumps(old))
    assert Folds.load(tmp_path / "folds.json").fold(0, cohort).test == (COMPOSED,)
