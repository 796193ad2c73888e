from datetime import datetime

import dicom_series as made
import highdicom as hd
import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.exporters import Algorithm, write_dicom_seg, write_dicom_series
from multifocal.instances import components
from multifocal.volumes import Geometry, Volume
from multifocal.volumes.dicom import read_dicom

ALGORITHM = Algorithm("default", "0.1.0", "ab" * 32)
WHEN = datetime(2026, 1, 3, 4, 5, 6, 7)
SECRETS = (b"Doe", b"SECRET", b"ACC-9", b"ST-4", b"House", b"Hospital", b"20260101", b"20260102", b"101112")


@pytest.fixture
def mask():
    return np.random.default_rng(3).random((12, 10, 6)) < 0.03


def source(way, folder):
    if way == "parametric map":
        return made.parametric_map(folder / "map.dcm", made.siemens(folder / "source"))
    if way in ("siemens", "philips", "ge"):
        return getattr(made, way)(folder / "scan")
    return getattr(made, way)(folder / "scan.dcm")


def read_back(path, scan):
    """Return labels on the scan's grid by the positions in the file alone."""
    seg = hd.seg.segread(path)
    labels, to_index = np.zeros(scan.volume.array.shape, int), np.linalg.inv(scan.volume.geometry.affine)
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    for frame, groups in zip(
        seg.pixel_array.reshape(-1, seg.Rows, seg.Columns), seg.PerFrameFunctionalGroupsSequence, strict=True
    ):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        points = position + np.outer(columns * spacing[1], orientation[0]) + np.outer(rows * spacing[0], orientation[1])
        found = points @ to_index[:3, :3].T + to_index[:3, 3]
        np.testing.assert_allclose(found, np.rint(found), atol=1e-3)
        values = frame[rows, columns].astype(int)
        if seg.SegmentationType == "BINARY":
            where = groups if "SegmentIdentificationSequence" in groups else shared
            values = values * int(where.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        labels[tuple(np.rint(found).astype(int).T)] = values
    return labels


@pytest.mark.parametrize("way", ["siemens", "philips", "enhanced", "mosaic", "parametric map"])
@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
def test_there_and_back_voxel_for_voxel(tmp_path, mask, way, encoding):
    scan = read_dicom(source(way, tmp_path))
    write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM, encoding=encoding)
    labels, _ = components(mask)
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", scan), labels)
    write_dicom_seg(mask, scan, tmp_path / "one.dcm", algorithm=ALGORITHM, encoding=encoding, segments="one")
    np.testing.assert_array_equal(read_back(tmp_path / "one.dcm", scan), mask)


def test_highdicom_reads_it_on_the_scans_grid(tmp_path, mask):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    mask[:, :, [0, -1]] = True  # it reads from the first to the last frame that is there
    write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    if volume.affine[:3, 0] @ scan.volume.geometry.affine[:3, 2] < 0:
        volume = volume.flip_spatial(0)
    np.testing.assert_array_equal(volume.array.transpose(2, 1, 0), components(mask)[0])
    np.testing.assert_allclose(volume.affine[:, [2, 1, 0, 3]], scan.volume.geometry.affine, atol=1e-6)


def test_what_it_says(tmp_path, mask):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    assert seg.number_of_segments == components(mask)[1]
    uids = set()
    for number, segment in enumerate(seg.SegmentSequence, start=1):
        assert (segment.SegmentNumber, segment.SegmentLabel) == (number, f"Lesion {number}")
        code = segment.SegmentedPropertyCategoryCodeSequence[0]
        assert (code.CodingSchemeDesignator, code.CodeValue) == ("SCT", "49755003")
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006"
        assert segment.AnatomicRegionSequence[0].CodeValue == "12738006"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        known = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (known.AlgorithmName, known.AlgorithmVersion) == ("default", "0.1.0")
        assert known.AlgorithmParameters == f"model_sha256={'ab' * 32}"
        assert segment.TrackingID == f"lesion {number}"
        uids.add(segment.TrackingUID)
    assert len(uids) == seg.number_of_segments
    sources = {
        str(item.ReferencedSOPInstanceUID) for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert sources == {uid for uid, _ in scan.planes}
    assert seg.StudyInstanceUID == made.STUDY
    assert seg.FrameOfReferenceUID == made.FRAME_OF_REFERENCE
    assert (seg.PatientID, str(seg.PatientName), seg.AccessionNumber) == ("SECRET-1", "Doe^Jane", "ACC-9")


def test_each_frame_names_the_image_under_it(tmp_path, mask):
    for way in ("siemens", "enhanced"):
        scan = read_dicom(source(way, tmp_path))
        write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
        seg = hd.seg.segread(tmp_path / "seg.dcm")
        inverse = np.linalg.inv(scan.volume.geometry.affine)
        for groups in seg.PerFrameFunctionalGroupsSequence:
            position = [*map(float, groups.PlanePositionSequence[0].ImagePositionPatient), 1.0]
            uid, frame = scan.planes[round(float((inverse @ position)[2]))]
            items = groups.DerivationImageSequence[0].SourceImageSequence
            assert {str(item.ReferencedSOPInstanceUID) for item in items} == {uid}
            # Of frames at the same place, as those that a map was computed from, the map's is among them.
            assert frame is None or frame in [item.get("ReferencedFrameNumber") for item in items]


def test_the_same_input_gives_the_same_bytes_and_another_time_only_the_same_lesions(tmp_path, mask):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    for name, when in (("a", WHEN), ("b", WHEN), ("c", datetime(2026, 2, 2))):
        write_dicom_seg(mask, scan, tmp_path / name, algorithm=ALGORITHM, when=when)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first, later = hd.seg.segread(tmp_path / "a"), hd.seg.segread(tmp_path / "c")
    assert first.SOPInstanceUID != later.SOPInstanceUID
    assert (first.ContentDate, first.ContentTime) == ("20260103", "040506.000007")
    tracked = [[segment.TrackingUID for segment in seg.SegmentSequence] for seg in (first, later)]
    assert tracked[0] == tracked[1]


def test_without_identity_there_is_nothing_of_the_patient(tmp_path, mask, recwarn, caplog):
    for way in ("siemens", "enhanced", "mosaic"):
        scan = read_dicom(source(way, tmp_path))
        write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM, identity=False)
        data = (tmp_path / "seg.dcm").read_bytes()
        assert [secret for secret in SECRETS if secret in data] == []
        assert hd.seg.segread(tmp_path / "seg.dcm").StudyInstanceUID == made.STUDY
        write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
        assert b"Doe^Jane" in (tmp_path / "seg.dcm").read_bytes()
    said = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert "Doe" not in said


def test_a_mask_without_lesions_is_one_empty_segment(tmp_path):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    for encoding in ("binary", "labelmap"):
        write_dicom_seg(np.zeros((12, 10, 6), bool), scan, tmp_path / "seg.dcm", algorithm=ALGORITHM, encoding=encoding)
        seg = hd.seg.segread(tmp_path / "seg.dcm")
        assert [segment.SegmentNumber for segment in seg.SegmentSequence if segment.SegmentNumber] == [1]
        assert not seg.pixel_array.any()


def test_labels_keep_their_numbers_and_touching_lesions_apart(tmp_path):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    labels = np.zeros((12, 10, 6), np.int32)
    labels[2:4], labels[4:6] = 2, 1
    write_dicom_seg(Volume(labels, made.oblique()), scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", scan), labels)


def test_what_is_refused(tmp_path, mask):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    moved = Geometry((12, 10, 6), (1.8, 1.9, 3.3), (0, 0, 0), made.oblique().direction)
    labels = mask.astype(int)
    labels[0, 0, 0] = 3
    for wrong, words in (
        (mask[:-1], "a mask of shape"),
        (Volume(mask, moved), "not on the scan's grid"),
        (mask.astype(float), "not float64; threshold"),
        (-mask.astype(int), "labels from 0"),
        (labels, "some are missing"),
    ):
        with pytest.raises(UserError, match=words):
            write_dicom_seg(wrong, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    with pytest.raises(UserError, match="unknown encoding"):
        write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM, encoding="fractional")
    with pytest.raises(UserError, match="unknown way"):
        write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM, segments="each")
    folder = made.classic(tmp_path / "no", made.adc(), made.oblique(), FrameOfReferenceUID=None)
    with pytest.raises(UserError, match="no FrameOfReferenceUID"):
        write_dicom_seg(mask, read_dicom(folder), tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_source_that_lacks_what_is_optional(tmp_path, mask):
    lacking = dict.fromkeys([*made.PATIENT, "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "InstitutionName"])
    folder = made.classic(tmp_path / "scan", made.adc(), made.oblique(), ReferringPhysicianName=None, **lacking)
    write_dicom_seg(mask, read_dicom(folder), tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert hd.seg.segread(tmp_path / "seg.dcm").PatientID in ("", None)


@pytest.mark.parametrize(
    "fields", [("", "1", "0" * 64), ("a", "1", "0" * 63), ("a\\b", "1", "0" * 64), ("a", "1\n", "0" * 64)]
)
def test_algorithms(fields):
    with pytest.raises(ValueError, match="is not"):
        Algorithm(*fields)


def test_a_volume_as_a_series_comes_back(tmp_path):
    grid, random = made.oblique(), np.random.default_rng(0)
    whole = random.integers(0, 4000, grid.size)
    for values, step in ((whole, 0), (whole * 0.731, 4000 * 0.731 / 65535)):
        folder = tmp_path / f"scan{step:.2f}"
        write_dicom_series(Volume(values, grid), folder)
        scan = read_dicom(folder)
        assert scan.volume.geometry.differences(grid, tolerance=1e-6) == []
        assert np.abs(scan.volume.array - values).max() <= step / 2 + 1e-3
    with pytest.raises(UserError, match="exists already"):
        write_dicom_series(Volume(whole, grid), folder)
    with pytest.raises(UserError, match="not negative"):
        write_dicom_series(Volume(whole - 10, grid), tmp_path / "other")
