"""Ignored voxels: every metric against itself on masks from which they were cut away."""

import math

import numpy as np
import pytest
import torch

from multifocal.metrics import MaskPair, evaluate_case, score_case
from multifocal.metrics.torchmetrics import CaseMetric, CaseMetrics

SPACING = (1.0, 2.0, 3.0)
RULES = [
    {},
    {"convention": "voxel"},
    {"matching": "iou", "threshold": 0.2},
    {"min_size": 0.02, "connectivity": "face"},
    {"label_maps": "both"},
]


def scene(ndim, *, seed=0, values=1):
    """Masks, and what of them is left: a slab at the end of the first axis and one at the begin of the last are not."""
    rng = np.random.default_rng(seed)
    shape = (12, 11, 9)[:ndim]
    prediction, target = (rng.integers(1, values + 1, shape) * (rng.random(shape) < 0.15) for _ in range(2))
    left = (slice(0, 8), *[slice(None)] * (ndim - 2), slice(3, None))
    ignored = np.ones(shape, bool)
    ignored[left] = False
    return prediction, target, ignored, left


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_as_if_the_image_ended_there(ndim, rules, seed):
    prediction, target, ignored, left = scene(ndim, seed=seed, values=5 if "label_maps" in rules else 1)
    spacing = SPACING[:ndim]
    expected = evaluate_case(prediction[left], target[left], spacing=spacing, **rules)
    assert evaluate_case(prediction, target, spacing=spacing, ignore=ignored, **rules) == expected
    marked = np.where(ignored, 255, target)
    assert evaluate_case(prediction, marked, spacing=spacing, ignore=255, **rules) == expected
    nothing = np.where(ignored, np.nan, prediction)  # what is predicted there does not matter
    assert evaluate_case(nothing, marked.astype(np.float32), spacing=spacing, ignore=255, **rules) == expected
    if not rules:
        assert expected != evaluate_case(prediction, target, spacing=spacing)


def test_classes_and_the_brain():
    prediction, target, ignored, left = scene(3, values=3)
    brain = np.random.default_rng(1).random(target.shape) < 0.8
    options = {"spacing": SPACING, "labels": {"core": (1, 3), "edema": 2}}
    expected = evaluate_case(prediction[left], target[left], brain=brain[left], **options)
    marked = np.where(ignored, 255, target)
    assert evaluate_case(prediction, marked, brain=brain, ignore=255, **options) == expected
    assert evaluate_case(prediction, target, brain=brain, ignore=ignored, **options) == expected
    binary = evaluate_case(prediction > 0, target > 0, spacing=SPACING, brain=brain, ignore=ignored)
    assert binary["share_of_brain"] == np.count_nonzero(target[left]) / np.count_nonzero(brain[left])


def test_places_of_lesions_are_those_in_the_image():
    prediction, target, ignored, left = scene(3)
    whole = score_case(prediction, target, spacing=SPACING, ignore=ignored).lesions
    cut = score_case(prediction[left], target[left], spacing=SPACING).lesions
    first = [part.start or 0 for part in left]
    assert [one.centre for one in whole] == [tuple(np.add(one.centre, first).tolist()) for one in cut]


def test_a_lesion_falls_in_two_and_its_instance_does_not():
    target = np.zeros((3, 9), int)
    target[1, 1:8] = 1
    ignored = target.astype(bool) & (np.arange(9) == 4)
    pair = MaskPair.of(target, target, spacing=(1.0, 1.0), ignore=ignored)
    assert (pair.lesions.detection.true, pair.total, pair.overlap.true) == (2, 26, 6)
    assert evaluate_case(target, target, spacing=(1.0, 1.0), ignore=ignored, label_maps="both")["true_lesions"] == 1


def test_everything_ignored_is_two_empty_masks():
    target = np.ones((4, 5), int)
    found = evaluate_case(1 - target, target, spacing=(1.0, 1.0), ignore=np.ones((4, 5), bool))
    assert found["dice"] == 1 and found["masd"] == 0 and found["f1"] == 1 and math.isnan(found["specificity"])


@pytest.mark.parametrize("undefined", ["skip", "diagonal"])
def test_batches(undefined):
    prediction, target, ignored, left = scene(3)
    names = ("dice", "masd", "f1", "specificity")
    batch = [torch.from_numpy(np.stack([side, 0 * side])[:, None]) for side in (prediction, target)]
    batch[1][1, 0, 5, 5, 5] = 1  # missed
    mask = torch.from_numpy(np.stack([ignored] * 2))[:, None]
    expected, *found = (CaseMetrics(names, undefined=undefined) for _ in range(4))
    expected.update(*(side[:, :, *left] for side in batch), SPACING)
    found[0].update(*batch, SPACING, mask)
    found[1].update(*batch, SPACING, ignore=mask[:, 0])
    found[2].update(batch[0], batch[1].masked_fill(mask, 255), SPACING, ignore=255)
    for metrics in found:
        assert metrics.compute() == expected.compute()
    with pytest.raises(ValueError, match=r"ignore has shape \(2, 1, 12, 11, 8\); expected \(2, 1, 12, 11, 9\) or"):
        CaseMetric("dice").update(*batch, SPACING, mask[..., 1:])


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        (1, "ignore is 1; expected a whole number above 1, or a mask"),
        (255.0, "ignore is 255.0; expected a whole number above 1, or a mask"),
        (True, "ignore is True; expected a whole number above 1, or a mask"),
        (np.full((4, 5), 2), r"ignore holds 2 at \(0, 0\); expected only 0 and 1"),
        (np.zeros((4, 4), bool), r"ignore has shape \(4, 4\) and target \(4, 5\); expected the same grid"),
    ],
)
def test_bad_input(ignore, message):
    target = np.zeros((4, 5))
    with pytest.raises(ValueError, match=message):
        evaluate_case(target, target, spacing=(1.0, 1.0), ignore=ignore)


def test_what_is_not_ignored_is_still_checked():
    target = np.full((4, 5), 255)
    target[0, 0] = 7
    with pytest.raises(ValueError, match=r"target holds 7 at \(0, 0\); expected only 0 and 1"):
        evaluate_case(np.zeros((4, 5)), target, spacing=(1.0, 1.0), ignore=255)
    with pytest.raises(ValueError, match="expected the same grid"):
        evaluate_case(np.zeros((4, 6)), target, spacing=(1.0, 1.0), ignore=255)
