import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.volumes import (
    Geometry,
    Volume,
    bounding_box,
    crop,
    orient,
    pad,
    read,
    resample,
    resized,
    respaced,
    restore,
)
from multifocal.volumes.resample import _whole_voxel_map


def indices(onto, source):
    """Continuous source indices of the voxel centres of `onto`."""
    index = np.stack(np.indices(onto.size)).reshape(onto.ndim, -1)
    matrix = np.linalg.inv(source.affine) @ onto.affine
    return (matrix[:-1, :-1] @ index + matrix[:-1, -1:]).reshape(onto.ndim, *onto.size)


@settings(max_examples=60)
@given(data=st.data())
def test_linear_and_nearest_as_scipy_interpolates(geometries, data):
    source, onto = (data.draw(geometries(ndim=n)) for n in [data.draw(st.sampled_from([2, 3]))] * 2)
    # Grids of random places hardly meet: bring the second one onto the first.
    middle = source.affine[:-1] @ [*((np.array(source.size) - 1) / 2), 1]
    own = onto.affine[:-1] @ [*((np.array(onto.size) - 1) / 2), 1]
    onto = Geometry(onto.size, onto.spacing, tuple(np.array(onto.origin) + middle - own), onto.direction)
    array = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=source.size)
    at = indices(onto, source)
    size = np.array(source.size).reshape(-1, *[1] * source.ndim)
    inside = ((at > -0.5 + 1e-6) & (at < size - 0.5 - 1e-6)).all(0)
    outside = ((at < -0.5 - 1e-6) | (at > size - 0.5 + 1e-6)).any(0)
    for interpolation, order in (("linear", 1), ("nearest", 0)):
        got = resample(Volume(array, source), onto, interpolation=interpolation, fill=-99).array
        want = ndimage.map_coordinates(array, at, order=order, mode="nearest")
        sure = inside & (np.abs(at - np.floor(at) - 0.5).min(0) > 1e-6) if order == 0 else inside
        np.testing.assert_allclose(got[sure], want[sure], atol=1e-6)
        assert (got[outside] == -99).all()


def test_the_edge_does_not_darken():
    grid = Geometry((6, 6, 4), (1, 1, 3), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    bright = Volume(np.full(grid.size, 5, np.float32), grid)
    for onto in (resized(grid, (17, 3, 9)), resized(grid, (1, 1, 1)), respaced(grid, (0.7, 2.5, 4.0))):
        assert (resample(bright, onto, interpolation="linear", fill=-1).array == 5).all()


def test_a_ramp_stays_a_ramp_and_ends_at_the_edge():
    grid = Geometry((4, 1), (1, 1), (0, 0), (1, 0, 0, 1))
    onto = Geometry((7, 1), (1, 1), (-1.25, 0), (1, 0, 0, 1))
    got = resample(Volume(np.arange(4.0).reshape(4, 1), grid), onto, interpolation="linear", fill=9).array
    np.testing.assert_allclose(got.ravel(), [9, 0, 0.75, 1.75, 2.75, 9, 9])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, ">i2"])
def test_nearest_keeps_labels_and_dtype(dtype, oblique):
    labels = (np.arange(60).reshape(5, 4, 3) % 2).astype(dtype)
    onto = resized(oblique, (10, 8, 6))
    got = resample(Volume(labels, oblique), onto, interpolation="nearest").array
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, np.kron(labels, np.ones((2, 2, 2), int)))


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (bool, np.float32),
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float64),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (">f4", np.float32),
    ],
)
def test_linear_gives_floats(dtype, result):
    grid = Geometry((2, 1), (1, 1), (0, 0), (1, 0, 0, 1))
    got = resample(Volume(np.array([[0], [1]], dtype), grid), resized(grid, (4, 1)), interpolation="linear").array
    assert got.dtype == result
    np.testing.assert_allclose(got.ravel(), [0, 0.25, 0.75, 1])


def test_nan_spreads_no_further_than_its_neighbours():
    grid = Geometry((5, 1), (1, 1), (0, 0), (1, 0, 0, 1))
    array = np.array([0, 0, np.nan, 0, 0], np.float32).reshape(5, 1)
    got = resample(Volume(array, grid), resized(grid, (10, 1)), interpolation="linear").array.ravel()
    assert np.flatnonzero(np.isnan(got)).tolist() == [3, 4, 5, 6]
    filled = resample(
        Volume(array, grid), Geometry((1, 1), (1, 1), (9, 9), (1, 0, 0, 1)), interpolation="linear", fill=np.nan
    )
    assert np.isnan(filled.array).all()


def test_bad_requests(oblique, numbered):
    plane = Geometry((2, 2), (1, 1), (0, 0), (1, 0, 0, 1))
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        resample(numbered(oblique), oblique, interpolation="lineer")
    with pytest.raises(ValueError, match="3D volume onto a 2D grid"):
        resample(numbered(oblique), plane, interpolation="linear")
    with pytest.raises(ValueError, match="fill -1 does not fit into uint8"):
        resample(numbered(oblique, np.uint8), oblique, interpolation="nearest", fill=-1)


def test_its_own_grid_is_the_identity_on_a_real_case(bonbid):
    volume = read(next(iter(sorted((bonbid / "1ADC_ss").glob("*.mha")))))
    for interpolation in ("linear", "nearest"):
        got = resample(volume, volume.geometry, interpolation=interpolation)
        np.testing.assert_allclose(got.array, volume.array, atol=1e-3)
    corner = crop(volume, lower=(0, 0, 0), upper=(20, 20, 10))
    wide = resample(corner, pad(corner, size=(30, 30, 20)).geometry, interpolation="nearest", fill=-3)
    np.testing.assert_array_equal(wide.array, pad(corner, size=(30, 30, 20), fill=-3).array)


def anywhere(data, volume):
    """One random step out of orient, crop and pad."""
    step = data.draw(st.sampled_from(["orient", "crop", "pad"]))
    size = volume.geometry.size
    if step == "orient":
        letters = [data.draw(st.sampled_from(pair)) for pair in ("LR", "PA", "SI")[: len(size)]]
        return orient(volume, axes="".join(data.draw(st.permutations(letters))))
    if step == "crop":
        lower = [data.draw(st.integers(0, n - 1)) for n in size]
        return crop(
            volume, lower=lower, upper=[data.draw(st.integers(a + 1, n)) for a, n in zip(lower, size, strict=True)]
        )
    amounts = st.lists(st.integers(0, 3), min_size=len(size), max_size=len(size))
    return pad(volume, lower=data.draw(amounts), upper=data.draw(amounts), fill=0)


@settings(max_examples=150)
@given(data=st.data())
def test_any_chain_is_undone_exactly(geometries, numbered, data):
    start = numbered(data.draw(geometries()))
    volume = start
    for _ in range(data.draw(st.integers(1, 6))):
        volume = anywhere(data, volume)
    home = restore(volume, start.geometry, interpolation="nearest", fill=-5)
    assert home.geometry == start.geometry
    assert home.array.dtype == start.array.dtype
    survivors = np.isin(start.array, volume.array)
    np.testing.assert_array_equal(home.array[survivors], start.array[survivors])
    # What was cut off is fill; what was cut off and padded again came back as the pad's 0.
    assert np.isin(home.array[~survivors], [-5, 0]).all()
    if not (volume.array == 0).any():
        assert (home.array[~survivors] == -5).all()


@settings(max_examples=30)
@given(data=st.data())
def test_a_grid_elsewhere_takes_the_fill(geometries, numbered, data):
    volume = numbered(data.draw(geometries()))
    far = np.array(volume.geometry.origin) + volume.geometry.matrix @ (np.array(volume.geometry.spacing) * 1000)
    onto = Geometry(volume.geometry.size, volume.geometry.spacing, tuple(far), volume.geometry.direction)
    assert (restore(volume, onto, interpolation="nearest", fill=-5).array == -5).all()


def shifted(geometry, voxels):
    origin = geometry.affine @ [voxels, *[0] * (geometry.ndim - 1), 1]
    return Geometry(geometry.size, geometry.spacing, tuple(origin[:-1]), geometry.direction)


def test_which_grids_share_a_lattice(oblique):
    assert _whole_voxel_map(oblique, oblique) is not None
    assert _whole_voxel_map(oblique, shifted(oblique, 2.0009)) is not None
    assert _whole_voxel_map(oblique, shifted(oblique, 2.0011)) is None
    assert _whole_voxel_map(oblique, shifted(oblique, 0.5)) is None
    assert _whole_voxel_map(oblique, resized(oblique, (10, 4, 3))) is None
    assert _whole_voxel_map(oblique, Geometry((5, 4), (1, 1), (0, 0), (1, 0, 0, 1))) is None
    # A spacing that is off by a little adds up along an axis: 0.3e-3 over 4 steps is too much, over 3 it is not.
    for axis, shared in ((0, False), (1, True)):
        spacing = [s * (1 + 3e-4 * (i == axis)) for i, s in enumerate(oblique.spacing)]
        stretched = Geometry(oblique.size, tuple(spacing), oblique.origin, oblique.direction)
        assert (_whole_voxel_map(stretched, oblique) is not None) is shared


def test_off_the_lattice_it_resamples(oblique, numbered):
    volume = numbered(oblique, np.float32)
    for onto in (shifted(oblique, 0.4), resized(oblique, (7, 9, 2))):
        for interpolation in ("nearest", "linear"):
            got = restore(volume, onto, interpolation=interpolation, fill=-1)
            want = resample(volume, onto, interpolation=interpolation, fill=-1)
            np.testing.assert_array_equal(got.array, want.array)
            assert got.geometry == onto


def test_a_finer_prediction_comes_back_whole(oblique):
    mask = np.zeros(oblique.size, np.uint8)
    mask[1:3, 1:3, 1] = 1
    fine = resample(Volume(mask, oblique), resized(oblique, (15, 12, 9)), interpolation="nearest")
    np.testing.assert_array_equal(restore(fine, oblique, interpolation="nearest").array, mask)


def test_bad_requests_are_refused_on_any_grid(oblique, numbered):
    for onto in (oblique, resized(oblique, (7, 7, 7))):
        with pytest.raises(ValueError, match="did you mean 'nearest'"):
            restore(numbered(oblique), onto, interpolation="nearst")
        with pytest.raises(ValueError, match="does not fit into uint8"):
            restore(numbered(oblique, np.uint8), onto, interpolation="nearest", fill=300)
    with pytest.raises(ValueError, match="3D volume onto a 2D grid"):
        restore(numbered(oblique), Geometry((5, 4), (1, 1), (0, 0), (1, 0, 0, 1)), interpolation="nearest")


def test_real_masks_there_and_back_are_identical(bonbid):
    """Every real case: oriented, cropped to the brain and padded to a multiple of 16, as the pipeline does it."""
    cases = sorted((bonbid / "1ADC_ss").glob("*.mha"))
    assert cases
    for path in cases:
        label = read(bonbid / "3LABEL" / path.name.replace("-ADC_ss", "_lesion"))
        lower, upper = bounding_box(orient(read(path)).array + orient(label).array)
        box = crop(orient(label), lower=lower, upper=upper)
        there = pad(box, size=[-(-n // 16) * 16 for n in box.array.shape])
        back = restore(there, label.geometry, interpolation="nearest")
        np.testing.assert_array_equal(back.array, label.array)
        assert back.geometry == label.geometry
        assert back.array.dtype == label.array.dtype
