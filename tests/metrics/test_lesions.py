"""Lesion-level metrics against loops written from their equations, on random and on real masks."""

import math
import operator
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from multifocal.metrics import evaluate_case
from multifocal.volumes import read

NAMES = ("true_lesions", "predicted_lesions", "tp", "missed", "false")
NAMES += ("fdr", "fnr", "ppv", "sen", "f1", "pq", "sq", "rq", "cc_dice")


def parts(mask, *, full=True, least=0):
    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if full else 1)
    labels, count = ndimage.label(mask, structure)
    found = [labels == number for number in range(1, count + 1)]
    return [part for part in found if part.sum() >= least]


def overlap_of(one, other):
    return int((one & other).sum())


def dice_of(one, other):
    return 2 * overlap_of(one, other) / (one.sum() + other.sum())


def iou_of(one, other):
    return overlap_of(one, other) / (one | other).sum()


def matched(predicted, true, *, matching, threshold, strict):
    pairs = [(m, n) for m, n in product(range(len(predicted)), range(len(true))) if overlap_of(predicted[m], true[n])]
    if matching == "overlap":
        return pairs
    scores = {(m, n): iou_of(predicted[m], true[n]) for m, n in pairs}
    reaches = operator.gt if strict else operator.ge
    pairs, kept = [pair for pair in pairs if reaches(scores[pair], threshold)], []
    while candidates := [pair for pair in pairs if all(pair[0] != m and pair[1] != n for m, n in kept)]:
        kept.append(max(candidates, key=scores.get))
    return kept


def cc_dice_of(predicted, true):
    """Voronoi by comparing every voxel with every voxel of every lesion, the last axis slowest where equally near."""
    if not true:
        return 0.0 if predicted else 1.0
    labels = sum((n + 1) * part for n, part in enumerate(true))
    places = np.stack(np.nonzero(labels.T), axis=1)[:, ::-1]  # the last axis slowest
    owners = labels[tuple(places.T)] - 1
    sizes, shared = np.zeros(len(true)), np.zeros(len(true))
    for voxel in np.argwhere(np.any(predicted, axis=0)) if predicted else ():
        nearest = owners[np.argmin(((places - voxel) ** 2).sum(1))]  # the first of those equally near
        sizes[nearest] += 1
        shared[nearest] += labels[tuple(voxel)] == nearest + 1
    return float(np.mean([2 * shared[n] / (sizes[n] + part.sum()) for n, part in enumerate(true)]))


def reference(predicted, true, *, matching="overlap", threshold=0.5, strict=False, score=None):
    """All lesion-level metrics from lists of lesions, each a mask."""
    pairs = matched(predicted, true, matching=matching, threshold=threshold, strict=strict)
    quality = {"dice": dice_of, "iou": iou_of}[score or ("dice" if matching == "overlap" else "iou")]
    right, found = {m for m, _ in pairs}, {n for _, n in pairs}
    tp, false, missed = len(right), len(predicted) - len(right), len(true) - len(found)
    total = sum(max(quality(predicted[m], true[n]) for p, n in pairs if p == m) for m in right)
    empty = not predicted and not true
    ppv = 1.0 if empty else tp / len(predicted) if predicted else math.nan
    sen = 1.0 if empty else len(found) / len(true) if true else math.nan
    f1 = 1.0 if empty else 0.0 if not pairs else 2 / (1 / ppv + 1 / sen)
    pq = 1.0 if empty else total / (tp + false / 2 + missed / 2)
    sq = 1.0 if empty else total / tp if tp else 0.0
    rq = 1.0 if empty else tp / (tp + false / 2 + missed / 2)
    counts = (len(true), len(predicted), tp, missed, false)
    rates = (1 - ppv, 1 - sen, ppv, sen, f1, pq, sq, rq, cc_dice_of(predicted, true))
    return dict(zip(NAMES, (*counts, *rates), strict=True))


def compare(prediction, target, *, full=True, least=0, **options):
    predicted, true = (parts(mask, full=full, least=least) for mask in (prediction, target))
    expected = reference(predicted, true, **options)
    spacing = (2.0, 5.0, 1.0)[: target.ndim]
    found = evaluate_case(
        prediction,
        target,
        spacing=spacing,
        connectivity="full" if full else "face",
        min_size=least * 0.01,  # a voxel is 0.01 ml in 3D and in 2D
        **options,
    )
    assert {name: found[name] for name in NAMES} == pytest.approx(expected, rel=1e-12, nan_ok=True)
    return found


def speckled(random, shape, density):
    field = ndimage.gaussian_filter(random.random(shape), random.choice([0.0, 0.6, 1.0]))
    return field > np.quantile(field, 1 - density)


OPTIONS = [
    {},
    {"full": False},
    {"least": 3},
    {"score": "iou"},
    {"matching": "iou"},
    {"matching": "iou", "threshold": 0.2},
    {"matching": "iou", "strict": True},
    {"matching": "iou", "threshold": 0.25, "strict": True},
    {"matching": "iou", "score": "dice", "threshold": 0.5, "least": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()))
def test_random_masks(options):
    random = np.random.default_rng(11)
    several = 0
    for number in range(45):
        shape = tuple(random.integers(2, 13, 2 + number % 2))
        target = speckled(random, shape, random.choice([0.1, 0.2, 0.5]))
        prediction = speckled(random, shape, 0.2) if number % 3 else target ^ (random.random(shape) < 0.02)
        several += compare(prediction, target, **options)["tp"] > 1
    assert several > 5


def test_an_iou_of_just_the_threshold_is_a_match_unless_strict():
    """Two of four voxels: IoU 1/2, beside a lesion found whole: PQ is (1/2 + 1)/2, or 1/(1 + 1/2 + 1/2)."""
    target = np.array([[1, 1, 1, 1, 0, 0, 1, 1, 1]], bool)
    prediction = np.array([[1, 1, 0, 0, 0, 0, 1, 1, 1]], bool)
    wide = evaluate_case(prediction, target, spacing=(1.0, 1.0), matching="iou")
    strict = evaluate_case(prediction, target, spacing=(1.0, 1.0), matching="iou", strict=True)
    names = ("tp", "false", "missed", "sq", "rq", "pq")
    assert [wide[name] for name in names] == [2, 0, 0, 0.75, 1.0, 0.75]
    assert [strict[name] for name in names] == [1, 1, 1, 1.0, 0.5, 0.5]
    assert evaluate_case(prediction, target, spacing=(1.0, 1.0), matching="iou", strict=True, threshold=0.49) == wide


@pytest.mark.parametrize("options", [{}, {"matching": "iou"}], ids=["overlap", "iou"])
@pytest.mark.parametrize("empty", ["prediction", "target", "both"])
def test_empty_masks(empty, options):
    full = np.zeros((4, 5, 6), bool)
    full[1:3, 1:4, 2:5] = True
    masks = {name: np.zeros_like(full) if empty in (name, "both") else full for name in ("prediction", "target")}
    compare(masks["prediction"], masks["target"], **options)


def test_one_voxel_and_a_full_image():
    one = np.zeros((3, 3, 3), bool)
    one[0, 0, 2] = True
    for pair in ((one, one), (one, np.ones_like(one)), (np.ones_like(one), one), (one, one[:, :, ::-1].copy())):
        for options in ({}, {"matching": "iou"}):
            compare(*pair, **options)


def test_split_and_merged_lesions():
    """Two true lesions in one predicted: one is right, both are found. Two predicted in one true: the other way."""
    line = np.zeros((1, 12), bool)
    apart, joined = line.copy(), line.copy()
    apart[0, [1, 2, 3, 4, 6]] = True
    joined[0, 1:7] = True
    merged = evaluate_case(joined, apart, spacing=(1.0, 1.0))
    assert [merged[name] for name in NAMES[:5]] == [2, 1, 1, 0, 0]
    assert (merged["ppv"], merged["sen"], merged["f1"], merged["rq"]) == (1, 1, 1, 1)
    assert merged["pq"] == merged["sq"] == pytest.approx(8 / 10)  # the better of the two
    split = evaluate_case(apart, joined, spacing=(1.0, 1.0))
    assert [split[name] for name in NAMES[:5]] == [1, 2, 2, 0, 0]
    assert split["sq"] == pytest.approx((8 / 10 + 2 / 7) / 2)
    one_to_one = evaluate_case(joined, apart, spacing=(1.0, 1.0), matching="iou")
    assert [one_to_one[name] for name in NAMES[:5]] == [2, 1, 1, 1, 0]
    assert one_to_one["sq"] == pytest.approx(4 / 6)


def test_an_iou_of_just_the_threshold_matches_once():
    true, halves = np.zeros((1, 5), bool), np.zeros((1, 5), int)
    true[0, 1:5] = True
    halves[0, 1:5] = 1, 1, 2, 2
    found = evaluate_case(halves, true.astype(int), spacing=(1.0, 1.0), matching="iou", label_maps="both")
    assert [found[name] for name in NAMES[:5]] == [1, 2, 1, 0, 1]
    assert found["sq"] == 0.5


def test_lesions_of_just_the_least_size_are_kept():
    """The smallest volume that is kept is written in ml, a product that no float hits."""
    mask = np.zeros((9, 3, 3), bool)
    mask[1:4, 1, 1] = True
    mask[6:8, 1, 1] = True
    spacing = (1.1, 1.3, 0.7)
    for voxels, lesions in ((2, 2), (3, 1), (4, 0)):
        least = voxels * 1.1 * 1.3 * 0.7 / 1000
        for rounded in (least, math.nextafter(least, 0), math.nextafter(least, 1)):
            found = evaluate_case(mask, mask, spacing=spacing, min_size=rounded)
            assert (found["true_lesions"], found["predicted_lesions"]) == (lesions, lesions)
            assert found["dice"] == 1.0 and found["f1"] == 1.0


@pytest.mark.parametrize("matching", ["overlap", "iou"])
def test_real_neonates(bonbid, matching):
    compared = 0
    for file in sorted((bonbid / "3LABEL").iterdir())[::6]:
        name = file.name.removesuffix("_lesion.mha")
        target = read(file).array > 0
        prediction = read(bonbid / "2Z_ADC" / f"Zmap_{name}-ADC_smooth2mm_clipped10.mha").array < -2
        rows, columns = (slice(k, k + 22) for k in np.argwhere(target | prediction).min(0)[:2] + 20)
        target, prediction = target[rows, columns, :12], prediction[rows, columns, :12]  # loops take their time
        compared += compare(prediction, target, matching=matching)["true_lesions"] > 0
    assert compared >= 3


@pytest.mark.parametrize("matching", ["overlap", "iou"])
def test_real_lesions_degraded(shared_data, matching):
    files = sorted((shared_data / "ms-lesion-masks").glob("*/mask.nii.gz"))
    degrade = [
        ndimage.binary_dilation,
        ndimage.binary_opening,
        lambda mask: np.roll(mask, (1, -1, 1), axis=(0, 1, 2)),
        lambda mask: mask & (np.arange(mask.shape[2]) % 7 > 1),
    ]
    several = 0
    for number, file in enumerate(files):
        target = read(file).array > 0
        middle = np.argwhere(target)[target.sum() // 3]
        box = tuple(slice(max(k - 7, 0), k + 7) for k in middle)
        target = np.ascontiguousarray(target[box])
        several += compare(degrade[number % 4](target), target, matching=matching)["true_lesions"] > 1
    assert len(files) >= 29 and several > 10
