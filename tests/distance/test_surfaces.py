"""Surfaces of masks whose surface is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from multifocal.distance import surface

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_edge_voxels_are_what_erosion_takes_away(mask):
    found = surface(mask, spacing=(1.0,) * mask.ndim, convention="voxel")
    assert np.array_equal(found.places, mask & ~ndimage.binary_erosion(mask))
    assert np.array_equal(found.weights, np.ones(found.places.sum()))


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_surfels_lie_at_corners_of_voxels_on_both_sides(mask):
    found = surface(mask, spacing=(1.0,) * mask.ndim)
    padded = np.pad(mask, 1)
    neighbourhoods = np.lib.stride_tricks.sliding_window_view(padded, (2,) * mask.ndim)
    inside = neighbourhoods.sum(axis=tuple(range(mask.ndim, 2 * mask.ndim)))
    assert np.array_equal(found.places, (inside > 0) & (inside < 2**mask.ndim))
    assert len(found.weights) == found.places.sum() and (found.weights > 0).all()


def test_area_of_a_box_away_from_its_edges():
    """A flat wall of n×m voxels has the area of its voxels' faces, edges and corners are cut."""
    a, b, c = 1.0, 2.0, 4.0
    n, m, k = 7, 8, 9
    areas = np.zeros((n + 1, m + 1, k + 1))
    found = surface(np.ones((n, m, k), bool), spacing=(a, b, c))
    areas[found.places] = found.weights
    np.testing.assert_allclose(areas[0, 1:-1, 1:-1], b * c)
    np.testing.assert_allclose(areas[1:-1, -1, 1:-1], a * c)
    np.testing.assert_allclose(areas[1:-1, 1:-1, 0], a * b)
    np.testing.assert_allclose(areas[0, 0, 1:-1], c * np.hypot(a / 2, b / 2))
    assert not areas[1:-1, 1:-1, 1:-1].any()


def test_surface_of_a_ball_is_near_its_sphere():
    grid = np.mgrid[-14:15, -14:15, -7:8] * np.array([1.0, 1.0, 2.0])[:, None, None, None]
    ball = (grid**2).sum(axis=0) <= 12.0**2
    area = surface(ball, spacing=(1.0, 1.0, 2.0)).weights.sum()
    assert area == pytest.approx(4 * np.pi * 12.0**2, rel=0.12)


@pytest.mark.parametrize("convention", ["surfel", "voxel"])
@pytest.mark.parametrize("shape", [(0, 0), (3, 4), (0, 0, 0), (2, 3, 4)])
def test_empty_mask_has_no_surface(shape, convention):
    found = surface(np.zeros(shape, bool), spacing=(1.0,) * len(shape), convention=convention)
    assert not found.places.any() and found.weights.shape == (0,)


def test_mask_is_left_as_it_was():
    mask = np.ones((4, 4), bool)
    surface(mask, spacing=(1.0, 1.0), convention="voxel")
    assert mask.all()


def test_unknown_convention_lists_the_choices():
    with pytest.raises(ValueError, match="did you mean 'surfel'.*surfel, voxel"):
        surface(np.ones((2, 2), bool), spacing=(1.0, 1.0), convention="surfels")
