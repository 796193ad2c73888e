"""What the training scans were: measured, written, read back."""

import math
from dataclasses import replace

import numpy as np
import pytest

from multifocal.cohorts import Case, Cohort, ImageFile
from multifocal.errors import UserError
from multifocal.systems.ranges import (
    Range,
    TrainingRanges,
    edge_share,
    measure_scan,
    read_ranges,
    training_ranges,
    write_ranges,
)
from multifocal.volumes import Geometry, Volume, write

SIZE = (20, 24, 12)


def scan(folder, name="a", *, direction=None, spacing=(2.0, 2.0, 5.0), values=None, size=SIZE, lesion=None):
    """A case whose brain is a box of 10×14×8 voxels, pointed at the front and at the head."""
    grid = Geometry(size, spacing, (0.0,) * 3, tuple((np.eye(3) if direction is None else direction).ravel()))
    adc = np.zeros(size, np.float32)
    adc[5:15, 5:19, 2:10] = 1000 if values is None else values
    adc[5:8, 5:9, 6:10] = adc[12:15, 5:9, 6:10] = 0
    write(folder / f"{name}.mha", Volume(adc, grid))
    write(folder / f"{name}_z.mha", Volume(np.where(adc != 0, -1.0, 0.0).astype(np.float32), grid))
    label = None
    if lesion is not None:
        mask = np.zeros(size, np.uint8)
        mask[lesion] = 1
        write(folder / f"{name}_l.mha", Volume(mask, grid))
        label = ImageFile(folder / f"{name}_l.mha")
    maps = {"adc": ImageFile(folder / f"{name}.mha"), "zadc": ImageFile(folder / f"{name}_z.mha")}
    return Case(name, name, maps, label)


def cohort(folder, *cases):
    return Cohort("demo", folder, "manifest", cases)


def test_the_numbers_are_those_of_the_scan(tmp_path):
    numbers = measure_scan(scan(tmp_path)).numbers
    expected = {"spacing_least_mm": 2, "spacing_most_mm": 5, "size_least": 12, "size_most": 24}
    expected |= {"view_least_mm": 40, "view_most_mm": 60, "brain_left_right_mm": 20, "brain_front_back_mm": 28}
    expected |= {"brain_head_feet_mm": 40, "brain_at_border": 0, "noise": 0, "adc_p50": 1000, "zadc_p5": -1}
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)
    assert numbers["brain_ml"] == pytest.approx((10 * 14 * 8 - 2 * 3 * 4 * 4) * 0.02)


def test_extents_and_shape_are_the_patients_not_the_arrays(tmp_path):
    axial = measure_scan(scan(tmp_path))
    turned = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])  # axes of the array: back, head, left
    case = scan(tmp_path, "b", spacing=(2.0, 5.0, 2.0), direction=turned, size=(24, 12, 20))
    image = case.images["adc"].path
    other = measure_scan(scan(tmp_path)).shape
    from multifocal.volumes import read

    plain = read(tmp_path / "a.mha").array
    write(image, Volume(np.ascontiguousarray(plain.transpose(1, 2, 0)), read(image).geometry))
    found = measure_scan(replace(case, images={"adc": ImageFile(image)}))
    for name in ("brain_left_right_mm", "brain_front_back_mm", "brain_head_feet_mm", "brain_ml"):
        assert found.numbers[name] == pytest.approx(axial.numbers[name]), name
    np.testing.assert_allclose(found.shape, other, atol=1e-5)


def test_noise_is_the_standard_deviation_over_the_median(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(1000, 50, (10, 14, 8))
    assert measure_scan(scan(tmp_path, values=values)).numbers["noise"] == pytest.approx(0.05, rel=0.15)


def test_a_scan_without_brain_has_no_such_numbers(tmp_path):
    found = measure_scan(scan(tmp_path, values=0.0))
    assert found.shape is None and math.isnan(found.numbers["noise"]) and found.numbers["brain_ml"] == 0


def test_edges_by_brute_force():
    random = np.random.default_rng(1)
    brain, lesion = random.random((6, 7, 5)) < 0.9, random.random((6, 7, 5)) < 0.3
    padded, at_edge = np.pad(brain, 1), 0
    for x, y, z in np.argwhere(lesion):
        near = [
            padded[x + 1 + a, y + 1 + b, z + 1 + c]
            for a, b, c in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
        ]
        at_edge += not (brain[x, y, z] and all(near))
    assert edge_share(lesion, brain) == pytest.approx(at_edge / lesion.sum())
    assert math.isnan(edge_share(np.zeros(3, bool), np.ones(3, bool)))


def test_ranges_come_back_as_they_were_written(tmp_path):
    inside = np.s_[8:10, 10:12, 4:6]
    cases = [scan(tmp_path, f"c{n}", values=1000 + 100 * n, lesion=inside if n else None) for n in range(3)]
    found = training_ranges(cohort(tmp_path, *cases))
    assert found.cases == 3 and found.maps == ("adc", "zadc") and len(found.shape) == 512
    assert (found.numbers["adc_p50"].least, found.numbers["adc_p50"].most) == (1000, 1200)
    assert found.numbers["adc_p50"].limits == (950, 1250)
    write_ranges(tmp_path / "run", found)
    assert read_ranges(tmp_path / "run") == found
    assert (tmp_path / "run" / "ranges.json").stat().st_size < 20_000


def test_images_and_instances_have_none(tmp_path):
    grid = Geometry((4, 4), (1.0, 1.0), (0.0, 0.0), (1, 0, 0, 1))
    write(tmp_path / "i.mha", Volume(np.ones((4, 4), np.float32), grid))
    case = Case("i", "i", {"image": ImageFile(tmp_path / "i.mha")})
    assert training_ranges(cohort(tmp_path, case)) is None
    assert training_ranges(replace(cohort(tmp_path, scan(tmp_path)), label_kind="instances")) is None


@pytest.mark.parametrize("text", ["{}", '{"cases": 1, "maps": [], "numbers": {"noise": 3}}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "ranges.json").write_text(text)
    with pytest.raises(UserError, match=r"ranges.json: is not what `multifocal train` writes"):
        read_ranges(tmp_path)


def test_a_range_without_any_lesion_is_none(tmp_path):
    assert training_ranges(cohort(tmp_path, scan(tmp_path))).lesion_at_edge is None
    assert TrainingRanges(cases=0, maps=(), numbers={}).shape == ()
    assert Range(least=1, p5=1, median=1, p95=1, most=1).limits == (1, 1)
