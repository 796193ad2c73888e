"""Cells against brute force over all pairs of voxels, and what decides where components are equally near."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.distance import nearest
from multifocal.instances import label, voronoi_cells

SPACINGS = [None, (1.0, 1.0, 1.0), (1.0, 2.0, 3.0), (0.7, 0.7, 2.5), (0.43, 1.9, 0.77)]


def closeness(place, shape, spacing):
    """Squared distance of a component's centre to the image's, by the rule's own arithmetic."""
    return sum((s * (np.mean(x) - (n - 1) / 2)) ** 2 for x, n, s in zip(place, shape, spacing, strict=True))


def brute_force(mask, spacing):
    """Return for each voxel all components that are nearest, and which of them the rule gives it to."""
    found = label(mask[None])
    dense, count = found.dense()[0], found.total
    sides = np.ones(mask.ndim) if spacing is None else np.array(spacing[: mask.ndim])
    every = np.stack(np.meshgrid(*[np.arange(n) for n in mask.shape], indexing="ij"), -1).reshape(-1, mask.ndim)
    parts = [np.argwhere(dense == n + 1) for n in range(count)]
    squares = np.stack([(((every[:, None] - part) * sides) ** 2).sum(-1).min(1) for part in parts])
    order = sorted(range(count), key=lambda n: (-len(parts[n]), round(closeness(parts[n].T, mask.shape, sides), 9), n))
    near = squares <= squares.min(0) * (1 + 1e-9)
    chosen = np.array([next(n for n in order if near[n, voxel]) for voxel in range(len(every))])
    return near.reshape(count, *mask.shape), chosen.reshape(mask.shape)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    shape = [(9, 8), (6, 5, 7), (1, 9, 6), (12, 1), (4, 11)][seed % 5]
    masks = rng.random((3, *shape)) < rng.choice([0.02, 0.1, 0.3])
    spacing = SPACINGS[seed % len(SPACINGS)]
    found, counts = voronoi_cells(label(masks), spacing=None if spacing is None else spacing[: masks.ndim - 1])
    assert found.dtype == torch.int32
    first = 0
    for image, mask, count in zip(found.numpy(), masks, counts, strict=True):
        if not mask.any():
            assert count == 1 and (image == first).all()
        else:
            near, chosen = brute_force(mask, spacing)
            own = np.take_along_axis(near, (image - first)[None], 0)[0]
            assert own.all()
            if spacing is None or len(set(spacing)) == 1:  # otherwise rounding may decide what is a tie
                assert np.array_equal(image - first, chosen)
        first += count


def masks_of(voxels, shape=(7, 7)):
    mask = np.zeros((1, *shape), bool)
    mask[0][tuple(np.array(voxels).T)] = True
    return mask


@pytest.mark.parametrize(
    ("voxels", "place", "owner"),
    [
        ([(3, 0), (3, 4), (3, 5)], (3, 2), (3, 4)),  # the larger one
        ([(3, 0), (3, 1), (3, 5)], (3, 3), (3, 1)),
        ([(3, 1), (3, 5), (0, 0)], (3, 3), (3, 1)),  # alike in all: the first
        ([(3, 0), (3, 4)], (3, 2), (3, 4)),  # the one nearer to the middle
        ([(3, 2), (3, 6)], (3, 4), (3, 2)),
        ([(0, 3), (3, 0), (4, 0), (6, 3)], (3, 3), (3, 0)),  # along all axes
    ],
)
def test_ties(voxels, place, owner):
    found = voronoi_cells(label(masks_of(voxels)))[0][0]
    assert found[place] == found[owner]


def moved(mask, axes, flips):
    return np.flip(mask.transpose(0, *(axis + 1 for axis in axes)), [axis + 1 for axis in flips])


def partitions_agree(one, other):
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other))


def unlike(seed, spacing):
    """Return a few single voxels of which no two are equally far from the image's centre."""
    rng = np.random.default_rng(seed)
    shape, sides = (9, 12, 10), spacing or (1.0, 1.0, 1.0)
    while True:
        voxels = np.unique(rng.integers(0, shape, (6, 3)), axis=0)
        far = [closeness(voxel[:, None], shape, sides) for voxel in voxels]
        mask = masks_of(voxels, shape)
        if len(np.unique(np.round(far, 6))) == label(mask).total == 6:
            return mask


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_flips_and_swapped_axes(seed, spacing):
    """Cells move with the image, ties and all, where no two components are alike in size and place."""
    mask = unlike(seed, spacing)
    reference = voronoi_cells(label(mask), spacing=spacing)[0].numpy()
    for axes in permutations(range(3)):
        for flips in ([], [0], [1], [2], [0, 2], [0, 1, 2]):
            turned = None if spacing is None else tuple(spacing[axis] for axis in axes)
            other = voronoi_cells(label(np.ascontiguousarray(moved(mask, axes, flips))), spacing=turned)[0].numpy()
            assert partitions_agree(other, moved(reference, axes, flips))


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_decides_every_tie_of_such_an_image(seed):
    mask = unlike(seed, None)
    near, chosen = brute_force(mask[0], None)
    tied = near.sum(0) > 1
    assert tied.sum() > 10
    assert np.array_equal(voronoi_cells(label(mask))[0][0].numpy()[tied], chosen[tied])


def test_a_flip_hands_a_tied_voxel_to_the_twin():
    """Two components of one size, equally far from the image's centre: the first has what lies between."""
    mask = masks_of([(3, 1), (3, 5)])
    found = voronoi_cells(label(mask))[0][0]
    assert found[3, 3] == found[3, 1]
    flipped = voronoi_cells(label(mask[:, :, ::-1]))[0][0]
    assert flipped[3, 3] == flipped[3, 1]  # which is where (3, 5) was


def test_many_images():
    """More than are transformed at a time, with empty ones and ones of one component between them."""
    rng = np.random.default_rng(1)
    masks = rng.random((40, 200, 210)) < rng.choice([0.0, 1e-4, 1e-3], (40, 1, 1))
    masks[7] = False
    masks[8] = False
    masks[8, 5, 5] = True
    found, counts = voronoi_cells(label(masks))
    first = 0
    for mask, image, count in zip(masks, found, counts, strict=True):
        alone, own = voronoi_cells(label(mask[None]))
        assert torch.equal(alone[0] + first, image) and own[0] == count
        first += count


@pytest.mark.parametrize("spacing", [None, (1.0, 2.5)])
def test_in_plain_torch_operations(spacing, monkeypatch):
    """As on an accelerator, with images of no, one and many components in any order."""
    rng = np.random.default_rng(3)
    masks = rng.random((9, 12, 15)) < np.array([0, 0.1, 0.3, 0, 0.05, 0.05, 0, 0.2, 0.1]).reshape(9, 1, 1)
    masks[4] = False
    masks[4, 3, 3] = True
    expected, counts = voronoi_cells(label(masks), spacing=spacing)
    monkeypatch.setattr(torch, "device", lambda name: type("Device", (), {"type": "cuda"}))
    found, same = voronoi_cells(label(masks), spacing=spacing, device="cpu")
    assert torch.equal(found, expected) and found.dtype == torch.int32 and (same == counts).all()


def first_voxel(mask, spacing):
    """Return for each voxel the component of the nearest voxel, of those equally near the first, last axis slowest."""
    dense = label(mask[None]).dense()[0]
    inside = np.argwhere(mask)
    inside = inside[np.lexsort(inside.T)]
    every = np.argwhere(np.ones(mask.shape, bool))
    squares = (((every[:, None] - inside) * spacing) ** 2).sum(-1)
    return dense[tuple(inside[squares.argmin(1)].T)].reshape(mask.shape) - 1


@pytest.mark.parametrize("per_point", [0, 1e9], ids=["points", "transform"])
@pytest.mark.parametrize("spacing", [None, (2.0, 2.0, 2.0)])
def test_the_first_voxel_wins_ties(monkeypatch, per_point, spacing):
    monkeypatch.setattr(nearest, "_ELEMENTS_PER_POINT", per_point)
    rng = np.random.default_rng(0)
    unlike_symmetric = 0
    for number in range(40):
        shape = [(9, 8), (6, 5, 7), (1, 19, 6), (24, 1), (4, 21)][number % 5]
        masks = rng.random((3, *shape)) < rng.choice([0.02, 0.1, 0.3])
        masks[number % 3] = False
        sides = None if spacing is None else spacing[: len(shape)]
        lesions = label(masks)
        found, counts = voronoi_cells(lesions, ties="first-voxel", spacing=sides)
        assert found.dtype == torch.int32 and found.shape == masks.shape
        first = np.cumsum(counts) - counts
        for image, mask, start in zip(found.numpy(), masks, first, strict=True):
            expected = first_voxel(mask, (1.0,) * mask.ndim) if mask.any() else np.zeros(mask.shape, int)
            assert np.array_equal(image - start, expected)
        at = rng.integers(0, masks.size, 50)
        some, same = voronoi_cells(lesions, ties="first-voxel", spacing=sides, at=at)
        assert np.array_equal(some, found.numpy().reshape(-1)[at]) and np.array_equal(same, counts)
        symmetric = voronoi_cells(lesions, spacing=sides)[0]
        some, _ = voronoi_cells(lesions, spacing=sides, at=at)
        assert np.array_equal(some, symmetric.numpy().reshape(-1)[at])
        unlike_symmetric += not torch.equal(symmetric, found)
    assert unlike_symmetric > 10


def test_an_unknown_rule_for_ties_lists_the_choices():
    with pytest.raises(ValueError, match="did you mean 'symmetric'.*symmetric, first-voxel"):
        voronoi_cells(label(np.zeros((1, 3, 3), bool)), ties="symetric")
