import shutil
import subprocess
from datetime import datetime

import dicom_series as made
import highdicom as hd
import numpy as np
import pydicom
import pytest

from multifocal.errors import UserError
from multifocal.exporters import Algorithm, write_dicom_seg, write_dicom_sr
from multifocal.instances import components
from multifocal.volumes.dicom import read_dicom

ALGORITHM = Algorithm("default", "0.1.0", "ab" * 32)
WHEN = datetime(2026, 1, 3, 4, 5, 6, 7)
VOXEL = 1.8 * 1.9 * 3.3 / 1000


@pytest.fixture
def mask():
    return np.random.default_rng(3).random((12, 10, 6)) < 0.008


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
@pytest.mark.parametrize("way", ["siemens", "enhanced", "mosaic"])
def test_volumes_are_those_of_the_mask(tmp_path, mask, encoding, way):
    scan = read_dicom(made.siemens(tmp_path / "scan") if way == "siemens" else getattr(made, way)(tmp_path / "s.dcm"))
    write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM, encoding=encoding)
    write_dicom_sr(tmp_path / "seg.dcm", scan, tmp_path / "sr.dcm")
    report, seg = hd.sr.srread(tmp_path / "sr.dcm"), hd.seg.segread(tmp_path / "seg.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    labels, count = components(mask)
    assert len(groups) == count
    for number, group in enumerate(groups, start=1):
        measured = group.get_measurements()[0]
        assert measured.name.value == "118565006"
        assert (measured.unit.value, measured.unit.scheme_designator) == ("mL", "UCUM")
        assert float(measured.value) == pytest.approx((labels == number).sum() * VOXEL, abs=1e-6)
        referenced = group.reference_type, group.referenced_segment
        assert referenced[1].referenced_sop_instance_uid == seg.SOPInstanceUID
        segment = next(item for item in seg.SegmentSequence if item.SegmentNumber == number)
        assert (group.tracking_uid, group.tracking_identifier) == (segment.TrackingUID, segment.TrackingID)
        assert group.finding_type.value == "52988006"
    (total,) = report.content.get_image_measurement_groups()
    assert float(total.get_measurements()[0].value) == pytest.approx(mask.sum() * VOXEL, abs=1e-6)
    assert total.get_measurements()[0].derivation.value == "255619001"
    named = {
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert named == {str(seg.SOPInstanceUID), *(uid for uid, _ in scan.planes)}


def test_no_lesion_is_0_ml(tmp_path, mask):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    write_dicom_seg(mask & False, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    write_dicom_sr(tmp_path / "seg.dcm", scan, tmp_path / "sr.dcm")
    (total,) = hd.sr.srread(tmp_path / "sr.dcm").content.get_image_measurement_groups()
    assert float(total.get_measurements()[0].value) == 0


def test_the_same_input_gives_the_same_bytes(tmp_path, mask):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM, when=WHEN)
    for name in ("a", "b"):
        write_dicom_sr(tmp_path / "seg.dcm", scan, tmp_path / name, when=WHEN)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_identity_is_left_out_when_asked(tmp_path, mask, recwarn, caplog):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    write_dicom_sr(tmp_path / "seg.dcm", scan, tmp_path / "sr.dcm")
    assert pydicom.dcmread(tmp_path / "sr.dcm").PatientID == "SECRET-1"
    write_dicom_sr(tmp_path / "seg.dcm", scan, tmp_path / "sr.dcm", identity=False)
    data = (tmp_path / "sr.dcm").read_bytes()
    for secret in (b"Doe", b"SECRET", b"ACC-9", b"ST-4", b"House", b"Hospital", b"20260101", b"20260102"):
        assert secret not in data
    assert "Doe" not in caplog.text + "".join(str(warning.message) for warning in recwarn)


def test_what_is_refused(tmp_path, mask):
    scan = read_dicom(made.siemens(tmp_path / "scan"))
    write_dicom_seg(mask, scan, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    other = made.classic(tmp_path / "other", made.adc(), made.oblique(), StudyInstanceUID="1.2.3")
    (tmp_path / "text").write_text("x")
    for seg, of, words in (
        (tmp_path / "none", scan, "cannot be read"),
        (tmp_path / "text", scan, "not a DICOM segmentation"),
        (sorted((tmp_path / "scan").iterdir())[0], scan, "not a DICOM segmentation"),
        (tmp_path / "seg.dcm", read_dicom(other), "a segmentation of another scan"),
    ):
        with pytest.raises(UserError, match=words):
            write_dicom_sr(seg, of, tmp_path / "sr.dcm")
    assert not (tmp_path / "sr.dcm").exists()


@pytest.mark.parametrize("way", ["siemens", "enhanced", "mosaic"])
@pytest.mark.parametrize("identity", [True, False])
def test_dciodvfy_finds_nothing(tmp_path, mask, way, identity):
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    scan = read_dicom(made.siemens(tmp_path / "scan") if way == "siemens" else getattr(made, way)(tmp_path / "s.dcm"))
    for name, lesions, segments in (("a", mask, "lesions"), ("b", mask, "one"), ("c", mask & False, "lesions")):
        seg, sr = tmp_path / f"seg{name}.dcm", tmp_path / f"sr{name}.dcm"
        write_dicom_seg(lesions, scan, seg, algorithm=ALGORITHM, segments=segments, identity=identity)
        write_dicom_sr(seg, scan, sr, identity=identity)
        for file in (seg, sr):
            said = subprocess.run([tool, str(file)], capture_output=True, text=True, check=False).stderr
            # An object of nobody lacks the study's date, which a medium's directory is made of.
            found = [line for line in said.splitlines() if "Error" in line or "Warning" in line]
            assert [line for line in found if identity or "DICOMDIR" not in line] == []
