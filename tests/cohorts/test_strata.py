import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multifocal.cohorts import STRATA, stratum


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, "no lesion"),
        (1e-9, "<1 %"),
        (0.00999, "<1 %"),
        (0.01, "1-5 %"),
        (0.05, "1-5 %"),
        (0.0501, ">5 %"),
        (1.0, ">5 %"),
        (1.2, ">5 %"),
    ],
)
def test_limits(share, expected):
    assert stratum(share) == expected


@given(st.floats(0, 2), st.floats(0, 2))
def test_more_lesion_is_never_a_lower_stratum(a, b):
    low, high = sorted((a, b))
    assert STRATA.index(stratum(low)) <= STRATA.index(stratum(high))


@pytest.mark.parametrize("share", [-0.1, math.nan, math.inf])
def test_what_is_no_share(share):
    with pytest.raises(ValueError, match="share is"):
        stratum(share)
