"""Synthetic adults with white-matter hyperintensities."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.cohorts import check_cohort, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.cohorts.phantom.wmh import LESION_COUNT, LESION_ML, PROTOCOLS, flair_case, plan_cohort

CASES = 8


def load(index, *, cases=CASES):
    return plan_cohort(seed=0, cases=cases)[index]


@pytest.fixture(scope="module")
def sliced():
    """A case of 3 mm slices with more than 5 ml of lesion: the fast protocol."""
    index = next(n for n in range(CASES) if load(n).protocol.spacing[2] == 3 and load(n).millilitres > 5)
    return load(index), flair_case(seed=0, index=index, cases=CASES)


def test_the_brain_is_an_adults_and_its_voxels_alone_are_not_zero(sliced):
    _, case = sliced
    flair, lesion = case.flair.array, case.label.array == 1
    assert (flair.dtype, case.label.array.dtype) == (np.int16, np.uint8)
    assert case.flair.geometry == case.label.geometry
    brain = flair != 0
    assert flair.min() == 0 and flair[brain].min() >= 1
    assert 950 < brain.sum() * case.flair.geometry.voxel_ml < 1550
    assert not (lesion & ~brain).any() and set(np.unique(case.label.array)) == {0, 1}


def test_lesions_are_bright_fluid_is_dark_and_no_threshold_finds_them_all(sliced):
    _, case = sliced
    flair, lesion = case.flair.array, case.label.array == 1
    brain = flair != 0
    median = np.median(flair[brain & ~lesion])
    # In two real patients: 1.15 to 1.75 times the white matter (5 % to 95 %), 1.33 times the brain's median.
    assert 1.1 < np.median(flair[lesion]) / median < 1.6
    assert np.percentile(flair[brain], 2) < 0.6 * median
    best = max(
        2 * np.sum((flair > share * median) & lesion) / (np.sum(flair > share * median) + lesion.sum())
        for share in np.linspace(1.1, 1.6, 11)
    )
    assert 0.2 < best < 0.95


def test_lesions_have_about_their_volume_and_number(sliced):
    plan, case = sliced
    lesion = case.label.array
    assert lesion.sum() * case.flair.geometry.voxel_ml == pytest.approx(plan.millilitres, rel=0.35)
    count = int(sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(lesion), True)).max())
    assert 0.4 * plan.count < count < 2 * plan.count


@pytest.mark.slow
def test_sizes_at_1_mm_are_within_those_of_the_real_masks():
    """The 10 % and 90 % quantiles over 29 patients: docs/data.md."""
    plans = plan_cohort(seed=0, cases=10)
    medians, counts = [], []
    for index, plan in enumerate(plans):
        if plan.protocol.spacing[2] == 1 and plan.millilitres > 1:
            labels = sitk.ConnectedComponent(
                sitk.GetImageFromArray(flair_case(seed=0, index=index, cases=10).label.array), True
            )
            sizes = np.bincount(sitk.GetArrayFromImage(labels).ravel())[1:]
            medians.append(np.median(sizes))
            counts.append(sizes.size)
    assert len(counts) >= 3
    assert 8 <= np.median(medians) <= 35 and 17 <= np.median(counts) <= 250


def test_the_folder_is_an_nnunet_dataset_without_a_problem(tmp_path):
    write_phantom(tmp_path / "flair", cases=1, seed=4, kind="wmh")
    cohort = open_cohort(tmp_path / "flair")
    assert (cohort.layout, cohort.label_kind, cohort.maps) == ("nnunet", "binary", ("flair",))
    assert [problem for report in check_cohort(cohort) for problem in report.problems] == []


@given(seed=st.integers(0, 10**9), cases=st.integers(1, 120))
@settings(max_examples=25, deadline=None)
def test_every_seed_deals_the_same_mix_in_another_order(seed, cases):
    plans, others = plan_cohort(seed=seed, cases=cases), plan_cohort(seed=seed + 1, cases=cases)
    assert len({plan.name for plan in plans}) == cases
    for what in ("millilitres", "count"):
        assert sorted(getattr(p, what) for p in plans) == pytest.approx(sorted(getattr(p, what) for p in others))
    assert all(LESION_ML[0][1] <= plan.millilitres <= LESION_ML[-1][1] for plan in plans)
    assert all(LESION_COUNT[0][1] <= plan.count <= LESION_COUNT[-1][1] for plan in plans)
    if cases >= 20:
        assert np.corrcoef(*np.log([(plan.millilitres, plan.count) for plan in plans]).T)[0, 1] > 0.6
        assert {plan.protocol for plan in plans} == {protocol for protocol, _ in PROTOCOLS}
