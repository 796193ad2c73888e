import numpy as np
import pytest

from multifocal.config import validate
from multifocal.errors import UserError
from multifocal.pipeline.sampling import LesionVoxels, Sampling, draw_centre, draw_corner, draw_weighted

TARGET = np.zeros((20, 30, 10), np.uint8)
TARGET[2, 3, 4:7] = 1  # 3 voxels
TARGET[8:18, 10:20, 2:8] = 1  # 600
SMALL = {(2, 3, z) for z in (4, 5, 6)}
DRAWS = 2000


@pytest.fixture
def chance():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("by", "expected"), [("voxel", 3 / 603), ("lesion", 0.5)])
def test_how_often_a_small_lesion_is_seen(chance, by, expected):
    lesions = LesionVoxels.of(TARGET)
    drawn = [lesions.draw(chance, by=by) for _ in range(DRAWS)]
    assert all(TARGET[place] for place in drawn)
    assert np.mean([place in SMALL for place in drawn]) == pytest.approx(expected, abs=0.04)
    if by == "lesion":
        assert set(drawn) >= SMALL


def test_the_share_of_centred_crops(chance):
    sampling = Sampling(crop=(8, 8, 8), centred=0.3)
    lesions = LesionVoxels.of(TARGET)
    drawn = [draw_centre(sampling, lesions, chance) is not None for _ in range(DRAWS)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.04)
    empty = LesionVoxels.of(np.zeros((4, 4), np.uint8))
    assert draw_centre(Sampling(crop=(2, 2), centred=1.0), empty, chance) is None


def test_a_crop_lies_anywhere_within_the_image_alike(chance):
    corners = np.array([draw_corner((12, 5, 4), (8, 5, 6), None, chance) for _ in range(DRAWS)])
    assert not corners[:, 1:].any()
    assert np.bincount(corners[:, 0], minlength=5) == pytest.approx([DRAWS / 5] * 5, rel=0.2)


@pytest.mark.parametrize(("centre", "corner"), [((10, 10), (6, 7)), ((0, -3), (0, 0)), ((19, 40), (12, 14))])
def test_a_crop_that_would_leave_the_image_is_shifted_inside(chance, centre, corner):
    assert draw_corner((20, 20), (8, 6), centre, chance) == corner


def test_centred_without_a_crop_is_refused():
    with pytest.raises(UserError, match="crop is null: set crop, or leave centred out"):
        validate(Sampling, {"centred": 0.5}, where="mine.yaml")


def test_weighted_draws_come_as_often_as_expected_but_for_rounding(chance):
    weights = [0.1, 5.0, 0.4, 2.0, 0.5]
    expected = np.array(weights) / sum(weights) * 5
    counts = np.zeros(5)
    for _ in range(DRAWS):
        drawn = draw_weighted(weights, chance)
        assert len(set(drawn)) == 5
        own = np.bincount([i % 5 for i in drawn], minlength=5)
        assert all(sorted(i // 5 for i in drawn if i % 5 == k) == list(range(n)) for k, n in enumerate(own))
        assert (abs(own - expected) < 1).all()
        counts += own
    assert counts / DRAWS == pytest.approx(expected, abs=0.04)
