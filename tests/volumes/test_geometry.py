import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.volumes import Geometry, Volume, resized, respaced

PLAIN = Geometry((4, 5, 6), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def changed(**fields):
    return Geometry(**{**{k: getattr(PLAIN, k) for k in ("size", "spacing", "origin", "direction")}, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": (4, 0, 6)}, "empty axis"),
        ({"size": (4, 5)}, "2D or 3D"),
        ({"size": (4,), "spacing": (1,), "origin": (0,), "direction": (1,)}, "2D or 3D"),
        ({"spacing": (1, 0, 1)}, "1×0×1 is not positive"),
        ({"spacing": (1, -2, 1)}, "not positive"),
        ({"spacing": (1, float("nan"), 1)}, "not positive and finite"),
        ({"spacing": (1, float("inf"), 1)}, "not positive and finite"),
        ({"origin": (1, float("nan"), 1)}, "origin"),
        ({"direction": (1, 0, 0, 0, 1, 0, 0, 0, 0)}, "orthonormal"),
        ({"direction": (1, 0.3, 0, 0, 1, 0, 0, 0, 1)}, "orthonormal"),
        ({"direction": (2, 0, 0, 0, 2, 0, 0, 0, 2)}, "orthonormal"),
        ({"direction": (float("nan"), 0, 0, 0, 1, 0, 0, 0, 1)}, "orthonormal"),
    ],
)
def test_impossible_geometries_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        changed(**fields)


def test_sizes_are_whole_numbers():
    with pytest.raises(TypeError):
        changed(size=(4.5, 5, 6))


def test_fields_are_plain_hashable_numbers():
    built = Geometry(np.array([4, 5, 6]), np.array([1, 2, 3]), np.array([10, 20, 30]), np.eye(3).ravel())
    assert built == PLAIN
    assert hash(built) == hash(PLAIN)


@settings(max_examples=30)
@given(data=st.data())
def test_affine_agrees_with_itk(geometries, data):
    geometry = data.draw(geometries())
    image = sitk.Image([int(n) for n in geometry.size], sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    index = tuple(data.draw(st.integers(-9, 9)) for _ in geometry.size)
    expected = image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index])
    np.testing.assert_allclose((geometry.affine @ [*index, 1])[:-1], expected, atol=1e-9)


def test_voxel_ml():
    assert changed(spacing=(2, 2, 2.5)).voxel_ml == pytest.approx(0.01)
    assert Geometry((3, 3), (2, 5), (0, 0), (1, 0, 0, 1)).voxel_ml == pytest.approx(0.01)


def test_the_same_grid_has_no_differences():
    assert PLAIN.differences(PLAIN) == []
    assert PLAIN.differences(changed(origin=(10.0005, 20, 30), spacing=(1.0005, 2, 3))) == []
    assert PLAIN.differences(changed(direction=(1, 5e-4, 0, -5e-4, 1, 0, 0, 0, 1))) == []


def test_every_difference_is_named():
    other = changed(size=(4, 5, 7), spacing=(1, 2, 2.5), origin=(11, 20, 30), direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert PLAIN.differences(other) == [
        "size 4×5×6 instead of 4×5×7",
        "spacing 1×2×3 instead of 1×2×2.5",
        "origin (10, 20, 30) instead of (11, 20, 30)",
        "direction (1, 0, 0, 0, 1, 0, 0, 0, 1) instead of (-1, 0, 0, 0, 1, 0, 0, 0, 1)",
    ]
    plane = Geometry((4, 5), (1, 2), (0, 0), (1, 0, 0, 1))
    assert PLAIN.differences(plane) == ["3D instead of 2D"]


def test_differences_have_a_tolerance_in_voxels():
    moved = changed(origin=(10, 20.1, 30))
    assert PLAIN.differences(moved)
    assert PLAIN.differences(moved, tolerance=0.1) == []


def corners(geometry):
    """Physical points of the outer voxel edges."""
    n = geometry.ndim
    ends = np.stack(np.meshgrid(*[(-0.5, m - 0.5) for m in geometry.size], indexing="ij")).reshape(n, -1)
    return geometry.affine[:-1, :-1] @ ends + geometry.affine[:-1, -1:]


@settings(max_examples=50)
@given(data=st.data())
def test_resized_keeps_the_outer_edges(geometries, data):
    geometry = data.draw(geometries())
    size = tuple(data.draw(st.integers(1, 40)) for _ in geometry.size)
    new = resized(geometry, size)
    assert new.size == size
    np.testing.assert_allclose(corners(new), corners(geometry), atol=1e-9)


@settings(max_examples=50)
@given(data=st.data())
def test_respaced_covers_the_extent_about_its_centre(geometries, data):
    geometry = data.draw(geometries())
    spacing = tuple(data.draw(st.floats(0.1, 10.0)) for _ in geometry.size)
    new = respaced(geometry, spacing)
    assert new.spacing == spacing
    np.testing.assert_allclose(corners(new).mean(1), corners(geometry).mean(1), atol=1e-9)
    extent, old = np.multiply(new.size, spacing), np.multiply(geometry.size, geometry.spacing)
    assert (extent > old - 1e-3 * np.array(spacing)).all()
    assert (extent - spacing < old).all()  # the outer voxel centres lie within the old edges


def test_respaced_to_its_own_spacing_is_the_same_grid():
    assert respaced(PLAIN, PLAIN.spacing).differences(PLAIN, tolerance=1e-9) == []
    assert respaced(changed(spacing=(0.1, 0.3, 0.7)), (0.1, 0.1, 0.1)).size == (4, 15, 42)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, -1, 1), (float("nan"), 1, 1)])
def test_respaced_refuses_what_is_no_spacing(spacing):
    with pytest.raises(ValueError, match="is not 3 positive numbers"):
        respaced(PLAIN, spacing)


GRID = Geometry((2, 3), (1, 1), (0, 0), (1, 0, 0, 1))


def test_array_and_grid_must_fit():
    with pytest.raises(ValueError, match=r"shape \(3, 2\) on a grid of size \(2, 3\)"):
        Volume(np.zeros((3, 2)), GRID)


@pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]"])
def test_only_real_numbers(dtype):
    with pytest.raises(ValueError, match="real numbers"):
        Volume(np.zeros((2, 3), dtype), GRID)


def test_the_array_is_not_copied():
    array = np.zeros((2, 3), bool)
    assert Volume(array, GRID).array is array
