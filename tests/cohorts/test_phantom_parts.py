"""The parts of the synthetic cohort: what each case is to be, where its voxels lie, how foci are made."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.cohorts.phantom.brain import STEP, make_brain
from multifocal.cohorts.phantom.case import measure
from multifocal.cohorts.phantom.lesions import PATTERNS, foci, level_of, susceptibility
from multifocal.cohorts.phantom.noise import generator, smooth_noise
from multifocal.cohorts.phantom.plan import CORONAL, PROTOCOLS, UNEVEN, plan_cohort, share_at
from multifocal.cohorts.phantom.scan import make_scan


@pytest.fixture(scope="module")
def head():
    return make_brain(generator(0, 9))


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


@pytest.mark.parametrize("protocol", [*(protocol for protocol, _ in PROTOCOLS), UNEVEN, CORONAL])
def test_a_scan_sees_the_head_where_its_geometry_says(head, protocol):
    """Distances and angles between voxels are the same by ITK's geometry and by the head's own coordinates."""
    scan = make_scan(generator(1, 0), protocol=protocol, tilt=25.0, inside=head.inside)
    fields = [np.broadcast_to(p, head.adc.shape).astype(np.float64) for p in head.position]
    seen = np.stack([scan.see(field, fill=np.nan) for field in fields], axis=-1)
    image = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    image.SetSpacing(scan.geometry.spacing)
    image.SetOrigin(scan.geometry.origin)
    image.SetDirection(scan.geometry.direction)
    corners = [np.array(corner) for corner in np.ndindex(2, 2, 2)]
    middle, reach = np.array(scan.shape) // 2, np.array(scan.shape) // 4
    indices = [middle - reach // 2 + corner * reach for corner in corners]
    world = np.array([image.TransformIndexToPhysicalPoint([int(n) for n in index + scan.lower]) for index in indices])
    there = np.array([seen[tuple(index)] for index in indices])
    assert not np.isnan(there).any()
    # Rigid: pairwise inner products agree, and the handedness too.
    centred = [points - points.mean(axis=0) for points in (world, there)]
    assert np.allclose(centred[0] @ centred[0].T, centred[1] @ centred[1].T, atol=0.05)
    triples = [np.linalg.det(points[[1, 2, 4]] - points[0]) for points in (world, there)]
    assert triples[0] == pytest.approx(triples[1], rel=1e-3)
    # A slice is seen at its centre, however many samples it averages.
    expected = (scan.matrix @ indices[0] + scan.offset - np.array(head.adc.shape) // 2) * STEP
    assert there[0] == pytest.approx(expected, abs=0.02)


def test_slices_follow_a_tilted_head_unless_the_protocol_says_otherwise(head):
    following = [make_scan(generator(5, n), protocol=PROTOCOLS[2][0], tilt=40.0, inside=head.inside) for n in range(5)]
    for scan in following:
        along = scan.matrix / np.linalg.norm(scan.matrix, axis=0)
        assert np.diag(along).min() > np.cos(np.radians(20))
        assert np.trace(np.reshape(scan.geometry.direction, (3, 3))) < 1 + 2 * np.cos(np.radians(20))
    fixed = make_scan(generator(5, 9), protocol=UNEVEN, tilt=40.0, inside=head.inside)
    assert fixed.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert not np.allclose(fixed.matrix, np.diag(np.diag(fixed.matrix)), atol=0.01)


def test_no_voxel_of_the_brain_is_stored_as_zero():
    inside = np.zeros((30, 30, 30), bool)
    inside[5:25, 5:25, 5:25] = True
    for protocol in (PROTOCOLS[0][0], UNEVEN):
        stored = measure(generator(0, 1), np.full(inside.shape, 2.0), inside=inside, protocol=protocol)
        assert np.array_equal(stored != 0, inside)
        assert (stored.min() < 0) == protocol.raw


def test_a_scan_keeps_the_whole_brain_in_its_box(head):
    scan = make_scan(generator(2, 0), protocol=PROTOCOLS[0][0], tilt=30.0, inside=head.inside)
    mask = scan.see(head.inside, fill=-1.0) > 0
    assert float(mask.sum()) * scan.geometry.voxel_ml == pytest.approx(head.millilitres, rel=0.02)
    whole = scan.paste(mask)
    assert whole.shape == scan.geometry.size
    assert whole.sum() == mask.sum()


def test_what_a_scan_covers_is_what_lies_between_its_outer_slices(head):
    scan = make_scan(generator(4, 0), protocol=UNEVEN, tilt=8.0, inside=head.inside)
    middle = tuple(n // 2 for n in head.adc.shape)
    covered = scan.covers(head.position, middle=middle)
    points = np.argwhere(np.ones_like(covered))[::997]
    slices = np.linalg.solve(scan.matrix, (points - scan.offset).T)[2] + scan.lower[2]
    clear = (np.abs(slices) > 0.01) & (np.abs(slices - (scan.geometry.size[2] - 1)) > 0.01)
    expected = (slices > 0) & (slices < scan.geometry.size[2] - 1)
    assert 0 < expected.mean() < 1
    assert np.array_equal(covered[tuple(points.T)][clear], expected[clear])


def test_tissues_share_the_voxels_and_differ_in_adc(head):
    deep, white, cortex = (head.tissue[name] > 0.95 for name in ("deep", "white", "cortex"))
    assert all(share.min() > -1e-5 for share in head.tissue.values())
    assert np.sum(list(head.tissue.values()), axis=0).max() < 1 + 1e-5
    medians = [np.median(head.adc[where & (head.inside > 3)]) for where in (deep, cortex, white)]
    assert medians == sorted(medians)
    assert medians[2] > 1.25 * medians[0]
    assert head.adc.max() > 2600


def test_brain_and_noise_come_from_their_seed_alone():
    assert np.array_equal(make_brain(generator(7, 1)).adc, make_brain(generator(7, 1)).adc)
    assert not np.array_equal(make_brain(generator(7, 1)).adc, make_brain(generator(7, 2)).adc)


def test_smooth_noise_is_as_smooth_as_it_says():
    """A Gaussian of sigma leaves the autocorrelation exp(-d² / 4 sigma²)."""
    for sigma in (1.0, 3.0, 6.0):
        field = smooth_noise(generator(0, 5), (90, 80, 70), sigma=sigma)
        away = round(sigma * 2)
        measured = np.corrcoef(field[:-away].ravel(), field[away:].ravel())[0, 1]
        assert measured == pytest.approx(np.exp(-1), abs=0.12)


@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_foci_have_their_volume_and_stay_where_they_are_likely(head, pattern):
    likely = susceptibility(head, pattern=pattern)
    assert not likely[head.inside <= 0].any()
    height = foci(generator(3, 1), head, likely=likely, count=6, millilitres=3.0)
    wanted = round(3.0 * 1000 / STEP**3)
    found = height >= level_of(height, voxels=wanted)
    assert found.sum() == pytest.approx(wanted, abs=2)
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(found.astype(np.uint8)), True)
    assert 2 <= sitk.GetArrayViewFromImage(labels).max() <= 40
    assert likely[found].mean() > 1.3 * likely[head.inside > 0].mean()


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), voxels=st.integers(-3, 60))
@settings(max_examples=60, deadline=None)
def test_the_level_is_the_nth_highest_value(values, voxels):
    rank = min(max(voxels, 1), len(values))
    assert level_of(np.array(values), voxels=voxels) == sorted(values, reverse=True)[rank - 1]
