import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multifocal.instances import components
from multifocal.metrics import evaluate_case
from multifocal.reports.cases.lesion_outcomes import FALSE, FOUND, MISSED, detection

MASKS = arrays(bool, st.just((5, 4, 3)))


@given(MASKS, MASKS)
def test_colours_agree_with_the_counts_of_the_metrics(truth, mask):
    lesions, _ = components(truth)
    colours = detection(lesions, mask)
    scores = evaluate_case(mask, truth, spacing=(1.0, 1.0, 1.0))
    assert len(np.unique(lesions[colours == MISSED])) == scores["missed"]
    assert components(colours == FALSE)[1] == scores["false"]
    assert ((colours > 0) == (truth | mask)).all()
    assert not (colours[truth] == FALSE).any()
    assert not (colours[mask] == MISSED).any()
    assert (colours[truth & mask] == FOUND).all()


def test_labels_that_touch_are_lesions_of_their_own():
    lesions = np.array([[1, 1, 2, 2]])
    assert detection(lesions, np.array([[1, 0, 0, 0]], bool)).tolist() == [[FOUND, FOUND, MISSED, MISSED]]
