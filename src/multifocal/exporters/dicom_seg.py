"""A mask of lesions as a DICOM segmentation, which a PACS files beside the scan that it was made from."""

from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes

from multifocal.errors import UserError, unknown_name
from multifocal.exporters.dicom_objects import Algorithm, content_uid, digest, set_time, source_header
from multifocal.files import atomic
from multifocal.instances import components
from multifocal.volumes import Volume
from multifocal.volumes.dicom import DicomScan
from multifocal.volumes.dicom.files import silent_about_patients

Segments = Literal["lesions", "one"]
Encoding = Literal["binary", "labelmap"]

CATEGORY = codes.SCT.MorphologicallyAbnormalStructure  # 49755003
LESION = codes.SCT.Lesion  # 52988006
BRAIN = codes.SCT.Brain  # 12738006
MAX_SEGMENTS = (1 << 16) - 1
SERIES_NUMBER = 9001  # far from the scanner's own


def write_dicom_seg(
    mask: np.ndarray | Volume,
    scan: DicomScan,
    path: str | Path,
    *,
    algorithm: Algorithm,
    segments: Segments = "lesions",
    encoding: Encoding = "binary",
    identity: bool = True,
    when: datetime | None = None,
) -> None:
    """Write lesions as a DICOM segmentation on the grid of their scan, which refers to the scan's images.

    Each segment is coded as a lesion (SCT 52988006), a morphologically abnormal structure (SCT 49755003) of the brain
    (SCT 12738006), made automatically by an algorithm that is named with its version and the hash of its model. The
    tracking UID of a lesion follows from the series, the model and the lesion's voxels, so a second run of the same
    model finds the same lesion under the same UID. The UID of the file follows from all that is in it and from `when`:
    with the same `when` the same input gives the same bytes. A mask without lesions has one empty segment.

    Args:
        mask: bools, or labels 0 ... n of lesions, of the scan's shape (columns, rows, slices) or on its grid. A
            lesion of bools is a component of voxels that share a face, an edge or a corner.
        scan: what the mask was made from, as `read_dicom` returns it.
        path: the file to write; an old one is replaced.
        algorithm: what made the mask.
        segments: "lesions" for a segment each, "one" for one of all.
        encoding: "binary" for what every viewer reads, a frame a slice and segment; "labelmap" for the form of 2024
            (Label Map Segmentation Storage): a frame a slice, whatever the number of lesions.
        identity: whether the patient's and the study's particulars are copied from the scan. An archive files by them;
            without them the object is anonymous but for the UIDs of its study, its frame of reference and its sources.
        when: time of making, written into the object; None is now.

    Raises:
        UserError: the mask is not on the scan's grid or no mask, has more lesions than an object can, or the scan lacks
            UIDs; the file cannot be written.

    Source:
        DICOM PS3.3, A.51 and C.8.20; Bridge et al., highdicom, J Digit Imaging 2022.

    Example:
        >>> import tempfile
        >>> from multifocal.exporters import write_dicom_series
        >>> from multifocal.volumes import Geometry
        >>> from multifocal.volumes.dicom import read_dicom
        >>> folder, size = Path(tempfile.mkdtemp()), (8, 8, 4)
        >>> grid = Geometry(size, (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        >>> write_dicom_series(Volume(np.full(size, 1100, np.int16), grid), folder / "scan")
        >>> mask = np.zeros(size, bool)
        >>> mask[2:4, 2:4, 1] = mask[6, 6, 3] = True
        >>> scan = read_dicom(folder / "scan")
        >>> write_dicom_seg(mask, scan, folder / "seg.dcm", algorithm=Algorithm("zadc", "1", "0" * 64))
        >>> segmentation = hd.seg.segread(folder / "seg.dcm")
        >>> [segment.SegmentLabel for segment in segmentation.SegmentSequence], segmentation.SegmentationType
        (['Lesion 1', 'Lesion 2'], 'BINARY')
    """
    path = Path(path)
    if segments not in ("lesions", "one"):
        raise unknown_name("way to divide segments", segments, ("lesions", "one"))
    if encoding not in ("binary", "labelmap"):
        raise unknown_name("encoding", encoding, ("binary", "labelmap"))
    labels = _labels(mask, scan, path, whole=segments == "one")
    when = when or datetime.now()
    headers = [source_header(header, identity=identity, where=str(path)) for header in scan.headers]
    first = headers[0]
    seed = [first.SeriesInstanceUID, algorithm.sha256]
    count = max(int(labels.max()), 1)
    places = [np.flatnonzero(labels == 1)] if count == 1 else _places(labels, count)
    trackers = [content_uid("lesion", *seed, segments, digest(place)) for place in places]
    own = [
        *seed,
        algorithm.name,
        algorithm.version,
        segments,
        encoding,
        str(identity),
        when.isoformat(),
        digest(labels),
    ]
    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=codes.cid7162.ArtificialIntelligence,
        version=algorithm.version,
        source="multifocal",
        parameters=algorithm.parameters,
    )
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label="Lesions" if segments == "one" else f"Lesion {number}",
            segmented_property_category=CATEGORY,
            segmented_property_type=LESION,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identification,
            tracking_uid=tracker,
            tracking_id="lesions" if segments == "one" else f"lesion {number}",
            anatomic_regions=[BRAIN],
        )
        for number, tracker in enumerate(trackers, start=1)
    ]
    affine = scan.volume.geometry.affine[:, [2, 1, 0, 3]]  # highdicom counts slices, rows, columns
    with silent_about_patients():
        made = hd.seg.Segmentation(
            source_images=headers[:1] if "NumberOfFrames" in first else headers,
            further_source_images=headers[1:] if "NumberOfFrames" in first else None,
            pixel_array=hd.Volume(
                np.ascontiguousarray(labels.transpose(2, 1, 0)),
                affine,
                coordinate_system="PATIENT",
                frame_of_reference_uid=first.FrameOfReferenceUID,
            ),
            segmentation_type=SegmentationTypeValues(encoding.upper()),
            segment_descriptions=descriptions,
            series_instance_uid=content_uid("segmentation series", *own),
            series_number=SERIES_NUMBER,
            sop_instance_uid=content_uid("segmentation", *own),
            instance_number=1,
            manufacturer="multifocal",
            manufacturer_model_name="multifocal",
            software_versions=version("multifocal"),
            device_serial_number=algorithm.sha256,
            content_label="LESIONS",
            content_description="Brain lesions, segmented automatically; research only",
            omit_empty_frames=bool(labels.any()),
            series_description="Brain lesions (multifocal, research only)",
        )
    set_time(made, when)
    for item in made.DimensionOrganizationSequence:  # highdicom draws it at random
        item.DimensionOrganizationUID = content_uid("dimensions", *own)
    for item in made.DimensionIndexSequence:
        item.DimensionOrganizationUID = content_uid("dimensions", *own)
    with atomic(path) as temporary, silent_about_patients():
        made.save_as(temporary)


def _labels(mask: np.ndarray | Volume, scan: DicomScan, path: Path, *, whole: bool) -> np.ndarray:
    """Return labels 0 ... n of the scan's shape, after refusing what is not a mask on its grid."""
    grid = scan.volume.geometry
    if isinstance(mask, Volume):
        if differences := mask.geometry.differences(grid):
            raise UserError(f"{path}: the mask is not on the scan's grid ({'; '.join(differences)}); resample it first")
        mask = mask.array
    if mask.shape != grid.size:
        raise UserError(f"{path}: a mask of shape {mask.shape} for a scan of {grid.size}; give it on the scan's grid")
    if mask.dtype.kind not in "biu" or (mask.dtype.kind == "i" and mask.min() < 0):
        raise UserError(f"{path}: a mask holds bools or labels from 0, not {mask.dtype}; threshold probabilities first")
    if whole:
        return (mask > 0).astype(np.uint8)
    labels = components(mask)[0] if mask.dtype == np.bool_ else mask
    count = int(labels.max())
    if count > MAX_SEGMENTS:
        raise UserError(
            f"{path}: {count} lesions are more than DICOM counts ({MAX_SEGMENTS}); write them as one segment"
        )
    present = np.unique(labels)
    if len(present[present > 0]) != count:
        raise UserError(f"{path}: labels up to {count}, but some are missing; number the lesions from 1 on")
    return labels.astype(np.uint8 if count < 1 << 8 else np.uint16)


def _places(labels: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the voxels of each label, in one sort instead of a search a label."""
    flat = labels.ravel()
    found = np.flatnonzero(flat)
    order = np.argsort(flat[found], kind="stable")
    ends = np.cumsum(np.bincount(flat[found], minlength=count + 1)[1:])
    return np.split(found[order], ends[:-1])
