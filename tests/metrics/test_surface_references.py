"""Surface metrics against surface-distance (surfels) and MONAI (edge voxels), on random and on real masks."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from multifocal.metrics import surface_distances


def scores(prediction, target, *, spacing, convention, tolerance=2.0):
    found = surface_distances(prediction, target, spacing=spacing, convention=convention)
    return {
        "masd": found.masd,
        "assd": found.assd,
        "hd95": found.hd95,
        "nsd": found.nsd(tolerance=tolerance),
    }


def assert_equal(found, expected, rel=1e-9):
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=rel, abs=1e-9)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0, 3.3])
def test_surfels_equal_surface_distance(mask_pairs, deepmind, tolerance):
    for prediction, target, spacing in mask_pairs:
        options = {"spacing": spacing, "tolerance": tolerance}
        assert_equal(
            scores(prediction, target, convention="surfel", **options), deepmind(prediction, target, **options)
        )


def test_edge_voxels_equal_monai(mask_pairs, monai):
    """MONAI computes in single precision, and even the rank of its percentile: hence 1e-5 for that one."""
    for prediction, target, spacing in mask_pairs:
        found = scores(prediction, target, spacing=spacing, convention="voxel")
        expected = monai(prediction, target, spacing=spacing)
        assert found.pop("hd95") == pytest.approx(expected.pop("hd95"), rel=1e-5)
        assert_equal(found, expected, rel=1e-6)


def test_conventions_differ(mask_pairs):
    prediction, target, spacing = mask_pairs[-1]
    surfel, voxel = (scores(prediction, target, spacing=spacing, convention=name) for name in ("surfel", "voxel"))
    assert abs(surfel["masd"] - voxel["masd"]) > 1e-3


def test_real_neonates(bonbid, deepmind, monai):
    compared = 0
    for file in sorted((bonbid / "3LABEL").iterdir())[::4]:
        name = file.name.removesuffix("_lesion.mha")
        label = sitk.ReadImage(str(file))
        zadc = sitk.ReadImage(str(bonbid / "2Z_ADC" / f"Zmap_{name}-ADC_smooth2mm_clipped10.mha"))
        target = sitk.GetArrayFromImage(label).T > 0
        prediction = sitk.GetArrayFromImage(zadc).T < -2
        if not (target.any() and prediction.any()):
            continue
        spacing = label.GetSpacing()
        found = scores(prediction, target, spacing=spacing, convention="surfel")
        assert_equal(found, deepmind(prediction, target, spacing=spacing))
        if compared < 3:
            found = scores(prediction, target, spacing=spacing, convention="voxel")
            assert_equal(found, monai(prediction, target, spacing=spacing), rel=1e-5)
        compared += 1
    assert compared >= 7


def test_real_lesions_degraded(shared_data, deepmind):
    random = np.random.default_rng(0)
    files = sorted((shared_data / "ms-lesion-masks").glob("*/mask.nii.gz"))
    degrade = [
        ndimage.binary_dilation,
        ndimage.binary_opening,
        lambda mask: np.roll(mask, (2, -1, 1), axis=(0, 1, 2)),
        lambda mask: mask & (np.arange(mask.shape[2]) % 50 > 20),
        lambda mask: mask ^ (ndimage.binary_dilation(mask) & (random.random(mask.shape) < 0.3)),
    ]
    assert len(files) >= 29
    for change, file in zip(degrade * 6, files, strict=False):
        image = sitk.ReadImage(str(file))
        target = sitk.GetArrayFromImage(image).T > 0
        # The part with the most lesions, so that the reference takes its time on few voxels; stretched, not cubic.
        middle = int(np.argmax(target.sum(axis=(0, 1))))
        target = np.ascontiguousarray(target[:, :, max(middle - 12, 0) : middle + 12])
        spacing = (1.0, 1.25, 3.0)
        prediction = change(target)
        assert_equal(
            scores(prediction, target, spacing=spacing, convention="surfel"),
            deepmind(prediction, target, spacing=spacing),
        )
