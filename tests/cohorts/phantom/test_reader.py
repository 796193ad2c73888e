"""What a reader outlines of a Z map."""

import numpy as np
import pytest

from multifocal.cohorts.phantom.brain import generator
from multifocal.cohorts.phantom.reader import Reader, draw_reader, outline

STRICT = Reader(below=-2.0, grown=0.0, closed=False, whole=0.0, missed=0.0, taken=0.0, least_ml=0.05)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """An injury with a core and a rim, a small one, and an island of low Z without injury."""
    zadc, injury = np.zeros((30, 30, 10)), np.zeros((30, 30, 10))
    injury[2:12, 2:12, 2:8], zadc[2:12, 2:12, 2:8] = 0.7, -1.7
    zadc[4:10, 4:10, 3:7] = -2.5
    injury[20:22, 4:6, 4:5], zadc[20:22, 4:6, 4:5] = 0.8, -3
    zadc[20:26, 20:26, 3:7] = -3
    return zadc, injury


def test_a_strict_reader_outlines_what_is_low_and_injured_but_no_specks():
    zadc, injury = scene()
    found = outline(generator(0), STRICT, zadc=zadc, injury=injury, inside=zadc < 5, voxel_ml=0.008)
    expected = np.zeros_like(found)
    expected[4:10, 4:10, 3:7] = True
    assert np.array_equal(found, expected)
    finer = outline(generator(0), STRICT, zadc=zadc, injury=injury, inside=zadc < 5, voxel_ml=0.05)
    assert finer.sum() == expected.sum() + 4


@pytest.mark.parametrize(("habit", "least"), [({"grown": 0.5}, 145), ({"whole": 1.0}, 600)])
def test_generous_readers_outline_more(habit, least):
    zadc, injury = scene()
    reader = Reader(**{**vars(STRICT), **habit})
    found = outline(generator(0), reader, zadc=zadc, injury=injury, inside=zadc < 5, voxel_ml=0.008)
    assert found.sum() >= least
    assert not found[injury == 0].any()


def test_holes_are_closed_within_a_slice():
    zadc, injury = scene()
    zadc[6, 6, 4] = -1
    for closed in (False, True):
        reader = Reader(**{**vars(STRICT), "closed": closed})
        assert (
            outline(generator(0), reader, zadc=zadc, injury=injury, inside=zadc < 5, voxel_ml=0.008)[6, 6, 4] == closed
        )


def test_an_injury_always_has_a_label():
    zadc, injury = scene()
    for reader in (Reader(**{**vars(STRICT), "missed": 1.0}), Reader(**{**vars(STRICT), "below": -9.0})):
        found = outline(generator(0), reader, zadc=zadc, injury=injury, inside=zadc < 5, voxel_ml=0.008)
        assert found.any()
        assert not found[injury == 0].any()


def test_no_large_lesion_is_overlooked_and_small_ones_are():
    zadc, injury = scene()
    reader = Reader(**{**vars(STRICT), "missed": 1.0, "least_ml": 0.01})
    found = outline(generator(0), reader, zadc=zadc, injury=injury, inside=zadc < 5, voxel_ml=0.008)
    assert found[4:10, 4:10, 3:7].all()
    assert not found[20:22, 4:6, 4:5].any()


def test_islands_without_an_injury_are_taken_for_lesions_now_and_then():
    zadc, injury = scene()
    taken = []
    for n in range(40):
        reader = Reader(**{**vars(STRICT), "taken": 0.5})
        found = outline(generator(0, n), reader, zadc=zadc, injury=injury, inside=zadc < 5, voxel_ml=0.008)
        taken.append(found[20:26, 20:26, 3:7].all())
    assert 0.25 < np.mean(taken) < 0.75


def test_readers_differ():
    readers = [draw_reader(generator(0, n)) for n in range(100)]
    assert -2.2 < np.mean([reader.below for reader in readers]) < -1.8
    assert {reader.closed for reader in readers} == {True, False}
    assert 0.2 < np.mean([reader.grown > 0 for reader in readers]) < 0.5
    assert all(reader.least_ml >= 0.045 for reader in readers)
