import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.volumes import Geometry, Volume, bounding_box, crop, orient, pad, read, resample, resized, restore
from multifocal.volumes.restore import _whole_voxel_map


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
