import os
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.errors import UserError
from multifocal.volumes import (
    EXTENSIONS,
    Geometry,
    Volume,
    extension_of,
    image_files,
    read,
    read_geometry,
    strip_extension,
    volumes_named,
    write,
)

FLAT = Geometry((4, 5), (1.0, 1.0), (0.0, 0.0), (1, 0, 0, 1))
BOX = Geometry((4, 5, 6), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
PICTURES = (".png", ".tif", ".tiff")
VOLUMES = [e for e in EXTENSIONS if e not in PICTURES]


def error_of(path, **options) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@settings(max_examples=25)
@given(data=st.data())
def test_there_and_back(geometries, tmp_path_factory, data):
    geometry = data.draw(geometries())
    dtype = data.draw(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]))
    bits = np.random.default_rng(data.draw(st.integers(0, 99))).bytes(np.prod(geometry.size) * np.dtype(dtype).itemsize)
    volume = Volume(np.frombuffer(bits, dtype).reshape(geometry.size), geometry)
    for extension in VOLUMES:
        path = tmp_path_factory.mktemp("there") / f"image{extension}"
        write(path, volume)
        back = read(path)
        assert back.array.dtype == dtype
        assert back.array.flags.c_contiguous
        np.testing.assert_array_equal(back.array, volume.array)
        assert back.geometry == read_geometry(path)
        if "nii" in extension:
            for name, atol in (("spacing", 1e-5), ("origin", 1e-4), ("direction", 1e-5)):
                np.testing.assert_allclose(getattr(back.geometry, name), getattr(geometry, name), atol=atol)
        else:
            assert back.geometry.differences(geometry, tolerance=1e-12) == []
            np.testing.assert_allclose(back.geometry.direction, geometry.direction, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_png_keeps_values_and_nothing_else(tmp_path, numbered, dtype):
    placed = Geometry((4, 5), (0.5, 0.5), (3.0, 4.0), (0, 1, 1, 0))
    write(tmp_path / "image.png", numbered(placed, dtype))
    back = read(tmp_path / "image.png")
    np.testing.assert_array_equal(back.array, numbered(placed, dtype).array)
    assert back.array.dtype == (np.uint16 if dtype is np.uint16 else np.uint8)
    assert back.geometry == FLAT


def test_bool_is_written_as_uint8(tmp_path):
    for extension in VOLUMES:
        path = tmp_path / extension / f"mask{extension}"
        write(path, Volume(np.eye(4, dtype=bool)[:, [0, 1, 2, 3, 3]], FLAT))
        back = read(path).array
        assert back.dtype == np.uint8
        assert back.tolist() == np.eye(4, dtype=int)[:, [0, 1, 2, 3, 3]].tolist()


def test_any_memory_layout_is_written(tmp_path, numbered):
    array = numbered(BOX).array
    swapped = np.asfortranarray(array[::-1, :, ::-1]).astype(">i4")
    write(tmp_path / "a.mha", Volume(swapped, BOX))
    np.testing.assert_array_equal(read(tmp_path / "a.mha").array, array[::-1, :, ::-1])


def test_nan_and_inf_are_voxels_like_others(tmp_path):
    array = np.full(FLAT.size, np.nan, np.float32)
    array[0] = np.inf
    for extension in VOLUMES:
        path = tmp_path / extension / f"a{extension}"
        write(path, Volume(array, FLAT))
        np.testing.assert_array_equal(read(path).array, array)


def test_float_nifti_with_bytes_after_the_voxels(tmp_path):
    write(tmp_path / "a.nii", Volume(np.full(FLAT.size, np.nan), FLAT))
    with (tmp_path / "a.nii").open("ab") as file:
        file.write(b"odd")
    assert np.isnan(read(tmp_path / "a.nii").array).all()


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
@pytest.mark.parametrize("slope", [1.0, -2.0])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_nifti_keeps_nan_and_inf_as_nibabel_does(tmp_path, dtype, slope, extension):
    values = np.random.default_rng(0).normal(size=(4, 5, 6, 3))
    values[1, 2, 3, 0], values[0, 0, 0, 1], values[3, 4, 5, 1] = np.nan, np.inf, -np.inf
    path = tmp_path / f"a{extension}"
    image = nibabel.Nifti1Image(values.astype(dtype), np.eye(4), nibabel.Nifti1Header(endianness=dtype[0]))
    image.header.set_slope_inter(slope, 0.5 if slope != 1 else 0)
    nibabel.save(image, path)
    expected = nibabel.load(path).get_fdata()
    assert np.isnan(expected).sum() == 1
    for component in range(3):
        np.testing.assert_allclose(read(path, component=component).array, expected[..., component], rtol=1e-5)


def test_vector_nifti_keeps_nan_in_its_component(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 5, 6, 2, 3)).astype(np.float32)
    values[1, 2, 3, 1, 2] = np.nan
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_intent("vector")
    nibabel.save(image, tmp_path / "a.nii.gz")
    for component in range(6):
        expected = values[..., component // 3, component % 3]
        np.testing.assert_array_equal(read(tmp_path / "a.nii.gz", component=component).array, expected)


@settings(max_examples=15)
@given(data=st.data())
def test_nifti_as_nibabel_sees_it(geometries, numbered, tmp_path_factory, data):
    volume = numbered(data.draw(geometries(ndim=3)), np.int16)
    path = tmp_path_factory.mktemp("nifti") / "image.nii.gz"
    write(path, volume)
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume.array)
    ras = np.diag([-1, -1, 1, 1])
    np.testing.assert_allclose(image.affine, ras @ volume.geometry.affine, atol=1e-4)


def test_scaled_nifti_comes_out_as_floats(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([-2.0, -2.0, 3.0, 1.0]))
    image.header.set_slope_inter(0.25, 10.0)
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    volume = read(tmp_path / "scaled.nii.gz")
    assert volume.array.dtype.kind == "f"
    np.testing.assert_allclose(volume.array, np.asarray(nibabel.load(tmp_path / "scaled.nii.gz").dataobj))
    assert volume.geometry == Geometry((2, 3, 4), (2, 2, 3), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_real_nifti_as_nibabel_sees_it(shared_data):
    path = shared_data / "ms-flair" / "patient07" / "flair.nii.gz"
    volume, image = read(path), nibabel.load(path)
    np.testing.assert_allclose(volume.array, image.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.affine, np.diag([-1, -1, 1, 1]) @ image.affine, atol=1e-4)


def test_real_metaimages_as_simpleitk_reads_them(bonbid):
    for path in sorted(bonbid.glob("*/*.mha"))[::7]:
        image, volume = sitk.ReadImage(str(path)), read(path)
        np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image).transpose(2, 1, 0))
        assert volume.geometry == Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


@pytest.mark.parametrize("extension", [".mha", ".nii.gz", ".nrrd"])
def test_one_component_of_several(tmp_path, extension):
    array = np.random.default_rng(0).integers(0, 99, (4, 5, 6, 3)).astype(np.int16)
    path = tmp_path / f"vector{extension}"
    sitk.WriteImage(sitk.GetImageFromArray(array.transpose(2, 1, 0, 3), isVector=True), str(path))
    assert "holds 3 components (colours, time points) where one image is expected; save one of them" in error_of(path)
    assert "there is no component 3; it holds 3" in error_of(path, component=3)
    assert "there is no component -1" in error_of(path, component=-1)
    for component in range(3):
        np.testing.assert_array_equal(read(path, component=component).array, array[..., component])
    assert read_geometry(path).size == (4, 5, 6)


@pytest.mark.parametrize("extension", [".mha", ".nii", ".nii.gz", ".nrrd"])
def test_one_time_point_of_several(tmp_path, extension):
    array = np.random.default_rng(0).integers(0, 99, (4, 5, 6, 3)).astype(np.int16)
    path = tmp_path / f"series{extension}"
    image = sitk.GetImageFromArray(array.T, isVector=False)
    image.SetSpacing((1, 2, 3, 0.5))
    sitk.WriteImage(image, str(path), useCompression=True)
    assert "holds 3 components" in error_of(path)
    volume = read(path, component=1)
    np.testing.assert_array_equal(volume.array, array[..., 1])
    assert volume.geometry == Geometry((4, 5, 6), (1, 2, 3), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_a_series_of_one_is_an_image(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((1, 6, 5, 4), np.uint8), isVector=False), str(tmp_path / "one.mha"))
    assert read(tmp_path / "one.mha").array.shape == (4, 5, 6)
    assert read(tmp_path / "one.mha", component=0).array.shape == (4, 5, 6)
    assert "there is no component 1" in error_of(tmp_path / "one.mha", component=1)


def png(bits: int, colours: int, rows: bytes, *, size=(4, 2), extra: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colour_png_by_component(tmp_path):
    pixels = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    path = tmp_path / "colour.png"
    for colours, channels in ((2, 3), (6, 4)):
        path.write_bytes(png(8, colours, b"".join(b"\0" + row[:, :channels].tobytes() for row in pixels)))
        assert f"holds {channels} components" in error_of(path)
        for component in range(channels):
            np.testing.assert_array_equal(read(path, component=component).array, pixels[..., component].T)


def test_png_spacing_is_one_whatever_it_says(tmp_path):
    physical = b"pHYs" + struct.pack(">IIB", 2000, 2000, 1)
    chunk = struct.pack(">I", 9) + physical + struct.pack(">I", zlib.crc32(physical))
    (tmp_path / "a.png").write_bytes(png(8, 0, b"\0abcd\0efgh", extra=chunk))
    assert read(tmp_path / "a.png").geometry == Geometry((4, 2), (1, 1), (0, 0), (1, 0, 0, 1))
    assert read(tmp_path / "a.png").array.tobytes() == b"aebfcgdh"


def test_names():
    assert strip_extension("a.nii.gz") == strip_extension("a.nii") == strip_extension("a.mhd") == "a"
    assert strip_extension("a.b.nrrd") == "a.b"
    assert strip_extension("a.gz") == "a.gz"
    assert strip_extension(".mha") == ""


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_capitals_in_an_ending_are_read_and_not_written(tmp_path, numbered, extension):
    plain = tmp_path / f"a_lesion{extension}"
    loud = tmp_path / "loud" / f"a_lesion{extension.upper()}"
    volume = numbered(FLAT if extension in PICTURES else BOX, np.uint16)
    write(plain, volume)
    shutil.copytree(tmp_path, tmp_path / "loud")
    (loud.parent / plain.name).rename(loud)
    np.testing.assert_array_equal(read(loud).array, volume.array)
    assert read_geometry(loud) == volume.geometry and image_files(loud)[0] == loud
    assert extension_of(loud.name) == extension and strip_extension(loud.name) == "a_lesion"
    assert volumes_named(loud.parent, "_lesion") == {"a": loud}
    with pytest.raises(UserError, match="lower case"):
        write(loud, volume)


def test_a_png_of_deep_colours_in_capitals(tmp_path):
    pixels = (np.arange(24).reshape(2, 4, 3) * 2000).astype(">u2")
    (tmp_path / "a.PNG").write_bytes(png(16, 2, b"".join(b"\0" + row.tobytes() for row in pixels)))
    np.testing.assert_array_equal(read(tmp_path / "a.PNG", component=1).array, pixels[..., 1].T)


@pytest.mark.parametrize("name", [b"gAMA", b"cHRM", b"iCCP", b"ABCD"])
def test_libpng_is_silent(tmp_path, capfd, name):
    path, chunk = tmp_path / "a.png", name + b"x\0"
    extra = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(png(16, 2, b"".join(b"\0" + bytes(24) for _ in range(2)), extra=extra))
    if name == b"ABCD":  # a chunk that must be understood
        assert "cannot be read" in error_of(path, component=0)
    else:
        assert not read(path, component=0).array.any()
    assert capfd.readouterr() == ("", "")


def test_not_an_image_file(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.mha").mkdir()
    (tmp_path / "empty.mha").touch()
    (tmp_path / "dangling.mha").symlink_to(tmp_path / "nowhere")
    assert "no such file" in error_of(tmp_path / "absent.mha")
    assert "no such file" in error_of(tmp_path / "dangling.mha")
    assert "cannot read: File name too long" in error_of(tmp_path / f"{'a' * 300}.mha")
    assert "unknown image type; readable are .mha, .mhd, .nii, .nii.gz, .nrrd, .png" in error_of(tmp_path / "notes.txt")
    assert "is a folder" in error_of(tmp_path / "folder.mha")
    assert "is empty" in error_of(tmp_path / "empty.mha")
    os.mkfifo(tmp_path / "pipe.mha")
    assert "is a pipe or a device" in error_of(tmp_path / "pipe.mha")


@pytest.mark.parametrize("folder", [False, True])
def test_a_nifti_beside_its_packed_copy_never_stands_in_for_it(tmp_path, numbered, folder):
    packed, plain = tmp_path / "v1.nii.gz", tmp_path / "v1.nii"
    write(packed, numbered(BOX))
    if folder:
        plain.mkdir()
    else:
        write(plain, Volume(numbered(BOX).array + 1, BOX))
        np.testing.assert_array_equal(read(plain).array, numbered(BOX).array + 1)
    message = error_of(packed)
    assert message == f"{packed}: v1.nii lies beside it, and other programs mix the two; remove or rename one of them"
    with pytest.raises(UserError, match=r"v1.nii.gz: v1.nii lies beside it"):
        read_geometry(packed)
    plain.rename(tmp_path / "v2.nii")
    np.testing.assert_array_equal(read(packed).array, numbered(BOX).array)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch, numbered):
    write(tmp_path / "a.mha", numbered(BOX))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot read: Permission denied" in error_of(tmp_path / "a.mha")


def test_strange_names_are_names(tmp_path, numbered):
    for extension in EXTENSIONS:
        path = tmp_path / extension / "ein Fall (2) – ñ" / f"v1.2 é{extension}"
        volume = numbered(FLAT if extension in PICTURES else BOX, np.uint8)
        write(path, volume)
        np.testing.assert_array_equal(read(path).array, volume.array)


def test_mhd_and_percent_signs(tmp_path, numbered):
    # MetaImage takes a % in the path for a pattern of many files, but only when it writes.
    with pytest.raises(UserError, match="where the path has a '%'"):
        write(tmp_path / "50%" / "a.mhd", numbered(BOX))
    write(tmp_path / "50%" / "a.mha", numbered(BOX))
    write(tmp_path / "a.mhd", numbered(BOX))
    shutil.copytree(tmp_path, tmp_path / "%d", ignore=shutil.ignore_patterns("*%*"))
    np.testing.assert_array_equal(read(tmp_path / "%d" / "a.mhd").array, numbered(BOX).array)


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("a.txt", np.uint8, "choose a name that ends in .mha"),
        ("a.MHA", np.uint8, "lower case"),
        ("a.mha", np.float16, "float16 cannot be written; convert it to float32"),
        ("a.mha", np.longdouble, "cannot be written"),
        ("a.png", np.uint8, "PNG holds 2D uint8 or uint16, not 3D uint8"),
    ],
)
def test_what_cannot_be_written(tmp_path, numbered, name, dtype, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path / name, numbered(BOX, dtype))
    assert list(tmp_path.iterdir()) == []


def test_png_and_nifti_have_limits(tmp_path, numbered):
    with pytest.raises(UserError, match="not 2D float32"):
        write(tmp_path / "a.png", numbered(FLAT, np.float32))
    long = Geometry((40_000, 1), (1, 1), (0, 0), (1, 0, 0, 1))
    with pytest.raises(UserError, match="at most 32767"):
        write(tmp_path / "a.nii.gz", numbered(long))
    write(tmp_path / "a.mha", numbered(long))


@contextmanager
def full_disk():
    """Make every file stop at 2000 bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("older", [True, False])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, extension, older):
    n = 2 if extension in PICTURES else 3
    grid = Geometry((60,) * n, (1,) * n, (0,) * n, tuple(np.eye(n).ravel()))
    noise = np.random.default_rng(0).integers(0, 255, grid.size).astype(np.uint8)
    path = tmp_path / f"a{extension}"
    if older:
        write(path, Volume(np.zeros(grid.size, np.uint8), grid))
    listing = sorted(p.name for p in tmp_path.iterdir())
    with full_disk(), pytest.raises(UserError, match="cannot write all of it") as caught:
        write(path, Volume(noise, grid))
    assert str(caught.value).startswith(f"{path}: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == listing
    if older:
        assert not read(path).array.any()


def test_no_place_to_write(tmp_path, numbered):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file stands where a folder should be"):
        write(tmp_path / "file" / "a.mha", numbered(BOX))
    with pytest.raises(UserError, match="cannot write"):
        write("/proc/multifocal/a.mha", numbered(BOX))


def test_a_write_cut_short_by_hand_leaves_the_old_file(tmp_path, monkeypatch, numbered):
    path = tmp_path / "a.nii.gz"
    write(path, numbered(BOX))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, Volume(np.zeros(BOX.size), BOX))
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    np.testing.assert_array_equal(read(path).array, numbered(BOX).array)


def test_mhd_and_its_voxels_stay_a_pair(tmp_path, numbered):
    path = tmp_path / "a.mhd"
    write(path, numbered(BOX))
    write(path, Volume(numbered(BOX).array + 1, BOX))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mhd", "a.zraw"]
    np.testing.assert_array_equal(read(path).array, numbered(BOX).array + 1)
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path, moved, ignore=shutil.ignore_patterns("moved"))
    np.testing.assert_array_equal(read(moved / "a.mhd").array, numbered(BOX).array + 1)


def test_masks_are_written_small(tmp_path):
    grid = Geometry((64, 64, 32), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    for extension in (".mha", ".nii.gz", ".nrrd"):
        write(tmp_path / f"mask{extension}", Volume(np.zeros(grid.size, np.uint8), grid))
        assert (tmp_path / f"mask{extension}").stat().st_size < 5000


_READ_IN_A_LITTLE = """
import resource, sys
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, read, write
import numpy as np
grid = Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
write(sys.argv[2], Volume(np.zeros(grid.size, np.uint8), grid))
read(sys.argv[2])  # all that is needed is loaded
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (32 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    read(sys.argv[1])
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux limits the memory of a process")
@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz", ".png"])
def test_an_image_for_which_there_is_not_enough_memory_is_not_called_damaged(tmp_path, ending):
    """32 MiB are left, and the voxels are 64."""
    size = (8192, 8192) if ending == ".png" else (512, 512, 256)
    grid = Geometry(size, (1.0,) * len(size), (0.0,) * len(size), tuple(np.eye(len(size)).ravel()))
    write(tmp_path / f"large{ending}", Volume(np.zeros(size, np.uint8), grid))
    files = (tmp_path / f"large{ending}", tmp_path / f"small{'.png' if ending == '.png' else '.mha'}")
    ended = subprocess.run(
        [sys.executable, "-c", _READ_IN_A_LITTLE, *files], capture_output=True, text=True, check=False
    )
    assert ended.stdout.startswith(f"{files[0]}: out of memory"), ended
    assert ended.stdout.endswith("; crop or resample the image, or run fewer processes at once (--workers, "
                                 "training.workers)\n") and ended.stdout.count("\n") == 1  # fmt: skip
