"""Surfaces of masks whose surface is known; areas of their elements against the published tables and geometry."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from surface_distance import lookup_tables

from multifocal.distance import surface, surfel_areas

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))
SIDES = st.floats(0.05, 20.0)


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


def in_order_of_bits(table):
    """The reference counts the voxels of a neighbourhood from the highest bit, we from the lowest."""
    bits = int(math.log2(len(table)))
    return np.array([table[int(f"{code:0{bits}b}"[::-1], 2)] for code in range(len(table))])


@settings(max_examples=20, deadline=None)
@given(spacing=st.tuples(SIDES, SIDES, SIDES))
def test_all_256_areas_equal_the_reference(spacing):
    expected = in_order_of_bits(lookup_tables.create_table_neighbour_code_to_surface_area(spacing))
    np.testing.assert_allclose(surfel_areas(spacing), expected, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(spacing=st.tuples(SIDES, SIDES))
def test_all_16_lengths_equal_the_reference(spacing):
    expected = in_order_of_bits(lookup_tables.create_table_neighbour_code_to_contour_length(spacing))
    np.testing.assert_allclose(surfel_areas(spacing), expected, rtol=1e-12)


def code(*voxels):
    return sum(1 << int("".join(map(str, voxel)), 2) for voxel in voxels)


def test_elements_known_from_geometry():
    a, b, c = 2.0, 3.0, 5.0
    areas = surfel_areas((a, b, c))
    corner = np.linalg.norm(np.cross((-a / 2, b / 2, 0), (-a / 2, 0, c / 2))) / 2
    assert areas[code((0, 0, 0))] == pytest.approx(corner)
    assert areas[code((0, 0, 0), (0, 0, 1))] == pytest.approx(c * math.hypot(a / 2, b / 2))
    assert areas[code((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1))] == pytest.approx(b * c)
    assert areas[code((0, 0, 0), (1, 1, 1))] == pytest.approx(2 * corner)
    # A corner and its three neighbours: a plane hexagon, as large as six corner triangles.
    assert areas[code((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))] == pytest.approx(6 * corner)


@pytest.mark.parametrize("spacing", [(1.0, 2.0), (1.0, 2.0, 4.8)])
def test_inside_and_outside_have_one_surface(spacing):
    areas = surfel_areas(spacing)
    np.testing.assert_allclose(areas, areas[::-1], rtol=1e-14)
    assert np.flatnonzero(areas == 0).tolist() == [0, len(areas) - 1]
