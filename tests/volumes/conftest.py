"""Volumes on random oblique grids, for the tests of this folder."""

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.stats import special_ortho_group

from multifocal.volumes import Geometry, Volume


@st.composite
def _geometries(draw: st.DrawFn, *, ndim: int | None = None) -> Geometry:
    n = ndim or draw(st.sampled_from([2, 3]))
    matrix = special_ortho_group.rvs(n, random_state=draw(st.integers(0, 10_000)))
    matrix[:, 0] *= draw(st.sampled_from([-1.0, 1.0]))
    matrix = matrix[:, draw(st.permutations(range(n)))]
    return Geometry(
        size=tuple(draw(st.integers(1, 6)) for _ in range(n)),
        spacing=tuple(draw(st.floats(0.2, 7.0)) for _ in range(n)),
        origin=tuple(draw(st.floats(-300.0, 300.0)) for _ in range(n)),
        direction=tuple(matrix.ravel()),
    )


@pytest.fixture(scope="session")
def geometries():
    return _geometries


@pytest.fixture(scope="session")
def numbered():
    """Return a volume whose voxels all hold different numbers, from 1."""

    def make(geometry: Geometry, dtype: type = np.int32) -> Volume:
        return Volume(np.arange(1, np.prod(geometry.size) + 1).reshape(geometry.size).astype(dtype), geometry)

    return make


@pytest.fixture(scope="session")
def oblique() -> Geometry:
    matrix = special_ortho_group.rvs(3, random_state=7)
    return Geometry((5, 4, 3), (1.375, 1.5, 4.8), (-107.102, -120.768, -95.0133), tuple(matrix.ravel()))
