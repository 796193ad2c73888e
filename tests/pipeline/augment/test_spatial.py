import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torchio as tio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from multifocal.pipeline.augment import Augmentation, Parameters, apply, draw
from multifocal.pipeline.augment.sampling import DrawnAffine
from multifocal.pipeline.augment.spatial import (
    affine_matrix,
    background,
    control_positions,
    locate,
    pad_with_fill,
    read_linear,
    read_nearest,
    sampling_coordinates,
    spline_basis,
    spline_field,
)

SIZE, SPACING = (24, 20, 14), (1.5, 2.0, 3.0)
CPU = torch.device("cpu")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth_image(size, *, seed=0):
    coarse = torch.randn(1, 1, *[4] * len(size), generator=rng(seed))
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return torch.nn.functional.interpolate(coarse, size=size, mode=mode, align_corners=True)[0]


def torchio_image(images, spacing):
    """Array axes point to L, P, S: the directions in which TorchIO (through ITK) counts displacements."""
    images = images if images.ndim == 4 else images[..., None]
    return tio.ScalarImage(tensor=images, affine=np.diag([-spacing[0], -spacing[1], [*spacing, 1.0][2], 1]))


def interior(images, margin):
    return images[(slice(None), *[slice(margin, -margin)] * (images.ndim - 1))]


def read_at(parameters, size, spacing):
    return torch.cat([c for _, c in sampling_coordinates(parameters, size=size, spacing=spacing, device=CPU)], dim=1)


@pytest.mark.filterwarnings("ignore:The maximum displacement is larger")
@pytest.mark.parametrize(("size", "spacing"), [(SIZE, SPACING), ((40, 31), (1.0, 2.0))])
def test_elastic_is_that_of_torchio(size, spacing):
    images = smooth_image(size)
    parameters = draw(
        Augmentation.model_validate({"elastic": {"p": 1, "max_displacement": 4.0}}),
        channels=1,
        size=size,
        generator=rng(),
    )
    ours, _ = apply(images, None, parameters=parameters, spacing=spacing)
    control = parameters.elastic.movedim(0, -1).numpy()
    if len(size) == 2:
        control = np.repeat(np.pad(control, [(0, 0)] * 2 + [(0, 1)])[:, :, None], 7, axis=2)
    theirs = tio.ElasticDeformation(control, (4.0,) * 3)(torchio_image(images, spacing)).data
    theirs = theirs.reshape(images.shape)
    torch.testing.assert_close(interior(ours, 3), interior(theirs, 3), atol=2e-4, rtol=0)
    assert (ours - images).abs().max() > 0.1


@pytest.mark.parametrize(("size", "spacing"), [(SIZE, SPACING), ((40, 31), (1.0, 2.0))])
def test_affine_is_that_of_torchio(size, spacing):
    images = smooth_image(size)
    degrees, scales = ((7.0, -9.0, 12.0), (0.9, 1.1, 1.05)) if len(size) == 3 else ((12.0,), (0.9, 1.1))
    drawn = DrawnAffine(angles=tuple(map(math.radians, degrees)), scales=scales)
    ours, _ = apply(images, None, parameters=Parameters(affine=drawn), spacing=spacing)
    # TorchIO takes angles about R and A; ITK's axes are L and P
    about = (-degrees[0], -degrees[1], degrees[2]) if len(size) == 3 else (0, 0, degrees[0])
    transform = tio.Affine(scales=(*scales, 1.0)[:3], degrees=about, translation=(0, 0, 0), default_pad_value=50.0)
    theirs = transform(torchio_image(images, spacing)).data.reshape(images.shape)
    inside = theirs < 40
    assert inside.float().mean() > 0.7
    read = read_at(Parameters(affine=drawn), size, spacing)
    well_inside = torch.stack([(c >= 0) & (c <= n - 1) for c, n in zip(read, size, strict=True)]).all(dim=0)[None]
    torch.testing.assert_close(ours[well_inside], theirs[well_inside], atol=2e-4, rtol=0)
    torch.testing.assert_close(inside[well_inside], torch.ones_like(inside[well_inside]))


@pytest.mark.parametrize(("size", "spacing"), [(SIZE, SPACING), ((40, 31), (1.0, 2.0))])
def test_a_turn_and_a_shift_are_those_of_torchio(size, spacing):
    """Whose shift is one in mm, to the right, the front and the top."""
    images = smooth_image(size)
    angle, shift = math.radians(12.0), (3.0, -2.5, 1.5)[: len(size)]
    angles = (0.0, 0.0, angle) if len(size) == 3 else (angle,)
    drawn = DrawnAffine(angles=angles, scales=(1.0,) * len(size), translations=shift)
    ours, _ = apply(images, None, parameters=Parameters(affine=drawn), spacing=spacing)
    mm = [s * step for s, step in zip(shift, spacing, strict=True)]
    options = {"scales": (1, 1, 1), "degrees": (0, 0, 12.0), "translation": (-mm[0], -mm[1], [*mm, 0.0][2])}
    theirs = tio.Affine(**options, default_pad_value=50.0)(torchio_image(images, spacing)).data.reshape(images.shape)
    read = read_at(Parameters(affine=drawn), size, spacing)
    well_inside = torch.stack([(c >= 0) & (c <= n - 1) for c, n in zip(read, size, strict=True)]).all(dim=0)[None]
    assert well_inside.float().mean() > 0.5
    torch.testing.assert_close(ours[well_inside], theirs[well_inside], atol=2e-4, rtol=0)


def test_a_shift_of_whole_voxels_by_hand():
    images = torch.zeros(1, 7, 6)
    images[0, 2, 3] = 1.0
    drawn = DrawnAffine(angles=(0.0,), scales=(1.0, 1.0), translations=(3.0, -2.0))
    moved, _ = apply(images, None, parameters=Parameters(affine=drawn), spacing=(1.0, 4.0))
    torch.testing.assert_close(moved, images.roll((3, -2), (1, 2)), atol=1e-5, rtol=0)


def test_displacements_are_distributed_as_torchios():
    def torchio_field():
        control = tio.RandomElasticDeformation.get_params((7, 7, 7), (7.5, 7.5, 7.5), 2)
        return torch.tensor(control).movedim(-1, 0)

    settings = Augmentation.model_validate({"elastic": {"p": 1}})
    home = torch.stack(torch.meshgrid(*map(torch.arange, SIZE), indexing="ij"))
    step = torch.tensor(SPACING).reshape(3, 1, 1, 1)

    def dense(control):
        return (read_at(Parameters(elastic=control), SIZE, SPACING) - home) * step

    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.stack([dense(torchio_field()) for _ in range(300)])
    generator = rng()
    ours = torch.stack([dense(draw(settings, channels=1, size=SIZE, generator=generator).elastic) for _ in range(300)])
    centre = (slice(None), slice(None), slice(6, -6), slice(5, -5))
    levels = torch.tensor([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
    for axis in range(3):
        mine, other = ours[centre][:, axis], theirs[centre][:, axis]
        assert float(mine.std()) == pytest.approx(float(other.std()), rel=0.05)
        quantiles = [torch.from_numpy(np.quantile(x.numpy(), levels.numpy())) for x in (mine, other)]
        torch.testing.assert_close(*quantiles, atol=0.2, rtol=0)
        for along in range(2, 5):  # smoothness: slope of the displacement along each axis
            slopes = [float(x[:, axis].diff(dim=along - 1).std()) for x in (ours, theirs)]
            assert slopes[0] == pytest.approx(slopes[1], rel=0.05)
    # how the displacement falls to rest at the locked ends, and not at the others
    for along in range(3):
        profiles = [x.movedim(along + 2, 0).flatten(1).std(dim=1) for x in (ours, theirs)]
        torch.testing.assert_close(*profiles, atol=0.1, rtol=0.1)
    assert 2 * ours[:, :, 0].std() < ours[..., 0].std()


def test_all_axes_can_be_locked():
    settings = Augmentation.model_validate({"elastic": {"p": 1, "locked_axes": None}})
    control = draw(settings, channels=1, size=SIZE, generator=rng()).elastic
    assert control[:, 2:-2, 2:-2, 2:-2].all()
    assert int(control.count_nonzero()) == 3 * 3**3


@pytest.mark.parametrize(("size", "spacing"), [(SIZE, SPACING), ((40, 31), (1.0, 2.0))])
def test_all_changes_of_geometry_are_composed_exactly(size, spacing):
    every = {"elastic": {"p": 1}, "affine": {"p": 1}, "flip": {"p": 1, "axes": [0]}}
    parameters = draw(Augmentation.model_validate(every), channels=1, size=size, generator=rng())
    home = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")).astype(float)
    deformed = read_at(Parameters(elastic=parameters.elastic), size, spacing).numpy()
    assert np.abs(deformed - home).max() > 0.5
    centre = (np.array(size) - 1) / 2
    step = np.array(spacing)
    turn = np.diag(1 / step) @ np.linalg.inv(affine_matrix(parameters.affine).numpy()) @ np.diag(step)
    expected = np.einsum("ij,j...->...i", turn, deformed - centre.reshape(-1, *[1] * len(size))) + centre
    expected[..., 0] = size[0] - 1 - expected[..., 0]
    ours = read_at(parameters, size, spacing)
    np.testing.assert_allclose(ours.numpy(), np.moveaxis(expected, -1, 0), atol=1e-4)


def test_rotation_turns_x_towards_y():
    quarter = DrawnAffine(angles=(0.0, 0.0, math.pi / 2), scales=(1.0, 1.0, 1.0))
    np.testing.assert_allclose(affine_matrix(quarter).numpy() @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    image = torch.zeros(1, 9, 9, 3)
    image[0, 7, 4, 1] = 1
    moved, _ = apply(image, None, parameters=Parameters(affine=quarter))
    assert moved[0, 4, 7, 1] == pytest.approx(1, abs=1e-5)


def test_scale_above_one_makes_things_larger():
    disc = (torch.hypot(*torch.meshgrid(torch.arange(-20.0, 21), torch.arange(-20.0, 21), indexing="ij")) < 8)[None]
    larger = Parameters(affine=DrawnAffine(angles=(0.0,), scales=(1.5, 1.5)))
    moved, target = apply(disc.float(), disc[0].to(torch.uint8), parameters=larger)
    assert int(target.sum()) == pytest.approx(1.5**2 * int(disc.sum()), rel=0.05)
    assert float(moved.sum()) == pytest.approx(1.5**2 * int(disc.sum()), rel=0.05)


@hypothesis_settings(max_examples=20, deadline=None)
@given(size=st.lists(st.integers(1, 9), min_size=2, max_size=3), seed=st.integers(0, 99), channels=st.integers(1, 3))
def test_flips_alone_are_exact(size, seed, channels):
    images = torch.randn(channels, *size, generator=rng(seed))
    target = torch.randint(0, 5, size, generator=rng(seed)).to(torch.uint8)
    settings = Augmentation.model_validate({"flip": {}})
    parameters = draw(settings, channels=channels, size=size, generator=rng(seed))
    moved, labels = apply(images, target, parameters=parameters)
    index = np.ix_(*(range(n)[::-1] if axis in parameters.flip else range(n) for axis, n in enumerate(size)))
    np.testing.assert_array_equal(labels.numpy(), target.numpy()[index])
    for channel, source in zip(moved, images, strict=True):
        np.testing.assert_array_equal(channel.numpy(), source.numpy()[index])


def test_flip_within_a_resampling_is_a_flip():
    images = smooth_image(SIZE)
    target = (images[0] > 0).to(torch.uint8)
    still = DrawnAffine(angles=(0.0,) * 3, scales=(1.0,) * 3)
    moved, labels = apply(images, target, parameters=Parameters(affine=still, flip=(0, 2)))
    torch.testing.assert_close(moved, images.flip(1, 3), atol=1e-5, rtol=0)
    assert torch.equal(labels, target.flip(0, 2))


def test_fill_comes_in_from_outside():
    images = torch.full((2, 16, 16, 8), -1.5)
    images[1] = 4.0
    images[:, 2:-2, 2:-2, 2:-2] = 1.0
    images[:, 8, 8, 0] = 9.0  # touches the edge of the box
    smaller = Parameters(affine=DrawnAffine(angles=(0.3, 0.2, 0.7), scales=(0.5, 0.5, 0.5)))
    moved, target = apply(images, torch.ones(16, 16, 8, dtype=torch.uint8), parameters=smaller)
    for channel, fill in zip(moved, (-1.5, 4.0), strict=True):
        assert bool((channel[[0, 0, -1, -1], [0, -1, 0, -1]] == fill).all())
    assert int(target[0].sum()) == 0
    assert int(target[8, 8, 4]) == 1


# The spline


def itk_spline(size, points):
    image = sitk.Image(list(size), sitk.sitkFloat32)
    return image, sitk.BSplineTransformInitializer(image, [points - 3] * len(size))


@pytest.mark.parametrize("size", [(20, 13, 7), (16, 9)])
@pytest.mark.parametrize("points", [4, 5, 7])
def test_field_is_that_of_itk(size, points):
    ndim = len(size)
    coefficients = np.random.default_rng(0).uniform(-3, 3, (ndim, *[points] * ndim))
    image, transform = itk_spline(size, points)
    transform.SetParameters(np.concatenate([c.flatten(order="F") for c in coefficients]).tolist())
    displacement = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, image.GetSize())
    expected = np.moveaxis(sitk.GetArrayFromImage(displacement).transpose(*reversed(range(ndim)), ndim), -1, 0)
    ours = spline_field(torch.tensor(coefficients, dtype=torch.float32), size).rows(0, size[0])
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("points", [4, 7])
def test_control_points_lie_where_itk_puts_them(points):
    _, transform = itk_spline((20, 13, 7), points)
    lattice = transform.GetCoefficientImages()[0]
    for size, origin, spacing in zip((20, 13, 7), lattice.GetOrigin(), lattice.GetSpacing(), strict=True):
        expected = origin + spacing * np.arange(points)
        np.testing.assert_allclose(control_positions(size, points).numpy(), expected, atol=1e-9)


@hypothesis_settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 300), points=st.integers(4, 20))
def test_spline_reproduces_linear_functions(size, points):
    matrix = spline_basis(size, points, torch.device("cpu")).double()
    torch.testing.assert_close(matrix @ torch.ones(points).double(), torch.ones(size).double(), atol=1e-5, rtol=0)
    voxels = torch.arange(size, dtype=torch.float64)
    torch.testing.assert_close(matrix @ control_positions(size, points), voxels, atol=1e-4, rtol=1e-5)


def test_rows_are_parts_of_the_whole():
    whole = spline_field(torch.randn(3, 7, 7, 7, generator=torch.Generator().manual_seed(0)), (9, 8, 5))
    parts = torch.cat([whole.rows(0, 4), whole.rows(4, 5), whole.rows(5, 9)], dim=1)
    torch.testing.assert_close(parts, whole.rows(0, 9), atol=1e-6, rtol=0)


# The reading


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    size=st.lists(st.integers(1, 8), min_size=2, max_size=3),
    reach=st.sampled_from([0.0, 1.0, 5.0, 1e6]),
    seed=st.integers(0, 999),
)
def test_reading_is_scipys_in_an_endless_background(size, reach, seed):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(2, *size)).astype(np.float32)
    masks = generator.integers(0, 200, size=(1, *size)).astype(np.uint8)
    spread = np.array(size).reshape(-1, 1) - 1
    places = (generator.uniform(-reach, spread + reach, size=(len(size), 50))).astype(np.float32)
    places[:, 0] = 0.5  # ties go up
    places[:, 1] = spread[:, 0]
    fill = torch.tensor([-1.5, 2.0])

    # SciPy fades to its constant only inside the array: give it the first layers outside
    def around(image, value):
        return np.pad(image.astype(float), 2, constant_values=value)

    inside = places.astype(float).clip(-2, spread + 2) + 2
    sites = locate(torch.from_numpy(places.copy()), size)
    for channel, image, value in zip(
        read_linear(pad_with_fill(torch.from_numpy(images), fill), sites), images, fill, strict=True
    ):
        expected = map_coordinates(around(image, float(value)), inside, order=1, mode="nearest")
        np.testing.assert_allclose(channel.numpy(), expected, atol=1e-5)
    (read,) = read_nearest(pad_with_fill(torch.from_numpy(masks), torch.zeros(1, dtype=torch.uint8)), sites)
    expected = around(masks[0], 0)[tuple(np.floor(inside + 0.5).astype(int))]
    np.testing.assert_array_equal(read.numpy(), expected)


def test_background_is_that_of_most_corners():
    images = torch.zeros(2, 6, 6, 6)
    images[0], images[1] = -0.5, 3.0
    images[:, 1:, 1:, :] = 1.0  # reaches two of the eight corners
    assert background(images).tolist() == [-0.5, 3.0]
    assert background(torch.full((1, 1, 1), 4.0)).tolist() == [4.0]
