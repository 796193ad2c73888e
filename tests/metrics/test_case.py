"""All metrics of one case: the table of empty masks, volumes, accepted types, and bad input by name."""

import math

import numpy as np
import pytest

from multifocal.metrics import METRICS, evaluate_case

NAN = math.nan
EMPTY, FULL = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
FULL[1:3, 1:4, 2:5] = True
SPACING = (1.0, 2.0, 4.0)


@pytest.mark.parametrize("convention", ["surfel", "voxel"])
@pytest.mark.parametrize(
    ("prediction", "target", "dice", "nsd", "distance"),
    [(EMPTY, EMPTY, 1.0, 1.0, 0.0), (FULL, EMPTY, 0.0, 0.0, NAN), (EMPTY, FULL, 0.0, 0.0, NAN)],
    ids=["both", "target", "prediction"],
)
def test_table_of_empty_masks(prediction, target, dice, nsd, distance, convention):
    found = evaluate_case(prediction, target, spacing=SPACING, convention=convention)
    expected = {"dice": dice, "nsd": nsd, "masd": distance, "hd95": distance, "assd": distance}
    np.testing.assert_equal({name: found[name] for name in expected}, expected)


def test_every_metric_of_the_catalogue_in_its_order_as_plain_floats():
    found = evaluate_case(FULL, FULL, spacing=SPACING)
    assert list(found) == list(METRICS)
    assert {type(value) for value in found.values()} == {float}


def test_volumes_are_in_millilitres():
    more = FULL.copy()
    more[3, 1:4, 2:5] = True
    found = evaluate_case(more, FULL, spacing=SPACING)
    assert found["true_ml"] == pytest.approx(18 * 8 / 1000)
    assert found["predicted_ml"] == pytest.approx(27 * 8 / 1000)
    assert found["volume_difference"] == pytest.approx(9 * 8 / 1000)
    assert found["relative_volume_difference"] == 0.5
    assert (found["sensitivity"], found["precision"]) == (1.0, pytest.approx(18 / 27))
    assert found["specificity"] == pytest.approx((120 - 27) / (120 - 18))


def test_a_pixel_counts_as_one_millimetre_thick():
    found = evaluate_case(np.ones((2, 5)), np.ones((2, 5)), spacing=(2.0, 3.0))
    assert found["true_ml"] == pytest.approx(0.06)


def test_spacing_follows_the_axes():
    shifted = np.roll(FULL, 1, axis=1)
    wide = evaluate_case(shifted, FULL, spacing=(1.0, 9.0, 1.0), convention="voxel")
    narrow = evaluate_case(shifted, FULL, spacing=(9.0, 1.0, 1.0), convention="voxel")
    assert wide["hd95"] == 9.0 and narrow["hd95"] == 1.0


def test_tolerance_and_convention_reach_the_surfaces():
    shifted = np.roll(FULL, 1, axis=1)
    assert evaluate_case(shifted, FULL, spacing=SPACING, tolerance=2.0)["nsd"] == 1.0
    assert evaluate_case(shifted, FULL, spacing=SPACING, tolerance=1.99)["nsd"] < 1.0
    surfel, voxel = (evaluate_case(shifted, FULL, spacing=SPACING, convention=name) for name in ("surfel", "voxel"))
    assert surfel["masd"] != voxel["masd"]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_zeros_and_ones_of_any_type_and_layout(dtype, order):
    target = FULL.astype(dtype, order=order)
    prediction = np.roll(target, 1, axis=0)
    found = evaluate_case(prediction, target, spacing=SPACING)
    assert found == evaluate_case(np.roll(FULL, 1, axis=0), FULL, spacing=SPACING)
    assert np.array_equal(target, FULL)


def test_share_of_brain():
    brain = np.ones(FULL.shape, np.uint8)
    brain[0] = 0
    found = evaluate_case(EMPTY, FULL, spacing=SPACING, brain=brain)
    assert found.pop("share_of_brain") == 18 / 90
    np.testing.assert_equal(found, evaluate_case(EMPTY, FULL, spacing=SPACING))


WITH_NAN, HALF, LABELS = FULL.astype(np.float32), FULL.astype(float), FULL.astype(np.int16)
WITH_NAN[3, 4, 5] = np.nan
HALF[0, 0, 1] = 0.5
LABELS[2, 2, 2] = 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": WITH_NAN}, r"prediction holds nan at \(3, 4, 5\); expected only 0 and 1"),
        ({"target": HALF}, r"target holds 0.5 at \(0, 0, 1\); expected only 0 and 1"),
        ({"target": LABELS}, r"target holds 3 at \(2, 2, 2\); expected only 0 and 1"),
        ({"prediction": -FULL.astype(np.int8)}, r"prediction holds -1 at \(1, 1, 2\)"),
        ({"prediction": FULL.astype(complex)}, "prediction has dtype complex128"),
        ({"prediction": FULL.astype(str)}, "prediction has dtype <U5"),
        ({"prediction": FULL[:3]}, r"prediction has shape \(3, 5, 6\) and target \(4, 5, 6\)"),
        ({"prediction": FULL[0]}, "prediction is 2D and target 3D"),
        ({"target": FULL[None]}, r"target has 4 dimensions \(shape \(1, 4, 5, 6\)\); expected 2 or 3"),
        ({"spacing": (1.0, 2.0)}, r"spacing has 2 values \(1.0, 2.0\); expected 3"),
        ({"spacing": (1.0, 2.0, 0.0)}, r"spacing is \(1.0, 2.0, 0.0\); expected positive"),
        ({"spacing": (1.0, -2.0, 1.0)}, "expected positive"),
        ({"spacing": (1.0, NAN, 1.0)}, "expected positive, finite"),
        ({"spacing": (1.0, math.inf, 1.0)}, "expected positive, finite"),
        ({"spacing": 2.0}, "spacing is 2.0; expected 3 numbers"),
        ({"spacing": ("a", 1, 1)}, "expected 3 numbers"),
        ({"tolerance": -1.0}, "tolerance is -1.0"),
        ({"tolerance": NAN}, "tolerance is nan"),
        ({"brain": EMPTY}, "brain is empty"),
        ({"brain": FULL[0]}, r"brain has shape \(5, 6\) and target \(4, 5, 6\)"),
        ({"brain": FULL * 2}, r"brain holds 2 at \(1, 1, 2\)"),
        ({"min_size": -0.1}, "min_size is -0.1; expected finite ml"),
        ({"min_size": NAN}, "min_size is nan"),
        ({"threshold": 0.0}, "threshold is 0.0; expected an IoU"),
        ({"threshold": 1.01}, "threshold is 1.01"),
        ({"matching": "iuo"}, "unknown matching 'iuo'; did you mean 'iou'"),
        ({"strict": "yes", "matching": "iou"}, "strict is 'yes'; expected true or false"),
        ({"strict": True}, "strict is about the IoU of a match, and matching is 'overlap'; set it to 'iou'"),
        ({"strict": True, "matching": "iou", "threshold": 1}, "threshold is 1 and strict, so nothing would match"),
        ({"score": "dise"}, "unknown score 'dise'; did you mean 'dice'"),
        ({"connectivity": "edge"}, "unknown connectivity 'edge'; .*full, face"),
        ({"label_maps": "targets"}, "unknown label maps 'targets'; did you mean 'target'"),
        ({"label_maps": "target", "target": HALF}, r"target holds 0.5 at \(0, 0, 1\); expected whole numbers from 0"),
        ({"label_maps": "both", "prediction": WITH_NAN}, "prediction holds nan"),
        ({"convention": "voxels"}, "unknown convention 'voxels'; did you mean 'voxel'"),
    ],
)
def test_bad_input_is_named(changes, message):
    arguments = {"prediction": FULL, "target": FULL, "spacing": SPACING} | changes
    with pytest.raises(ValueError, match=message):
        evaluate_case(arguments.pop("prediction"), arguments.pop("target"), **arguments)
