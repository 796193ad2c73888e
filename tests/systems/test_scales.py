"""What is around a voxel at several scales, against sums that are written out voxel by voxel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from multifocal.systems.candidates import Voxels
from multifocal.systems.scales import MEANS_MM
from multifocal.systems.scan import Scan
from multifocal.volumes import Geometry

LEVELS = (-0.5, -1.5)
SAID = {"kind": "voxels", "maps": ("zadc", "adc"), "map": "zadc", "below": -1.0, "window": "scales", "levels": LEVELS}


def made_up(shape, seed=0):
    rng = np.random.default_rng(seed)
    grid = Geometry(shape, (2.0, 2.0, 3.0)[: len(shape)], (0.0,) * len(shape), tuple(np.eye(len(shape)).ravel()))
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    inside = (axes**2).sum(0) < 0.9
    maps = {name: rng.normal(size=shape).astype(np.float32) for name in ("zadc", "adc")}
    return Scan("a", maps, rng.random(shape, np.float32), inside, grid)


def gaussian_mean(image, inside, place, size, spacing):
    """The mean over the brain, weighted by a Gaussian that ends at four standard deviations, as SciPy's does."""
    weight = np.ones(image.shape)
    for axis, (at, step) in enumerate(zip(place, spacing, strict=True)):
        away = np.arange(image.shape[axis]) - at
        sigma = size / step
        line = np.where(abs(away) <= int(4 * sigma + 0.5), np.exp(-0.5 * (away / sigma) ** 2), 0)
        weight *= line.reshape([-1 if each == axis else 1 for each in range(image.ndim)])
    return (image * weight)[inside].sum() / weight[inside].sum()


@given(st.integers(0, 1000), st.sampled_from([(8, 9, 5), (7, 10)]))
@settings(max_examples=8, deadline=None)
def test_the_features_are_those_of_their_names(seed, shape):
    case, second = made_up(shape, seed), Voxels(**SAID)
    found = second.find(case)
    names, rows = second.features(len(shape)), second.describe(case, found)
    assert rows.shape == (len(found), len(names)) and rows.dtype == np.float32
    inside, spacing = case.inside, np.array(case.geometry.spacing)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[(slice(1, -1),) * len(shape)]
    images = {**case.maps, "probability": case.probability}
    for row, flat in list(zip(rows, found, strict=True))[::7]:
        place = np.unravel_index(flat, shape)
        opposite = (case.mirror - place[0], *place[1:])
        if not (0 <= opposite[0] < shape[0] and inside[opposite]):
            opposite = place
        expected = {"depth": depth[place], "off_midline": abs(2 * place[0] - case.mirror) / 2 * spacing[0]}
        for name, image in images.items():
            image = image.astype(float)
            means = {size: gaussian_mean(image, inside, place, size, spacing) for size in MEANS_MM}
            squares = gaussian_mean(image**2, inside, place, 4.0, spacing)
            expected |= {f"{name} {size:g} mm": mean for size, mean in means.items()}
            expected |= {
                name: image[place],
                f"{name} spread 4 mm": np.sqrt(max(squares - means[4.0] ** 2, 0)),
                f"{name} mirrored": image[opposite],
                f"{name} mirrored 4 mm": gaussian_mean(image, inside, opposite, 4.0, spacing),
                f"{name} brain mean": image[inside].mean(),
                f"{name} brain spread": image[inside].std(),
            }
        for axis, at in enumerate(place):
            held = np.flatnonzero(inside.any(axis=tuple(each for each in range(len(shape)) if each != axis)))
            expected[f"place_{axis}"] = (at + 0.5 - held[0]) / (held[-1] + 1 - held[0]) * 2 - 1
        for level in LEVELS:
            below = inside & (case.maps["zadc"] < level)
            labels, _ = ndimage.label(below, np.ones((3,) * len(shape)))
            volume = (labels == labels[place]).sum() * case.geometry.voxel_ml if below[place] else 0
            expected |= {f"ml of zadc < {level:g}": volume, f"share of zadc < {level:g}": below.sum() / inside.sum()}
        np.testing.assert_allclose(row, [expected[name] for name in names], rtol=1e-3, atol=2e-3)


def test_nothing_is_asked_of_no_voxel():
    case, second = made_up((8, 9, 5)), Voxels(**{**SAID, "below": -100.0, "above": 1.0})
    assert second.describe(case, second.find(case)).shape == (0, len(second.features(3)))


@pytest.mark.parametrize("change", [{"window": "5x5"}, {"map": None, "below": None}])
def test_levels_are_of_a_map_at_several_scales(change):
    with pytest.raises(ValidationError, match="levels are those of map"):
        Voxels(**{**SAID, **change})
