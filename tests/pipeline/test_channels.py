import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multifocal.errors import UserError
from multifocal.pipeline.channels import make_channel
from multifocal.pipeline.settings import Channel

VALUES = hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(-20, 20, width=32))
INSIDE = hnp.arrays(np.bool_, (3, 4, 2))


def channel(values, inside=None, **options):
    made = make_channel(values, inside, Channel(map="m", **options), where="m.mha")
    assert made.dtype == np.float32 and made.flags.c_contiguous
    return made


@settings(max_examples=30, deadline=None)
@given(VALUES, INSIDE)
def test_the_prior(values, inside):
    assert np.array_equal(channel(values, below=-2.0), values < -2)
    assert np.array_equal(channel(values, inside, below=-2.0), (values < -2) & inside)


def test_the_prior_is_strict():
    assert channel(np.array([-2.0, np.nextafter(np.float32(-2), np.float32(-3))]), below=-2.0).tolist() == [0, 1]


@settings(max_examples=30, deadline=None)
@given(VALUES)
def test_clip_then_range(values):
    assert np.array_equal(channel(values), values)
    assert np.array_equal(channel(values, clip=(0, None)), np.maximum(values, 0))
    assert np.array_equal(channel(values, clip=(None, 3)), np.minimum(values, 3))
    made = channel(values, clip=(-10, 10), range=(-10, 10))
    assert made == pytest.approx((np.clip(values, -10, 10) + 10) / 20, abs=1e-6)
    assert channel(values, range=(0, 3)) == pytest.approx(values / 3, abs=1e-5)  # not clipped unless asked


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e6])
def test_zscore_of_the_image_and_of_the_brain(unit):
    rng = np.random.default_rng(0)
    values = (rng.normal(1200, 80, (5, 6, 7)) * unit).astype(np.float32)
    inside = rng.random(values.shape) < 0.3
    made = channel(values, zscore="image")
    assert made == pytest.approx((values - values.mean(dtype=float)) / values.std(dtype=float), abs=1e-4)
    made = channel(values, inside, zscore="brain")
    assert made[inside].mean(dtype=float) == pytest.approx(0, abs=1e-5)
    assert made[inside].std(dtype=float) == pytest.approx(1, abs=1e-5)
    assert (made[~inside] == 0).all()
    assert np.corrcoef(made[inside], values[inside])[0, 1] == pytest.approx(1)


def test_zscore_of_the_image_looks_beyond_the_brain():
    values = np.array([0, 0, 1, 3], np.float32)
    made = channel(values, np.array([False, False, True, True]), zscore="image")
    assert made == pytest.approx((values - 1) / np.sqrt(1.5), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 1e8, -1e-7])
@pytest.mark.parametrize("zscore", ["image", "brain"])
def test_a_constant_map_cannot_be_normalised(value, zscore):
    values = np.full((4, 5, 6), value, np.float32)
    with pytest.raises(UserError, match=r"^m.mha: is constant .* cannot be normalised; check"):
        channel(values, np.ones(values.shape, bool), zscore=zscore)


def test_the_input_stays_as_it_is():
    values = np.array([-5.0, 5.0], np.float32)
    channel(values, clip=(0, 1), range=(0, 2))
    assert values.tolist() == [-5, 5]
