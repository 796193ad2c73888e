"""Maps between brains: known ones found again, lesions that pull nothing, and values pulled as scipy does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume
from multifocal.volumes.registration import Registration, RegistrationSettings, by_moments, moments, register

IDENTITY = tuple(np.eye(3).ravel())
GRID = Geometry((26, 28, 24), (2.0, 2.0, 2.0), (-25.0, -27.0, -23.0), IDENTITY)
ALONE = np.eye(3, 4)


def points(grid: Geometry) -> np.ndarray:
    """Return where the voxels lie, `(*spatial, 3)`."""
    indices = np.stack(np.meshgrid(*map(np.arange, grid.size), indexing="ij"), -1)
    return indices @ grid.affine[:-1, :-1].T + grid.affine[:-1, -1]


def brain(where: np.ndarray) -> np.ndarray:
    """Return a brain of ADC's values at points: an ellipsoid with a dark and a bright place, and waves."""
    x, y, z = np.moveaxis(where, -1, 0)
    inside = (x / 18) ** 2 + (y / 21) ** 2 + (z / 16) ** 2 < 1
    values = 1200 + 150 * np.sin(x / 4) * np.cos(y / 5) + 400 * np.exp(-((x - 5) ** 2 + y**2 + z**2) / 40)
    return np.where(inside, values - 300 * np.exp(-((x + 6) ** 2 + (y - 4) ** 2 + z**2) / 50), 0).astype(np.float32)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one > 500, other > 500  # half a brain at its edge
    return 2 * (one & other).sum() / (one.sum() + other.sum())


FIXED = Volume(brain(points(GRID)), GRID)


def test_an_affine_map_is_found_again():
    turn = np.radians(6)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag([1.08, 0.95, 1.05])
    there = Geometry((30, 30, 28), (2.0, 2.0, 2.0), (-22.0, -33.0, -27.0), IDENTITY)
    shift = np.array([5.0, -4.0, 2.0])
    moving = Volume(brain((points(there) - shift) @ np.linalg.inv(matrix).T), there)  # T(x) = M x + shift
    found = register(FIXED, moving, RegistrationSettings(demons_iterations=0, affine_iterations=100))
    inside = points(GRID)[FIXED.array != 0]
    apart = inside @ (found.affine[:, :3] - matrix).T + found.affine[:, 3] - shift
    moved = inside @ (by_moments(Volume(moving.array != 0, there), *moments(FIXED))[:, :3] - matrix).T
    assert np.abs(apart).mean() < 0.5 < np.abs(moved).mean()


def test_demons_undo_a_bend_and_are_the_same_every_time():
    bent = points(GRID) + np.stack([2.5 * np.sin(points(GRID)[..., 1] / 8), *np.zeros((2, *GRID.size))], -1)
    moving = Volume(brain(bent), GRID)
    settings = RegistrationSettings(affine_iterations=0)
    first, second = (register(FIXED, moving, settings, start=ALONE) for _ in range(2))
    assert np.array_equal(first.displacement, second.displacement)
    before, after = moving.array, first.pull(moving, GRID).array
    assert overlap(FIXED.array, after) > 0.98 > overlap(FIXED.array, before)
    wrong = [np.abs(FIXED.array - values).mean() for values in (before, after)]
    assert wrong[1] < 0.5 * wrong[0]


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_where_a_lesion_lies_nothing_pulls(side):
    lesion = np.square(points(GRID) - (2.0, -8.0, 1.0)).sum(-1) < 36
    sick = Volume(np.where(lesion, np.float32(300), FIXED.array), GRID)
    pair = (sick, FIXED) if side == "fixed" else (FIXED, sick)
    settings = RegistrationSettings(affine_iterations=0)
    pulled = register(*pair, settings, start=ALONE).displacement
    masked = register(*pair, settings, start=ALONE, **{f"{side}_lesion": lesion}).displacement
    assert np.abs(masked).max() < 0.05 < 0.3 < np.abs(pulled).max()


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=9, max_size=9),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.integers(0, 99),
    st.booleans(),
)
@settings(max_examples=15)
def test_values_are_pulled_as_scipy_does(changes, shift, seed, nearest):
    rng = np.random.default_rng(seed)
    affine = np.column_stack([np.eye(3) + np.reshape(changes, (3, 3)), shift])
    fixed = Geometry((6, 5, 7), (2.0, 3.0, 1.5), (1.0, -2.0, 0.5), IDENTITY)
    grid = Geometry((8, 9, 7), (2.0, 2.0, 2.0), (-3.0, -4.0, -2.0), IDENTITY)
    moving = Volume(rng.normal(size=(8, 9, 7)).astype(np.float32), grid)
    field = rng.normal(0, 0.5, (6, 5, 7, 3)).astype(np.float32)
    found = Registration(affine, field, fixed).pull(moving, fixed, nearest=nearest, fill=9.0).array
    where = (points(fixed) + field) @ affine[:, :3].T + affine[:, 3]
    index = ((where - moving.geometry.origin) / moving.geometry.spacing).transpose(3, 0, 1, 2)
    expected = ndimage.map_coordinates(moving.array, index, order=0 if nearest else 1, mode="nearest")
    size = np.array(moving.array.shape)[:, None, None, None]
    sure = ((index > 0.01) & (index < size - 1.01)).all(0)  # the half voxel around an image is a matter of taste
    if nearest:
        sure &= (np.abs(index % 1 - 0.5) > 0.01).all(0)
    np.testing.assert_allclose(found[sure], expected[sure], atol=1e-3)
    assert (found[((index < -0.6) | (index > size - 0.4)).any(0)] == 9.0).all()


def test_a_field_keeps_the_affine_map_outside_of_it():
    small = Geometry((4, 4, 4), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), IDENTITY)
    field = np.full((4, 4, 4, 3), 0.5, np.float32)
    image = Volume(points(GRID)[..., 0].astype(np.float32), GRID)
    found = Registration(np.column_stack([np.eye(3), [3.0, 0, 0]]), field, small).pull(image, GRID).array
    assert np.isclose(found[2, 2, 2], image.array[2, 2, 2] + 3.0)
    assert np.isclose(found[13, 14, 13], image.array[13, 14, 13] + 3.5)


def test_brains_that_are_none():
    nothing = Volume(np.zeros(GRID.size, np.float32), GRID)
    with pytest.raises(ValueError, match="the brain is empty"):
        register(FIXED, nothing, RegistrationSettings())
    sheet = np.zeros(GRID.size, np.float32)
    sheet[5] = 1
    with pytest.raises(ValueError, match="flat along an axis"):
        register(FIXED, Volume(sheet, GRID), RegistrationSettings())


def test_brains_that_do_not_meet():
    away = np.column_stack([np.eye(3), [900.0, 0, 0]])
    with pytest.raises(UserError, match=r"could not be registered \(they do not overlap\); check that both are brains"):
        register(FIXED, FIXED, RegistrationSettings(demons_iterations=0), start=away)


def test_what_simpleitk_cannot_do_is_one_line():
    few = Geometry((26, 28, 3), (2.0, 2.0, 8.0), (-25.0, -27.0, -8.0), IDENTITY)
    thin = Volume(brain(points(few)), few)
    with pytest.raises(
        UserError, match=r"^two brains could not be registered \([^\n]+less than 4[^\n]+both are brains$"
    ):
        register(thin, thin, RegistrationSettings())
