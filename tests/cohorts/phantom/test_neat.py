"""Synthetic neonates as a user meets them: cases like those of BONBID-HIE."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.cohorts import check_cohort, open_cohort
from multifocal.cohorts.phantom import PhantomCase, phantom_case, write_phantom
from multifocal.cohorts.phantom.neat import plan_cohort, share_at
from multifocal.cohorts.phantom.scan import CORONAL, PROTOCOLS, UNEVEN
from multifocal.instances import components
from multifocal.volumes import axis_codes, orient, read

CASES = 24


@dataclass(frozen=True)
class Facts:
    """What the tests ask about one case; the arrays themselves would fill the memory."""

    name: str
    share: float
    count: int
    dice: float
    millilitres: float
    fill: float
    codes: str
    adc_range: tuple[float, float]
    adc_medians: tuple[float, float]
    z_medians: tuple[float, float]


def dice_of_threshold(case: PhantomCase) -> float:
    low, label = case.zadc.array < -2, case.label.array > 0
    return 2 * float(np.sum(low & label)) / max(1, int(low.sum() + label.sum()))


def facts(case: PhantomCase) -> Facts:
    adc, zadc, label = case.adc.array, case.zadc.array, case.label.array
    brain, lesion = adc != 0, label == 1
    # What holds in every case is checked here, once.
    assert case.adc.geometry == case.zadc.geometry == case.label.geometry
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in (adc, zadc, label))
    assert set(np.unique(label)) <= {0, 1}
    assert not (lesion & ~brain).any()
    assert not zadc[~brain].any()
    assert np.abs(zadc).max() <= 10
    assert np.count_nonzero(zadc[brain]) > 0.99 * brain.sum()
    healthy = brain & ~lesion
    return Facts(
        name=case.name,
        share=float(lesion.sum() / brain.sum()),
        count=components(lesion, connectivity="full")[1],
        dice=dice_of_threshold(case),
        millilitres=float(brain.sum()) * case.adc.geometry.voxel_ml,
        fill=float(brain.mean()),
        codes=axis_codes(case.adc.geometry),
        adc_range=(float(adc.min()), float(adc.max())),
        adc_medians=tuple(float(np.median(adc[where])) if where.any() else np.nan for where in (lesion, healthy)),
        z_medians=tuple(float(np.median(zadc[where])) if where.any() else np.nan for where in (lesion, healthy)),
    )


@pytest.fixture(scope="module")
def cohort() -> list[Facts]:
    return [facts(phantom_case(seed=0, index=index, cases=CASES)) for index in range(CASES)]


def test_lesion_shares_follow_the_real_distribution(cohort):
    shares = np.array([case.share for case in cohort])
    # 24 of the 40 real cases' quantiles: 7.5 % none, 57.5 % below 1 %, 15 % to 5 %, 20 % above.
    assert np.histogram(shares, [0, 1e-9, 0.01, 0.05, 1])[0].tolist() == [2, 14, 3, 5]
    assert 0.001 < np.median(shares) < 0.004
    assert (shares > 0.4).any()


def test_lesions_are_multifocal(cohort):
    counts = np.array([case.count for case in cohort])
    assert 2 <= np.median(counts) <= 7
    assert counts.max() >= 15
    assert all((case.count == 0) == (case.share == 0) for case in cohort)


def test_thresholded_zadc_scores_as_on_real_cases(cohort):
    def mean_dice(low: float, high: float) -> float:
        return float(np.mean([case.dice for case in cohort if low < case.share <= high]))

    assert 0.4 < np.mean([case.dice for case in cohort]) < 0.6
    assert 0.25 < mean_dice(0, 0.01) < 0.55
    assert 0.5 < mean_dice(0.01, 0.05) < 0.9
    assert 0.72 < mean_dice(0.05, 1) < 0.97


def test_lesions_are_dark_in_both_maps_and_no_threshold_finds_them_all(cohort):
    injured = [case for case in cohort if case.share > 0]
    assert all(case.adc_medians[0] < 0.9 * case.adc_medians[1] for case in injured)
    assert all(case.z_medians[0] < case.z_medians[1] - 0.5 for case in injured)
    assert max(case.dice for case in cohort) < 0.99


def test_adc_has_the_values_of_neonates(cohort):
    for case in cohort:
        assert 1200 < case.adc_medians[1] < 1600, case.name
        assert 2500 < case.adc_range[1] <= 4479, case.name
    negative = [case for case in cohort if case.adc_range[0] < 0]
    assert 1 <= len(negative) <= 6
    assert all(case.adc_range[0] >= -1200 for case in negative)


def test_brains_have_a_plausible_size_and_place(cohort):
    assert all(270 < case.millilitres < 620 for case in cohort)
    assert 0.05 < np.mean([case.fill for case in cohort]) < 0.1


def test_one_case_is_coronal_and_the_others_axial(cohort):
    assert sorted({case.codes for case in cohort}) == ["LIP", "LPS"]
    assert sum(case.codes == "LIP" for case in cohort) == 1


def test_the_geometry_tells_where_the_head_is():
    """Turned to LPS, every brain is longer than wide, with the cerebellum below and behind."""
    for index in range(12):
        case = phantom_case(seed=2, index=index, cases=12)
        upright = orient(case.adc)
        where = np.argwhere(upright.array != 0) * upright.geometry.spacing
        length = np.ptp(where, axis=0)
        assert 75 < length[0] < length[1] < 150, case.name
        lowest = where[where[:, 2] < where[:, 2].min() + 0.15 * length[2]]
        assert lowest[:, 1].mean() > where[:, 1].mean(), case.name
        assert np.ptp(lowest[:, 0]) < 0.85 * length[0], case.name


def test_visits_of_a_subject_share_one_brain(cohort):
    names = [case.name for case in cohort]
    volumes = {case.name: case.millilitres for case in cohort}
    assert names[8:10] == ["PHANTOM_009-VISIT_01", "PHANTOM_009-VISIT_02"]
    assert names[18:20] == ["PHANTOM_018-VISIT_01", "PHANTOM_018-VISIT_02"]
    for first, second in ((8, 9), (18, 19)):
        assert volumes[names[first]] == pytest.approx(volumes[names[second]], rel=0.06)
    assert np.std(list(volumes.values())) > 20


def test_seeds_and_cases_differ():
    arrays = [phantom_case(seed=seed, index=index, cases=3).adc.array for seed, index in ((0, 0), (1, 0), (0, 1))]
    digests = {hashlib.sha256(array.tobytes()).hexdigest() for array in arrays}
    assert len(digests) == 3


def test_the_folder_is_a_cohort_that_passes_its_checks(tmp_path):
    done = []
    write_phantom(tmp_path / "cohort", cases=3, seed=0, progress=lambda count, total: done.append((count, total)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    cohort = open_cohort(tmp_path / "cohort")
    assert (cohort.layout, cohort.maps, len(cohort)) == ("bonbid-hie", ("adc", "zadc"), 3)
    assert [
        problem for report in check_cohort(cohort) for problem in report.problems if problem.severity == "error"
    ] == []
    made = phantom_case(seed=0, index=1, cases=3)
    stored = read(tmp_path / "cohort/1ADC_ss/PHANTOM_002-VISIT_01-ADC_ss.mha")
    assert np.array_equal(stored.array, made.adc.array)
    assert stored.geometry.differences(made.adc.geometry) == []


# The plan: what each case is to be


@given(seed=st.integers(0, 10**12), cases=st.integers(1, 120))
@settings(max_examples=30, deadline=None)
def test_every_seed_deals_the_same_mix_in_another_order(seed, cases):
    plans = plan_cohort(seed=seed, cases=cases)
    assert len({plan.name for plan in plans}) == cases
    expected = [share_at((index + 0.5) / cases) for index in range(cases)]
    assert sorted(plan.share for plan in plans) == pytest.approx(expected)
    assert all(plan.anatomy in (index, index - 1) for index, plan in enumerate(plans))
    visits = {plan.name: plan.anatomy for plan in plans if plan.name.endswith("VISIT_02")}
    assert len(visits) == (cases // 10 if cases >= 10 else 0)
    subjects = [plan.name.split("-VISIT_")[0] for plan in plans]
    assert all(subjects[first] == name.split("-VISIT_")[0] for name, first in visits.items())


def test_plans_of_forty_cases_have_the_real_mix():
    plans = plan_cohort(seed=3, cases=40)
    shares = np.array([plan.share for plan in plans])
    assert np.histogram(shares, [0, 1e-9, 0.01, 0.05, 1])[0].tolist() == [3, 23, 6, 8]
    assert (shares > 0.5).sum() == 2
    protocols = [plan.protocol for plan in plans]
    assert protocols.count(CORONAL) == protocols.count(UNEVEN) == 1
    assert 14 <= sum(protocol.spacing == (2, 2, 2) for protocol in protocols) <= 17
    assert 11 <= sum(protocol.spacing == (1.375, 1.375, 6) for protocol in protocols) <= 14
    assert all(protocol in protocols for protocol, _ in PROTOCOLS)
    tilts = np.array([plan.tilt for plan in plans])
    assert np.median(tilts) < 10
    assert (tilts > 25).sum() >= 2


def test_shares_rise_with_the_quantile_from_none_to_most_of_the_brain():
    shares = [share_at(quantile) for quantile in np.linspace(0, 1, 101)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(0.7)
