import json
import shutil

import numpy as np
import pytest

from multifocal.cohorts import open_cohort
from multifocal.errors import UserError
from multifocal.volumes import Volume, write

V2 = {
    "channel_names": {"0": "ADC", "1": "Z ADC"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": 2,
    "file_ending": ".nrrd",
}
V1 = {"modality": {"0": "ADC", "1": "Z ADC"}, "labels": {"0": "background", "1": "lesion"}, "numTraining": 2}


@pytest.fixture
def dataset(tmp_path, grid):
    """Return a function that writes a dataset of two training cases (and a test case)."""

    def make(description=V2, *, test=False):
        ending = description.get("file_ending", ".nii.gz")
        (tmp_path / "dataset.json").write_text(json.dumps(description))
        image = Volume(np.ones(grid.size, np.uint8), grid)
        parts = [("imagesTr", "labelsTr", ("a_1", "b"))] + ([("imagesTs", "labelsTs", ("c",))] if test else [])
        for images, labels, names in parts:
            for name in names:
                for channel in range(2):
                    write(tmp_path / images / f"{name}_{channel:04d}{ending}", image)
                write(tmp_path / labels / f"{name}{ending}", image)
        return tmp_path

    return make


@pytest.mark.parametrize("description", [V1, V2])
def test_both_versions(dataset, description):
    root = dataset(description, test=True)
    cohort = open_cohort(root)
    assert cohort.maps == ("adc", "z-adc") and cohort.layout == "nnunet"
    assert [(case.name, case.subject, case.split) for case in cohort] == [
        ("a_1", "a_1", "train"),
        ("b", "b", "train"),
        ("c", "c", "test"),
    ]
    ending = description.get("file_ending", ".nii.gz")
    assert cohort.case("a_1").images["z-adc"].path == root / "imagesTr" / f"a_1_0001{ending}"
    assert cohort.case("c").label.path == root / "labelsTs" / f"c{ending}"


def test_channels_are_ordered_by_number(dataset):
    names = {"channel_names": {"1": "adc", "0": "zadc"}}
    cohort = open_cohort(dataset({**V2, **names}))
    assert cohort.maps == ("zadc", "adc") and cohort.cases[0].images["zadc"].path.name == "a_1_0000.nrrd"


def test_labels_are_optional(dataset):
    root = dataset(test=True)
    shutil.rmtree(root / "labelsTs")
    assert [case.name for case in open_cohort(root) if case.label is None] == ["c"]
    shutil.rmtree(root / "labelsTr")
    assert not any(case.label for case in open_cohort(root))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda root: (root / "imagesTr/b_0001.nrrd").unlink(), r"case b: imagesTr/b_0001.nrrd \(z-adc\) is missing"),
        (lambda root: (root / "imagesTr/b_0000.nrrd").unlink(), r"case b: imagesTr/b_0000.nrrd \(adc\) is missing"),
        (lambda root: (root / "labelsTr/b.nrrd").unlink(), "case b: imagesTr/b_0000.nrrd has no label in labelsTr"),
        (lambda root: shutil.copy(root / "labelsTr/b.nrrd", root / "labelsTr/z.nrrd"), "z.nrrd is a label without"),
        (lambda root: shutil.copy(root / "labelsTr/b.nrrd", root / "imagesTr/b_0002.nrrd"), "names only 2 channels"),
        (lambda root: shutil.copy(root / "labelsTr/b.nrrd", root / "imagesTr/b_00.nrrd"), "b_00.nrrd: unexpected name"),
        (lambda root: (root / "imagesTr/b_0001.nrrd").rename(root / "imagesTr/b_0001.mha"), "its ending is not"),
        (lambda root: shutil.rmtree(root / "imagesTr"), "imagesTr: no such folder"),
        (lambda root: shutil.copytree(root / "imagesTr", root / "imagesTs"), "second case of this name .imagesTs/a_1"),
    ],
)
def test_nothing_is_dropped_in_silence(dataset, damage, expected):
    root = dataset()
    damage(root)
    with pytest.raises(UserError, match=expected):
        open_cohort(root)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"numTraining": 3}, "numTraining is 3, but imagesTr holds 2 cases"),
        ({"file_ending": ".tif"}, "file_ending '.tif' is not read here"),
        ({"channel_names": {}}, "no channel_names"),
        ({"channel_names": {"0": "a", "2": "b"}}, "numbered 0, 2; expected 0 to 1"),
        ({"channel_names": {"0": "ADC", "1": "adc"}}, "channel_names repeat"),
        ({"channel_names": {"0": "../x", "1": "adc"}}, "not a usable name"),
        ({"labels": {"background": 0, "a": 1, "b": 2}}, r"labels has 3 entries \(background, a, b\)"),
    ],
)
def test_a_description_that_does_not_fit(dataset, change, expected):
    root = dataset()
    (root / "dataset.json").write_text(json.dumps({**V2, **change}))
    with pytest.raises(UserError, match=expected):
        open_cohort(root)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_description_that_is_none(dataset, text):
    root = dataset()
    (root / "dataset.json").write_text(text)
    with pytest.raises(UserError, match="dataset.json"):
        open_cohort(root)
