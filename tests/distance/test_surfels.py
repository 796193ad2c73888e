"""The derived areas of surface elements against the published tables, and against geometry."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surface_distance import lookup_tables

from multifocal.distance import surfel_areas

SIDES = st.floats(0.05, 20.0)


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
