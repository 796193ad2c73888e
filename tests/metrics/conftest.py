"""Reference libraries behind one face, and masks to compare on."""

import warnings

import numpy as np
import pytest
import surface_distance
from scipy import ndimage


@pytest.fixture(scope="session")
def deepmind():
    """MASD, HD95 and NSD of surface-distance, for two masks that are not empty."""

    def scores(prediction, target, *, spacing, tolerance=2.0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found = surface_distance.compute_surface_distances(target, prediction, spacing)
        return {
            "masd": np.mean(surface_distance.compute_average_surface_distance(found)),
            "hd95": surface_distance.compute_robust_hausdorff(found, 95),
            "nsd": surface_distance.compute_surface_dice_at_tolerance(found, tolerance),
        }

    return scores


@pytest.fixture(scope="session")
def monai():
    """MASD, ASSD, HD95 and NSD of MONAI on edge voxels; its `symmetric=True` pools both surfaces, which is the ASSD."""
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")

    def scores(prediction, target, *, spacing, tolerance=2.0):
        pair = [torch.from_numpy(np.ascontiguousarray(mask))[None, None].float() for mask in (prediction, target)]
        options = {"include_background": True, "spacing": list(spacing)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            there = metrics.compute_average_surface_distance(*pair, **options)
            back = metrics.compute_average_surface_distance(*pair[::-1], **options)
            return {
                "masd": float(there.double() + back.double()) / 2,
                "assd": float(metrics.compute_average_surface_distance(*pair, symmetric=True, **options)),
                "hd95": float(metrics.compute_hausdorff_distance(*pair, percentile=95, **options)),
                "nsd": float(metrics.compute_surface_dice(*pair, class_thresholds=[tolerance], **options)),
            }

    return scores


def _blobs(random, shape):
    field = ndimage.gaussian_filter(random.random(shape), random.choice([0.0, 0.8, 2.0]))
    return field > np.quantile(field, random.choice([0.2, 0.6, 0.9]))


@pytest.fixture(scope="session")
def mask_pairs():
    """Random pairs in 2D and 3D, with noise, blobs, masks on the border and single voxels, and their spacings."""
    random = np.random.default_rng(7)
    pairs = []
    for ndim in (2, 3):
        while len(pairs) < 60 * (ndim - 1):
            shape = tuple(random.integers(1, 15, ndim))
            spacing = tuple(float(side) for side in random.uniform(0.3, 6.0, ndim))
            if len(pairs) % 3 == 0:
                spacing = tuple(float(side) for side in random.choice([0.5, 1.0, 2.0, 4.75, 1.5625], ndim))
            pair = [_blobs(random, shape), _blobs(random, shape)]
            if len(pairs) % 5 == 0:
                pair[0] = np.zeros(shape, bool)
                pair[0][tuple(random.integers(0, n) for n in shape)] = True
            if pair[0].any() and pair[1].any():
                pairs.append((*pair, spacing))
    return pairs
