"""The brain in a scan with its skull: by its edge, by a tool, by a file."""

import numpy as np
import pytest

from multifocal.cohorts import brain_mask, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.cohorts.phantom.head import with_head
from multifocal.errors import UserError
from multifocal.pipeline.skull_strip import brain_finder, find_brain
from multifocal.volumes import Geometry, Volume, orient, read, write


@pytest.fixture(scope="module")
def adc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brains") / "cohort"
    write_phantom(folder, cases=1, seed=3)
    return open_cohort(folder).cases[0].images["adc"].read()


def dice(one, other):
    one, other = one != 0, other != 0
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("head", [None, {"noise": 0.0}, {}])
def test_a_neonates_brain_is_found(adc, head):
    """A synthetic brain in a synthetic head; tools/brain_accuracy.py has what real brains give."""
    scan = adc if head is None else with_head(adc, np.random.default_rng(0), **head)
    found = find_brain(scan)
    assert not found.mask.geometry.differences(adc.geometry)
    assert dice(found.mask.array, brain_mask(adc.array)) > 0.88
    assert f"{np.count_nonzero(found.mask.array) * adc.geometry.voxel_ml:.0f} ml" in found.remark


def test_the_order_of_axes_changes_little(adc):
    """Directions are drawn along the array's axes, so that a turned scan is looked at along others."""
    head = with_head(adc, np.random.default_rng(0), noise=0.0)
    one, two = find_brain(head).mask, find_brain(orient(head, axes="SAR")).mask
    assert dice(orient(two, axes="RPI").array, orient(one, axes="RPI").array) > 0.97


def test_what_is_no_neonates_brain_is_refused(adc):
    grid = adc.geometry
    twice = Geometry(grid.size, tuple(1.5 * side for side in grid.spacing), grid.origin, grid.direction)
    with pytest.raises(UserError, match=r"no neonate's brain \(\d+ ml, .*expected are 150 to 700 ml") as caught:
        find_brain(Volume(adc.array, twice))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no tissue as deep as a brain .* is the unit 1e-6"):
        find_brain(Volume(adc.array / 1000, grid))
    with pytest.raises(UserError, match="--brain auto: the scan is 2D"):
        find_brain(Volume(np.ones((4, 4)), Geometry((4, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))))


@pytest.fixture
def program(adc, tmp_path, monkeypatch):
    """A program that takes what is above 0 for brain, on the PATH under a name."""
    write(tmp_path / "ready.nii.gz", Volume((adc.array > 0).astype(np.uint8), adc.geometry))

    def program(name, mask, *, fails=False):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        does = "echo no memory left on device; exit 3" if fails else f"/bin/cp {tmp_path}/ready.nii.gz {mask}"
        file.write_text(f'#!/bin/sh\ntest -f scan.nii.gz && echo "$@" > {tmp_path}/seen\n{does}\n')
        file.chmod(0o755)
        monkeypatch.setenv("PATH", str(file.parent))
        return file

    return program


@pytest.mark.parametrize(
    ("tool", "name", "mask", "told"),
    [
        ("synthstrip", "mri_synthstrip", "mask.nii.gz", "-i scan.nii.gz -o stripped.nii.gz -m mask.nii.gz"),
        ("synthstrip", "nipreps-synthstrip", "mask.nii.gz", "-i scan.nii.gz -o stripped.nii.gz -m mask.nii.gz"),
        (
            "hd-bet",
            "hd-bet",
            "out_bet.nii.gz",
            "-i scan.nii.gz -o out.nii.gz -device cpu --disable_tta --save_bet_mask",
        ),
    ],
)
def test_a_tool_is_asked_as_it_wants_to_be(adc, program, tmp_path, tool, name, mask, told):
    program(name, mask)
    found = brain_finder(tool)(adc)
    assert (found.mask.array != 0).tolist() == (adc.array > 0).tolist()
    assert (tmp_path / "seen").read_text() == f"{told}\n"
    assert f"the brain was found by {tool}" in found.remark


def test_a_tool_may_be_elsewhere(adc, program, monkeypatch):
    file = program("strip-it", "mask.nii.gz")
    monkeypatch.setenv("PATH", "")
    assert brain_finder(f"synthstrip:{file}")(adc).mask.array.any()
    monkeypatch.chdir(file.parent)
    assert brain_finder("synthstrip:./strip-it")(adc).mask.array.any()


def test_a_tool_that_is_missing_or_fails_is_told_in_one_line(adc, program, monkeypatch):
    program("mri_synthstrip", "mask.nii.gz", fails=True)
    with pytest.raises(UserError, match=r"mri_synthstrip ended with 3 and no mask \(no memory left on device\)"):
        brain_finder("synthstrip")(adc)
    program("mri_synthstrip", "elsewhere.nii.gz")
    with pytest.raises(UserError, match="ended with 0 and no mask"):
        brain_finder("synthstrip")(adc)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no hd-bet to run; install the tool, or say where it is"):
        brain_finder("hd-bet")


def test_a_file(adc, tmp_path):
    grid = adc.geometry
    write(tmp_path / "brain.nii.gz", Volume(brain_mask(adc.array).astype(np.uint8), grid))
    found = brain_finder(str(tmp_path / "brain.nii.gz"))(adc)
    assert (found.mask.array == read(tmp_path / "brain.nii.gz").array).all()
    assert found.remark is None
    write(tmp_path / "empty.nii.gz", Volume(np.zeros(grid.size, np.uint8), grid))
    with pytest.raises(UserError, match="is 0 everywhere"):
        brain_finder(str(tmp_path / "empty.nii.gz"))(adc)
    moved = Geometry(grid.size, grid.spacing, (0.0, 0.0, 0.0), grid.direction)
    with pytest.raises(UserError, match="origin .* give a mask on the scan's grid"):
        brain_finder(str(tmp_path / "brain.nii.gz"))(Volume(adc.array, moved))
    with pytest.raises(UserError, match="--brain synthstip: no such file; give a mask, or one of auto, synthstrip"):
        brain_finder("synthstip")
