"""The DICOM files of a folder or a ZIP file, their headers, and the stored numbers of a frame."""

import logging
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from multifocal.errors import UserError
from multifocal.quiet import quiet
from multifocal.unzip import MAX_BYTES, unzip

MAX_FILES = 100_000
MAX_PIXELS = 1 << 30  # of all frames together: 4 GiB as float32, a hundred times a large ADC map
_ENVELOPE = bytes.fromhex("06092a864886f70d0107")  # PKCS #7, which DICOM's secure media are wrapped in
_GROUPS_NEEDED = (0x0008, 0x0020, 0x0028, 0x0040, 0x5200)
_DECODE = "decompress it (gdcmconv --raw IN OUT, or dcmdjpeg IN OUT) or export it from the PACS uncompressed"


@contextmanager
def silent_about_patients() -> Iterator[None]:
    """Silence what pydicom and highdicom say, as warnings and in logs, of values that they doubt: they quote names.

    Yields:
        None: nothing.
    """
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield the folder or file itself, or the folder that a ZIP file is unpacked to while the block runs.

    Args:
        path: what the user gave.

    Yields:
        A folder, or a file that is no archive.

    Raises:
        UserError: there is no such path, or the archive is not to be trusted.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; check the path")
    if path.is_dir() or not zipfile.is_zipfile(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="multifocal-") as temporary:
        folder = Path(temporary) / "scan"
        unzip(path, folder)
        yield folder


def read_headers(root: Path, name: str) -> list[tuple[Path, FileDataset]]:
    """Read every DICOM file under a folder, without its pixels; what is no DICOM is passed over.

    Args:
        root: folder, or one file.
        name: what the user calls it, for messages.

    Returns:
        Files in the order of their paths, each with its header.

    Raises:
        UserError: no file is DICOM, one is damaged, encrypted or a link out of the folder, or there are too many.
    """
    files = sorted(_files(root, name))
    found, encrypted, directories = [], 0, 0
    for path in files:
        start = _start(path)
        encrypted += _ENVELOPE in start[:64]
        if not (start[128:132] == b"DICM" or start[:2] == b"\x08\x00"):  # the second: from before files had a preamble
            continue
        where = f"{name}: {path.relative_to(root)}" if path != root else name
        header = _header(path, where, force=start[128:132] != b"DICM")
        if header is not None and "SOPClassUID" in header:
            found.append((path, header))
        else:
            directories += 1
    if found:
        return found
    if encrypted:
        raise UserError(
            f"{name}: encrypted DICOM (secure media); decrypt it with the program that wrote it, or export it again"
        )
    if directories:
        raise UserError(f"{name}: a DICOMDIR without its images; give the folder that holds the images too")
    raise UserError(f"{name}: not a DICOM file and none in it; give the folder or ZIP file of one series")


def stored_pixels(path: Path, header: Dataset, frame: int, where: str) -> np.ndarray:
    """Return the numbers of a frame as they are stored.

    Args:
        path: of the file.
        header: of the file.
        frame: which one, from 0.
        where: what the user calls it, for messages.

    Returns:
        Array of (rows, columns).

    Raises:
        UserError: truncated or corrupt pixels, or compressed in a way that nothing installed decodes.
    """
    syntax = UID(header.file_meta.TransferSyntaxUID)
    try:
        # Nothing else would be decoded by GDCM, and it is silent about what it does not know.
        if syntax.is_encapsulated and not get_decoder(syntax).is_available:
            return _decoded_by_itk(path, frame, where)
        return np.asarray(pixel_array(path, index=frame, raw=True))
    except UserError:
        raise
    except NotImplementedError as error:
        raise UserError(f"{where}: its pixels are compressed as {syntax.name}, unknown here; {_DECODE}") from error
    except (ValueError, RuntimeError, AttributeError, OSError, EOFError, IndexError, StopIteration) as error:
        raise UserError(f"{where}: its pixels cannot be read ({_line(error)}); export the series again") from error


def _files(root: Path, name: str) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    inside, size = root.resolve(), 0
    for number, path in enumerate(path for path in root.rglob("*") if path.is_file()):
        if path.name.startswith("."):  # a Mac's shadows of files
            continue
        if not path.resolve().is_relative_to(inside):
            raise UserError(f"{name}: {path.relative_to(root)} is a link out of the folder; put the file itself there")
        size += path.stat().st_size
        if number >= MAX_FILES or size > MAX_BYTES:
            raise UserError(
                f"{name}: more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB; give the folder of one study or series"
            )
        yield path


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(132)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _header(path: Path, where: str, *, force: bool) -> FileDataset | None:
    try:
        # A few kilobytes of deflated text may unpack to all the memory there is.
        if not force and read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise UserError(f"{where}: a deflated file, which is not read; {_DECODE}")
        header = pydicom.dcmread(path, stop_before_pixels=True, force=force)
        if "SOPClassUID" not in header:
            if force or header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
                return None
            raise ValueError("it ends before it says what it is")
        _convert(header)
        if not header.get("SOPInstanceUID"):
            raise ValueError("it has no SOP Instance UID")
        if "TransferSyntaxUID" not in header.file_meta:
            header.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2")  # without one it is implicit little endian
        return header
    except UserError:
        raise
    except InvalidDicomError:
        return None
    # What pydicom raises for a damaged file is anything.
    except Exception as error:  # noqa: BLE001
        raise UserError(f"{where}: damaged DICOM ({_line(error)}); copy or export it again") from error


def _convert(header: Dataset) -> None:
    """Turn all fields from bytes into values now; what is wrong in those that an image is read by is an error.

    Others, private ones and the patient's weight say, are often odd and are dropped.
    """
    for tag in list(header.keys()):
        try:
            element = header[tag]
            for item in element.value if element.VR == "SQ" else ():
                for _ in item.iterall():
                    pass
        except Exception:  # noqa: BLE001
            if tag >> 16 in _GROUPS_NEEDED:
                raise
            del header[tag]


def _decoded_by_itk(path: Path, frame: int, where: str) -> np.ndarray:
    """Decode a frame with the GDCM inside SimpleITK, from a file that holds nothing but the frame.

    GDCM would apply a rescale slope of the file and guess at mosaics; and the copy has nothing of the patient.
    """
    full = pydicom.dcmread(path)
    frames = generate_frames(full.PixelData, number_of_frames=int(full.get("NumberOfFrames", 1)))
    data = next(bytes_ for number, bytes_ in enumerate(frames) if number == frame)
    bare = Dataset()
    for keyword in (
        *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    ):
        setattr(bare, keyword, full[keyword].value)
    bare.SOPClassUID, bare.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    bare.PixelData = encapsulate([data])
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = full.file_meta.TransferSyntaxUID
    with tempfile.TemporaryDirectory(prefix="multifocal-") as temporary:
        file = Path(temporary) / "frame.dcm"
        bare.save_as(file, enforce_file_format=True)
        try:
            with quiet():
                return sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))[0]
        except RuntimeError as error:
            syntax = UID(full.file_meta.TransferSyntaxUID).name
            raise UserError(f"{where}: its pixels, compressed as {syntax}, cannot be decoded; {_DECODE}") from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:160]}..."
