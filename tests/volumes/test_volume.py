import numpy as np
import pytest

from multifocal.volumes import Geometry, Volume

GRID = Geometry((2, 3), (1, 1), (0, 0), (1, 0, 0, 1))


def test_array_and_grid_must_fit():
    with pytest.raises(ValueError, match=r"shape \(3, 2\) on a grid of size \(2, 3\)"):
        Volume(np.zeros((3, 2)), GRID)


@pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]"])
def test_only_real_numbers(dtype):
    with pytest.raises(ValueError, match="real numbers"):
        Volume(np.zeros((2, 3), dtype), GRID)


def test_the_array_is_not_copied():
    array = np.zeros((2, 3), bool)
    assert Volume(array, GRID).array is array
