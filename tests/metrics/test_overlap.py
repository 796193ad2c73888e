"""Voxel counts against SimpleITK's overlap filter, and every quotient by zero."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from multifocal.metrics import Overlap, burden, evaluate_case, overlap


def test_quotients_equal_simpleitk(mask_pairs):
    for prediction, target, _ in mask_pairs:
        found = overlap(prediction, target)
        reference = sitk.LabelOverlapMeasuresImageFilter()
        reference.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, target)))
        assert found.dice == pytest.approx(reference.GetDiceCoefficient(), abs=1e-12)
        assert 1 - found.sensitivity == pytest.approx(reference.GetFalseNegativeError(), abs=1e-12)
        assert 1 - found.precision == pytest.approx(reference.GetFalseDiscoveryRate(), abs=1e-12)


def test_quotients_of_known_counts():
    found = Overlap(both=6, predicted=8, true=12, total=32)
    assert found.dice == 0.6
    assert found.sensitivity == 0.5
    assert found.precision == 0.75
    assert found.specificity == 18 / 20
    assert found.relative_volume_difference == -4 / 12


def test_counts():
    prediction, target = np.array([[1, 1, 0, 0]] * 3), np.array([[0, 1, 1, 0]] * 3)
    assert overlap(prediction, target) == Overlap(both=3, predicted=6, true=6, total=12)


NAN = math.nan


@pytest.mark.parametrize(
    ("predicted", "true", "dice", "sensitivity", "precision", "relative"),
    [(0, 0, 1.0, 1.0, 1.0, 0.0), (4, 0, 0.0, NAN, 0.0, NAN), (0, 4, 0.0, 0.0, NAN, -1.0)],
)
def test_empty_masks(predicted, true, dice, sensitivity, precision, relative):
    found = Overlap(both=0, predicted=predicted, true=true, total=20)
    values = (found.dice, found.sensitivity, found.precision, found.relative_volume_difference)
    np.testing.assert_equal(values, (dice, sensitivity, precision, relative))


def test_specificity_of_a_target_that_fills_the_image_is_undefined():
    assert math.isnan(overlap(np.ones((2, 2)), np.ones((2, 2))).specificity)
    assert overlap(np.zeros((2, 2)), np.zeros((2, 2))).specificity == 1.0


def test_burden_is_the_share_that_a_case_states():
    random = np.random.default_rng(3)
    target, brain = random.random((2, 6, 5, 4)) < [[[[0.2]]], [[[0.7]]]]
    share = burden(target, brain)
    assert share == target.sum() / brain.sum() == burden(7 * target.astype(int), brain.astype(np.float32))
    assert share == evaluate_case(target, target, spacing=(1.0, 1.0, 1.0), brain=brain)["share_of_brain"]


@pytest.mark.parametrize(
    ("brain", "message"), [(np.zeros((2, 2)), "brain is empty"), (np.ones((2, 3)), r"brain has shape \(2, 3\)")]
)
def test_a_brain_that_is_none(brain, message):
    with pytest.raises(ValueError, match=message):
        burden(np.ones((2, 2)), brain)
