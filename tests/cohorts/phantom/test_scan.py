"""Where a scan's voxels lie, and what is stored in them."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from multifocal.cohorts.phantom.brain import STEP, generator
from multifocal.cohorts.phantom.scan import CORONAL, PROTOCOLS, UNEVEN, make_scan, measure


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
