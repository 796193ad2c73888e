import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from multifocal.pipeline.augment.bspline import basis, field, positions


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
    ours = field(torch.tensor(coefficients, dtype=torch.float32), size).rows(0, size[0])
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("points", [4, 7])
def test_control_points_lie_where_itk_puts_them(points):
    _, transform = itk_spline((20, 13, 7), points)
    lattice = transform.GetCoefficientImages()[0]
    for size, origin, spacing in zip((20, 13, 7), lattice.GetOrigin(), lattice.GetSpacing(), strict=True):
        expected = origin + spacing * np.arange(points)
        np.testing.assert_allclose(positions(size, points).numpy(), expected, atol=1e-9)


@hypothesis_settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 300), points=st.integers(4, 20))
def test_spline_reproduces_linear_functions(size, points):
    matrix = basis(size, points, torch.device("cpu")).double()
    torch.testing.assert_close(matrix @ torch.ones(points).double(), torch.ones(size).double(), atol=1e-5, rtol=0)
    voxels = torch.arange(size, dtype=torch.float64)
    torch.testing.assert_close(matrix @ positions(size, points), voxels, atol=1e-4, rtol=1e-5)


def test_rows_are_parts_of_the_whole():
    whole = field(torch.randn(3, 7, 7, 7, generator=torch.Generator().manual_seed(0)), (9, 8, 5))
    parts = torch.cat([whole.rows(0, 4), whole.rows(4, 5), whole.rows(5, 9)], dim=1)
    torch.testing.assert_close(parts, whole.rows(0, 9), atol=1e-6, rtol=0)
