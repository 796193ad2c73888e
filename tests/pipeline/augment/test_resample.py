import numpy as np
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from multifocal.pipeline.augment.resample import background, linear, locate, nearest, pad


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    size=st.lists(st.integers(1, 8), min_size=2, max_size=3),
    reach=st.sampled_from([0.0, 1.0, 5.0, 1e6]),
    seed=st.integers(0, 999),
)
def test_reading_is_scipys_in_an_endless_background(size, reach, seed):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(2, *size)).astype(np.float32)
    masks = generator.integers(0, 200, size=(1, *size)).astype(np.uint8)
    spread = np.array(size).reshape(-1, 1) - 1
    places = (generator.uniform(-reach, spread + reach, size=(len(size), 50))).astype(np.float32)
    places[:, 0] = 0.5  # ties go up
    places[:, 1] = spread[:, 0]
    fill = torch.tensor([-1.5, 2.0])

    # SciPy fades to its constant only inside the array: give it the first layers outside
    def around(image, value):
        return np.pad(image.astype(float), 2, constant_values=value)

    inside = places.astype(float).clip(-2, spread + 2) + 2
    sites = locate(torch.from_numpy(places.copy()), size)
    for channel, image, value in zip(linear(pad(torch.from_numpy(images), fill), sites), images, fill, strict=True):
        expected = map_coordinates(around(image, float(value)), inside, order=1, mode="nearest")
        np.testing.assert_allclose(channel.numpy(), expected, atol=1e-5)
    (read,) = nearest(pad(torch.from_numpy(masks), torch.zeros(1, dtype=torch.uint8)), sites)
    expected = around(masks[0], 0)[tuple(np.floor(inside + 0.5).astype(int))]
    np.testing.assert_array_equal(read.numpy(), expected)


def test_background_is_that_of_most_corners():
    images = torch.zeros(2, 6, 6, 6)
    images[0], images[1] = -0.5, 3.0
    images[:, 1:, 1:, :] = 1.0  # reaches two of the eight corners
    assert background(images).tolist() == [-0.5, 3.0]
    assert background(torch.full((1, 1, 1), 4.0)).tolist() == [4.0]
