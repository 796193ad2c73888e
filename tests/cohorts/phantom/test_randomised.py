"""Neonates of the domain "random": what holds in each of them, and how far they differ from each other."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from multifocal.cohorts import check_cohort, open_cohort
from multifocal.cohorts.phantom import PhantomCase, phantom_case, write_phantom
from multifocal.cohorts.phantom.brain import generator
from multifocal.cohorts.phantom.neat import LESION_SHARE
from multifocal.cohorts.phantom.randomised import draw_protocol, lesion_share_of, random_case
from multifocal.errors import UserError
from multifocal.instances import components

CASES = 24


@dataclass(frozen=True)
class Facts:
    """What the tests ask about one case; the arrays themselves would fill the memory."""

    share: float
    sizes: tuple[float, ...]
    spacing: tuple[float, float, float]
    millilitres: float
    correlation: float
    adc: float
    shift: float
    spread: float
    false_low: float
    lesion_z: float
    lesion_adc: float
    seen: float


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
    assert np.array_equal(adc, np.rint(adc))
    assert -1200 <= adc.min() < adc.max() <= 4479
    tissue = brain & ~lesion
    labels, _ = components(lesion, connectivity="full")
    return Facts(
        share=float(lesion.sum() / brain.sum()),
        sizes=tuple(np.bincount(labels.ravel())[1:] * case.label.geometry.voxel_ml),
        spacing=case.adc.geometry.spacing,
        millilitres=float(brain.sum()) * case.adc.geometry.voxel_ml,
        correlation=float(np.corrcoef(adc[brain], zadc[brain])[0, 1]),
        adc=float(np.median(adc[tissue])),
        shift=float(zadc[tissue].mean()),
        spread=float(zadc[tissue].std()),
        false_low=float((zadc[tissue] < -2).mean()),
        lesion_z=float(np.median(zadc[lesion])) if lesion.any() else np.nan,
        lesion_adc=float((np.median(adc[lesion]) - adc[brain].mean()) / adc[brain].std()) if lesion.any() else np.nan,
        seen=float((zadc[lesion] < -2).mean()) if lesion.any() else np.nan,
    )


@pytest.fixture(scope="module")
def cohort() -> list[Facts]:
    return [facts(random_case(seed=0, index=index, cases=CASES)) for index in range(CASES)]


def column(cohort: list[Facts], name: str) -> np.ndarray:
    values = np.array([getattr(case, name) for case in cohort])
    return values[~np.isnan(values)]


def test_z_is_no_rescaled_adc(cohort):
    """Real scans: 0.28, 0.45, 0.58 (10, 50, 90 %); those of the neat domain 0.82, 0.85, 0.89."""
    low, middle, high = np.percentile(column(cohort, "correlation"), (10, 50, 90))
    assert 0.15 < low < middle < high < 0.8
    assert 0.35 < middle < 0.62


def test_whole_scans_are_shifted_and_wide_and_low_without_lesions(cohort):
    shifts, spreads = column(cohort, "shift"), column(cohort, "spread")
    assert shifts.min() < -0.2 < 0.5 < shifts.max()
    assert 1.0 < np.median(spreads) < 1.5
    assert 0.3 < np.ptp(spreads) < 2
    assert 0.0005 < np.median(column(cohort, "false_low")) < 0.012


def test_lesions_show_in_z_more_than_in_adc(cohort):
    assert -2.9 < np.median(column(cohort, "lesion_z")) < -2.0
    assert -1.6 < np.median(column(cohort, "lesion_adc")) < -0.5
    seen = column(cohort, "seen")
    assert np.median(seen) > 0.6
    assert seen.min() < 0.7  # not all that readers outline is below -2


def test_labels_have_the_real_shares_and_no_specks(cohort):
    shares = np.array([case.share for case in cohort])
    assert (shares == 0).sum() == 1
    assert 0.0005 < np.median(shares) < 0.01
    assert shares.max() > 0.15
    sizes = [size for case in cohort for size in case.sizes]
    # One component is left where all are specks, so that a case with an injury has a label.
    lone = sum(len(case.sizes) == 1 for case in cohort)
    assert sum(size < 0.045 for size in sizes) <= lone
    assert max(len(case.sizes) for case in cohort) >= 8


def test_brains_and_contrasts_differ(cohort):
    assert all(220 < case.millilitres < 650 for case in cohort)
    assert np.std([case.millilitres for case in cohort]) > 35
    assert all(1000 < case.adc < 1700 for case in cohort)
    assert np.std([case.adc for case in cohort]) > 40


def test_grids_are_the_usual_ones_and_what_lies_around_them():
    protocols = [draw_protocol(generator(0, n)) for n in range(400)]
    through = np.array([protocol.spacing[2] for protocol in protocols])
    across = np.array([protocol.spacing[0] for protocol in protocols])
    assert through.min() >= 1
    assert through.max() <= 6.5
    assert ((across >= 1.1) & (across <= 2.4)).all()
    assert 0.35 < (through < 2.6).mean() < 0.6
    assert 0.25 < (through > 4.4).mean() < 0.5
    assert 0.1 < np.mean([protocol.spacing == (2, 2, 2) for protocol in protocols]) < 0.3
    assert all(protocol.slices[0] * protocol.spacing[2] >= 104 for protocol in protocols)
    assert all(protocol.matrix * min(protocol.spacing[:2]) > 200 for protocol in protocols)
    assert {protocol.coronal for protocol in protocols} == {True, False}
    assert 0.1 < np.mean([protocol.gap > 0 for protocol in protocols]) < 0.5


@pytest.mark.parametrize("index", [1, 4])
def test_the_label_is_of_what_both_maps_show(index):
    """Around a label both maps are higher than inside it."""
    case = random_case(seed=3, index=index, cases=6)
    lesion, brain = case.label.array > 0, case.adc.array != 0
    around = ndimage.binary_dilation(lesion, iterations=4) & ~ndimage.binary_dilation(lesion) & brain
    assert lesion.any()
    assert np.median(case.zadc.array[lesion]) < np.median(case.zadc.array[around]) - 0.4
    assert np.median(case.adc.array[lesion]) < np.median(case.adc.array[around])


def test_shares_are_dealt_and_few_cases_are_empty():
    shares = np.array([lesion_share_of(seed=7, index=index, cases=100) for index in range(100)])
    assert (shares == 0).sum() == 4
    assert shares[shares > 0].min() >= LESION_SHARE[0][1]
    assert shares.max() <= LESION_SHARE[-1][1]
    assert not np.array_equal(shares, [lesion_share_of(seed=8, index=index, cases=100) for index in range(100)])


def test_a_case_comes_from_its_arguments_alone_whatever_the_processes(tmp_path):
    write_phantom(tmp_path / "one", cases=3, seed=2, domain="random")
    write_phantom(tmp_path / "two", cases=3, seed=2, domain="random", workers=2)
    files = sorted(file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*.mha"))
    assert len(files) == 9
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    opened = open_cohort(tmp_path / "one")
    problems = [problem for report in check_cohort(opened) for problem in report.problems]
    assert [problem for problem in problems if problem.severity == "error"] == []
    made = phantom_case(seed=2, index=1, cases=3, domain="random")
    assert np.array_equal(opened.cases[1].images["zadc"].read().array, made.zadc.array)
    assert not np.array_equal(made.adc.array, phantom_case(seed=3, index=1, cases=3, domain="random").adc.array)


def test_a_domain_that_is_none_says_so(tmp_path):
    with pytest.raises(UserError, match="domain: Input should be 'neat' or 'random', found 'wild'"):
        write_phantom(tmp_path / "new", cases=1, seed=0, domain="wild")
    with pytest.raises(UserError, match="options of kind of synthetic cohort wmh: unknown key 'domain'"):
        write_phantom(tmp_path / "new", cases=1, seed=0, kind="wmh", domain="random")
    with pytest.raises(UserError, match="choose 0 to 1"):
        random_case(seed=0, index=2, cases=2)
    assert not (tmp_path / "new").exists()
