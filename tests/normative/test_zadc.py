"""Z-ADC by a known atlas: near the truth, on the scan's own grid, and refused where a scan is none."""

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.normative import Atlas, ZSettings, z_map
from multifocal.normative.zadc import smoothed
from multifocal.volumes import Geometry, Volume, write


def near(found: Volume, true: Volume, brain: np.ndarray) -> float:
    return float(np.corrcoef(found.array[brain], true.array[brain])[0, 1])


@pytest.mark.parametrize("lesion", [False, True])
def test_it_is_near_the_truth_with_and_without_a_lesion(true_atlas, scan, lesion):
    adc, true = scan(1, lesion=lesion)
    found, _ = z_map(adc, true_atlas, ZSettings(smooth_mm=0))
    assert found.geometry is adc.geometry and found.array.dtype == np.float32
    assert near(found, true, adc.array != 0) > 0.85
    assert not found.array[adc.array == 0].any() and np.abs(found.array).max() <= 10
    if lesion:
        low, there = found.array < -2.5, true.array < -3
        assert 2 * (low & there).sum() / (low.sum() + there.sum()) > 0.8


def test_an_oblique_flipped_grid_changes_little(true_atlas, scan):
    turn = np.radians(20)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    direction = tuple((matrix @ np.diag([-1.0, 1, 1])).ravel())
    origin = tuple(-matrix @ np.diag([-1.0, 1, 1]) @ np.array([48.0, 48.0, 40.0]))
    oblique = Geometry((33, 33, 21), (3.0, 3.0, 4.0), origin, direction)
    adc, true = scan(2, oblique)
    found, _ = z_map(adc, true_atlas)
    assert not found.geometry.differences(oblique)
    assert near(found, true, adc.array != 0) > 0.75


def test_the_deviation_has_a_floor(scan):
    adc, _ = scan(3)
    mean = Volume(np.where(adc.array != 0, np.float32(1200), 0).astype(np.float32), adc.geometry)
    spread = np.full(adc.geometry.size, 100, np.float32)
    spread[13, 14, 12] = 1e-3  # a hole
    found, _ = z_map(adc, Atlas(mean, Volume(spread, adc.geometry)), ZSettings(smooth_mm=0))
    assert np.abs(found.array).max() < 10


def test_smoothing_takes_nothing_from_outside(scan):
    adc, _ = scan(4)
    flat = Volume(np.where(adc.array != 0, np.float32(1000), 0).astype(np.float32), adc.geometry)
    flat.array[13, 14, 12] = 1001  # or it were constant
    ready = smoothed(flat, ZSettings(smooth_mm=6), where="a scan")
    assert np.allclose(ready.adc[ready.brain], 1000, atol=1) and not ready.adc[~ready.brain].any()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda adc: adc / 1000, "multiply it by 1000"),
        (lambda adc: adc * 0, "empty brain"),
        (lambda adc: np.where(adc > 1300, np.nan, adc), "NaN"),
        (lambda adc: np.where(adc != 0, 1200, 0), "constant image"),
    ],
)
def test_what_is_no_adc_is_refused(true_atlas, scan, change, told):
    adc, _ = scan(1)
    with pytest.raises(UserError, match=f"mine.mha: .*{told}"):
        z_map(Volume(change(adc.array).astype(np.float32), adc.geometry), true_atlas, where="mine.mha")


def test_what_is_no_volume_or_a_flat_brain_is_refused(true_atlas, scan):
    adc, _ = scan(1)
    plane = Geometry((27, 29), (3.0, 3.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    with pytest.raises(UserError, match="mine.png: is an image of 2 dimensions"):
        z_map(Volume(adc.array[:, :, 12], plane), true_atlas, where="mine.png")
    flat = np.where(np.arange(25) == 12, adc.array, 0)
    with pytest.raises(UserError, match="mine.mha: the brain is flat along an axis"):
        z_map(Volume(flat, adc.geometry), true_atlas, where="mine.mha")


def test_files_that_are_no_atlas_are_refused(true_atlas, tmp_path):
    true_atlas.save(tmp_path, {})
    mean, sd = tmp_path / "mean.nii.gz", tmp_path / "sd.nii.gz"
    assert np.allclose(Atlas.load(mean, sd).sd.array, true_atlas.sd.array)
    with pytest.raises(UserError, match="mean|median"):
        Atlas.load(sd, mean)
    grid, holed = true_atlas.mean.geometry, true_atlas.sd.array.copy()
    holed[13, 14, 12] = 0
    write(sd, Volume(holed, grid))
    with pytest.raises(UserError, match="not above 0"):
        Atlas.load(mean, sd)
    write(sd, Volume(2 * true_atlas.mean.array + (true_atlas.mean.array == 0), grid))
    with pytest.raises(UserError, match="sd is larger than its mean"):
        Atlas.load(mean, sd)
    write(sd, Volume(holed[1:], Geometry((26, 29, 25), grid.spacing, grid.origin, grid.direction)))
    with pytest.raises(UserError, match="another grid"):
        Atlas.load(mean, sd)
