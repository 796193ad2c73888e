"""Instances that touch: classes from label maps, and label maps from probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from multifocal.cohorts.phantom.nuclei import nuclei_case
from multifocal.instances import border_classes, watershed_instances

pytest.importorskip("skimage")


def blobs(seed: int, shape: tuple[int, ...], count: int = 5) -> np.ndarray:
    """A label map of balls that press flat where they meet."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))
    radii = rng.uniform(2.5, 5, count)
    depth = radii - cdist(places, rng.uniform(0, shape, (count, len(shape))))
    return np.where(depth.max(1) > 0, depth.argmax(1) + 1, 0).reshape(shape)


def naive_border(labels: np.ndarray, width: float, spacing: tuple[float, ...]) -> np.ndarray:
    """By its definition: every voxel against every other."""
    places = np.argwhere(np.ones(labels.shape, bool))
    values = labels.ravel()
    near = cdist(places * spacing, places * spacing) <= width + 1e-6
    differs = (near & (values[:, None] != values)).any(1)
    return np.where(values == 0, 0, np.where(differs, 2, 1)).reshape(labels.shape)


@given(seed=st.integers(0, 999), width=st.sampled_from([1.0, 1.5, 2.0, 3.2]), is_3d=st.booleans())
@settings(max_examples=30, deadline=None)
def test_border_is_what_lies_within_its_width_of_another_value(seed, width, is_3d):
    labels = blobs(seed, (9, 8, 6) if is_3d else (21, 17))
    spacing = (1.0, 0.8, 2.5)[: labels.ndim]
    found = border_classes(labels, width=width, spacing=spacing)
    assert found.dtype == np.uint8
    assert np.array_equal(found, naive_border(labels, width, spacing))


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_insides_do_not_touch_and_are_those_of_one_instance(seed):
    labels = blobs(seed, (30, 25), count=8)
    pieces, count = ndimage.label(border_classes(labels, width=1.5) == 1, np.ones((3, 3)))
    assert all(np.unique(labels[pieces == n]).size == 1 for n in range(1, count + 1))


def test_an_unsigned_label_map_and_its_numbers_do_not_matter():
    labels = blobs(3, (20, 20))
    expected = border_classes(labels)
    assert np.array_equal(border_classes((labels * 13000).astype(np.uint16)), expected)
    assert not border_classes(np.zeros((4, 5), np.uint8)).any()
    # The border of the image is no border of an instance.
    assert (border_classes(np.ones((4, 5), int)) == 1).all()


@pytest.mark.parametrize("index", range(4))
def test_label_maps_come_back_from_their_classes(index):
    """What a perfect network would give: every nucleus of at least 30 pixels is found, with nearly its own pixels."""
    labels = nuclei_case(seed=2, index=index, cases=4).labels.astype(int)
    classes = border_classes(labels, width=1.5)
    found = watershed_instances((classes > 0).astype(np.float32), border=(classes == 2).astype(np.float32))
    assert np.array_equal(found > 0, labels > 0)
    counts = np.zeros((found.max() + 1, labels.max() + 1))
    np.add.at(counts, (found.ravel(), labels.ravel()), 1)
    union = counts[1:].sum(1)[:, None] + counts[:, 1:].sum(0) - counts[1:, 1:]
    best = (counts[1:, 1:] / union).max(0)
    assert np.mean(best[np.bincount(labels.ravel())[1:] >= 30] > 0.7) > 0.95


def disks(apart: float) -> np.ndarray:
    x, y = np.mgrid[:40, :60]
    return (np.minimum(np.hypot(x - 20, y - 20), np.hypot(x - 20, y - 20 - apart)) <= 10).astype(np.float32)


def test_two_disks_are_two_where_the_neck_between_them_is_deep_enough():
    """16 pixels apart, the background lies 7 pixels from the middle of the neck and 10 from the middle of a disk."""
    assert watershed_instances(disks(16), min_depth=2.5).max() == 2
    assert watershed_instances(disks(16), min_depth=3.5).max() == 1
    assert watershed_instances(disks(16), min_depth=5.0, spacing=(2.0, 2.0)).max() == 2
    halves = watershed_instances(disks(16), min_depth=2.5)
    assert np.bincount(halves.ravel())[1:] == pytest.approx([(disks(16) > 0).sum() / 2] * 2, rel=0.05)


def test_a_given_distance_takes_the_place_of_the_distance_to_the_background():
    distance = np.zeros((5, 9), np.float32)
    distance[2] = [0, 3, 5, 3, 1, 3, 5, 3, 0]
    found = watershed_instances(np.ones((5, 9)), distance=distance, min_depth=1.0)
    assert found.max() == 2 and found[2, 2] != found[2, 6]


def test_what_has_no_marker_is_one_instance_and_small_ones_are_dropped():
    foreground, border = np.zeros((9, 20)), np.zeros((9, 20))
    foreground[2:7, 2:8] = 1.0
    border[2:7, 2:8] = 0.9  # border through and through: no marker
    foreground[2:4, 12:15] = 1.0
    found = watershed_instances(foreground, border=border)
    assert sorted(np.bincount(found.ravel())[1:]) == [6, 30]
    assert watershed_instances(foreground, border=border, min_size=7).max() == 1
    assert watershed_instances(foreground, border=border, min_size=31).max() == 0


@given(seed=st.integers(0, 999), is_3d=st.booleans(), min_depth=st.sampled_from([0.5, 1.0, 3.0]))
@settings(max_examples=20, deadline=None)
def test_every_foreground_voxel_has_one_label_and_every_label_is_one_piece(seed, is_3d, min_depth):
    mask = blobs(seed, (10, 9, 8) if is_3d else (30, 25)) > 0
    found = watershed_instances(mask.astype(float), min_depth=min_depth)
    assert found.dtype == np.int32 and np.array_equal(found > 0, mask)
    assert np.unique(found).tolist() == list(range(int(found.max()) + 1))
    whole = np.ones((3,) * mask.ndim)
    assert all(ndimage.label(found == n, whole)[1] == 1 for n in range(1, found.max() + 1))


def test_nothing_is_found_in_nothing():
    assert not watershed_instances(np.zeros((4, 4))).any()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"foreground": np.zeros(4)}, "1 dimensions; expected 2 or 3"),
        ({"border": np.zeros((3, 3))}, r"border has shape \(3, 3\); expected \(4, 4\)"),
        ({"distance": np.full((4, 4), np.nan)}, "distance holds NaN"),
        ({"foreground": np.full((4, 4), np.nan)}, "foreground holds NaN"),
        ({"border": np.zeros((4, 4)), "distance": np.zeros((4, 4))}, "both given"),
        ({"threshold": 1.0}, "threshold=1.0"),
        ({"min_depth": 0.0}, "min_depth=0.0"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        watershed_instances(**{"foreground": np.zeros((4, 4))} | arguments)


@pytest.mark.parametrize(
    ("labels", "options", "says"),
    [
        (np.zeros((4, 4)), {}, "2D float64"),
        (np.zeros(4, int), {}, "1D int64"),
        (np.zeros((4, 4), int), {"width": 0.5}, "width=0.5 reaches no neighbour"),
        (np.zeros((4, 4), int), {"width": 1.0, "spacing": (2.0, 2.0)}, "reaches no neighbour"),
        (np.zeros((4, 4), int), {"spacing": (2.0,)}, "reaches no neighbour"),
    ],
)
def test_labels_that_are_none_and_widths_that_reach_nothing_are_refused(labels, options, says):
    with pytest.raises(ValueError, match=says):
        border_classes(labels, **options)
