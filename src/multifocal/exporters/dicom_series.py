"""Write a volume as a DICOM series, for trying out what reads one: a classic series of an anonymous ADC map."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from multifocal.errors import UserError
from multifocal.exporters.dicom_objects import content_uid, digest
from multifocal.files import atomic
from multifocal.volumes import Volume


def write_dicom_series(volume: Volume, folder: str | Path) -> None:
    """Write an ADC map as one DICOM file a slice, of nobody.

    Values are kept to the nearest of 65,536 steps from 0 to their largest. The same volume gives the same files.

    Args:
        volume: ADC in 1e-6 mm²/s, 3D, not negative; slices along its last axis.
        folder: to be made.

    Raises:
        UserError: the folder exists, or the volume is 2D, has negative values or NaN.

    Example:
        >>> import tempfile
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((8, 8, 4), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        >>> folder = Path(tempfile.mkdtemp()) / "scan"
        >>> write_dicom_series(Volume(np.full((8, 8, 4), 1100, np.int16), grid), folder)
        >>> sorted(file.name for file in folder.iterdir())
        ['0001.dcm', '0002.dcm', '0003.dcm', '0004.dcm']
    """
    folder, array, grid = Path(folder), volume.array, volume.geometry
    if folder.exists():
        raise UserError(f"{folder}: exists already; move it away or choose another folder")
    if grid.ndim != 3 or not np.isfinite(array).all() or array.min() < 0:
        raise UserError(f"{folder}: an ADC map is 3D, finite and not negative; set what is not to 0")
    largest = float(array.max())
    whole = array.dtype.kind in "biu" and largest < 1 << 16
    slope = 1.0 if whole or not largest else float(f"{largest / ((1 << 16) - 1):.10g}")
    stored = np.clip(np.rint(array / slope), 0, (1 << 16) - 1).astype(np.uint16)
    seed = digest(stored, repr(grid.affine.tolist()), repr(slope))
    with atomic(folder) as temporary:
        temporary.mkdir()
        for index in range(grid.size[2]):
            header = _header(seed, index)
            header.Rows, header.Columns = grid.size[1], grid.size[0]
            header.PixelSpacing = [f"{grid.spacing[1]:.10g}", f"{grid.spacing[0]:.10g}"]
            header.SliceThickness = header.SpacingBetweenSlices = f"{grid.spacing[2]:.10g}"
            header.ImageOrientationPatient = [f"{number:.12f}" for number in grid.matrix[:, :2].T.ravel()]
            position = grid.affine[:3] @ (0.0, 0.0, index, 1.0)
            header.ImagePositionPatient = [f"{number:.10g}" for number in position]
            header.RescaleSlope, header.RescaleIntercept = f"{slope:.10g}", "0"
            header.RescaleType = "um2/s"
            header.PixelData = np.ascontiguousarray(stored[:, :, index].T).tobytes()
            header.save_as(temporary / f"{index + 1:04d}.dcm", enforce_file_format=True)


def _header(seed: str, index: int) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = MRImageStorage
    header.SOPInstanceUID = content_uid(seed, "image", str(index))
    header.StudyInstanceUID = content_uid(seed, "study")
    header.SeriesInstanceUID = content_uid(seed, "series")
    header.FrameOfReferenceUID = content_uid(seed, "frame of reference")
    header.Modality, header.Manufacturer = "MR", "multifocal"
    header.PatientName, header.PatientID = "ANONYMOUS^", "ANONYMOUS"
    for keyword in (
        *("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"),
        *(
            "ReferringPhysicianName",
            "PositionReferenceIndicator",
            "PatientPosition",
            "EchoTime",
            "EchoTrainLength",
            "RepetitionTime",
        ),
    ):
        setattr(header, keyword, None if keyword == "EchoTrainLength" else "")
    header.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
    header.SeriesDescription, header.SeriesNumber, header.InstanceNumber = "ADC", 1, index + 1
    header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "EP", "NONE", ""
    header.BodyPartExamined = "BRAIN"
    header.MRAcquisitionType = "2D"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    return header
