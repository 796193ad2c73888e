"""What each frame of a DICOM file is, where it lies, and how its numbers become values, in whichever form it is.

Four forms are known: one frame a file (classic), functional groups (enhanced MR, parametric maps), and Siemens' mosaic,
where the slices of a volume are the tiles of one image. Multi-frame files without functional groups say nothing about
where their frames lie.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, ParametricMapStorage

from multifocal.errors import UserError

_IMAGES = (MRImageStorage, EnhancedMRImageStorage, ParametricMapStorage)


@dataclass(frozen=True)
class Mapping:
    """How stored numbers become values, and the code of their unit, "" where none is given.

    Args:
        slope: factor of the stored number.
        intercept: added after it.
        unit: code of the unit as it is written (UCUM, or text), "" where there is none.
        quantities: codes of what is measured, as "DCM 113041".
        table: whether the values are in a table instead, which is not read.
    """

    slope: float
    intercept: float
    unit: str = ""
    quantities: frozenset[str] = frozenset()
    table: bool = False


@dataclass(frozen=True, eq=False)
class Frame:
    """A slice.

    Args:
        path: of its file.
        header: of its file.
        number: of the frame in the file, from 0.
        kinds: values of ImageType, FrameType and the like, in capitals.
        orientation: direction cosines of the rows and of the columns, (2, 3).
        position: centre of the first pixel in mm, (3,); None where the file does not say.
        spacing: between rows, between columns, in mm.
        shape: rows and columns.
        real_world: real world value mappings.
        rescale: Modality LUT; None where there is none.
        thickness: distance to the next slice, or thickness, in mm; nan where neither is given.
        b_value: of a diffusion-weighted image, in s/mm²; nan where there is none.
        instance: its number in the series.
        padding: least and greatest of the stored numbers that stand for no value; None where none does.
        tile: corner of the tile of a mosaic, (row, column); None for a whole frame.
    """

    path: Path
    header: Dataset = field(repr=False)
    number: int
    kinds: tuple[str, ...]
    orientation: np.ndarray
    position: np.ndarray | None
    spacing: tuple[float, float]
    shape: tuple[int, int]
    real_world: tuple[Mapping, ...]
    rescale: Mapping | None
    thickness: float
    b_value: float
    instance: int
    padding: tuple[float, float] | None
    tile: tuple[int, int] | None = None

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(*self.orientation)


def frames_of(path: Path, header: Dataset, where: str) -> list[Frame]:
    """Return the frames of a file.

    Args:
        path: of the file.
        header: of the file.
        where: what the user calls it, for messages.

    Returns:
        The frames; [] for an object that holds no image.

    Raises:
        UserError: a field of the header that cannot be.
    """
    if "Rows" not in header or "Columns" not in header:
        if header.SOPClassUID in _IMAGES:
            raise UserError(f"{where}: cut off before its pixels; copy or export it again")
        return []
    if header.get("Modality") in ("SEG", "PR", "KO", "SR"):
        return []
    try:
        if "PerFrameFunctionalGroupsSequence" in header:
            return list(_enhanced(path, header))
        if "MOSAIC" in _kinds(header):
            return list(_mosaic(path, header, where))
        return [_frame(path, header, 0, [header], [header])]
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        text = " ".join(str(error).split())
        raise UserError(f"{where}: a field of its header is not as it must be ({text}); export it again") from error


def _enhanced(path: Path, header: Dataset) -> Iterator[Frame]:
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    for number, own in enumerate(header.PerFrameFunctionalGroupsSequence):
        groups = [own, *shared]  # a group stands in one of the two
        items = [item for group in groups for element in group if element.VR == "SQ" for item in (element.value or [])]
        yield _frame(path, header, number, items, groups)


def _frame(path: Path, header: Dataset, number: int, items: Sequence[Dataset], groups: Sequence[Dataset]) -> Frame:
    """Build a frame from the datasets that may hold its fields: its functional groups, or the file's header."""

    def first(keyword: str, default: Any = None) -> Any:
        return next((item.get(keyword) for item in items if item.get(keyword) not in (None, "")), default)

    position = first("ImagePositionPatient")
    orientation = first("ImageOrientationPatient")
    spacing = first("PixelSpacing", (np.nan, np.nan))
    padding = None if (value := header.get("PixelPaddingValue")) is None else float(value)
    limit = padding if (value := header.get("PixelPaddingRangeLimit")) is None else float(value)
    rescale = None
    if (slope := first("RescaleSlope")) is not None:
        kind = str(first("RescaleType", ""))
        rescale = Mapping(float(slope), float(first("RescaleIntercept", 0.0)), "" if kind == "US" else kind)
    elif any(item.get("ModalityLUTSequence") for item in items):
        rescale = Mapping(1.0, 0.0, table=True)
    maps = [item for group in [*groups, header] for item in group.get("RealWorldValueMappingSequence") or []]
    return Frame(
        path=path,
        header=header,
        number=number,
        kinds=_words(first("FrameType")) or _kinds(header),  # a file with frames of several kinds says MIXED
        orientation=_orthonormal(orientation),
        position=None if position is None or orientation is None else _vector(position, 3),
        spacing=(float(spacing[0]), float(spacing[1])),
        shape=(int(header.Rows), int(header.Columns)),
        real_world=tuple(_real_world(item) for item in maps),
        rescale=rescale,
        thickness=float(first("SpacingBetweenSlices", first("SliceThickness", np.nan))),
        b_value=float(first("DiffusionBValue", np.nan)),
        instance=int(header.get("InstanceNumber") or 1),
        padding=None if padding is None or limit is None else (min(padding, limit), max(padding, limit)),
    )


def _mosaic(path: Path, header: Dataset, where: str) -> Iterator[Frame]:
    """Yield the tiles of Siemens' mosaic, each where its slice lies.

    The position of the header is that of the corner of an image as large as the mosaic about the first slice's centre,
    and the private header alone knows how many tiles there are, and on which side of it the second lies.
    """
    from nibabel.nicom.csareader import get_csa_header, get_n_mosaic, get_slice_normal

    whole = _frame(path, header, 0, [header], [header])
    try:
        private = get_csa_header(header, "image")
        count = get_n_mosaic(private) if private else None
        normal = get_slice_normal(private) if private else None
    except Exception:  # noqa: BLE001 - whatever it stumbles upon in what nobody has published
        count = None
    if not count:
        raise UserError(
            f"{where}: a mosaic whose private header (Siemens CSA) is gone, by anonymisation perhaps; "
            "export it with private fields, or as one file a slice"
        )
    across = int(np.ceil(np.sqrt(count)))
    rows, columns = whole.shape[0] // across, whole.shape[1] // across
    if not rows or not columns:
        raise UserError(f"{where}: a mosaic of {count} tiles, more than its pixels; export it as one file a slice")
    if whole.position is None or not np.isfinite(whole.thickness):
        raise UserError(f"{where}: a mosaic without position or slice distance; export it as one file a slice")
    step = whole.normal if normal is None or whole.normal @ np.asarray(normal) > 0 else -whole.normal
    corner = (
        whole.position
        + whole.orientation[0] * whole.spacing[1] * (whole.shape[1] - columns) / 2
        + whole.orientation[1] * whole.spacing[0] * (whole.shape[0] - rows) / 2
    )
    for number in range(int(count)):
        row, column = divmod(number, across)
        yield Frame(
            **{
                **vars(whole),
                "position": corner + step * whole.thickness * number,
                "shape": (rows, columns),
                "tile": (row * rows, column * columns),
            }
        )


def _real_world(item: Dataset) -> Mapping:
    codes = item.get("MeasurementUnitsCodeSequence") or [Dataset()]
    quantities = set()
    for content in item.get("QuantityDefinitionSequence") or []:
        for code in content.get("ConceptCodeSequence") or []:
            quantities.add(f"{code.get('CodingSchemeDesignator')} {code.get('CodeValue')}")
    slope = item.get("RealWorldValueSlope")
    return Mapping(
        slope=1.0 if slope is None else float(slope),
        intercept=float(item.get("RealWorldValueIntercept") or 0.0),
        unit=str(codes[0].get("CodeValue") or ""),
        quantities=frozenset(quantities),
        table=slope is None,
    )


def _kinds(header: Dataset) -> tuple[str, ...]:
    return _words(header.get("ImageType"))


def _words(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value or []
    return tuple(str(word).strip().upper() for word in values)


def _vector(values: Any, count: int) -> np.ndarray:
    vector = np.array([float(value) for value in values])
    if vector.shape != (count,) or not np.isfinite(vector).all():
        raise ValueError(f"{vector.size} numbers where {count} are due")
    return vector


def _orthonormal(values: Any) -> np.ndarray:
    """Return the two cosines, each of length 1 to the last digit: files round them to six."""
    if values is None:
        return np.eye(3)[:2]
    pair = _vector(values, 6).reshape(2, 3)
    lengths = np.linalg.norm(pair, axis=1)
    if np.abs(lengths - 1).max() > 1e-3 or abs(pair[0] @ pair[1]) > 1e-3:
        raise ValueError("the orientation is not two perpendicular unit vectors")
    row = pair[0] / lengths[0]
    column = pair[1] - (pair[1] @ row) * row
    return np.stack([row, column / np.linalg.norm(column)])
