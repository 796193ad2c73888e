"""Masks of several classes, and label maps whose lesions are given."""

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.metrics import METRICS, ScoringOptions, as_classes, evaluate_case, score_case
from multifocal.volumes import read

RANDOM = np.random.default_rng(5)
PREDICTED, TRUE = (RANDOM.choice([0, 0, 0, 1, 2, 4], (9, 8, 7)) for _ in range(2))
SPACING = (1.0, 2.0, 3.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_each_class_is_scored_by_itself(dtype):
    labels = {"whole": (1, 2, 4), "core": (1, 4), "enhancing": 4}
    brain = np.ones(TRUE.shape)
    found = evaluate_case(PREDICTED.astype(dtype), TRUE.astype(dtype), spacing=SPACING, labels=labels, brain=brain)
    assert list(found) == list(labels)
    for name, values in labels.items():
        masks = [np.isin(side, values) for side in (PREDICTED, TRUE)]
        np.testing.assert_equal(found[name], evaluate_case(*masks, spacing=SPACING, brain=brain))


def test_values_name_themselves():
    found = evaluate_case(PREDICTED, TRUE, spacing=SPACING, labels=[1, 2, 4])
    assert list(found) == ["1", "2", "4"] and list(found["2"]) == list(METRICS)


def test_a_class_that_is_nowhere_agrees():
    found = evaluate_case(PREDICTED, TRUE, spacing=SPACING, labels={"all": (1, 2, 4), "absent": 7})["absent"]
    assert (found["dice"], found["f1"], found["masd"]) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "labels is empty"),
        ({"core": ()}, "label 'core' has the values"),
        ({"core": (0, 1)}, "expected whole numbers above 0"),
        ({"core": 1.5}, "expected whole numbers above 0"),
        ([1, "a"], "expected whole numbers above 0"),
    ],
)
def test_bad_classes_are_named(labels, message):
    with pytest.raises(UserError, match=message):
        as_classes(labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [1, 2]}, "prediction holds 4; expected only 0, 1, 2"),
        ({"prediction": PREDICTED + 0.5}, r"prediction holds \d.5 at \(0, 0, 0\); expected whole numbers"),
        ({"target": -TRUE}, "target holds -"),
        ({"target": np.where(TRUE, TRUE, np.nan)}, "target holds nan"),
        ({"target": np.where(TRUE, TRUE, np.inf)}, "target holds inf"),
        ({"target": TRUE[:5]}, "prediction has shape"),
        ({"target": TRUE[0]}, "prediction is 3D and target 2D"),
        ({"label_maps": "target"}, "label_maps is 'target', and labels names classes"),
    ],
)
def test_bad_masks_are_named(changes, message):
    arguments = {"prediction": PREDICTED, "target": TRUE, "labels": [1, 2, 4]} | changes
    with pytest.raises(ValueError, match=message):
        evaluate_case(arguments.pop("prediction"), arguments.pop("target"), spacing=SPACING, **arguments)


def test_given_lesions_may_touch():
    """Two nuclei side by side are one component; only the label map tells them apart."""
    target = np.array([[1, 1, 7, 7, 0, 0]])
    prediction = np.array([[0, 3, 3, 0, 0, 5]])
    joined = evaluate_case(prediction > 0, target > 0, spacing=(1.0, 1.0))
    apart = evaluate_case(prediction > 0, target, spacing=(1.0, 1.0), label_maps="target")
    both = evaluate_case(np.where(prediction == 5, 3, prediction), target, spacing=(1.0, 1.0), label_maps="both")
    assert [found["true_lesions"] for found in (joined, apart, both)] == [1, 2, 2]
    assert [found["predicted_lesions"] for found in (joined, apart, both)] == [2, 2, 1]  # two parts of one label
    case = [name for name, metric in METRICS.items() if metric.level == "case"]
    assert [joined[name] for name in case] == [apart[name] for name in case] == [both[name] for name in case]


def test_numbers_of_labels_are_of_no_account():
    target = np.kron(np.arange(6).reshape(2, 3), np.ones((3, 3), int))
    renamed = np.array([0, 900, 5, 17, 2**31 - 1, 3])[target]
    prediction = np.roll(target, 1, axis=1)
    expected = evaluate_case(prediction, target, spacing=(1.0, 1.0), label_maps="both", matching="iou")
    assert expected["true_lesions"] == 5 and 0 < expected["pq"] < 1
    found = evaluate_case(prediction, renamed, spacing=(1.0, 1.0), label_maps="both", matching="iou")
    assert found == pytest.approx(expected, rel=1e-12)


def test_real_nuclei(shared_data):
    """More nuclei than components, each found in the label map itself; and lost where they are only a mask."""
    touching = 0
    for file in sorted((shared_data / "nuclei" / "masks").iterdir())[::20]:
        labels = read(file).array.astype(np.int64)
        count = len(np.unique(labels[labels > 0]))
        options = ScoringOptions(label_maps="both", matching="iou")
        found = score_case(labels, labels, spacing=(1.0, 1.0), options=options)
        assert found.metrics["pq"] == 1.0 and found.metrics["tp"] == count == len(found.lesions)
        merged = evaluate_case(labels > 0, labels, spacing=(1.0, 1.0), label_maps="target", matching="iou")
        assert merged["dice"] == 1.0 and merged["true_lesions"] == count
        touching += merged["predicted_lesions"] < count and merged["pq"] < 1
    assert touching >= 3


def test_lesions_are_listed_where_they_are_in_the_image():
    prediction, target = np.zeros((2, 10, 12, 8), int)
    target[2:4, 3:5, 1:3] = 1
    target[8, 11, 7] = 1
    prediction[2:4, 3:5, 2:4] = 1
    prediction[6, 1:4, 5] = 1
    found = score_case(prediction, target, spacing=(1.0, 2.0, 5.0)).lesions
    about = [(lesion.kind, lesion.volume_ml, lesion.centre, lesion.matched, lesion.dice) for lesion in found]
    assert about == [
        ("true", pytest.approx(0.08), (2.5, 3.5, 1.5), True, 0.5),
        ("true", pytest.approx(0.01), (8.0, 11.0, 7.0), False, 0.0),
        ("false", pytest.approx(0.03), (6.0, 2.0, 5.0), False, 0.0),
    ]
