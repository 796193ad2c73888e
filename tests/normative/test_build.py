"""Atlases made again from what they made, and from normal brains."""

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.normative import AtlasSettings, ZSettings, from_normals, from_pairs, z_map
from multifocal.volumes import Geometry, Volume
from multifocal.volumes.registration import RegistrationSettings

QUICK = RegistrationSettings(affine_iterations=30, demons_iterations=5, smooth=2.5)
SETTINGS = AtlasSettings(spacing=3.0, template=QUICK, scan=ZSettings(smooth_mm=0, registration=QUICK))


@pytest.fixture(scope="module")
def pairs(scan):
    return lambda number: [(f"S{seed}", *scan(seed, lesion=seed % 2 == 0)) for seed in range(number)]


@pytest.fixture(scope="module")
def recovered(pairs):
    lines: list[str] = []
    return *from_pairs(pairs(8), SETTINGS, lines.append), lines


def test_an_atlas_is_recovered_from_what_it_made(recovered, scan):
    atlas, about, lines = recovered
    adc, true = scan(100)  # a case that it has not seen
    found, fit = z_map(adc, atlas, SETTINGS.scan)
    brain = adc.array != 0
    assert np.corrcoef(found.array[brain], true.array[brain])[0, 1] > 0.7
    assert abs(np.median(atlas.sd.array[atlas.brain]) - 100) < 25
    assert fit.overlap > 0.95 and 0.8 < fit.volume < 1.25
    assert about["cases"] == [f"S{seed}" for seed in range(8)] and len(lines) == 4


def test_normal_scans_make_one_too(pairs):
    atlas, about = from_normals([(name, adc) for name, adc, _ in pairs(6)[1::2]], SETTINGS)
    assert about["made_from"] == "normal scans"
    assert abs(np.median(atlas.mean.array[atlas.brain]) - 1270) < 60
    assert 50 < np.median(atlas.sd.array[atlas.brain]) < 150


def test_what_cannot_make_an_atlas_is_refused(pairs):
    three = pairs(3)
    name, adc, z = three[0]
    with pytest.raises(UserError, match="3 cases or more, found 2"):
        from_pairs(three[:2], SETTINGS)
    with pytest.raises(UserError, match="case S0: Z-ADC is constant"):
        from_pairs([(name, adc, Volume(z.array * 0, adc.geometry)), *three[1:]], SETTINGS)
    moved = Geometry(adc.geometry.size, adc.geometry.spacing, (0.0, 0.0, 0.0), adc.geometry.direction)
    with pytest.raises(UserError, match="case S0: Z-ADC lies on another grid than ADC"):
        from_pairs([(name, adc, Volume(z.array, moved)), *three[1:]], SETTINGS)
    with pytest.raises(UserError, match="case S0: Z-ADC is constant in the brain, NaN or infinite"):
        from_pairs([(name, adc, Volume(np.where(z.array > 2, np.nan, z.array), adc.geometry)), *three[1:]], SETTINGS)
    with pytest.raises(UserError, match="case S0: empty brain"):
        from_normals([(name, Volume(adc.array * 0, adc.geometry)), *((n, a) for n, a, _ in three[1:])], SETTINGS)
    with pytest.raises(UserError, match="case S0: .*multiply it by 1000"):
        from_pairs([(name, Volume(adc.array / 1000, adc.geometry), z), *three[1:]], SETTINGS)
