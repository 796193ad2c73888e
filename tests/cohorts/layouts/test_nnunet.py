import json
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image

from multifocal.cohorts import Labels, open_cohort
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, write

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
        ({"file_ending": ".bmp"}, "file_ending '.bmp' is not read here"),
        ({"channel_names": {}}, "no channel_names"),
        ({"channel_names": {"0": "a", "2": "b"}}, "numbered 0, 2; expected 0 to 1"),
        ({"channel_names": {"0": "ADC", "1": "adc"}}, "channel_names repeat"),
        ({"channel_names": {"0": "../x", "1": "adc"}}, "not a usable name"),
        ({"labels": {"background": 0}}, "labels names no class but the background"),
        ({"labels": {"background": 0, "a": 1, "b": "x"}}, "dataset.json: labels: classes.b"),
        ({"labels": {"background": 0, "a": 1, "ignore": 1}}, "ignore=1 is a class's value"),
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


def rgb(path, channels=3):
    """Write colours whose every component differs."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (5, 6, channels)).astype(np.uint8)
    Image.fromarray(pixels if channels > 1 else pixels[..., 0]).save(path)
    return pixels


@pytest.mark.parametrize("names", [("R", "G", "B"), ("rgb_to_0_1",) * 3, ("image",)])
def test_colours_in_one_file(tmp_path, names):
    channels = {str(number): name for number, name in enumerate(names)}
    said = {"channel_names": channels, "labels": {"background": 0, "road": 1}, "numTraining": 3, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(said))
    pixels = {name: rgb(tmp_path / f"imagesTr/{name}_0000.png", n) for name, n in (("a", 3), ("b", 1), ("c", 4))}
    for name in pixels:
        write(tmp_path / f"labelsTr/{name}.png", Volume(np.ones((6, 5), np.uint8), Geometry((6, 5), *FLAT)))
    cohort = open_cohort(tmp_path)
    assert cohort.maps == ("red", "green", "blue")
    for name, expected in pixels.items():
        for number, image in enumerate(cohort.case(name).images.values()):
            np.testing.assert_array_equal(image.read().array, expected[..., number % expected.shape[-1]].T)
        assert cohort.case(name).label.read().array.all()


FLAT = ((1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
DECATHLON = {
    "tensorImageSize": "4D",
    "modality": {"0": "FLAIR", "1": "T1w"},
    "labels": {"0": "background", "1": "tumour"},
    "numTraining": 2,
    "training": [{"image": f"./imagesTr/BRATS_{n}.nii.gz", "label": f"./labelsTr/BRATS_{n}.nii.gz"} for n in "12"],
    "test": ["./imagesTs/BRATS_3.nii.gz"],
}


@pytest.fixture
def decathlon(tmp_path, grid):
    (tmp_path / "dataset.json").write_text(json.dumps(DECATHLON))
    for file in ("imagesTr/BRATS_1", "imagesTr/BRATS_2", "imagesTs/BRATS_3"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        values = np.arange(np.prod(grid.size) * 2, dtype=np.float32).reshape(*grid.size, 2)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{file}.nii.gz")
    for n in "12":
        write(tmp_path / f"labelsTr/BRATS_{n}.nii.gz", Volume(np.ones(grid.size, np.uint8), grid))
    return tmp_path


def test_the_decathlon_keeps_all_channels_in_one_file(decathlon, grid):
    cohort = open_cohort(decathlon)
    assert cohort.maps == ("flair", "t1w")
    splits = [(case.name, case.split) for case in cohort]
    assert splits == [("BRATS_1", "train"), ("BRATS_2", "train"), ("BRATS_3", "test")]
    whole = np.arange(np.prod(grid.size) * 2).reshape(*grid.size, 2)
    for number, image in enumerate(cohort.case("BRATS_3").images.values()):
        np.testing.assert_array_equal(image.read().array, whole[..., number])
    assert cohort.case("BRATS_2").label.path == decathlon / "labelsTr/BRATS_2.nii.gz"
    assert cohort.case("BRATS_3").label is None


def test_one_file_with_all_channels_may_be_numbered_as_in_version_2(decathlon):
    said = {**V2, "file_ending": ".nii.gz", "training": None, "test": None}
    (decathlon / "dataset.json").write_text(json.dumps(said))
    for folder in ("imagesTr", "imagesTs"):
        for file in (decathlon / folder).iterdir():
            file.rename(file.with_name(file.name.replace(".nii", "_0000.nii")))
    assert [image.component for image in open_cohort(decathlon).cases[0].images.values()] == [0, 1]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ({"modality": {"0": "a", "1": "b", "2": "c"}}, "BRATS_1.nii.gz: holds 2 images where dataset.json"),
        ({"training": [*DECATHLON["training"], {"image": "x.nii.gz", "label": "y.nii.gz"}]}, "x.nii.gz: no such file"),
        (
            {"training": DECATHLON["training"][:1]},
            "imagesTr/BRATS_2.nii.gz: is not listed in dataset.json's",
        ),
        (
            {"training": ["imagesTr/BRATS_1.nii.gz"]},
            r"training\[0\]: expected an object with the paths image",
        ),
        ({"training": 5}, r"training\[0\]: expected an object"),
        ({"test": [7]}, r"test\[0\]: expected the path of an image"),
        ({"dataset": [1]}, "expected images .a list of paths. and label"),
        ({"dataset": {"a": {"images": []}}}, "dataset.a: expected images"),
        ({"numTraining": 5}, "numTraining is 5, but 'training' lists 2 cases"),
    ],
)
def test_lists_that_do_not_fit_are_named(decathlon, damage, expected):
    (decathlon / "dataset.json").write_text(json.dumps({**DECATHLON, **damage}))
    with pytest.raises(UserError, match=expected):
        open_cohort(decathlon)


@pytest.mark.parametrize("kind", ["version 1", "version 2", "with its channel"])
def test_lists_of_a_dataset_with_a_file_a_channel(dataset, monkeypatch, kind):
    root = dataset()
    if kind == "version 2":
        monkeypatch.setenv("HERE", str(root))
        images = ["imagesTr/b_0000.nrrd", "$HERE/imagesTr/b_0001.nrrd"]
        listed = {"dataset": {"b": {"images": images, "label": str(root / "labelsTr/b.nrrd")}}, "numTraining": 1}
    else:
        suffix = "_0000" if kind == "with its channel" else ""
        cases = [{"image": f"./imagesTr/{n}{suffix}.nrrd", "label": f"./labelsTr/{n}.nrrd"} for n in ("b", "a_1")]
        listed = {"training": cases}
    (root / "dataset.json").write_text(json.dumps({**V2, **listed}))
    cohort = open_cohort(root)
    assert [case.name for case in cohort] == (["b"] if kind == "version 2" else ["b", "a_1"])
    assert [image.path for image in cohort.cases[0].images.values()] == [root / f"imagesTr/b_000{n}.nrrd" for n in "01"]
    assert cohort.cases[0].label.path == root / "labelsTr/b.nrrd"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"background": 0, "lesion": 1}, Labels()),
        ({"background": 0, "lesion": 1, "ignore": 2}, Labels(ignore=2)),
        ({"0": "background", "1": "lesion", "2": "ignore"}, Labels(ignore=2)),
        ({"0": "background", "1": "edema", "3": "core"}, Labels(classes={"edema": (1,), "core": (3,)})),
        (
            {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
            Labels(classes={"whole": (1, 2), "core": (2,)}, overlap=True, ignore=3),
        ),
        ({"background": 0, "whole": [1, 2]}, Labels(classes={"whole": (1, 2)})),
    ],
)
def test_classes_regions_and_what_is_ignored(dataset, labels, expected):
    assert open_cohort(dataset({**V2, "labels": labels})).labels == expected


def test_labels_of_nothing_but_what_is_ignored(dataset):
    with pytest.raises(UserError, match="labels names no class but the background; add the lesions"):
        open_cohort(dataset({**V2, "labels": {"background": 0, "ignore": 1}}))


def test_a_dataset_in_capitals(dataset):
    root = dataset()
    for file in [*root.glob("*Tr/*")]:
        file.rename(file.with_suffix(".NRRD"))
    assert len(open_cohort(root)) == 2
    (root / "dataset.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({**V2, "file_ending": ".NRRD"}).encode())
    assert len(open_cohort(root)) == 2


def test_a_damaged_image_is_named_once(dataset):
    root = dataset()
    (root / "imagesTr/b_0001.nrrd").unlink()
    (root / "imagesTr/b_0000.nrrd").write_bytes(b"none")
    with pytest.raises(UserError, match=r"^[^;]*b_0000.nrrd: not a NRRD file[^;]*; [^;]*$"):
        open_cohort(root)
