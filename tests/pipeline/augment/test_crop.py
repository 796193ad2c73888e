"""A crop is the same part of the whole image, augmented; only noise has other values."""

import itertools

import numpy as np
import pytest
import torch

from multifocal.pipeline.augment import Augmentation, Parameters, apply, apply_crop, draw, new_place, turned_size

SIZE, SPACING = (30, 36, 22), (1.0, 1.5, 2.0)
CROPS = [((0, 0, 0), (16, 12, 8)), ((14, 24, 14), (16, 12, 8)), ((7, 9, 5), (10, 20, 12))]
CHANGES = {
    "nothing": {},
    "flip": {"flip": {"p": 1}},
    "blur": {"blur": {"p": 1, "std": [1, 2]}},
    "anisotropy": {"anisotropy": {"p": 1}},
    "gamma": {"gamma": {"p": 1, "log_gamma": [-0.5, 0.5]}},
    "scale": {"scale": {"p": 1}, "shift": {"p": 1, "offsets": [1, 2]}},
    "quarter_turns": {"quarter_turns": {"p": 1, "planes": [[0, 1], [2, 1]]}},
    "affine": {"affine": {"p": 1, "degrees": [-30, 30], "scales": [0.7, 1.3]}},
    "shifted": {"affine": {"p": 1, "degrees": [-30, 30], "scales": [0.8, 1.2], "translations": [-3, 3]}},
    "elastic": {"elastic": {"p": 1, "locked_axes": None}},
}
CHANGES["all"] = {key: value for change in CHANGES.values() for key, value in change.items()}


@pytest.fixture(scope="module")
def image():
    """Two maps that are 0 outside a brain, a prior between them, and lesions."""
    chance = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SIZE), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.9
    maps = [chance.normal(size=SIZE) * inside for _ in range(2)]
    prior, target = ((chance.random(SIZE) < share) & inside for share in (0.3, 0.2))
    return np.stack([maps[0], prior, maps[1]]).astype(np.float32), target.astype(np.uint8)


def drawn(changes, seed):
    settings = Augmentation.model_validate(changes)
    return draw(settings, channels=2, size=SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seed", range(3))
def test_a_crop_is_that_of_the_whole_image_augmented(image, name, seed):
    images, target = image
    parameters = drawn(CHANGES[name], seed)
    options = {"parameters": parameters, "spacing": SPACING, "prior": [1]}
    whole, mask = apply(torch.from_numpy(images), torch.from_numpy(target), **options)
    size = turned_size(SIZE, parameters)
    for corner, crop in CROPS:
        crop = [min(n, whole - c) for n, whole, c in zip(crop, size, corner, strict=True)]
        if min(crop) < 1:
            continue
        where = tuple(slice(c, c + n) for c, n in zip(corner, crop, strict=True))
        part, part_mask = apply_crop(images, target, corner=corner, crop=crop, **options)
        assert part.dtype == torch.float32 and part_mask.dtype == torch.uint8 and part.is_contiguous()
        assert torch.allclose(part[[0, 2]], whole[[0, 2]][(slice(None), *where)], atol=1e-4)
        # A place half-way between two voxels may be rounded to either of them.
        assert (part[1] != whole[1][where]).float().mean() < 1e-3
        assert (part_mask != mask[where]).float().mean() < 1e-3


def test_a_crop_of_places_and_of_classes(image):
    images, target = image
    classes = (target * (1 + np.indices(SIZE)[2] % 3)).astype(np.uint8)
    classes[8:22, 10:26, 6:16] = 255
    settings = Augmentation.model_validate(CHANGES["all"])
    parameters = draw(settings, channels=1, size=SIZE, generator=torch.Generator().manual_seed(1))
    options = {"parameters": parameters, "spacing": SPACING, "prior": [1], "places": [2]}
    whole, mask = apply(torch.from_numpy(images), torch.from_numpy(classes), **options)
    part, part_mask = apply_crop(images, classes, corner=(2, 3, 1), crop=(16, 16, 16), **options)
    where = tuple(slice(c, c + 16) for c in (2, 3, 1))
    assert torch.allclose(part[[0, 2]], whole[[0, 2]][(slice(None), *where)], atol=1e-4)
    assert (part_mask != mask[where]).float().mean() < 1e-3
    assert set(part_mask.unique().tolist()) == {0, 1, 2, 3, 255}


def test_noise_of_a_crop_is_as_strong_as_that_of_the_image(image):
    images, target = image
    parameters = drawn({"noise": {"p": 1, "std": [0.5, 0.5], "mean": 3}}, 0)
    part, _ = apply_crop(images, target, parameters=parameters, corner=(5, 5, 5), crop=(16, 16, 16), prior=[1])
    noise = part[[0, 2]] - torch.from_numpy(images[[0, 2], 5:21, 5:21, 5:21])
    assert noise.mean() == pytest.approx(3, abs=0.03) and noise.std() == pytest.approx(0.5, abs=0.02)
    assert set(part[1].unique().tolist()) == {0.0, 1.0}


def test_a_crop_larger_than_the_image_has_zeros_at_its_far_end(image):
    images, target = image
    crop = (40, 10, 22)
    part, mask = apply_crop(images, target, parameters=Parameters(), corner=(0, 3, 0), crop=crop)
    assert part.shape == (3, *crop) and mask.shape == crop
    assert np.array_equal(part[:, :30], images[:, :, 3:13]) and np.array_equal(mask[:30], target[:, 3:13])
    assert not part[:, 30:].any() and not mask[30:].any()


def test_maps_that_are_all_priors_and_a_crop_of_nothing_but_outside():
    images, target = np.ones((1, 6, 6), np.float32), np.ones((6, 6), np.uint8)
    parameters = drawn_2d({"affine": {"p": 1, "scales": [0.1, 0.1], "degrees": [0, 0]}})
    part, mask = apply_crop(images, target, parameters=parameters, corner=(0, 0), crop=(2, 2), prior=[0])
    assert not part.any() and not mask.any()


def drawn_2d(changes):
    settings = Augmentation.model_validate(changes)
    return draw(settings, channels=0, size=(6, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["nothing", "flip", "affine", "shifted", "elastic", "quarter_turns", "all"])
def test_the_new_place_of_a_voxel(name):
    """A lesion of one voxel's neighbourhood is found where it is said to be."""
    for seed, voxel in itertools.product(range(3), [(15, 18, 11), (9, 22, 14)]):
        target = np.zeros(SIZE, np.uint8)
        target[tuple(slice(v - 1, v + 2) for v in voxel)] = 1
        changes = {
            key: CHANGES[name][key] for key in ("flip", "affine", "elastic", "quarter_turns") if key in CHANGES[name]
        }
        parameters = drawn(changes, seed)
        images = torch.zeros(3, *SIZE)
        _, moved = apply(images, torch.from_numpy(target), parameters=parameters, spacing=SPACING, prior=[1])
        place = new_place(voxel, parameters, size=SIZE, spacing=SPACING)
        middle = moved.nonzero().float().mean(0)
        assert (torch.tensor(place) - middle).abs().max() <= 1.01
        assert moved[place]
