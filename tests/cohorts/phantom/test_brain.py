"""The healthy brain and the noise it is made of."""

import numpy as np
import pytest

from multifocal.cohorts.phantom.brain import generator, make_brain, smooth_noise


def test_tissues_share_the_voxels_and_differ_in_adc(head):
    deep, white, cortex = (head.tissue[name] > 0.95 for name in ("deep", "white", "cortex"))
    assert all(share.min() > -1e-5 for share in head.tissue.values())
    assert np.sum(list(head.tissue.values()), axis=0).max() < 1 + 1e-5
    medians = [np.median(head.adc[where & (head.inside > 3)]) for where in (deep, cortex, white)]
    assert medians == sorted(medians)
    assert medians[2] > 1.25 * medians[0]
    assert head.adc.max() > 2600


def test_brain_and_noise_come_from_their_seed_alone():
    assert np.array_equal(make_brain(generator(7, 1)).adc, make_brain(generator(7, 1)).adc)
    assert not np.array_equal(make_brain(generator(7, 1)).adc, make_brain(generator(7, 2)).adc)


def test_smooth_noise_is_as_smooth_as_it_says():
    """A Gaussian of sigma leaves the autocorrelation exp(-d² / 4 sigma²)."""
    for sigma in (1.0, 3.0, 6.0):
        field = smooth_noise(generator(0, 5), (90, 80, 70), sigma=sigma)
        away = round(sigma * 2)
        measured = np.corrcoef(field[:-away].ravel(), field[away:].ravel())[0, 1]
        assert measured == pytest.approx(np.exp(-1), abs=0.12)
