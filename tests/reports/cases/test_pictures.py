import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multifocal.reports.cases.pictures import area, outline

MASKS = arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)))


@given(MASKS)
def test_boxes_cover_just_the_mask(mask):
    drawn = np.zeros_like(mask)
    for x, y, width, height, back in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z", area(mask)):
        assert width == back == "1"
        drawn[int(x), int(y) : int(y) + int(height)] = True
    assert (drawn == mask).all()


@given(MASKS)
def test_outline_draws_every_edge_once(mask):
    upright, level = set(), set()
    for x, y, way, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", outline(mask)):
        for step in range(int(length)):
            edge = (int(x), int(y) + step) if way == "v" else (int(x) + step, int(y))
            edges = upright if way == "v" else level
            assert edge not in edges
            edges.add(edge)
    padded = np.pad(mask, 1)
    expected_upright = {
        (i, j)
        for i in range(mask.shape[0] + 1)
        for j in range(mask.shape[1])
        if padded[i, j + 1] != padded[i + 1, j + 1]
    }
    expected_level = {
        (i, j)
        for i in range(mask.shape[0])
        for j in range(mask.shape[1] + 1)
        if padded[i + 1, j] != padded[i + 1, j + 1]
    }
    assert (upright, level) == (expected_upright, expected_level)


def test_an_empty_mask_draws_nothing():
    empty = np.zeros((3, 4), bool)
    assert (outline(empty), area(empty)) == ("", "")
