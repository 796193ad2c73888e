"""Synthetic nuclei: images that are read as what they are, with the sizes and numbers of real ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from multifocal.cohorts import check_cohort, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.cohorts.phantom.nuclei import LEAST_AREA, nuclei_case, plan_cohort

CASES = 24


@pytest.fixture(scope="module")
def images():
    return [nuclei_case(seed=0, index=index, cases=CASES) for index in range(CASES)]


def components(labels):
    return ndimage.label(labels > 0, np.ones((3, 3)))[1]


def test_every_nucleus_is_one_piece_with_a_number_of_its_own(images):
    for image in images:
        areas = np.bincount(image.labels.ravel())[1:]
        assert image.labels.dtype == np.uint16 and image.image.dtype == np.uint8
        assert areas.size and areas.min() >= LEAST_AREA, image.name
        assert all(ndimage.label(image.labels == n)[1] == 1 for n in range(1, areas.size + 1)), image.name


def test_numbers_sizes_and_touching_are_as_in_real_images(images):
    """Medians of 115 real images: docs/data.md; the bounds are their quartiles."""
    coloured = [image for image in images if image.image.ndim == 3]
    grey = [image for image in images if image.image.ndim == 2]
    assert len(coloured) == 16 and len(grey) == 8
    for group, counts, covered in ((coloured, (18, 69), (0.161, 0.287)), (grey, (15, 40), (0.034, 0.246))):
        assert counts[0] < np.median([image.labels.max() for image in group]) < counts[1]
        assert covered[0] < np.median([(image.labels > 0).mean() for image in group]) < covered[1]
        touching = [image.labels.max() / components(image.labels) for image in group]
        assert 1.05 < np.mean(touching) < 1.6


def test_nuclei_are_dark_in_stained_tissue_and_bright_in_fluorescence(images):
    for image in images:
        grey = image.image.mean(axis=2) if image.image.ndim == 3 else image.image.astype(float)
        inside, outside = grey[image.labels > 0].mean(), grey[image.labels == 0].mean()
        assert inside < 0.9 * outside if image.image.ndim == 3 else inside > 1.5 * outside, image.name


def test_the_folder_is_a_cohort_of_instances(tmp_path):
    write_phantom(tmp_path / "nuclei", cases=4, seed=1, kind="nuclei")
    cohort = open_cohort(tmp_path / "nuclei")
    assert (cohort.layout, cohort.label_kind, cohort.maps) == ("images2d", "instances", ("red", "green", "blue"))
    reports = check_cohort(cohort)
    made = [nuclei_case(seed=1, index=index, cases=4) for index in range(4)]
    assert [report.components for report in reports] == [int(case.labels.max()) for case in made]
    assert [problem for report in reports for problem in report.problems] == []
    assert np.array_equal(cohort.cases[0].label.read().array, made[0].labels)
    with Image.open(tmp_path / "nuclei/images" / f"{made[0].name}.png") as picture:
        assert np.array_equal(np.asarray(picture).swapaxes(0, 1), made[0].image)
    with Image.open(tmp_path / "nuclei/masks" / f"{made[0].name}.png") as picture:
        assert picture.mode == "I;16"


@given(seed=st.integers(0, 10**9), cases=st.integers(1, 150))
@settings(max_examples=25, deadline=None)
def test_every_seed_deals_the_same_mix(seed, cases):
    plans = plan_cohort(seed=seed, cases=cases)
    assert len({plan.name for plan in plans}) == cases
    assert abs(sum(plan.look.coloured for plan in plans) - 0.65 * cases) <= 1
    assert all(0 < plan.foreground < 0.5 and plan.count >= 4 and plan.size in plan.look.sizes for plan in plans)


def test_seeds_and_cases_differ():
    labels = [nuclei_case(seed=s, index=i, cases=3).labels for s, i in ((0, 0), (1, 0), (0, 1))]
    assert len({array.tobytes() for array in labels}) == 3
