"""What a second stage judges: the windows of voxels, and the numbers of components, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from multifocal.cohorts.labels import IGNORED
from multifocal.errors import UserError
from multifocal.systems.candidates import LESION, OTHER, RING_MM, UNKNOWN, Candidates, Voxels
from multifocal.systems.scan import Scan
from multifocal.volumes import Geometry


def scan(shape=(9, 10, 6), spacing=(2.0, 2.0, 3.0), seed=0, brain=True):
    rng = np.random.default_rng(seed)
    grid = Geometry(shape, spacing[: len(shape)], (0.0,) * len(shape), tuple(np.eye(len(shape)).ravel()))
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    inside = (axes**2).sum(0) < 0.9 if brain else np.ones(shape, bool)
    maps = {name: rng.normal(size=shape).astype(np.float32) for name in ("zadc", "adc")}
    return Scan("a", maps, rng.random(shape, np.float32), inside, grid)


VOXELS = {"kind": "voxels", "maps": ("zadc", "adc"), "map": "zadc", "below": -1.0, "above": 0.6}
BOTH = {"kind": "candidates", "maps": ("zadc", "adc"), "map": "zadc", "below": (-0.5, -1.0), "above": (0.7,)}


@given(st.integers(0, 1000), st.sampled_from(["5x5", "3x3x3"]), st.sampled_from([(5, 6, 4), (3, 3, 3), (4, 7)]))
@settings(max_examples=30)
def test_a_window_is_what_lies_around_a_voxel(seed, window, shape):
    case = scan(shape, seed=seed, brain=False)
    second = Voxels(**{**VOXELS, "window": window})
    if window == "3x3x3" and len(shape) == 2:
        with pytest.raises(UserError, match="is 2D, and window 3x3x3 is of volumes; choose window 5x5"):
            second.describe(case, second.find(case))
        return
    found = second.find(case)
    rows = second.describe(case, found)
    assert rows.shape == (len(found), len(second.features(len(shape)))) and rows.dtype == np.float32
    reach = (1, 1, 1) if window == "3x3x3" else (2, 2, 0)[: len(shape)]
    for number, flat in enumerate(found):
        place = np.unravel_index(flat, shape)
        expected = []
        for image in (case.maps["zadc"], case.maps["adc"], case.probability):
            around = [_mirrored(at, side, n) for at, side, n in zip(place, reach, shape, strict=True)]
            expected.append(image[np.ix_(*around)].ravel())
        assert np.array_equal(rows[number], np.concatenate(expected))


def _mirrored(at, side, n):
    """The places around one, as in a mirror that stands on the last voxel."""
    found = []
    for x in range(at - side, at + side + 1):
        while not 0 <= x < n:
            x = -x if x < 0 else 2 * (n - 1) - x
        found.append(x)
    return np.array(found)


def test_candidate_voxels_are_in_the_brain_and_low_or_likely():
    case, second = scan(), Voxels(**VOXELS)
    expected = case.inside & ((case.probability > 0.6) | (case.maps["zadc"] < -1.0))
    assert np.array_equal(second.find(case), np.flatnonzero(expected))
    alone = Voxels(kind="voxels", maps=("adc",), above=0.6)
    assert np.array_equal(alone.find(case), np.flatnonzero(case.inside & (case.probability > 0.6)))


def test_all_lesion_and_some_others_are_drawn():
    second, rng = Voxels(**{**VOXELS, "others": 2.0}), np.random.default_rng(0)
    answers = np.array([LESION] * 5 + [OTHER] * 40 + [UNKNOWN] * 5, np.int8)
    drawn = second.drawn(answers, rng)
    assert [int(drawn[answers == each].sum()) for each in (LESION, OTHER, UNKNOWN)] == [5, 10, 0]
    whole = Voxels(**{**VOXELS, "others": None}).drawn(answers, rng)
    assert np.array_equal(whole, answers != UNKNOWN)
    few = Voxels(**{**VOXELS, "others": None, "most": 18})
    ours = np.stack([few.drawn(answers, np.random.default_rng(seed)) for seed in range(300)])
    assert set(ours.sum(axis=1)) == {18} and not ours[:, answers == UNKNOWN].any()
    shares = [ours[:, answers == each].mean() for each in (LESION, OTHER)]
    np.testing.assert_allclose(shares, 18 / 45, atol=0.05)
    codes = np.array([0, 1, IGNORED], np.uint8)
    assert second.answers(np.arange(3), codes).tolist() == [OTHER, LESION, UNKNOWN]


def test_components_at_several_values_are_merged():
    case = scan((12, 12, 6))
    second = Candidates(**{**BOTH, "min_size_ml": 0.02})
    found = second.find(case)
    expected = {}
    for mask in (case.maps["zadc"] < -0.5, case.maps["zadc"] < -1.0, case.probability >= 0.7):
        labels, count = ndimage.label(mask & case.inside, np.ones((3, 3, 3)))
        for number in range(1, count + 1):
            one = np.flatnonzero(labels == number)
            if len(one) * 0.012 >= 0.02:
                expected[tuple(one)] = None
    assert {tuple(one) for one in found} == expected.keys() and len(found) == len(expected)
    image = second.paint(found, np.arange(1, len(found) + 1) / len(found), case.inside.shape)
    for flat in np.flatnonzero(case.inside):
        holding = [(n + 1) / len(found) for n, one in enumerate(found) if flat in one]
        assert image.ravel()[flat] == np.float32(max(holding, default=0))


def test_nothing_found_is_nothing_described():
    case = scan()
    for second in (
        Candidates(**{**BOTH, "below": (-99.0,), "above": ()}),
        Voxels(**{**VOXELS, "above": 1.0, "below": -99.0}),
    ):
        found = second.find(case)
        assert len(found) == 0
        rows = second.describe(case, found)
        assert rows.shape == (0, len(second.features(3)))
        assert not second.paint(found, np.zeros(0), case.inside.shape).any()


def test_a_lesion_is_what_overlaps_enough():
    found = [np.arange(4), np.arange(4, 8), np.arange(8, 10), np.array([10])]
    codes = np.array([1, 1, 0, 0, 1, 0, 0, IGNORED, IGNORED, IGNORED, 0], np.uint8)
    half, touched = (Candidates(**{**BOTH, "overlap": share}) for share in (0.5, 0.0))
    assert half.answers(found, codes).tolist() == [LESION, OTHER, UNKNOWN, OTHER]
    assert touched.answers(found, codes).tolist() == [LESION, LESION, UNKNOWN, OTHER]
    assert half.drawn(np.array([LESION, OTHER, UNKNOWN], np.int8), np.random.default_rng(0)).tolist() == [1, 1, 0]


def test_the_numbers_of_a_component():
    """A plate of 3×2×1 voxels left of the middle of a brain that is the whole image."""
    case = scan((9, 10, 6), brain=False)
    mask = np.zeros(case.inside.shape, bool)
    mask[1:4, 4:6, 2] = True
    case.maps["zadc"][:] = np.where(mask, -3, 0)
    second = Candidates(kind="candidates", maps=("zadc", "adc"), map="zadc", below=(-2.0,))
    (one,) = second.find(case)
    (row,) = second.describe(case, [one])
    numbers = dict(zip(second.features(3), row.tolist(), strict=True))
    away = np.stack(np.indices(mask.shape))[:, None] - np.argwhere(mask).T[..., None, None, None]
    distance = np.sqrt(((away * np.array([2, 2, 3])[:, None, None, None, None]) ** 2).sum(0)).min(0)
    ring = (distance > 0) & (distance <= RING_MM)
    adc = case.maps["adc"].astype(np.float64)
    expected = {
        "volume_ml": 6 * 0.012,
        "share_of_burden": 1.0,
        "candidates": 1.0,
        "burden": 6 / 540,
        "brain_ml": 540 * 0.012,
        "fill": 1.0,
        "surface": 1.0,
        "edge_mean_mm": np.mean([4, 6, 8]),  # to the centre of the first voxel beyond
        "edge_least_mm": 4.0,
        "off_midline": 4.0,  # 2 voxels left of the middle, which is 4
        "extent_mm_0": 6.0,
        "extent_mm_1": 4.0,
        "extent_mm_2": 3.0,
        "axis_mm_0": 0.0,
        "axis_mm_1": 1.0,
        "axis_mm_2": 2 * np.sqrt(2 / 3),
        "place_0": 2.5 / 9 * 2 - 1,
        "place_1": 0.0,
        "place_2": 2.5 / 6 * 2 - 1,
        "zadc mean": -3.0,
        "zadc std": 0.0,
        "zadc around": 0.0,
        "zadc mirrored": 0.0,
        "adc mean": adc[mask].mean(),
        "adc std": adc[mask].std(),
        "adc least": adc[mask].min(),
        "adc greatest": adc[mask].max(),
        "adc around": adc[ring].mean(),
        "adc mirrored": adc[5:8, 4:6, 2].mean(),
        "probability mean": case.probability[mask].mean(),
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_order_of_wanted_candidates_is_theirs():
    for second in (Candidates(**BOTH), Voxels(**VOXELS)):
        case = scan(seed=5)
        found = second.find(case)
        wanted = np.arange(len(found)) % 3 == 1
        assert np.array_equal(second.describe(case, found, wanted), second.describe(case, found)[wanted])


def test_images_have_candidates_too():
    case = scan((12, 14), brain=False)
    for second in (Candidates(**BOTH), Voxels(**VOXELS)):
        assert second.describe(case, second.find(case)).shape[1] == len(second.features(2))


@pytest.mark.parametrize(
    ("kind", "says", "message"),
    [
        (Voxels, {**VOXELS, "map": "dwi"}, r"map: dwi is none of maps \(zadc, adc\)"),
        (Voxels, {**VOXELS, "below": None}, "map and below belong together"),
        (Voxels, {**VOXELS, "maps": ("zadc", "zadc")}, "names one twice"),
        (Voxels, {**VOXELS, "maps": ()}, "at least 1 item"),
        (Candidates, {**BOTH, "below": (), "above": ()}, "there are no candidates"),
        (Candidates, {**BOTH, "below": ()}, "map and below belong together"),
        (Candidates, {**BOTH, "map": None}, "map and below belong together"),
    ],
)
def test_what_cannot_be_looked_for(kind, says, message):
    with pytest.raises(ValidationError, match=message):
        kind(**says)
