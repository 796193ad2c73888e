"""What a command was given: a cohort, or the files of one scan."""

import re

import numpy as np
import pytest

from multifocal.cohorts import open_cohort
from multifocal.cohorts.single_scan import maps_given, open_scans, single_scan
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((2, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@pytest.fixture
def images(tmp_path):
    for number, name in enumerate(("S1_adc.nii.gz", "S1_z.nii.gz")):
        write(tmp_path / name, Volume(np.full(GRID.size, number, np.float32), GRID))
    return tmp_path / "S1_adc.nii.gz", tmp_path / "S1_z.nii.gz"


def test_maps_are_named_in_any_order_and_come_in_that_of_the_model(images):
    adc, z = images
    cohort = open_scans([f"zadc={z}", f"adc={adc}"], maps=("adc", "zadc"))
    (case,) = cohort
    assert list(case.images) == ["adc", "zadc"]
    assert [image.path for image in case.images.values()] == [adc, z]
    assert (case.name, case.label, cohort.layout) == ("S1_adc", None, "files")
    assert open_scans([f"zadc={z}", f"adc={adc}"], maps=("adc", "zadc"), name="new").cases[0].name == "new"


def test_one_file_is_enough_for_one_map(images):
    (case,) = open_scans([str(images[0])], maps=("flair",))
    assert {name: image.path for name, image in case.images.items()} == {"flair": images[0]}


def test_one_colour_image_holds_three_maps(images):
    (case,) = open_scans([str(images[0])], maps=("red", "green", "blue"))
    assert [image.component for image in case.images.values()] == [0, 1, 2]


def test_a_model_that_does_not_say_takes_what_is_named(images):
    assert open_scans([f"t1={images[0]}"], maps=()).maps == ("t1",)


def test_a_path_with_an_equals_sign_is_a_path(images, tmp_path):
    odd = images[0].rename(tmp_path / "adc=1.nii.gz")
    assert open_scans([str(odd)], maps=("adc",)).cases[0].images["adc"].path == odd


def test_a_cohort_is_opened_as_ever(small_cohort):
    assert open_scans([str(small_cohort)], maps=("adc", "zadc")) == open_cohort(small_cohort)


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        (["adc={0}"], {}, "the model reads adc, zadc, and zadc is missing; add zadc=FILE"),
        (["adc={0}", "zadc={1}", "t2={1}"], {}, "t2={1}: the model reads only adc, zadc; leave it out"),
        (["adc={0}", "adc={1}"], {}, "adc={1}: the map adc is given twice; name each once"),
        (["adc={0}", "{1}"], {}, "{1}: of several files each is given as MAP=FILE, such as adc={1}"),
        (["{0}"], {}, "{0}: is one image, and the model reads 2 maps; give each as adc=FILE zadc=FILE"),
        (["adc={0}", "zadc=nowhere.nii"], {}, "zadc=nowhere.nii: no such file"),
        (["adc={0}", "zadc={0}"], {"name": "../x"}, "case '../x' is not a usable name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(images, sources, options, words):
    with pytest.raises(UserError, match=re.escape(words.format(*images))):
        open_scans([source.format(*images) for source in sources], maps=("adc", "zadc"), **options)


def test_a_file_that_is_no_image(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="notes.txt: is no image that can be read; expected one of"):
        single_scan({"adc": tmp_path / "notes.txt"})


def test_what_is_neither_a_scan_nor_a_cohort(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    for path, words in {
        tmp_path: "holds neither the DICOM of a scan nor a cohort, which is one of: bonbid-hie: 1ADC_ss",
        tmp_path / "empty": "is empty; expected the DICOM of a scan or a cohort",
        tmp_path / "notes.txt": "is neither an image (.mha, ",
        tmp_path / "none": "no such file or folder",
    }.items():
        for ask in (maps_given, lambda sources: open_scans(sources, maps=("adc",))):
            with pytest.raises(UserError, match=re.escape(f"{path}: {words}")):
                ask([str(path)])


def test_a_name_is_for_one_scan(small_cohort):
    with pytest.raises(UserError, match="--name x: is for one scan"):
        open_scans([str(small_cohort)], maps=(), name="x")
