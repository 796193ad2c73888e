import numpy as np
import pytest

from multifocal.config import validate
from multifocal.errors import UserError
from multifocal.pipeline.sampling import (
    LesionVoxels,
    Sampling,
    draw_centre,
    draw_corner,
    draw_slices,
    draw_weighted,
)

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
    lesions = LesionVoxels.of(TARGET)
    drawn = [draw_centre(lesions, centred=0.3, by="lesion", chance=chance) is not None for _ in range(DRAWS)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.04)
    empty = LesionVoxels.of(np.zeros((4, 4), np.uint8))
    assert draw_centre(empty, centred=1.0, by="voxel", chance=chance) is None


def test_a_crop_lies_anywhere_within_the_image_alike(chance):
    corners = np.array([draw_corner((12, 5, 4), (8, 5, 6), None, chance) for _ in range(DRAWS)])
    assert not corners[:, 1:].any()
    assert np.bincount(corners[:, 0], minlength=5) == pytest.approx([DRAWS / 5] * 5, rel=0.2)


@pytest.mark.parametrize(("centre", "corner"), [((10, 10), (6, 7)), ((0, -3), (0, 0)), ((19, 40), (12, 14))])
def test_a_crop_that_would_leave_the_image_is_shifted_inside(chance, centre, corner):
    assert draw_corner((20, 20), (8, 6), centre, chance) == corner


def test_centred_without_a_crop_is_refused():
    with pytest.raises(UserError, match="crop is null: set crop .2D networks: or slices., or leave it out"):
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


@pytest.mark.parametrize("centred", [0.0, 0.5, 1.0])
def test_slices_are_drawn_once_each_and_hold_lesion_as_often_as_asked(chance, centred):
    lesion = np.arange(40) % 4 == 0  # 10 of 40
    sure = []
    for _ in range(DRAWS // 20):
        drawn = draw_slices(lesion, count=8, centred=centred, chance=chance)
        assert len({number for number, _ in drawn}) == 8
        assert all(lesion[number] for number, flag in drawn if flag)
        sure += [flag for _, flag in drawn]
    assert np.mean(sure) == pytest.approx(centred, abs=0.05)


def test_more_slices_than_there_are(chance):
    lesion = np.array([False, True, False])
    assert {number for number, _ in draw_slices(lesion, count=7, centred=0, chance=chance)} == {0, 1, 2}
    assert draw_slices(lesion, count=4, centred=1, chance=chance) == [(1, True)] * 4
    assert draw_slices(np.array([True]), count=4, centred=0.5, chance=chance)[0][0] == 0
    assert len(draw_slices(np.zeros(5, bool), count=4, centred=1, chance=chance)) == 4
