"""How well a scan fits an atlas: numbers that are known, and a doubt for each thing that is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from multifocal.normative import AtlasFit, z_map
from multifocal.normative.fit import LIMITS, measure_fit
from multifocal.volumes import Volume
from multifocal.volumes.registration import Registration

GOOD = AtlasFit(correlation=0.7, overlap=0.97, volume=1.0, upper=2.0)


def still(grid):
    return Registration(np.eye(3, 4), np.zeros((*grid.size, 3), np.float32), grid)


def noise(adc):
    """Return a brain whose values lie anywhere in it."""
    array = adc.array.copy()
    array[array != 0] = np.random.default_rng(0).permutation(array[array != 0])
    return Volume(array, adc.geometry)


def test_an_atlas_fits_itself(true_atlas):
    mean, z = true_atlas.mean, np.linspace(0, 1, 101)
    fit = measure_fit(mean, true_atlas, still(mean.geometry), z, lesion_below=800)
    assert fit.correlation == pytest.approx(1) and fit.overlap == 1 and fit.volume == pytest.approx(1)
    assert fit.upper == pytest.approx(0.95)


def test_half_a_brain_and_no_overlap_are_counted(true_atlas):
    mean = true_atlas.mean
    half = Volume(np.where(np.arange(25) < 12, mean.array, 0), mean.geometry)
    share = np.count_nonzero(half.array) / np.count_nonzero(mean.array)
    fit = measure_fit(half, true_atlas, still(mean.geometry), np.ones(3), lesion_below=800)
    assert fit.volume == pytest.approx(share) and fit.overlap == pytest.approx(2 * share / (1 + share))
    away = Volume(mean.array, replace(mean.geometry, origin=(500.0, 0.0, 0.0)))
    fit = measure_fit(away, true_atlas, still(away.geometry), np.ones(3), lesion_below=800)
    assert fit.overlap == 0 and fit.correlation == 0 and len(fit.doubts) == 2


@pytest.mark.parametrize(
    ("change", "odd"),
    [
        ({}, ()),
        ({"correlation": 0.1}, ("correlation",)),
        ({"overlap": 0.9}, ("overlap",)),
        ({"volume": 0.3}, ("volume",)),
        ({"volume": 2.5}, ("volume",)),
        ({"upper": 0.1}, ("percentile",)),
        ({"upper": 9.0, "correlation": float("nan")}, ("correlation", "percentile")),
    ],
)
def test_each_number_that_is_odd_is_told(change, odd):
    fit = replace(GOOD, **change)
    assert len(fit.doubts) == len(odd) and all(word in line for word, line in zip(odd, fit.doubts, strict=True))
    written = fit.as_json()
    assert set(written) == {*LIMITS, "doubts"} and written["doubts"] == list(fit.doubts)
    assert all(value is None or np.isfinite(value) for name, value in written.items() if name != "doubts")


@pytest.mark.parametrize(
    ("spoil", "odd"),
    [
        (noise, "correlation"),
        (lambda adc: Volume(adc.array, replace(adc.geometry, spacing=(4.5, 4.5, 4.5))), "volume"),
        (lambda adc: Volume(adc.array * np.float32(0.75), adc.geometry), "upper"),
    ],
)
def test_spoiled_scans_fit_worse(true_atlas, scan, spoil, odd):
    adc, _ = scan(1)
    before, after = (z_map(each, true_atlas)[1] for each in (adc, spoil(adc)))
    apart = getattr(after, odd) / getattr(before, odd)
    assert not 0.7 < apart < 1.5
