"""What must not change lesion-level metrics, and how they follow from each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multifocal.metrics import METRICS, evaluate_case

LESION = [metric.name for metric in METRICS.values() if metric.level == "lesion"]
WITHOUT_TIES = [name for name in LESION if name != "cc_dice"]  # in which equally near lesions go by their order
OPTIONS = st.sampled_from([{}, {"matching": "iou"}, {"matching": "iou", "threshold": 0.3}, {"connectivity": "face"}])


@st.composite
def pairs(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


def scores(prediction, target, names=LESION, side=1.0, **options):
    found = evaluate_case(prediction, target, spacing=(side,) * target.ndim, **options)
    return {name: found[name] for name in names}


def same(found, expected):
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


@settings(max_examples=60)
@given(pair=pairs(), options=OPTIONS, data=st.data())
def test_flips_turns_and_padding_change_nothing(pair, options, data):
    expected = scores(*pair, **options)
    margins = data.draw(st.tuples(*[st.tuples(*[st.integers(0, 3)] * 2)] * pair[0].ndim))
    same(scores(*(np.pad(mask, margins) for mask in pair), **options), expected)
    axis = data.draw(st.integers(0, pair[0].ndim - 1))
    few = {name: expected[name] for name in WITHOUT_TIES}
    same(scores(*(np.flip(mask, axis) for mask in pair), WITHOUT_TIES, **options), few)
    same(scores(*(mask.T for mask in pair), WITHOUT_TIES, **options), few)


@settings(max_examples=40)
@given(pair=pairs(), options=OPTIONS)
def test_exchanging_the_masks_exchanges_false_and_missed(pair, options):
    there, back = scores(*pair, **options), scores(*pair[::-1], **options)
    for one, other in (("true_lesions", "predicted_lesions"), ("missed", "false"), ("fdr", "fnr"), ("ppv", "sen")):
        np.testing.assert_equal(there[one], back[other])
    assert there["f1"] == pytest.approx(back["f1"])
    if options.get("matching") == "iou":
        for name in ("tp", "pq", "sq", "rq"):
            assert there[name] == pytest.approx(back[name])


@settings(max_examples=40)
@given(pair=pairs(), options=OPTIONS)
def test_they_follow_from_each_other(pair, options):
    found = scores(*pair, **options)
    assert found["pq"] == pytest.approx(found["sq"] * found["rq"])
    assert found["fdr"] == pytest.approx(1 - found["ppv"], nan_ok=True)
    assert found["fnr"] == pytest.approx(1 - found["sen"], nan_ok=True)
    assert all(0 <= found[name] <= 1 for name in ("pq", "sq", "rq", "f1", "cc_dice"))
    if options.get("matching") == "iou":
        assert found["rq"] == pytest.approx(found["f1"])
        assert found["true_lesions"] == found["tp"] + found["missed"]
    assert found["predicted_lesions"] == found["tp"] + found["false"]


@settings(max_examples=30)
@given(target=hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6)), options=OPTIONS)
def test_a_mask_agrees_with_itself(target, options):
    found = scores(target, target, **options)
    assert all(found[name] == 1 for name in ("ppv", "sen", "f1", "pq", "sq", "rq", "cc_dice"))
    assert found["missed"] == found["false"] == found["fdr"] == found["fnr"] == 0


@settings(max_examples=30)
@given(pair=pairs(), side=st.sampled_from([0.5, 2.0, 3.0]))
def test_only_the_least_size_knows_the_spacing(pair, side):
    same(scores(*pair, side=side), scores(*pair))
    ndim = pair[0].ndim
    same(scores(*pair, side=side, min_size=4 * side**ndim / 1000), scores(*pair, min_size=0.004))


def test_one_lesion_is_cc_dice_and_dice():
    target, prediction = np.zeros((2, 8, 8), bool)
    target[1:5, 1:5] = True
    prediction[2:7, 2:5] = True
    prediction[7, 7] = True
    found = evaluate_case(prediction, target, spacing=(1.0, 1.0))
    assert found["cc_dice"] == found["dice"]


@pytest.mark.parametrize("per_point", [0, 1e9], ids=["points", "transform"])
def test_both_ways_to_the_cells_agree(monkeypatch, per_point):
    random = np.random.default_rng(3)
    for number in range(30):
        shape = tuple(random.integers(1, 12, 2 + number % 2))
        prediction, target = random.random(shape) < 0.4, random.random(shape) < 0.12
        expected = scores(prediction, target)["cc_dice"]
        with monkeypatch.context() as patched:
            patched.setattr("multifocal.distance.nearest._ELEMENTS_PER_POINT", per_point)
            assert scores(prediction, target)["cc_dice"] == expected
