import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from multifocal.cohorts import open_cohort
from multifocal.errors import UserError
from multifocal.pipeline.prepare import make_channel, prepare
from multifocal.pipeline.settings import BrainBox, Channel, Resize
from multifocal.volumes import Geometry, Volume, axis_codes, bounding_box, restore

PLAIN = (Channel(map="adc"), Channel(map="zadc"))
NORMAL = (Channel(map="adc", zscore="brain"), Channel(map="zadc", range=(0, 3)), Channel(map="zadc", below=-2))


def box(*channels, **options):
    return BrainBox(kind="brain-box", brain="adc", channels=channels or PLAIN, **options)


def stretch(size, *channels, **options):
    return Resize(kind="resize", size=size, channels=channels or PLAIN, **options)


def home(array, prepared, *, interpolation="nearest"):
    """Return an array of the network's grid on the source's own."""
    return restore(Volume(np.array(array), prepared.geometry), prepared.native, interpolation=interpolation).array


def points(grid):
    """Return the physical points of all voxels, `(3, *size)`."""
    index = np.indices(grid.size).reshape(grid.ndim, -1)
    affine = grid.affine
    return (affine[:-1, :-1] @ index + affine[:-1, -1:]).reshape(grid.ndim, *grid.size)


# The brain's box on the scan's own grid


def test_the_brain_box_is_cut_out_and_leads_back_exactly(case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    prepared = prepare(case, box())
    adc, label = case.images["adc"].read().array, case.label.read().array
    assert axis_codes(prepared.geometry) == "LPS"
    assert prepared.native == grid
    assert np.array_equal(home(prepared.images[0], prepared), adc)
    assert np.array_equal(home(prepared.target, prepared), label)
    assert np.array_equal(home(prepared.inside.astype(np.uint8), prepared), adc != 0)
    assert bounding_box(prepared.inside) == ((0, 0, 0), prepared.inside.shape)


def test_every_voxel_keeps_its_place_in_the_patient(case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    prepared = prepare(case, box())
    back = np.linalg.inv(grid.affine)
    index = np.tensordot(back[:-1, :-1], points(prepared.geometry), 1) + back[:-1, -1].reshape(-1, 1, 1, 1)
    where = tuple(np.rint(index).astype(int))
    assert np.abs(index - np.rint(index)).max() < 1e-6
    for name, made in zip(("adc", "zadc"), prepared.images, strict=True):
        assert np.array_equal(made, case.images[name].read().array[where])


def test_types_and_shapes(case_in, tmp_path):
    prepared = prepare(case_in(tmp_path), box(*NORMAL))
    size = prepared.geometry.size
    assert prepared.name == "S_1"
    assert (prepared.images.dtype, prepared.images.shape) == (np.float32, (3, *size))
    assert (prepared.target.dtype, prepared.target.shape) == (np.uint8, size)
    assert (prepared.inside.dtype, prepared.inside.shape) == (bool, size)
    assert (prepared.native_brain.dtype, prepared.native_brain.shape) == (bool, prepared.native.size)
    assert (prepared.label.dtype, prepared.label.shape) == (np.uint8, prepared.native.size)


@pytest.mark.parametrize("margin", [0, 1, 2, 3])
def test_a_margin_ends_at_the_edge_of_the_image(margin, case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    found, whole = prepare(case, box(margin=margin)), prepare(case, box(margin=100))
    assert sorted(whole.geometry.size) == sorted(grid.size)
    lower, upper = bounding_box(whole.inside)
    expected = tuple(
        slice(max(0, a - margin), min(n, b + margin)) for a, b, n in zip(lower, upper, whole.geometry.size, strict=True)
    )
    assert np.array_equal(found.images, whole.images[(slice(None), *expected)])
    assert np.array_equal(home(found.target, found), home(whole.target, whole))


def test_values_are_those_of_the_brain_and_the_prior(case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    prepared = prepare(case, box(*NORMAL))
    adc, zadc = (case.images[name].read().array.astype(float) for name in ("adc", "zadc"))
    brain = adc != 0
    expected = np.where(brain, (adc - adc[brain].mean()) / adc[brain].std(), 0)
    assert home(prepared.images[0], prepared) == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(home(prepared.images[2], prepared), brain & (zadc < -2))
    assert prepared.images[1][prepared.inside].sum() * 3 == pytest.approx(zadc[brain].sum(), abs=1e-2)


def test_the_brain_is_taken_from_adc_where_zadc_is_zero(case_in, tmp_path):
    case = case_in(tmp_path)
    adc, zadc = (case.images[name].read().array for name in ("adc", "zadc"))
    assert ((adc != 0) & (zadc == 0)).any() and ((adc == 0) & (zadc < -2)).any()
    prepared = prepare(case, box())
    assert prepared.inside.sum() == prepared.native_brain.sum() == np.count_nonzero(adc)


# Another spacing, another size


def linear(grid):
    """Return an image whose values are a linear function of the place in the patient, and that function."""

    def function(where):
        return 1000 + np.tensordot([3.0, -2.0, 1.5], where, 1)

    return function(points(grid)).astype(np.float32), function


@pytest.mark.parametrize("settings", [box(spacing=(3.0, 2.0, 2.5)), stretch((20, 10, 24)), stretch((20, None, 24))])
def test_linear_interpolation_keeps_a_linear_image(settings, case_in, grid, tmp_path):
    image, function = linear(grid)
    prepared = prepare(case_in(tmp_path, grid, replace={"adc": image}), settings)
    exact = function(points(prepared.geometry))
    inner = (slice(2, -2),) * 3  # beyond the outer voxel centres values are those at the edge
    assert prepared.images[0][inner] == pytest.approx(exact[inner], rel=1e-5)


def test_a_target_spacing_covers_the_box_and_masks_come_home_alike(case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    native, fine = prepare(case, box()), prepare(case, box(spacing=(0.75, 0.75, 1.0)))
    assert fine.geometry.spacing == (0.75, 0.75, 1.0)
    extent = np.multiply(fine.geometry.size, fine.geometry.spacing)
    wanted = np.multiply(native.geometry.size, native.geometry.spacing)
    assert (extent >= wanted - 1e-6).all() and (extent < wanted + fine.geometry.spacing).all()
    assert set(np.unique(fine.target)) == {0, 1}
    label = case.label.read().array > 0
    back = home(fine.target, fine) > 0
    assert 2 * (back & label).sum() / (back.sum() + label.sum()) > 0.95


def test_resize_stretches_the_whole_extent(case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    prepared = prepare(case, stretch((24, 24, 24)))
    assert prepared.geometry.size == (24, 24, 24)
    assert axis_codes(prepared.geometry) == "LPS"
    corners = [np.array(c) for c in ((-0.5, -0.5, -0.5), (23.5, 23.5, 23.5))]
    back = np.linalg.inv(grid.affine)
    ends = [(back @ prepared.geometry.affine @ np.append(c, 1))[:-1] for c in corners]
    assert np.sort(ends, axis=0) == pytest.approx(np.array([[-0.5] * 3, np.array(grid.size) - 0.5]), abs=1e-6)
    assert prepared.inside.all() and prepared.native_brain.all()  # the recipe names no brain


def test_resize_of_a_plain_grid_is_what_scipy_does(case_in, tmp_path):
    case = case_in(tmp_path)
    adc, label = case.images["adc"].read().array, case.label.read().array
    for interpolation, order in (("linear", 1), ("nearest", 0)):
        prepared = prepare(case, stretch((19, 11, 9), interpolation=interpolation))
        zoom = np.divide((19, 11, 9), adc.shape)
        options = {"grid_mode": True, "mode": "nearest", "prefilter": False}
        assert prepared.images[0] == pytest.approx(ndimage.zoom(adc, zoom, order=order, **options), abs=1e-2)
        assert np.array_equal(prepared.target, ndimage.zoom(label, zoom, order=0, **options))


def test_slices_stay_slices(case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    prepared = prepare(case, stretch((32, 32, None), interpolation="nearest"))
    tight = prepare(case, box(margin=100))
    assert prepared.geometry.size[2] == tight.geometry.size[2]
    for z in range(prepared.geometry.size[2]):
        assert set(np.unique(prepared.images[0][..., z])) <= set(np.unique(tight.images[0][..., z]))


def test_each_map_is_normalised_over_its_whole_image(case_in, tmp_path):
    channels = (Channel(map="adc", zscore="image"), Channel(map="zadc", zscore="image"))
    for made in prepare(case_in(tmp_path), stretch((20, 20, 12), *channels)).images:
        assert made.mean(dtype=float) == pytest.approx(0, abs=1e-5)
        assert made.std(dtype=float) == pytest.approx(1, abs=1e-5)


def test_other_axes_may_be_asked_for(case_in, grid, tmp_path):
    case = case_in(tmp_path, grid)
    prepared = prepare(case, box(axes="SAR"))
    assert axis_codes(prepared.geometry) == "SAR"
    assert np.array_equal(home(prepared.target, prepared), case.label.read().array)


def test_two_dimensions(case_in, tmp_path):
    grid = Geometry((10, 12), (1.0, 2.0), (3.0, 4.0), (0.0, 1.0, -1.0, 0.0))
    case = case_in(tmp_path, grid)
    prepared = prepare(case, box(*NORMAL))
    assert prepared.images.ndim == 3
    assert np.array_equal(home(prepared.target, prepared), case.label.read().array)
    assert prepare(case, stretch((8, None))).geometry.size == (8, 10)


# Labels


def test_a_mask_and_the_numbers_of_a_label_map_are_one_target(case_in, tmp_path):
    size = (13, 16, 9)
    label = np.zeros(size, np.int16)
    label[6, 6:10, 4] = 1, 1, 0, 1
    plain = prepare(case_in(tmp_path, replace={"label": label}), box())
    assert np.array_equal(home(plain.target, plain), label)
    label[6, 6:10, 4] = 3, 7, 0, 7  # touching, and one of two parts
    found = prepare(case_in(tmp_path, name="numbered", replace={"label": label}), box())
    assert np.array_equal(found.target, plain.target) and np.array_equal(found.label, plain.label)
    assert set(np.unique(found.target)) == set(np.unique(found.label)) == {0, 1}


@pytest.mark.parametrize(("dtype", "value"), [(np.float32, 1), (np.uint8, 255), (np.uint16, 1), (np.float64, 3)])
def test_a_mask_may_be_written_in_many_ways(dtype, value, case_in, tmp_path):
    plain = prepare(case_in(tmp_path), box())
    label = (home(plain.target, plain) * value).astype(dtype)
    found = prepare(case_in(tmp_path, name="other", replace={"label": label}), box())
    assert np.array_equal(found.target, plain.target)
    assert np.array_equal(found.label, plain.label)


def test_an_empty_label_and_none(case_in, tmp_path):
    empty = prepare(case_in(tmp_path, replace={"label": np.zeros((13, 16, 9), np.float32)}), box())
    assert not empty.target.any() and not empty.label.any()
    case = case_in(tmp_path, name="none", replace={"label": None})
    for found in (prepare(case, box()), prepare(case_in(tmp_path), box(), with_label=False)):
        assert found.target is None and found.label is None


# What cannot be prepared


def spoiled(value, name="adc"):
    def change(arrays):
        arrays[name][6, 8, 4] = value
        return {name: arrays[name]}

    return change


ERRORS = {
    "nan": (spoiled(np.nan), "adc.mha: holds NaN, inf or numbers beyond"),
    "inf": (spoiled(-np.inf, "zadc"), "zadc.mha: holds NaN, inf or numbers beyond"),
    "empty brain": (lambda a: {"adc": 0 * a["adc"]}, "adc.mha: is 0 everywhere, so there is no brain"),
    "constant": (lambda a: {"adc": np.full_like(a["adc"], 7)}, "adc.mha: is constant .7. and cannot be normalised"),
    "half a label": (spoiled(0.5, "label"), "label.mha: is not a mask"),
    "negative label": (spoiled(-1, "label"), "label.mha: is not a mask"),
    "NaN label": (spoiled(np.nan, "label"), "label.mha: is not a mask"),
    "huge label": (spoiled(2.0**31, "label"), "label.mha: is not a mask"),
    "no map": (lambda a: {"zadc": None}, "case S_1: has no map 'zadc', which the recipe needs; it has adc"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_wrong_with_a_case_is_one_line_that_names_the_file(name, case_in, tmp_path):
    change, message = ERRORS[name]
    fine = case_in(tmp_path)
    arrays = {key: image.read().array for key, image in {**fine.images, "label": fine.label}.items()}
    case = case_in(tmp_path, replace=change(arrays))
    with pytest.raises(UserError, match=message) as caught:
        prepare(case, box(*NORMAL))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("settings", "x", "cure"),
    [
        (stretch((4, 4, 2), *NORMAL, brain="adc"), 2, "4×4×2; .*size"),
        (box(*NORMAL, spacing=(8, 8, 8), margin=3), 4, "spacing"),
    ],
)
def test_a_brain_that_falls_between_the_voxels_of_the_grid(settings, x, cure, case_in, tmp_path):
    adc = np.zeros((13, 16, 9), np.float32)
    adc[x : x + 2, 5:7, 2] = [[900, 1000], [1100, 1200]]
    with pytest.raises(UserError, match=r"^case S_1: nothing of its brain \(4 voxels\) is left .*" + cure) as caught:
        prepare(case_in(tmp_path, replace={"adc": adc}), settings)
    assert "\n" not in str(caught.value)


def test_nan_in_a_map_that_only_marks_the_brain(case_in, tmp_path):
    adc = case_in(tmp_path).images["adc"].read().array
    adc[6, 8, 4] = np.nan
    case = case_in(tmp_path, replace={"adc": adc})
    with pytest.raises(UserError, match="adc.mha: holds NaN"):
        prepare(case, box(Channel(map="zadc", below=-2)))


@pytest.mark.parametrize("key", ["zadc", "label"])
def test_grids_that_differ(key, case_in, tmp_path):
    fine = case_in(tmp_path)
    volume = (fine.label if key == "label" else fine.images[key]).read()
    moved = Geometry(volume.geometry.size, (2.0, 1.5, 3.0), volume.geometry.origin, volume.geometry.direction)
    case = case_in(tmp_path, replace={key: Volume(volume.array, moved)})
    with pytest.raises(UserError, match=f"{key}.mha: lies on another grid than .*spacing 2×1.5×3 instead of 2×1.5×4"):
        prepare(case, box())


def test_recipes_for_images_of_other_dimensions(case_in, tmp_path):
    flat = case_in(tmp_path, Geometry((10, 12), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)), name="flat")
    for case, settings, message in (
        (flat, stretch((8, 8, 8)), "case flat: is 2D, but preprocessing.size has 3 numbers"),
        (flat, box(spacing=(1, 1, 1)), "case flat: is 2D, but preprocessing.spacing has 3 numbers"),
        (case_in(tmp_path), stretch((8, 8)), "case S_1: is 3D, but preprocessing.size has 2 numbers"),
        (case_in(tmp_path), box(spacing=(1, 1)), "case S_1: is 3D, but preprocessing.spacing has 2 numbers"),
    ):
        with pytest.raises(UserError, match=message):
            prepare(case, settings)


# Real cases


def test_real_boxes_need_a_tenth_of_the_voxels_for_the_same_lesions(bonbid):
    """Lesion voxels that fall out of the box are such as lie outside the brain."""
    voxels = []
    for case in open_cohort(bonbid):
        adc, label = case.images["adc"].read().array, case.label.read().array > 0
        lower, upper = bounding_box(adc != 0)
        voxels.append(np.prod(np.subtract(upper, lower)))
        outside = label.copy()
        outside[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = False
        assert not (outside & (adc != 0)).any()
        assert outside.sum() <= 0.001 * label.sum()
    assert len(voxels) == 40
    assert np.mean(voxels) <= 192 * 192 * 32 / 10


def test_real_cases_there_and_back(bonbid):
    for case in list(open_cohort(bonbid))[::13]:
        prepared = prepare(case, box(*NORMAL))
        adc, label = case.images["adc"].read(), case.label.read()
        assert prepared.native == adc.geometry
        assert np.array_equal(home(prepared.inside.astype(np.uint8), prepared), adc.array != 0)
        brain = adc.array != 0
        assert np.array_equal(home(prepared.target, prepared)[brain], label.array[brain])
        assert np.array_equal(prepared.label, label.array)
        resized = prepare(case, stretch((192, 192, 32)))
        back = home(resized.target, resized) > 0
        lesion = label.array > 0
        assert not lesion.any() or 2 * (back & lesion).sum() / (back.sum() + lesion.sum()) > 0.8


# The values of a channel

VALUES = hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(-20, 20, width=32))
INSIDE = hnp.arrays(np.bool_, (3, 4, 2))


def channel(values, inside=None, **options):
    made = make_channel(values, inside, Channel(map="m", **options), where="m.mha")
    assert made.dtype == np.float32 and made.flags.c_contiguous
    return made


@hypothesis_settings(max_examples=30, deadline=None)
@given(VALUES, INSIDE)
def test_the_prior(values, inside):
    assert np.array_equal(channel(values, below=-2.0), values < -2)
    assert np.array_equal(channel(values, inside, below=-2.0), (values < -2) & inside)


def test_the_prior_is_strict():
    assert channel(np.array([-2.0, np.nextafter(np.float32(-2), np.float32(-3))]), below=-2.0).tolist() == [0, 1]


@hypothesis_settings(max_examples=30, deadline=None)
@given(VALUES)
def test_clip_then_range(values):
    assert np.array_equal(channel(values), values)
    assert np.array_equal(channel(values, clip=(0, None)), np.maximum(values, 0))
    assert np.array_equal(channel(values, clip=(None, 3)), np.minimum(values, 3))
    made = channel(values, clip=(-10, 10), range=(-10, 10))
    assert made == pytest.approx((np.clip(values, -10, 10) + 10) / 20, abs=1e-6)
    assert channel(values, range=(0, 3)) == pytest.approx(values / 3, abs=1e-5)  # not clipped unless asked


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e6])
def test_zscore_of_the_image_and_of_the_brain(unit):
    rng = np.random.default_rng(0)
    values = (rng.normal(1200, 80, (5, 6, 7)) * unit).astype(np.float32)
    inside = rng.random(values.shape) < 0.3
    made = channel(values, zscore="image")
    assert made == pytest.approx((values - values.mean(dtype=float)) / values.std(dtype=float), abs=1e-4)
    made = channel(values, inside, zscore="brain")
    assert made[inside].mean(dtype=float) == pytest.approx(0, abs=1e-5)
    assert made[inside].std(dtype=float) == pytest.approx(1, abs=1e-5)
    assert (made[~inside] == 0).all()
    assert np.corrcoef(made[inside], values[inside])[0, 1] == pytest.approx(1)


def test_zscore_of_the_image_looks_beyond_the_brain():
    values = np.array([0, 0, 1, 3], np.float32)
    made = channel(values, np.array([False, False, True, True]), zscore="image")
    assert made == pytest.approx((values - 1) / np.sqrt(1.5), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 1e8, -1e-7])
@pytest.mark.parametrize("zscore", ["image", "brain"])
def test_a_constant_map_cannot_be_normalised(value, zscore):
    values = np.full((4, 5, 6), value, np.float32)
    with pytest.raises(UserError, match=r"^m.mha: is constant .* cannot be normalised; check"):
        channel(values, np.ones(values.shape, bool), zscore=zscore)


def test_the_input_stays_as_it_is():
    values = np.array([-5.0, 5.0], np.float32)
    channel(values, clip=(0, 1), range=(0, 2))
    assert values.tolist() == [-5, 5]
