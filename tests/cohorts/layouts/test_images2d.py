import numpy as np
import pytest
from PIL import Image

from multifocal.cohorts import open_cohort
from multifocal.errors import UserError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(1, 255, (7, 9, 3), np.uint8)
GREY = RNG.integers(1, 255, (7, 9), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes images (rows first, as PNG has them) and their masks."""

    def make(**images):
        for part in ("images", "masks"):
            (tmp_path / part).mkdir()
        for name, array in images.items():
            Image.fromarray(array).save(tmp_path / "images" / f"{name}.png")
            Image.fromarray(np.arange(63, dtype=np.uint16).reshape(7, 9)).save(tmp_path / "masks" / f"{name}.png")
        return tmp_path

    return make


def test_grey_images(folder):
    cohort = open_cohort(folder(a=GREY, b=GREY + 1))
    assert cohort.maps == ("image",) and cohort.label_kind == "instances" and cohort.layout == "images2d"
    assert np.array_equal(cohort.case("a").images["image"].read().array, GREY.T)
    assert cohort.case("b").label.read().array.max() == 62


@pytest.mark.parametrize("alpha", [False, True])
def test_colour_images(folder, alpha):
    array = np.dstack([COLOUR, GREY]) if alpha else COLOUR
    cohort = open_cohort(folder(a=array))
    assert cohort.maps == ("red", "green", "blue")
    for number, name in enumerate(cohort.maps):
        assert np.array_equal(cohort.cases[0].images[name].read().array, COLOUR[..., number].T)


def test_grey_beside_colour_is_grey_in_all_three(folder):
    cohort = open_cohort(folder(a=COLOUR, b=GREY))
    assert all(np.array_equal(cohort.case("b").images[m].read().array, GREY.T) for m in ("red", "green", "blue"))


def test_palettes_are_colours(folder):
    root = folder(a=GREY)
    picture = Image.fromarray(COLOUR).quantize(16)
    picture.save(root / "images" / "a.png")
    cohort = open_cohort(root)
    expected = np.asarray(picture.convert("RGB"))
    assert cohort.maps == ("red", "green", "blue")
    assert np.array_equal(cohort.cases[0].images["green"].read().array, expected[..., 1].T)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda root: (root / "masks/a.png").unlink(), "case a: images/a.png has no label in masks"),
        (lambda root: (root / "images/a.png").unlink(), "masks/a.png is a label without an image"),
        (lambda root: (root / "images/c.bmp").touch(), "images/c.bmp: not an image format read here; convert it"),
        (lambda root: (root / "images/a.png").write_bytes(b"none"), "case a: .*not a PNG file"),
    ],
)
def test_nothing_is_dropped_in_silence(folder, damage, expected):
    root = folder(a=GREY, b=GREY)
    damage(root)
    with pytest.raises(UserError, match=expected):
        open_cohort(root)


def test_a_volume_is_no_2d_image(folder, grid):
    from multifocal.volumes import Volume, write

    root = folder(a=GREY)
    for part in ("images", "masks"):
        write(root / part / "v.mha", Volume(np.ones(grid.size, np.uint8), grid))
    with pytest.raises(UserError, match="case v: images/v.mha: not a 2D image"):
        open_cohort(root)


def test_without_masks_it_is_to_be_predicted(folder):
    root = folder(a=GREY)
    (root / "masks/a.png").unlink()
    (root / "masks").rmdir()
    assert [case.label for case in open_cohort(root)] == [None]


def test_the_real_nuclei(shared_data):
    cohort = open_cohort(shared_data / "nuclei")
    grey = [case for case in cohort if case.images["red"].component is None]
    assert (len(cohort), len(grey), cohort.maps) == (115, 40, ("red", "green", "blue"))
    assert all(case.label for case in cohort)
