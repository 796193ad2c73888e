"""What DICOM objects about a scan share: which algorithm made them, whose they are, their UIDs and times."""

import hashlib
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from multifocal.errors import UserError

# All that an anonymous object takes from its source: a list of what may stay, for that of what may not has no end.
_NOBODYS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("SpecificCharacterSet", "Modality", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength"),
    *("ImageType", "SeriesNumber", "InstanceNumber", "NumberOfFrames", "Rows", "Columns", "PixelSpacing"),
    *("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence"),
)
_ALWAYS_THERE = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName"),
)


@dataclass(frozen=True)
class Algorithm:
    """What made a segmentation.

    Args:
        name: of the model, such as its recipe's; at most 64 characters.
        version: of the package or the model.
        sha256: hash of the model's file, 64 hexadecimal digits.

    Raises:
        ValueError: an empty name or version, one that is too long, or no SHA-256.

    Example:
        >>> Algorithm("default", "0.1.0", "ab" * 32).parameters
        {'model_sha256': 'abababababababababababababababababababababababababababababababab'}
    """

    name: str
    version: str
    sha256: str

    def __post_init__(self) -> None:
        for field in (self.name, self.version):
            if not field.strip() or len(field) > 64 or "\\" in field or not field.isprintable():
                raise ValueError(f"{field!r} is not 1 to 64 printable characters without a backslash")
        if len(self.sha256) != 64 or not set(self.sha256) <= set("0123456789abcdef"):
            raise ValueError(f"{self.sha256!r} is not a SHA-256 (64 hexadecimal digits)")

    @property
    def parameters(self) -> dict[str, str]:
        """The hash, as DICOM objects carry it."""
        return {"model_sha256": self.sha256}


def digest(*parts: np.ndarray | str) -> str:
    """Return the SHA-256 of arrays and texts."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            data, kind = part.encode(), "text"
        else:
            data, kind = np.ascontiguousarray(part).tobytes(), f"{part.dtype.str}{part.shape}"
        found.update(f"{kind}:{len(data)}:".encode() + data)
    return found.hexdigest()


def content_uid(*parts: str) -> str:
    """Return a UID that follows from texts: the same texts, the same UID."""
    return str(generate_uid(entropy_srcs=["multifocal", *(f"{len(part)}:{part}" for part in parts)]))


def source_header(header: Dataset, *, identity: bool, where: str) -> Dataset:
    """Return a header as DICOM objects about it are made from, with or without whose it is.

    Args:
        header: of a source image, without pixels.
        identity: whether the patient and the particulars of the study stay.
        where: what the user calls the file to be written, for messages.

    Returns:
        A copy (of its top level) that has every field that such objects copy, empty where the source has none.

    Raises:
        UserError: the source has no UID of its study, its series or its frame of reference.
    """
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
        if not header.get(keyword):
            raise UserError(
                f"{where}: the source images have no {keyword}, which an object about them must name; "
                "export them with it (anonymise by replacing UIDs, not by removing them)"
            )
    made = copy(header)
    if not identity:
        made = Dataset()
        for keyword in _NOBODYS:
            if keyword in header:
                made[keyword] = header[keyword]
    for keyword in _ALWAYS_THERE:
        if keyword not in made:
            setattr(made, keyword, "")
    return made


def set_time(dataset: Dataset, when: datetime) -> None:
    """Write when an object was made wherever it stands, in place of when the library was called."""
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S.%f")
    places: list[Any] = [("ContentDate", date), ("InstanceCreationDate", date), ("SeriesDate", date)]
    places += [("ContentTime", time), ("InstanceCreationTime", time), ("SeriesTime", time)]
    for keyword, value in places:
        if keyword in dataset:
            setattr(dataset, keyword, value)
    for item in dataset.get("ContributingEquipmentSequence") or []:
        if "highdicom" in str(item.get("ManufacturerModelName")):
            item.ContributionDateTime = date + time
