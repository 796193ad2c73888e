"""Damaged files of every format: one line of error, and not a word from the libraries underneath."""

import gzip
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, read, read_geometry, write

KINDS = [
    "raw.mha",
    "packed.mha",
    "raw.mhd",
    "packed.mhd",
    "raw.nii",
    "packed.nii.gz",
    "raw.nrrd",
    "packed.nrrd",
    "a.png",
]
GUARDED = [kind for kind in KINDS if "raw" not in kind]


def sound(folder, kind):
    """Write a sound file of this kind; return it and the file that holds its voxels."""
    voxels = np.random.default_rng(0).integers(1, 250, (30, 20, 10)).astype(np.uint8)
    path = folder / kind
    image = sitk.GetImageFromArray(voxels[..., 0] if kind == "a.png" else voxels)
    sitk.WriteImage(image, str(path), useCompression="packed" in kind)
    data = {"raw.mhd": "raw.raw", "packed.mhd": "packed.zraw"}.get(kind, kind)
    return path, folder / data


@pytest.fixture
def complaint(capfd):
    def complain(path, **options):
        with pytest.raises(UserError) as caught:
            read(path, **options)
        assert capfd.readouterr() == ("", "")
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message

    return complain


@pytest.mark.parametrize(
    "head",
    [
        b"ObjectType = " + b"x" * 3000 + b"\n",
        b"Comment = " + b"x" * 9000 + b"\n",
        b"ID = x\n",
    ],
)
def test_what_metaio_cannot_read(tmp_path, complaint, head):
    path, _ = sound(tmp_path, "raw.mha")
    path.write_bytes(head + path.read_bytes())
    assert "cannot be read" in complaint(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left", [0.0, 0.3, 0.5, 0.9, -20, -8, -5, -1])
def test_truncated(tmp_path, complaint, kind, left):
    path, data = sound(tmp_path, kind)
    read(path)
    whole = data.read_bytes()
    data.write_bytes(whole[: left if left < 0 else int(left * len(whole))])
    message = complaint(path)
    if data == path and left == 0:
        assert "empty" in message
    elif left in (0.9, -20, -8, -5, -1):
        assert "truncated" in message
    assert message.endswith("copy the file again from its source")


@pytest.mark.parametrize("kind", GUARDED)
def test_every_altered_byte_of_packed_voxels_is_noticed(tmp_path, complaint, kind):
    path, data = sound(tmp_path, kind)
    whole = data.read_bytes()
    for at in range(len(whole) // 2, len(whole), max(1, len(whole) // 40)):
        data.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        assert "corrupt" in complaint(path) or "truncated" in complaint(path)


@pytest.mark.parametrize("kind", KINDS)
def test_garbage(tmp_path, complaint, kind):
    path, _ = sound(tmp_path, kind)
    for length in (1, 10, 400, 5000):
        path.write_bytes(np.random.default_rng(length).bytes(length))
        complaint(path)
        with pytest.raises(UserError):
            read_geometry(path)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_the_voxels_do_no_harm(tmp_path, kind):
    path, data = sound(tmp_path, kind)
    before = read(path).array
    with data.open("ab") as file:
        file.write(b"junk" * 100)
    np.testing.assert_array_equal(read(path).array, before)


def test_a_gzip_of_several_members_is_whole(tmp_path, complaint):
    path, data = sound(tmp_path, "raw.nii")
    plain = data.read_bytes()
    parts = [gzip.compress(plain[i : i + 1000]) for i in range(0, len(plain), 1000)]
    packed = tmp_path / "parts.nii.gz"
    packed.write_bytes(b"".join(parts))
    np.testing.assert_array_equal(read(packed).array, read(path).array)
    packed.write_bytes(b"".join(parts[:-1]))
    assert "truncated" in complaint(packed)


def test_gzip_is_known_by_its_bytes_not_its_name(tmp_path, complaint):
    plain, _ = sound(tmp_path, "raw.nii")
    packed, _ = sound(tmp_path, "packed.nii.gz")
    shutil.copy(plain, tmp_path / "plain.nii.gz")
    shutil.copy(packed, tmp_path / "zipped.nii")
    np.testing.assert_array_equal(read(tmp_path / "plain.nii.gz").array, read(plain).array)
    assert "is compressed; rename it to end in .nii.gz" in complaint(tmp_path / "zipped.nii")


def test_the_geometry_of_a_file_with_altered_voxels_can_still_be_read(tmp_path):
    path, data = sound(tmp_path, "packed.mha")
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    assert read_geometry(path).size == (10, 20, 30)


SEEDS = {".mha": "packed.mha", ".nii": "raw.nii", ".nii.gz": "packed.nii.gz", ".nrrd": "packed.nrrd", ".png": "a.png"}
PIECES = [
    b"0",
    b"-1",
    b"nan",
    b"inf",
    b"99999999",
    b"LIST",
    b"../x",
    b"True",
    b"\n",
    b" ",
    b"1e400",
    b"\xff",
    b"\0",
    b"",
]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_header_brings_the_reader_down(tmp_path, data):
    extension = data.draw(st.sampled_from(sorted(SEEDS)))
    path, _ = sound(tmp_path, SEEDS[extension])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 420))
        content[at : at + data.draw(st.integers(0, 12))] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=4))
    path.write_bytes(bytes(content))
    try:
        volume = read(path, component=0)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert volume.array.nbytes <= 8 * 30 * 20 * 10


def test_a_written_file_is_a_sound_file(tmp_path):
    grid = Geometry((30, 20, 10), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    noise = np.random.default_rng(0).normal(size=grid.size).astype(np.float32)
    for extension in (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd"):
        write(tmp_path / extension / f"a{extension}", Volume(noise, grid))
        np.testing.assert_array_equal(read(tmp_path / extension / f"a{extension}").array, noise)
