"""What is pasted, against the formula of CarveMix and scipy's distances."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.stats import kstest

from multifocal.pipeline.augment import (
    Augmentation,
    Donor,
    Parameters,
    Pasted,
    apply,
    apply_crop,
    draw,
    paste,
)
from multifocal.pipeline.augment.sampling import DrawnPaste
from multifocal.volumes import bounding_box

SPACING = (1.0, 1.5, 2.0)


def brain(size, seed, *, classes=1):
    """Return two maps, a prior and one of places, a target and the brain."""
    chance = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.9
    lesion = ndimage.binary_dilation(chance.random(size) < 0.004, iterations=2) & inside
    maps = [np.where(inside, chance.normal(k, 1, size) + 5 * lesion, 0) for k in (0, 9)]
    prior, place = inside & (chance.random(size) < 0.3), axes[0]
    images = np.stack([maps[0], prior, maps[1], place]).astype(np.float32)
    return images, (lesion * chance.integers(1, classes + 1, size)).astype(np.uint8), inside


def pasted(giver, taker, reach, values="absolute"):
    images, target, inside = giver
    donor = Donor.of(images, target, inside, box=bounding_box(inside), spacing=SPACING)
    drawn = DrawnPaste(donor=0.0, reach=reach, values=values)
    onto = {"onto": taker[0], "inside": taker[2], "box": bounding_box(taker[2])}
    return donor, paste(drawn, donor, images, target, **onto, prior=[1], places=[3])


def onto(taker, found):
    images, target = torch.from_numpy(taker[0]), torch.from_numpy(taker[1])
    kept = images.clone(), target.clone()
    changed = found.onto(images).numpy(), found.onto_target(target).numpy()
    assert torch.equal(images, kept[0]) and torch.equal(target, kept[1])
    return changed


def signed(target):
    lesion = target != 0
    inner = ndimage.distance_transform_edt(lesion, sampling=SPACING)
    return np.where(lesion, -inner, ndimage.distance_transform_edt(~lesion, sampling=SPACING))


@pytest.mark.parametrize("reach", [-0.5, -0.2, 0.0, 0.4, 1.0])
def test_on_one_grid_it_is_carvemix(reach):
    giver, taker = brain((20, 22, 14), 0, classes=3), brain((20, 22, 14), 1)
    donor, found = pasted(giver, taker, reach)
    distance = signed(giver[1])
    assert donor.depth == pytest.approx(-distance.min())
    region = (distance <= reach * donor.depth + 1e-6) & giver[2]
    assert region.any() and not region.all()
    images, target = onto(taker, found)
    for channel in (0, 1, 2):
        expected = giver[0][channel] * region + taker[0][channel] * ~region
        np.testing.assert_allclose(images[channel], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(images[3], taker[0][3])
    np.testing.assert_array_equal(target, giver[1] * region + taker[1] * ~region)
    assert set(np.unique(target)) >= {1, 2, 3} or reach < 0


@pytest.mark.parametrize("reach", [-0.3, 0.6])
def test_a_difference_is_what_the_lesion_adds_to_the_tissue_around_it(reach):
    giver, taker = brain((20, 22, 14), 0), brain((20, 22, 14), 1)
    donor, found = pasted(giver, taker, reach, "difference")
    distance = signed(giver[1])
    region = (distance < 0) & (distance <= reach * donor.depth + 1e-6)
    shell = (distance > 0) & (distance <= donor.depth + 1e-6) & giver[2]
    images, target = onto(taker, found)
    for channel in (0, 2):
        added = giver[0][channel] - np.median(giver[0][channel][shell])
        np.testing.assert_allclose(images[channel], taker[0][channel] + added * region, rtol=1e-4, atol=1e-5)
        assert added[region].mean() > 4
    np.testing.assert_array_equal(images[1], np.where(region, giver[0][1], taker[0][1]))
    np.testing.assert_array_equal(target, np.where(region, giver[1], taker[1]))


@hypothesis_settings(max_examples=25, deadline=None)
@given(size=st.tuples(*[st.integers(5, 24)] * 3), seed=st.integers(0, 9), reach=st.floats(-0.5, 1))
def test_brains_of_other_sizes_are_laid_over_one_another(size, seed, reach):
    giver, taker = brain((18, 16, 12), seed, classes=3), brain(size, 50)
    if not giver[1].any() or not taker[2].any():
        return
    donor, found = pasted(giver, taker, reach)
    images, target = onto(taker, found)
    (lower, upper), (own, end) = bounding_box(taker[2]), donor.box
    grid = np.indices(size).astype(float)
    for axis in range(3):
        ratio = (end[axis] - own[axis]) / (upper[axis] - lower[axis])
        grid[axis] = own[axis] + (grid[axis] - lower[axis] + 0.5) * ratio - 0.5
    nearest = np.floor(grid + 0.5).astype(int)
    shape = np.array(giver[1].shape).reshape(3, 1, 1, 1)
    known = ((nearest >= 0) & (nearest < shape)).all(0) & taker[2]
    where = tuple(np.clip(nearest, 0, shape - 1))
    region = ((signed(giver[1]) <= reach * donor.depth + 1e-6) & giver[2])[where] & known
    np.testing.assert_array_equal(target, np.where(region, giver[1][where], taker[1]))
    np.testing.assert_array_equal(images[1], np.where(region, giver[0][1][where], taker[0][1]))
    for channel in (0, 2):
        read = ndimage.map_coordinates(giver[0][channel], grid, order=1, mode="nearest")
        np.testing.assert_allclose(images[channel], np.where(region, read, taker[0][channel]), rtol=1e-4, atol=1e-4)


def test_nothing_is_pasted_outside_the_brain():
    giver, (images, _, inside) = brain((20, 22, 14), 0), brain((20, 22, 14), 1)
    half = inside & (np.arange(20)[:, None, None] < 12)
    donor = Donor.of(*giver, box=bounding_box(giver[2]), spacing=SPACING)
    drawn = DrawnPaste(donor=0.0, reach=1.0, values="absolute")
    found = paste(drawn, donor, *giver[:2], onto=images, inside=half, box=bounding_box(inside))
    assert found.labels.size and half[tuple(found.places)].all()


@pytest.mark.parametrize(
    "changes", [{}, {"affine": {"p": 1}, "flip": {"p": 1}, "quarter_turns": {"p": 1}, "blur": {"p": 1}}]
)
@pytest.mark.parametrize("values", ["absolute", "difference"])
def test_a_crop_is_that_of_the_whole_with_what_is_pasted(changes, values):
    giver, taker = brain((24, 24, 14), 0, classes=3), brain((24, 24, 14), 1)
    settings = Augmentation.model_validate({**changes, "paste": {"p": 1, "values": values}})
    parameters = draw(settings, channels=2, size=(24, 24, 14), generator=torch.Generator().manual_seed(0))
    _, found = pasted(giver, taker, parameters.paste.reach, values)
    options = {"parameters": parameters, "spacing": SPACING, "prior": [1], "places": [3], "pasted": found}
    whole, mask = apply(torch.from_numpy(taker[0]), torch.from_numpy(taker[1]), **options)
    plain, _ = apply(
        torch.from_numpy(taker[0]),
        torch.from_numpy(taker[1]),
        **{**options, "parameters": Parameters(**{**vars(parameters), "paste": None}), "pasted": None},
    )
    assert not torch.equal(whole, plain)
    for corner in ((0, 0, 0), (7, 9, 3), (12, 10, 4)):
        part, part_mask = apply_crop(taker[0], taker[1], corner=corner, crop=(12, 14, 10), **options)
        where = tuple(slice(c, c + n) for c, n in zip(corner, (12, 14, 10), strict=True))
        assert torch.allclose(part[[0, 2, 3]], whole[[0, 2, 3]][(slice(None), *where)], atol=1e-4)
        assert (part[1] != whole[1][where]).float().mean() < 1e-3
        assert (part_mask != mask[where]).float().mean() < 1e-3


def test_a_slice_of_what_is_pasted():
    giver, taker = brain((20, 22, 14), 0), brain((20, 22, 14), 1)
    _, found = pasted(giver, taker, 0.5)
    images, target = onto(taker, found)
    for z in range(14):
        flat = tuple(part[..., z].copy() for part in taker)
        one, mask = onto(flat, found.in_slice(z))
        np.testing.assert_array_equal(one, images[..., z])
        np.testing.assert_array_equal(mask, target[..., z])


def test_half_the_regions_are_within_the_lesions_and_half_reach_beyond():
    settings = Augmentation.model_validate({"paste": {"p": 1}})
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(settings, channels=1, size=(8, 8), generator=generator).paste for _ in range(2000)]
    reach = np.array([one.reach for one in drawn])
    assert (reach > 0).mean() == pytest.approx(0.5, abs=0.04)
    assert kstest(reach[reach > 0], "uniform").pvalue > 0.01
    assert kstest(-2 * reach[reach < 0], "uniform").pvalue > 0.01
    assert kstest([one.donor for one in drawn], "uniform").pvalue > 0.01


def test_lesions_that_fill_the_brain_have_no_tissue_around_them():
    inside = np.zeros((8, 8), bool)
    inside[2:6, 2:6] = True
    images = np.where(inside, 3.0, 0)[None].astype(np.float32)
    donor = Donor.of(images, inside.astype(np.uint8), inside, box=bounding_box(inside), spacing=(1.0, 1.0))
    assert donor.around.tolist() == [0.0]
    assert (
        Pasted(np.empty((2, 0), int), (0,), np.empty((1, 0), np.float32), np.empty(0, np.uint8)).in_slice(0).labels.size
        == 0
    )
