"""Lesions by volume: where a bin begins, and what is counted in it."""

import math

import pytest

from multifocal.metrics import VOLUME_BINS, volume_bin
from multifocal.metrics.bins import summarize_bins


def test_bins_cover_every_volume_once():
    assert len(VOLUME_BINS) == 21 and VOLUME_BINS[0] == "<0.05" and VOLUME_BINS[-2:] == ("0.95-1.00", ">=1")
    for number, name in enumerate(VOLUME_BINS):
        assert volume_bin((number + 0.5) * 0.05) == name
        assert volume_bin((50 * number or 1) * 0.001) == name  # as many voxels of 1 mm³: the border is the upper bin's
        assert volume_bin((number + 1) * 0.05 - 1e-6) == name


@pytest.mark.parametrize("volume", [0.0, -0.1, math.nan, math.inf])
def test_a_volume_that_is_none_is_refused(volume):
    with pytest.raises(ValueError, match=f"volume is {volume}"):
        volume_bin(volume)


def test_counts_and_rates():
    lesions = [
        {"kind": kind, "bin": name, "matched": matched, "dice": dice}
        for kind, name, matched, dice in (
            ("true", ">=1", 1, 0.5),
            ("true", "<0.05", 1, 0.8),
            ("true", "<0.05", 0, 0.0),
            ("false", "<0.05", 0, 0.0),
            ("false", "0.10-0.15", 0, 0.0),
        )
    ]
    assert summarize_bins(lesions) == {
        "<0.05": {"true": 2, "found": 1, "rate": 0.5, "dice": 0.4, "false": 1},
        "0.10-0.15": {"true": 0, "found": 0, "rate": None, "dice": None, "false": 1},
        ">=1": {"true": 1, "found": 1, "rate": 1.0, "dice": 0.5, "false": 0},
    }
    assert list(summarize_bins(lesions)) == ["<0.05", "0.10-0.15", ">=1"]
