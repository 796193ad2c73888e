import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multifocal.instances import components
from multifocal.metrics import ScoringOptions, evaluate_case
from multifocal.reports.cases.lesion_outcomes import FALSE, FOUND, MISSED, lesion_outcomes

MASKS = arrays(bool, st.just((5, 4, 3)))
SPACING = (1.0, 1.0, 1.0)


def outcomes(mask, truth, **options):
    return lesion_outcomes(mask, truth, spacing=SPACING[: np.ndim(mask)], options=ScoringOptions(**options))


@given(MASKS, MASKS)
def test_colours_agree_with_the_counts_of_the_metrics(truth, mask):
    lesions, _ = components(truth)
    colours = outcomes(mask, truth)
    scores = evaluate_case(mask, truth, spacing=SPACING)
    assert len(np.unique(lesions[colours == MISSED])) == scores["missed"]
    assert components(colours == FALSE)[1] == scores["false"]
    assert ((colours > 0) == (truth | mask)).all()
    assert not (colours[truth] == FALSE).any()
    assert not (colours[mask] == MISSED).any()
    assert (colours[truth & mask] == FOUND).all()


@pytest.mark.parametrize(
    "options",
    [{"connectivity": "face"}, {"min_size": 0.002}, {"matching": "iou", "threshold": 0.3}],
    ids=["face", "least size", "one to one"],
)
@given(MASKS, MASKS)
def test_the_rules_of_the_evaluation_are_those_of_the_picture(options, truth, mask):
    colours, scores = outcomes(mask, truth, **options), evaluate_case(mask, truth, spacing=SPACING, **options)
    lesions, _ = components(truth, connectivity=options.get("connectivity", "full"))
    predicted, _ = components(mask, connectivity=options.get("connectivity", "full"))
    least = options.get("min_size", 0.0) * 1000
    true = [n for n in range(1, lesions.max() + 1) if (lesions == n).sum() >= least]
    found = [n for n in true if (colours[lesions == n] == FOUND).any()]
    if "matching" not in options:  # where a missed lesion may lie under one that was matched by another
        assert len(true) - len(found) == scores["missed"]
    false = [n for n in range(1, predicted.max() + 1) if (colours[predicted == n] == FALSE).any()]
    assert len(false) <= scores["false"]  # the voxels of one that is false may all lie in missed lesions


def test_what_is_left_out_for_its_size_has_no_colour():
    truth, mask = np.array([[1, 0, 1, 1]], bool), np.array([[0, 0, 0, 1]], bool)
    assert outcomes(mask, truth, min_size=0.0015).tolist() == [[0, 0, MISSED, MISSED]]
    assert outcomes(mask, truth).tolist() == [[MISSED, 0, FOUND, FOUND]]


def test_a_poor_overlap_is_no_match_one_to_one():
    truth, mask = np.array([[1, 1, 1, 1]], bool), np.array([[0, 0, 0, 1]], bool)
    assert outcomes(mask, truth).tolist() == [[FOUND] * 4]
    assert outcomes(mask, truth, matching="iou").tolist() == [[MISSED] * 4]


def test_labels_that_touch_are_lesions_of_their_own():
    lesions = np.array([[1, 1, 2, 2]])
    mask = np.array([[1, 0, 0, 0]], bool)
    assert outcomes(mask, lesions, label_maps="target").tolist() == [[FOUND, FOUND, MISSED, MISSED]]


def test_nothing_at_all():
    empty = np.zeros((3, 3, 2), bool)
    assert not outcomes(empty, empty).any()
