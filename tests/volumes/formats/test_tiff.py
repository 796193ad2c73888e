"""TIFF beside SimpleITK, which has another reader and another writer."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, component_count, read, read_geometry, write

GRID = Geometry((5, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
RNG = np.random.default_rng(0)


def values(dtype):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(0, 100, GRID.size).astype(dtype)
    return RNG.integers(0, np.iinfo(dtype).max, GRID.size, endpoint=True).astype(dtype)


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".TIF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_simpleitk_wrote(tmp_path, ending, dtype):
    array = values(dtype)
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing((0.3, 0.3))  # how to print it
    sitk.WriteImage(image, str(tmp_path / "a.tif"))
    (tmp_path / "a.tif").rename(tmp_path / f"a{ending}")
    volume = read(tmp_path / f"a{ending}")
    assert volume.geometry == GRID and volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_is_written_here(tmp_path, dtype):
    array = values(dtype)
    write(tmp_path / "a.tif", Volume(array, GRID))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.tif"))).T, array)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
def test_there_and_back(tmp_path, dtype):
    array = RNG.random(GRID.size) < 0.5 if dtype is bool else values(dtype)
    write(tmp_path / "a.tiff", Volume(array, GRID))
    np.testing.assert_array_equal(read(tmp_path / "a.tiff").array, array)
    assert read_geometry(tmp_path / "a.tiff") == GRID


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint32, np.int64, np.float64])
def test_numbers_that_others_would_not_read(tmp_path, dtype):
    with pytest.raises(UserError, match="TIFF holds 2D uint8, uint16, int32, float32, not 2D .*; write .mha instead"):
        write(tmp_path / "a.tif", Volume(values(dtype), GRID))
    with pytest.raises(UserError, match="not 3D uint8"):
        write(
            tmp_path / "a.tif",
            Volume(np.zeros((2, 2, 2), np.uint8), Geometry((2,) * 3, (1,) * 3, (0,) * 3, np.eye(3).ravel())),
        )


def test_colours_and_palettes(tmp_path):
    colours = RNG.integers(0, 255, (4, 5, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "rgb.tif")
    assert component_count(tmp_path / "rgb.tif") == 3
    for number in range(3):
        np.testing.assert_array_equal(read(tmp_path / "rgb.tif", component=number).array, colours[..., number].T)
    with pytest.raises(UserError, match="3 components"):
        read(tmp_path / "rgb.tif")
    labels = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    labels.putpalette([0, 0, 0, 9, 8, 7, 255, 1, 2])
    labels.save(tmp_path / "labels.tif")
    assert read(tmp_path / "labels.tif").array.tolist() == [[0, 2], [1, 1]]
    assert read(tmp_path / "labels.tif", component=0).array.tolist() == [[0, 255], [9, 9]]


def test_what_cannot_be_read_says_so_in_a_line(tmp_path):
    pages = [Image.fromarray(values(np.uint8)) for _ in range(2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match="pages.tif: holds 2 pages; save one of them"):
        read(tmp_path / "pages.tif")
    write(tmp_path / "whole.tif", Volume(values(np.uint16), GRID))
    whole = (tmp_path / "whole.tif").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.tif").write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut.tif: ") as caught:
            read(tmp_path / "cut.tif")
        assert "\n" not in str(caught.value)
    (tmp_path / "png.tif").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(UserError, match="cannot be read as TIFF"):
        read(tmp_path / "png.tif")
