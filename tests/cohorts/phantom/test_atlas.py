"""The normative atlas and its Z map."""

import numpy as np
import pytest

from multifocal.cohorts.phantom.atlas import make_atlas, smoothed, z_score
from multifocal.cohorts.phantom.brain import generator, make_head, tissue_shares
from multifocal.cohorts.phantom.randomised import draw_levels


def test_norms_are_narrow_in_tissue_and_wide_where_fluid_begins():
    head = make_head(generator(0, 1), size=np.ones(3))
    levels = draw_levels(generator(0, 2))
    tissue = tissue_shares(head.share)
    for n in range(3):
        atlas = make_atlas(generator(0, 3, n), head, levels=levels)
        assert atlas.mean.shape == atlas.deviation.shape == head.ragged.shape
        assert atlas.deviation.min() > 0
        rim = (head.anatomy.inside > 0) & (head.anatomy.inside < 2)
        deep, white = ((tissue[name] > 0.9) & (head.anatomy.inside > 10) for name in ("deep", "white"))
        wide, *narrow = (np.median(atlas.deviation[where]) for where in (rim, deep, white))
        assert wide > 1.5 * max(narrow)
        assert np.median(atlas.mean[white]) > np.median(atlas.mean[deep])


def test_z_is_the_distance_from_the_mean_in_deviations_and_nothing_outside():
    inside = np.zeros((20, 20, 20), bool)
    inside[4:16, 4:16, 4:16] = True
    score = z_score(
        np.full(inside.shape, 900.0), mean=np.float32(1200), deviation=np.float32(150), inside=inside, spacing=(2, 2, 2)
    )
    # Constant up to the brain's edge, since nothing outside it is averaged in.
    assert score[inside] == pytest.approx(-2, abs=1e-4)
    assert not score[~inside].any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.375, 1.375, 6.0)])
def test_smoothing_has_a_width_of_two_mm(spacing):
    """Against white noise whose variance a Gaussian lowers by a known factor along each axis."""
    noise = generator(0, 4).standard_normal((60, 60, 30)).astype(np.float32)
    smooth = smoothed(noise, inside=np.ones(noise.shape, bool), spacing=spacing)
    expected = 1.0
    for step in spacing:
        kernel = np.exp(-0.5 * (np.arange(-9, 10) * step * 2.3548 / 2) ** 2)
        expected *= np.sum((kernel / kernel.sum()) ** 2)
    assert smooth[8:-8, 8:-8, 8:-8].var() == pytest.approx(expected, rel=0.1)
