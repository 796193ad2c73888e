"""One temperature, against the optimum over all voxels that SciPy finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from multifocal.errors import UserError
from multifocal.systems.calibration import OddsCounts, calibrate, reliability, summed


def voxels(seed, *, truth=2.5, number=4000):
    """Return probabilities that are `truth` times too sure, and the lesions that they tell of."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.0, 2.0, number)
    return special.expit(odds * truth), rng.uniform(size=number) < special.expit(odds)


def nll(p, y, temperature):
    z = special.logit(p) / temperature
    return np.mean(np.logaddexp(0, z) - y * z)


@given(st.integers(0, 1000), st.sampled_from([0.4, 1.0, 2.5]))
@settings(max_examples=15)
def test_the_temperature_is_the_optimum_over_all_voxels(seed, truth):
    p, y = voxels(seed, truth=truth)
    expected = optimize.minimize(lambda t: nll(p, y, np.exp(t[0])), [0.0], method="Nelder-Mead", tol=1e-9)
    found = calibrate(OddsCounts.of(p, y))
    assert found.temperature == pytest.approx(np.exp(expected.x[0]), rel=2e-3)
    assert found.voxels == len(p) and found.after.nll <= found.before.nll + 1e-12
    assert found.temperature == pytest.approx(truth, rel=0.2)


def test_the_measures_are_those_of_all_voxels():
    p, y = voxels(3)
    found = reliability(OddsCounts.of(p, y), 1.7)
    q = special.expit(special.logit(p) / 1.7)
    bins = np.minimum((q * 15).astype(int), 14)
    ece = sum(abs(q[bins == b].sum() - y[bins == b].sum()) for b in range(15)) / len(p)
    assert found.nll == pytest.approx(nll(p, y, 1.7), rel=1e-4)
    assert found.brier == pytest.approx(np.mean((q - y) ** 2), rel=1e-4)
    assert found.ece == pytest.approx(ece, abs=1e-3)


def test_cases_add_up():
    (p, y), (q, z) = voxels(0), voxels(1)
    together = OddsCounts.of(np.concatenate([p, q]), np.concatenate([y, z]))
    found, expected = calibrate(summed([OddsCounts.of(p, y), OddsCounts.of(q, z)])), calibrate(together)
    assert found.temperature == expected.temperature and found.after.ece == pytest.approx(expected.after.ece)


def test_what_is_sure_and_right_stays_within_the_limits():
    y = np.array([True, False] * 10)
    found = calibrate(OddsCounts.of(y.astype(np.float32), y))
    assert 0.05 <= found.temperature < 1.0 and 0.0 <= found.after.nll <= found.before.nll < 1e-6


@pytest.mark.parametrize("lesion", [True, False])
def test_one_kind_of_voxel_has_no_temperature(lesion):
    with pytest.raises(UserError, match="calibration needs voxels with and without lesion"):
        calibrate(OddsCounts.of(np.full(9, 0.3), np.full(9, lesion)))
