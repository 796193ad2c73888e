"""Every step of a channel against numpy, scipy and SimpleITK, and the derived channels against their definitions."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.errors import UserError
from multifocal.pipeline.channels import correct_bias, make_channel, sagittal_plane
from multifocal.pipeline.prepare import prepare
from multifocal.pipeline.settings import BrainBox, Channel, Resize
from multifocal.volumes import Geometry, Volume


def box(*channels, **options):
    return BrainBox.model_validate({"kind": "brain-box", "brain": "adc", "channels": channels, **options})


def whole(*channels, **options):
    return Resize.model_validate({"kind": "resize", "size": [None] * 3, "channels": channels, **options})


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(3, 2, (6, 7, 4)).astype(np.float32)


@pytest.fixture
def brain():
    inside = np.zeros((6, 7, 4), bool)
    inside[1:5, 2:6, :3] = True
    return inside


def made(values, brain, **settings):
    return make_channel(values, brain, Channel.model_validate({"map": "adc", **settings}), where="adc.mha")


# Values


def test_the_range_of_the_image_and_of_the_brain(values, brain):
    found = made(values, brain, range="image")
    np.testing.assert_allclose(found, (values - values.min()) / np.ptp(values), rtol=1e-5)
    found, own = made(values, brain, range="image", over="brain"), values[brain]
    np.testing.assert_allclose(found, (values - own.min()) / np.ptp(own), rtol=1e-4, atol=1e-6)
    assert found[brain].min() == 0 and found[brain].max() == 1 and (found.min() < 0 or found.max() > 1)


@pytest.mark.parametrize("over", ["image", "brain"])
def test_the_range_of_each_slice(values, brain, over):
    values[..., 1] = 5.0
    found = made(values, brain, range="slice", over=over)
    for z in range(4):
        own = values[..., z][brain[..., z]] if over == "brain" else values[..., z]
        if z == 1 or not own.size:  # constant, or without brain
            assert not found[..., z].any()
        else:
            np.testing.assert_allclose(found[..., z], (values[..., z] - own.min()) / np.ptp(own), rtol=1e-4, atol=1e-6)


def test_a_slice_of_a_flat_image_is_the_image():
    flat = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(made(flat, None, range="slice"), made(flat, None, range="image"))
    np.testing.assert_allclose(made(flat, None, range="image"), flat / 11)


@pytest.mark.parametrize("setting", [{"range": "image"}, {"range": "slice"}, {"zscore": "image"}])
def test_a_constant_image_has_no_range(setting):
    with pytest.raises(UserError, match=r"^adc.mha: is constant \(7\) and cannot be normalised; check"):
        made(np.full((3, 3, 3), 7.0), None, **setting)


@pytest.mark.parametrize("over", ["image", "brain"])
def test_percentiles_are_numpys(values, brain, over):
    low, high = np.percentile(values[brain] if over == "brain" else values, [10, 80])
    found = made(values, brain, percentiles=[10, 80], over=over)
    np.testing.assert_allclose(found, np.clip(values, low, high), rtol=1e-6)
    assert found.min() == pytest.approx(low) and found.max() == pytest.approx(high)


def test_fixed_mean_and_spread_and_what_lies_outside_the_brain(values, brain):
    np.testing.assert_allclose(made(values, brain, standardize=[3, 2]), (values - 3) / 2, rtol=1e-5)
    found = made(values, brain, standardize=[3, 2], background=-6)
    np.testing.assert_allclose(found[brain], (values[brain] - 3) / 2, rtol=1e-5)
    assert (found[~brain] == -6).all()


def test_steps_come_in_the_order_in_which_they_are_listed(values, brain):
    found = made(
        values, brain, clip=[0, None], percentiles=[5, 95], range="image", standardize=[0.5, 0.25], background=9
    )
    expected = np.clip(values, 0, None)
    expected = np.clip(expected, *np.percentile(expected.astype(float), [5, 95]))
    expected = ((expected - expected.min()) / np.ptp(expected) - 0.5) / 0.25
    np.testing.assert_allclose(found, np.where(brain, expected, 9), rtol=1e-4, atol=1e-5)


# Derived channels


def test_the_reciprocal_map(case_in, tmp_path):
    case = case_in(tmp_path)
    how = {"name": "reciprocal", "by": "zadc"}
    settings = [{"map": "adc"}, {"map": "zadc"}, {"map": "adc", "derive": how}]
    others = [{"power": 3}, {"minimum": "slice"}, {"minimum": -2}]
    prepared = prepare(case, box(*settings, *({"map": "adc", "derive": {**how, **other}} for other in others)))
    adc, z, *found = prepared.images.astype(float)
    inside = prepared.inside
    least = z[inside].min()
    assert least < -1  # or the print's min |z| would have done
    for image, power in ((found[0], 1.5), (found[1], 3)):
        np.testing.assert_allclose(image[inside], (adc / (1 + abs(least) + z) ** power)[inside], rtol=1e-5)
        assert not image[~inside].any()
    for k in range(adc.shape[2]):
        part = np.s_[..., k]
        own = inside[part]
        expected = (adc[part] / (1 + abs(z[part][own].min()) + z[part]) ** 1.5)[own]
        np.testing.assert_allclose(found[2][part][own], expected, rtol=1e-5)
    np.testing.assert_allclose(found[3][inside], (adc / (3 + np.maximum(z, -2)) ** 1.5)[inside], rtol=1e-5)


@hypothesis_settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 14), seed=st.integers(0, 99), axis=st.integers(0, 2))
def test_the_plane_is_the_one_of_most_overlap(n, seed, axis):
    inside = np.random.default_rng(seed).random((n, 3, 4)) < 0.6
    inside[0, 0, 0] = True
    turned = np.moveaxis(inside, 0, axis)
    found = sagittal_plane(turned, axis)
    overlaps = []
    for twice in range(2 * n - 1):
        pairs = [(x, twice - x) for x in range(n) if 0 <= twice - x < n]
        overlaps.append(sum(np.count_nonzero(inside[x] & inside[y]) for x, y in pairs))
    assert overlaps[found] == max(overlaps)


def test_a_symmetric_brain_is_mirrored_about_its_own_middle_wherever_it_lies():
    image = np.zeros((11, 5, 5))
    image[4:10, 1:4, 1:4] = np.random.default_rng(0).random((6, 3, 3)) + 1
    assert sagittal_plane(image > 0, 0) == 4 + 9


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PLS", "SAR"])
def test_the_mirror_image_and_its_difference(case_in, grid, tmp_path, axes):
    case = case_in(tmp_path, grid)
    settings = box({"map": "adc"}, {"map": "adc", "derive": "mirror"}, {"map": "adc", "derive": "mirror-difference"})
    prepared = prepare(case, settings.model_copy(update={"axes": axes}))
    adc, mirror, difference = prepared.images
    axis = next(k for k, letter in enumerate(axes) if letter in "LR")
    twice = sagittal_plane(prepared.inside, axis)
    moved = ndimage.affine_transform(
        adc, np.diag([-1.0 if k == axis else 1.0 for k in range(3)]), [twice * (k == axis) for k in range(3)], order=0
    )
    np.testing.assert_array_equal(mirror, moved)
    both = prepared.inside & (moved != 0)
    np.testing.assert_allclose(difference, np.where(both, adc - moved, 0), rtol=1e-5)
    assert difference.any() and both.sum() > 0.9 * prepared.inside.sum()
    order = [axes.index(next(a for a in axes if a in pair)) for pair in ("LR", "PA", "SI")]
    plain = prepare(case, settings).images
    flips = [letter in "RAI" for letter in (axes[k] for k in order)]
    back = prepared.images.transpose(0, *(k + 1 for k in order))
    back = np.flip(back, [k + 1 for k, flip in enumerate(flips) if flip])
    np.testing.assert_allclose(back, plain, rtol=1e-6)  # the same voxels, whichever way the axes run


def test_without_a_brain_the_plane_is_in_the_middle_of_the_image(case_in, tmp_path):
    prepared = prepare(case_in(tmp_path), whole({"map": "zadc"}, {"map": "zadc", "derive": "mirror"}))
    np.testing.assert_array_equal(prepared.images[1], prepared.images[0][::-1])


def test_coordinates_run_from_side_to_side_of_the_brain(case_in, tmp_path):
    case = case_in(tmp_path)
    axes = [{"derive": {"name": "coordinates", "axis": axis}} for axis in range(3)]
    tight, wide = prepare(case, box({"map": "adc"}, *axes)), prepare(case, box({"map": "adc"}, *axes, margin=1))
    for axis, image in enumerate(tight.images[1:]):
        n = image.shape[axis]
        line = (2 * np.arange(n) + 1) / n - 1
        expected = np.broadcast_to(np.moveaxis(line[:, None, None], 0, axis), image.shape)
        np.testing.assert_allclose(image, expected, atol=1e-6)
        inner = wide.images[axis + 1][tuple(slice(1, 1 + length) for length in image.shape)]
        np.testing.assert_allclose(inner, image, atol=1e-6)
    assert wide.images[1].min() < -1


def test_coordinates_and_mirror_of_flat_images(case_in, tmp_path):
    case = case_in(tmp_path, Geometry((10, 12), (1, 1), (0, 0), (1, 0, 0, 1)))
    prepared = prepare(case, box({"derive": {"name": "coordinates", "axis": 1}}, {"map": "adc", "derive": "mirror"}))
    assert prepared.images.shape[1:] == prepared.inside.shape
    with pytest.raises(UserError, match="case S_1: is 2D and has no axis 2; leave out its channel of coordinates"):
        prepare(case, box({"map": "adc"}, {"derive": {"name": "coordinates", "axis": 2}}))


def test_what_is_derived_is_scaled_like_a_map(case_in, tmp_path):
    how = {"map": "adc", "derive": {"name": "reciprocal", "by": "zadc"}}
    plain, scaled, prior = prepare(case_in(tmp_path), box(how, {**how, "range": "image"}, {**how, "below": 100})).images
    np.testing.assert_allclose(scaled, plain / plain.max(), rtol=1e-5)
    assert set(np.unique(prior)) == {0, 1} and prior.sum() == ((plain < 100) & (plain > 0)).sum()


def test_a_derivation_by_a_map_that_is_not_there(case_in, tmp_path):
    with pytest.raises(UserError, match="case S_1: has no map 'dwi', which the recipe needs; it has adc, zadc"):
        prepare(case_in(tmp_path), box({"map": "adc", "derive": {"name": "reciprocal", "by": "dwi"}}))


# Bias field


@pytest.fixture
def biased():
    """A ball of two tissues, its bias field, and its brain."""
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 20, 16)), indexing="ij"))
    brain = (axes**2).sum(0) < 0.9
    tissue = np.where(np.abs(axes).max(0) < 0.45, 150.0, 100.0) + np.random.default_rng(0).normal(0, 1, brain.shape)
    field = np.exp(0.4 * axes[0] - 0.3 * axes[1] * axes[2])
    grid = Geometry(brain.shape, (1.0, 1.0, 2.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Volume(np.where(brain, tissue * field, 0).astype(np.float32), grid), field, brain


def test_n4_takes_the_field_away(biased):
    volume, field, brain = biased
    corrected = correct_bias(volume, brain, where="x").array
    left = np.log(corrected[brain] / (volume.array / field)[brain])
    assert left.std() < 0.1 * np.log(field[brain]).std()
    assert corrected.dtype == np.float32 and not corrected[~brain].any()


def test_n4_is_simpleitks_and_depends_on_no_number_of_threads(biased):
    volume, _, brain = biased
    image = sitk.GetImageFromArray(volume.array.T.copy())
    image.SetSpacing(volume.geometry.spacing)
    mask = sitk.GetImageFromArray(brain.T.astype(np.uint8))
    mask.CopyInformation(image)
    n4, factors = sitk.N4BiasFieldCorrectionImageFilter(), [1, 1, 1]
    n4.SetMaximumNumberOfIterations([50, 50, 50])
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    expected = sitk.GetArrayFromImage(image / sitk.Cast(sitk.Exp(n4.GetLogBiasFieldAsImage(image)), sitk.sitkFloat32))
    found = correct_bias(volume, brain, where="x").array
    np.testing.assert_allclose(found, expected.T, rtol=1e-3)
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        for threads in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            assert np.array_equal(correct_bias(volume, brain, where="x").array, found)
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_n4_leaves_what_is_outside_the_brain(biased):
    volume, _, brain = biased
    array = np.where(brain, volume.array, 50).astype(np.float32)
    found = correct_bias(Volume(array, volume.geometry), brain, where="x").array
    assert (found[~brain] == 50).all()
    np.testing.assert_array_equal(found[brain], correct_bias(volume, brain, where="x").array[brain])


def test_n4_of_a_case_is_on_its_own_grid_and_before_all_else(case_in, biased, tmp_path):
    volume, _, brain = biased
    label = Volume(np.zeros(brain.shape, np.float32), volume.geometry)
    case = case_in(tmp_path, volume.geometry, replace={"adc": volume, "label": label})
    settings = box({"map": "adc", "n4": True}, {"map": "adc"}, {"map": "adc", "n4": True, "clip": [0, 100]}, axes="PLS")
    n4, plain, clipped = prepare(case, settings).images
    expected = correct_bias(volume, brain, where="x").array.transpose(1, 0, 2)
    box_ = tuple(slice(a, b) for a, b in zip(*_bounds(brain.transpose(1, 0, 2)), strict=True))
    np.testing.assert_allclose(n4, expected[box_], rtol=2e-2)  # fitted along axes in another order
    np.testing.assert_array_equal(plain, volume.array.transpose(1, 0, 2)[box_])
    np.testing.assert_array_equal(clipped, np.clip(n4, 0, 100))


def test_n4_wants_voxels_above_0(case_in, tmp_path):
    case = case_in(tmp_path, replace={"zadc": np.full((13, 16, 9), -1, np.float32)})
    with pytest.raises(UserError, match="zadc.mha: has too few voxels above 0 to find a bias field in; leave n4 out"):
        prepare(case, box({"map": "zadc", "n4": True}))
    thin = Geometry((10, 12, 3), (1, 1, 5), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(UserError, match="adc.mha: has too few voxels above 0"):
        prepare(case_in(tmp_path / "thin", thin), box({"map": "adc", "n4": True}))


def _bounds(mask):
    places = np.argwhere(mask)
    return places.min(0), places.max(0) + 1
