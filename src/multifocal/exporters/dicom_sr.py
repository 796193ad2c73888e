"""The volumes of a DICOM segmentation as a DICOM measurement report (TID 1500)."""

from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from multifocal.errors import UserError
from multifocal.exporters.dicom_objects import (
    content_uid,
    digest,
    set_time,
    source_header,
)
from multifocal.exporters.dicom_seg import BRAIN, CATEGORY, LESION, SERIES_NUMBER
from multifocal.files import atomic
from multifocal.volumes.dicom import DicomScan
from multifocal.volumes.dicom.files import silent_about_patients

MILLILITRE = Code("mL", "UCUM", "milliliter")
_DIGITS = 6  # after the point, of mL: a cubic millimetre is 0.001


def write_dicom_sr(
    segmentation: str | Path, scan: DicomScan, path: str | Path, *, identity: bool = True, when: datetime | None = None
) -> None:
    """Write the volume of each segment of a segmentation, and of all, as a DICOM structured report.

    Each segment is a measurement group (TID 1411) with the segment's own tracking identifier and UID, a reference to it
    and to the source series, and its volume in mL: voxels times the volume of one. A group (TID 1501) has the total.

    Args:
        segmentation: the file that `write_dicom_seg` wrote.
        scan: what it was made from.
        path: the file to write; an old one is replaced.
        identity: whether the patient's and the study's particulars are copied from the scan.
        when: time of making; None is now. With the same `when` the same input gives the same bytes.

    Raises:
        UserError: the segmentation cannot be read or is of another scan; the file cannot be written.

    Source:
        DICOM PS3.16, TID 1500 and TID 1411; Clunie, DICOM Structured Reporting, 2000.

    Example:
        >>> import tempfile
        >>> from multifocal.exporters import Algorithm, write_dicom_seg, write_dicom_series
        >>> from multifocal.volumes import Geometry, Volume
        >>> from multifocal.volumes.dicom import read_dicom
        >>> folder, size = Path(tempfile.mkdtemp()), (8, 8, 4)
        >>> grid = Geometry(size, (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        >>> write_dicom_series(Volume(np.full(size, 1100, np.int16), grid), folder / "scan")
        >>> scan = read_dicom(folder / "scan")
        >>> write_dicom_seg(np.ones(size, bool), scan, folder / "seg.dcm", algorithm=Algorithm("zadc", "1", "0" * 64))
        >>> write_dicom_sr(folder / "seg.dcm", scan, folder / "sr.dcm")
        >>> report = sr.srread(folder / "sr.dcm").content
        >>> [float(group.get_measurements()[0].value) for group in report.get_volumetric_roi_measurement_groups()]
        [3.072]
    """
    path = Path(path)
    when = when or datetime.now()
    seg = _segmentation(Path(segmentation), scan)
    headers = [source_header(header, identity=identity, where=str(path)) for header in scan.headers]
    voxels = _voxels(seg)
    own = [seg.SOPInstanceUID, headers[0].SeriesInstanceUID, str(identity), when.isoformat(), digest(voxels)]
    millilitres = [round(float(count) * scan.volume.geometry.voxel_ml, _DIGITS) for count in voxels]
    groups: list[Any] = [
        _group(segment, volume, seg, headers[0]) for segment, volume in zip(_segments(seg), millilitres, strict=True)
    ]
    groups.append(_total(round(float(voxels.sum()) * scan.volume.geometry.voxel_ml, _DIGITS), seg, headers, own))
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                    uid=content_uid("device", version("multifocal")), name="multifocal", manufacturer_name="multifocal"
                ),
            )
        ),
        procedure_reported=Code("816077007", "SCT", "MRI of brain"),
        title=codes.cid7021.ImagingMeasurementReport,
        imaging_measurements=groups,
        # highdicom describes an image by fields that multi-frame files keep elsewhere.
        referenced_images=None if "NumberOfFrames" in headers[0] else headers,
    )
    with silent_about_patients():
        made = sr.ComprehensiveSR(
            evidence=[*headers, _shown(seg, headers[0])],
            content=report,
            series_instance_uid=content_uid("report series", *own),
            series_number=SERIES_NUMBER + 1,
            sop_instance_uid=content_uid("report", *own),
            instance_number=1,
            manufacturer="multifocal",
            is_complete=True,
            is_final=False,
            is_verified=False,
            series_description="Lesion volumes (multifocal, research only)",
            manufacturer_model_name="multifocal",
            software_versions=version("multifocal"),
        )
    set_time(made, when)
    with atomic(path) as temporary, silent_about_patients():
        made.save_as(temporary)


def _segmentation(path: Path, scan: DicomScan) -> Any:
    try:
        with silent_about_patients():
            seg = hd.seg.segread(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    # pydicom and highdicom raise what they come upon.
    except Exception as error:  # noqa: BLE001
        raise UserError(f"{path}: not a DICOM segmentation; give what write_dicom_seg wrote") from error
    if str(seg.get("FrameOfReferenceUID")) != str(scan.headers[0].get("FrameOfReferenceUID")) or str(
        seg.StudyInstanceUID
    ) != str(scan.headers[0].get("StudyInstanceUID")):
        raise UserError(f"{path}: a segmentation of another scan; give the one that was made from this scan")
    return seg


def _segments(seg: Any) -> list[Any]:
    return [item for item in seg.SegmentSequence if item.SegmentNumber]  # 0 is the background of a label map


def _voxels(seg: Any) -> np.ndarray:
    """Return the number of voxels of each segment."""
    numbers = [int(item.SegmentNumber) for item in _segments(seg)]
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    if seg.SegmentationType == "LABELMAP":
        return np.bincount(frames.ravel(), minlength=max(numbers) + 1)[numbers]
    counts, shared = dict.fromkeys(numbers, 0), seg.SharedFunctionalGroupsSequence[0]
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        # What all frames have in common stands in one place, and of one segment that is its number.
        of = groups if "SegmentIdentificationSequence" in groups else shared
        counts[int(of.SegmentIdentificationSequence[0].ReferencedSegmentNumber)] += int(np.count_nonzero(frame))
    return np.array([counts[number] for number in numbers])


def _group(segment: Any, volume: float, seg: Any, source: Any) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=segment.TrackingUID, identifier=segment.TrackingID),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=int(segment.SegmentNumber),
            source_series=sr.SourceSeriesForSegmentation(referenced_series_instance_uid=source.SeriesInstanceUID),
        ),
        finding_category=CATEGORY,
        finding_type=LESION,
        finding_sites=[sr.FindingSite(anatomic_location=BRAIN)],
        algorithm_id=_algorithm(segment),
        measurements=[sr.Measurement(name=codes.SCT.Volume, value=volume, unit=MILLILITRE)],
    )


def _total(volume: float, seg: Any, headers: list[Any], own: list[str]) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=content_uid("all lesions", *own), identifier="all lesions"),
        finding_category=CATEGORY,
        finding_type=LESION,
        finding_sites=[sr.FindingSite(anatomic_location=BRAIN)],
        algorithm_id=_algorithm(_segments(seg)[0]),
        source_images=[
            sr.SourceImageForMeasurementGroup(
                referenced_sop_class_uid=header.SOPClassUID, referenced_sop_instance_uid=header.SOPInstanceUID
            )
            for header in headers
        ],
        measurements=[sr.Measurement(name=codes.SCT.Volume, value=volume, unit=MILLILITRE, derivation=codes.SCT.Total)],
    )


def _algorithm(segment: Any) -> sr.AlgorithmIdentification:
    known = segment.SegmentationAlgorithmIdentificationSequence[0]
    return sr.AlgorithmIdentification(
        name=known.AlgorithmName, version=known.AlgorithmVersion, parameters=[str(known.AlgorithmParameters)]
    )


def _shown(seg: Any, source: Any) -> Any:
    """Return the segmentation as evidence of the same patient as the source: it may have been written without."""
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(seg, keyword, source.get(keyword))
    return seg
