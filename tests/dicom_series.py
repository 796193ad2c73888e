"""Anonymous synthetic ADC series, each written the way a manufacturer writes them; imported by tests as a module."""

import struct
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from multifocal.volumes import Geometry

STUDY, FRAME_OF_REFERENCE = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["frame"])
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "SECRET-1", "PatientBirthDate": "20260101", "PatientSex": "F"}


def oblique(size=(12, 10, 6), spacing=(1.8, 1.9, 3.3)) -> Geometry:
    """A grid turned about all three axes."""
    a, b, c = 0.3, -0.2, 0.5
    turn = (
        np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        @ np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    )
    return Geometry(size, spacing, (-60.25, 44.5, -12.75), tuple(turn.ravel()))


def adc(size=(12, 10, 6), seed=0) -> np.ndarray:
    """A map in 1e-6 mm²/s, whole numbers, no two alike nearby."""
    return np.random.default_rng(seed).integers(700, 2000, size).astype(np.int16)


def base(series: int = 7, instance: int = 1, **fields) -> Dataset:
    """The header that all forms share."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = MRImageStorage
    header.SOPInstanceUID = generate_uid(entropy_srcs=["image", str(series), str(instance)])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(series)])
    header.StudyInstanceUID, header.FrameOfReferenceUID = STUDY, FRAME_OF_REFERENCE
    header.Modality, header.SeriesNumber, header.InstanceNumber = "MR", series, instance
    header.StudyDate, header.StudyTime, header.AccessionNumber, header.StudyID = "20260102", "101112", "ACC-9", "ST-4"
    header.ReferringPhysicianName, header.InstitutionName = "House^Gregory", "Secret Hospital"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    for keyword, value in {**PATIENT, **fields}.items():
        if value is None and keyword in header:
            delattr(header, keyword)
        elif value is not None:
            setattr(header, keyword, value)
    return header


def place(header: Dataset, grid: Geometry, index: int) -> None:
    """Write where a slice lies."""
    header.Rows, header.Columns = grid.size[1], grid.size[0]
    header.PixelSpacing = [grid.spacing[1], grid.spacing[0]]
    header.SliceThickness = header.SpacingBetweenSlices = grid.spacing[2]
    header.ImageOrientationPatient = [f"{number:.10f}" for number in grid.matrix[:, :2].T.ravel()]
    header.ImagePositionPatient = [f"{number:.8f}" for number in grid.affine[:3] @ (0, 0, index, 1)]


def classic(folder: Path, stored: np.ndarray, grid: Geometry, *, series=7, first=1, prefix="a", **fields) -> Path:
    """One file a slice; names and numbers run against the slices, as nothing says that they do not."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(grid.size[2]):
        number = first + grid.size[2] - 1 - index
        header = base(series, number, **{"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], **fields})
        place(header, grid, index)
        header.PixelData = np.ascontiguousarray(stored[:, :, index].T).astype("<u2").tobytes()
        header.save_as(folder / f"{prefix}{number:03d}.dcm", enforce_file_format=True)
    return folder


def siemens(folder: Path) -> Path:
    """Whole numbers of 1e-6 mm²/s, neither slope nor unit; ADC in the image type."""
    return classic(folder, adc(), oblique(), SeriesDescription="ep2d_diff_3scan_ADC")


def ge(folder: Path) -> Path:
    """Only the description says it, and its unit is not that of the numbers; implicit little endian."""
    words = "Apparent Diffusion Coefficient (mm2/s)"
    made = classic(folder, adc(), oblique(), SeriesDescription=words, ImageType=["DERIVED", "SECONDARY", "OTHER"])
    import pydicom

    for file in made.iterdir():
        header = pydicom.dcmread(file)
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        header.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=True)
    return made


def philips(folder: Path) -> Path:
    """Diffusion images and the map in one series, and a slope of each slice's own to 1e-3 mm²/s."""
    grid, values = oblique(), adc()
    classic(folder, adc(seed=1), grid, first=101, prefix="b", ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "TRACE"])
    for index in range(grid.size[2]):
        slope = 2.0**-10 * (1 + index % 3)
        header = base(7, 1 + index, ImageType=["DERIVED", "PRIMARY", "ADC", "ADC", "UNSPECIFIED"])
        place(header, grid, index)
        header.RescaleSlope, header.RescaleIntercept, header.RescaleType = f"{slope:.12g}", "-0.5", "US"
        stored = np.rint((values[:, :, index].T / 1000 + 0.5) / slope)
        header.PixelData = stored.astype("<u2").tobytes()
        header.save_as(folder / f"a{index:03d}.dcm", enforce_file_format=True)
    return folder


def enhanced(path: Path, *, mixed: bool = True) -> Path:
    """Functional groups: the map from the last slice to the first, after as many diffusion-weighted frames."""
    grid, values = oblique(), adc()
    header = base(7, 1, SOPClassUID=EnhancedMRImageStorage, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "MIXED"])
    header.Rows, header.Columns = grid.size[1], grid.size[0]
    shared = Dataset()
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [grid.spacing[1], grid.spacing[0]]
    shared.PixelMeasuresSequence[0].SliceThickness = grid.spacing[2]
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [f"{x:.10f}" for x in grid.matrix[:, :2].T.ravel()]
    header.SharedFunctionalGroupsSequence = [shared]
    groups, planes = [], []
    for kind in ("TRACE", "ADC") if mixed else ("ADC",):
        for index in reversed(range(grid.size[2])):
            group = Dataset()
            group.PlanePositionSequence = [Dataset()]
            position = [f"{x:.8f}" for x in grid.affine[:3] @ (0, 0, index, 1)]
            group.PlanePositionSequence[0].ImagePositionPatient = position
            group.MRImageFrameTypeSequence = [Dataset()]
            group.MRImageFrameTypeSequence[0].FrameType = ["DERIVED", "PRIMARY", "DIFFUSION", kind]
            group.PixelValueTransformationSequence = [Dataset()]
            group.PixelValueTransformationSequence[0].RescaleSlope = "0.5"
            group.PixelValueTransformationSequence[0].RescaleIntercept = "0"
            group.PixelValueTransformationSequence[0].RescaleType = "10^-6 mm^2/s" if kind == "ADC" else "US"
            if kind == "TRACE":
                group.MRDiffusionSequence = [Dataset()]
                group.MRDiffusionSequence[0].DiffusionBValue = 1000.0
            groups.append(group)
            planes.append(values[:, :, index].T * 2 if kind == "ADC" else values[:, :, index].T // 2)
    header.PerFrameFunctionalGroupsSequence, header.NumberOfFrames = groups, len(groups)
    header.PixelData = np.stack(planes).astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def mosaic(path: Path, *, downwards: bool = False, private: bool = True) -> Path:
    """Siemens' mosaic: 6 slices as tiles of a 3 × 3 image, the rest of it black."""
    grid, values = oblique(), adc()
    if downwards:  # the first slice is the last along the normal
        values = values[:, :, ::-1]
    columns, rows, count = grid.size
    canvas = np.zeros((3 * rows, 3 * columns), "<u2")
    for number in range(count):
        row, column = divmod(number, 3)
        canvas[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = values[:, :, number].T
    header = base(7, 1, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND", "MOSAIC"])
    place(header, grid, 0)
    corner = grid.affine[:3] @ (0, 0, count - 1 if downwards else 0, 1)
    across, down = grid.matrix[:, 0] * grid.spacing[0], grid.matrix[:, 1] * grid.spacing[1]
    corner = corner - across * (3 * columns - columns) / 2 - down * (3 * rows - rows) / 2
    header.ImagePositionPatient = [f"{number:.8f}" for number in corner]
    header.Rows, header.Columns = canvas.shape
    header.PixelData = canvas.tobytes()
    if private:
        normal = grid.matrix[:, 2] * (-1 if downwards else 1)
        block = header.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        fields = {"NumberOfImagesInMosaic": [str(count)], "SliceNormalVector": [f"{number:.8f}" for number in normal]}
        block.add_new(0x10, "OB", csa(fields))
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def csa(fields: dict[str, list[str]]) -> bytes:
    """Siemens' private header, as much of it as a mosaic wants."""
    made = b"SV10\4\3\2\1" + struct.pack("<II", len(fields), 77)
    for name, items in fields.items():
        kind = b"US" if name.startswith("Number") else b"FD"
        made += struct.pack("<64si4siii", name.encode(), len(items), kind, 0, len(items), 77)
        for item in items:
            data = item.encode() + b"\0"
            made += struct.pack("<iiii", len(data), len(data), 77, len(data)) + data + b"\0" * (-len(data) % 4)
    return made


def parametric_map(path: Path, source: Path) -> Path:
    """A float map in mm²/s about a classic series, as highdicom writes it: a second opinion on the standard."""
    import highdicom as hd
    import pydicom
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    grid, values = oblique(), adc()
    images = sorted((pydicom.dcmread(file) for file in source.iterdir()), key=lambda image: -image.InstanceNumber)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="ADC",
        lut_explanation="ADC",
        unit=Code("mm2/s", "UCUM", "mm2/s"),
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.DCM.ApparentDiffusionCoefficient,
    )
    made = hd.pm.ParametricMap(
        source_images=images,
        pixel_array=np.ascontiguousarray((values * 1e-6).astype(np.float32).transpose(2, 1, 0)),
        series_instance_uid=generate_uid(),
        series_number=70,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=1e-3, window_width=1e-3)],
    )
    assert grid.size == values.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path)
    return path
