"""Label maps of probabilities, with settings of a recipe."""

import numpy as np
import pytest
from pydantic import ValidationError

from multifocal.errors import UserError
from multifocal.systems import Watershed, label_map
from multifocal.volumes import Geometry, Volume

pytest.importorskip("skimage")


def volume(array, spacing=1.0):
    eye = tuple(np.eye(array.ndim).ravel())
    return Volume(array, Geometry(array.shape, (spacing,) * array.ndim, (0.0,) * array.ndim, eye))


def test_each_setting_is_heeded():
    x, y = np.mgrid[:40, :60]
    disks = volume((np.minimum(np.hypot(x - 20, y - 20), np.hypot(x - 20, y - 32)) <= 10) * 0.8)
    assert label_map(disks, Watershed()).array.max() == 2
    assert label_map(disks, Watershed(min_depth=2.5)).array.max() == 1
    assert label_map(volume(disks.array, 3.0), Watershed(min_depth=2.5)).array.max() == 2
    assert label_map(disks, Watershed(threshold=0.9)).array.max() == 0
    assert label_map(disks, Watershed(min_size=300)).array.max() == 0
    border = volume(np.where(y == 30, 0.6, 0.0))
    divided = label_map(disks, Watershed(border="rim"), border=border)
    assert divided.array.max() == 2 and divided.array[20, 10] != divided.array[20, 40]
    assert divided.geometry == disks.geometry


def test_more_than_255_instances_are_told_apart():
    array = np.zeros((60, 60))
    array[::2, ::2] = 1.0
    found = label_map(volume(array), Watershed()).array
    assert (found.dtype, found.max()) == (np.uint16, 900)


def test_bad_settings_and_probabilities_are_refused():
    with pytest.raises(ValidationError, match="min_depth"):
        Watershed(min_depth=0)
    with pytest.raises(ValueError, match="border=rim in the settings, and a border is not given"):
        label_map(volume(np.zeros((3, 3))), Watershed(border="rim"))
    with pytest.raises(ValueError, match="border=None in the settings, and a border is given"):
        label_map(volume(np.zeros((3, 3))), Watershed(), border=volume(np.zeros((3, 3))))
    with pytest.raises(UserError, match="the probability of a border holds NaN"):
        label_map(volume(np.zeros((3, 3))), Watershed(border="b"), border=volume(np.full((3, 3), np.nan)))
