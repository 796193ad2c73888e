"""What surface metrics are on masks with a known answer, and what must not change them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multifocal.metrics import surface_distances

CONVENTIONS = ("surfel", "voxel")
# Multiples of 1/8: distances and their sums are exact, whatever the order.
SIDES = st.integers(1, 40).map(lambda eighths: eighths / 8)


@st.composite
def pairs(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))
    masks = [draw(hnp.arrays(bool, shape)) for _ in range(2)]
    return *masks, draw(st.tuples(*[SIDES] * len(shape)))


def scores(prediction, target, spacing, convention, tolerance=1.0):
    found = surface_distances(prediction, target, spacing=spacing, convention=convention)
    return np.array([found.masd, found.assd, found.hd95, found.nsd(tolerance=tolerance)])


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=40, deadline=None)
@given(pair=pairs(), data=st.data())
def test_swaps_flips_turns_and_padding_change_nothing(convention, pair, data):
    prediction, target, spacing = pair
    expected = scores(prediction, target, spacing, convention)
    assert_same(scores(target, prediction, spacing, convention), expected)
    axis = data.draw(st.integers(0, target.ndim - 1))
    assert_same(scores(np.flip(prediction, axis), np.flip(target, axis), spacing, convention), expected)
    assert_same(scores(prediction.T, target.T, spacing[::-1], convention), expected)
    margins = data.draw(st.tuples(*[st.tuples(*[st.integers(0, 3)] * 2)] * target.ndim))
    assert_same(scores(np.pad(prediction, margins), np.pad(target, margins), spacing, convention), expected)


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=40, deadline=None)
@given(pair=pairs(), factor=st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_distances_scale_with_the_spacing(convention, pair, factor):
    prediction, target, spacing = pair
    expected = scores(prediction, target, spacing, convention) * [factor, factor, factor, 1.0]
    scaled = tuple(side * factor for side in spacing)
    assert_same(scores(prediction, target, scaled, convention, tolerance=factor), expected)


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=40, deadline=None)
@given(pair=pairs())
def test_a_mask_agrees_with_itself(convention, pair):
    _, target, spacing = pair
    assert_same(scores(target, target, spacing, convention, tolerance=0.0), [0.0, 0.0, 0.0, 1.0])


@settings(max_examples=40, deadline=None)
@given(pair=pairs(), tolerances=st.tuples(*[st.floats(0.0, 30.0)] * 2))
def test_nsd_grows_with_the_tolerance(pair, tolerances):
    prediction, target, spacing = pair
    found = surface_distances(prediction, target, spacing=spacing)
    less, more = sorted(tolerances)
    assert 0.0 <= found.nsd(tolerance=less) <= found.nsd(tolerance=more) <= 1.0


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 4])
def test_shifted_wall(convention, axis, steps):
    """Two walls one voxel thick and `steps` voxels apart: every distance is the shift, but at overlapping surfels."""
    spacing = (1.0, 2.5, 4.0)
    masks = [np.zeros((12, 12, 12), bool) for _ in range(2)]
    for mask, position in zip(masks, (3, 3 + steps), strict=True):
        mask[(slice(None),) * axis + (position,)] = True
    shift = steps * spacing[axis]
    found = surface_distances(*masks, spacing=spacing, convention=convention)
    if convention == "voxel":
        assert (found.masd, found.assd, found.hd95) == (shift, shift, shift)
        assert (found.nsd(tolerance=shift), found.nsd(tolerance=shift - 0.01)) == (1.0, 0.0)
    else:
        # A wall has two faces. Both of one wall see the nearer face of the other.
        near, far = shift - spacing[axis], shift
        assert found.masd == pytest.approx((near + far) / 2)
        assert found.hd95 == far
        assert found.nsd(tolerance=near) == pytest.approx(0.5)
        assert found.nsd(tolerance=far) == 1.0


def test_cube_in_a_cube():
    """Edge voxels of a cube of 3 in one of 5: the face centres, edges and corners see each other at 1, √2 and √3."""
    outer, inner = np.zeros((2, 9, 9, 9), bool)
    outer[2:7, 2:7, 2:7] = True
    inner[3:6, 3:6, 3:6] = True
    found = surface_distances(inner, outer, spacing=(1.0, 1.0, 1.0), convention="voxel")
    outward = 1.0
    inward = (6 * 9 * 1 + 12 * 3 * math.sqrt(2) + 8 * math.sqrt(3)) / 98
    assert found.masd == pytest.approx((outward + inward) / 2)
    assert found.assd == pytest.approx((26 * outward + 98 * inward) / (26 + 98))
    assert found.nsd(tolerance=1.0) == pytest.approx((26 + 54) / (26 + 98))


def test_directed_values_are_kept_apart():
    """A far island of the prediction: only its own direction sees it, and HD95 is the larger of the two."""
    target = np.zeros((40, 5), bool)
    target[:5] = True
    prediction = target.copy()
    prediction[30:35] = True
    found = surface_distances(prediction, target, spacing=(1.0, 1.0), convention="voxel")
    assert found.from_target.max() == 0.0
    assert found.hd95 == np.quantile(found.from_prediction, 0.95) > 25
    assert found.masd == pytest.approx(found.from_prediction.mean() / 2)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6)])
def test_empty_masks(convention, shape):
    empty, full = np.zeros(shape, bool), np.ones(shape, bool)
    spacing = (1.0,) * len(shape)
    assert scores(empty, empty, spacing, convention).tolist() == [0.0, 0.0, 0.0, 1.0]
    for pair in ((empty, full), (full, empty)):
        *distances, nsd = scores(*pair, spacing, convention)
        assert np.isnan(distances).all() and nsd == 0.0


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_bad_tolerance_is_named(tolerance):
    found = surface_distances(np.ones((2, 2)), np.ones((2, 2)), spacing=(1.0, 1.0))
    with pytest.raises(ValueError, match=f"tolerance is {tolerance}"):
        found.nsd(tolerance=tolerance)
