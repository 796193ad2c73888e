"""Read the ADC map among the DICOM files of a scan: which series it is, its grid, its unit."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from multifocal.errors import SMALLER_IMAGE, UserError, within_memory
from multifocal.volumes.dicom.files import MAX_PIXELS, read_headers, silent_about_patients, stored_pixels, unpacked
from multifocal.volumes.dicom.frames import Frame, Mapping, frames_of
from multifocal.volumes.dicom.units import factor_of, one_unit, settle
from multifocal.volumes.geometry import Geometry, Volume

_ADC_CODES = {"DCM 113041", "DCM 113290"}  # (mono-exponential) apparent diffusion coefficient
_ADC_KIND = re.compile(r"ADC(_.*)?")
_ADC_WORDS = re.compile(r"(?<![a-z])(d?adc(map)?(?![a-z])|apparent[ _-]diffusion)")
_EXPONENTIAL = re.compile(r"(?<![a-z])(e_?adc|exp|exponential|colou?r)(?![a-z])")
_EVEN = 0.01  # share of the slice distance by which slices may be off an even grid; headers round to 0.001 mm and less


@dataclass(frozen=True, eq=False)
class DicomScan:
    """An ADC map, and what an object that refers to it has to know.

    Args:
        volume: float32, in 1e-6 mm²/s, axes (columns, rows, slices), slices along rows × columns.
        planes: of each slice the SOP Instance UID of its source, and its frame there from 1 (None of a classic file).
        headers: of the source files, without pixels, each once, in the order of the slices. They name the patient: they
            are for DICOM objects about the scan and nothing else.
        series: the series, as "series 7".
        reason: why it was taken for the ADC map.
        unit: what it was stored in, and how that was found.
        remarks: what may be doubted.
    """

    volume: Volume = field(repr=False)
    planes: tuple[tuple[str, int | None], ...] = field(repr=False)
    headers: tuple[Dataset, ...] = field(repr=False)
    series: str
    reason: str
    unit: str
    remarks: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return what can be told of the scan without telling whose it is.

        Returns:
            Plain values for JSON: series, reason, unit, remarks, and manufacturer, model and field strength in tesla
            ("" where the header does not say).
        """
        header = self.headers[0]
        return {
            "series": self.series,
            "reason": self.reason,
            "unit": self.unit,
            "remarks": list(self.remarks),
            "manufacturer": str(header.get("Manufacturer") or ""),
            "model": str(header.get("ManufacturerModelName") or ""),
            "field_strength": str(header.get("MagneticFieldStrength") or ""),
        }


def read_dicom(path: str | Path, *, series: int | str | None = None, unit: float | None = None) -> DicomScan:
    """Read the ADC map of a patient from DICOM: classic series, enhanced multi-frame, Siemens mosaic, parametric map.

    The map is the series whose frames say so: by the code of the quantity (DCM 113041), by "ADC" in their type, by the
    unit of their values, or by the words of the series' description, the first of these that any series has. Values
    are slope · stored + intercept of the real world value map whose unit is a diffusivity, or of the rescale slope.
    The unit is the header's, refused where no brain has such values in it; without one it is told from the values:
    1e-6, 1e-3 and 1 mm²/s are three decades apart, and what is in the middle of heads is not.

    Args:
        path: a folder (with what is below it), a ZIP file, or one multi-frame file.
        series: the number or the Series Instance UID of the map, where it cannot be recognised; None recognises it.
        unit: what one of the values is in mm²/s, such as 1e-6, where the file does not say; None settles it.

    Returns:
        The map in 1e-6 mm²/s and where it came from.

    Raises:
        UserError: not DICOM, damaged, encrypted, or compressed in a way that nothing installed decodes; several
            patients; no series is an ADC map, or several are; colour; several images at a position; slices that are
            missing, uneven, shifted or turned against each other; no unit that fits.

    Example:
        >>> import tempfile
        >>> from multifocal.exporters import write_dicom_series
        >>> grid = Geometry((8, 8, 4), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        >>> folder = Path(tempfile.mkdtemp()) / "scan"
        >>> write_dicom_series(Volume(np.full((8, 8, 4), 1100, np.int16), grid), folder)
        >>> scan = read_dicom(folder)
        >>> scan.volume.array.shape, float(scan.volume.array[0, 0, 0]), scan.reason
        ((8, 8, 4), 1100.0, 'ADC in its image type')
        >>> scan.unit
        '1e-06 mm²/s, from its header (um2/s)'
    """
    path = Path(path)
    name = str(path)
    with within_memory(SMALLER_IMAGE, where=name), silent_about_patients(), unpacked(path) as root:
        headers = read_headers(root, name)
        _check_one_patient([header for _, header in headers], name)
        frames, seen = [], set()
        for file, header in headers:
            if (uid := str(header.get("SOPInstanceUID"))) in seen:
                continue  # the same image twice, in two folders of an export
            seen.add(uid)
            frames += frames_of(file, header, _where(name, root, file))
        if not frames:
            raise UserError(f"{name}: holds no images, only reports and the like; give the folder of the ADC series")
        chosen, reason = _choose(frames, series, name)
        where = f"{name}: {_label(chosen[0])}"
        chosen = _in_order(chosen, where)
        geometry = _geometry(chosen, where)
        mappings = [_mapping(frame, where) for frame in chosen]
        if len({mapping is None for mapping in mappings}) > 1:
            raise UserError(f"{where}: some slices have a rescale slope and some have none; export the series again")
        values, remarks = _values(chosen, mappings, geometry, lambda file: _where(name, root, file))
    code = one_unit([mapping.unit if mapping else "" for mapping in mappings], where)
    factor, told = settle(values, code, unit, mapped=mappings[0] is not None, where=where)
    if first := _late_start(chosen):
        remarks.append(first)
    return DicomScan(
        volume=Volume((values * float(f"{factor * 1e6:g}")).astype(np.float32), geometry),
        planes=tuple(
            (str(frame.header.SOPInstanceUID), frame.number + 1 if "NumberOfFrames" in frame.header else None)
            for frame in chosen
        ),
        headers=tuple({str(frame.header.SOPInstanceUID): frame.header for frame in chosen}.values()),
        series=_label(chosen[0]),
        reason=reason,
        unit=told,
        remarks=tuple(remarks),
    )


def _where(name: str, root: Path, file: Path) -> str:
    return name if file == root else f"{name}: {file.relative_to(root)}"


def _check_one_patient(headers: Sequence[Dataset], name: str) -> None:
    # Their names are compared and never shown.
    patients = {(str(header.get("PatientID") or ""), str(header.get("PatientName") or "")) for header in headers}
    if len(patients) > 1:
        raise UserError(f"{name}: holds images of {len(patients)} patients; give the folder of one")


def _choose(frames: Sequence[Frame], series: int | str | None, name: str) -> tuple[list[Frame], str]:
    """Return the frames of the map, and why they are it."""
    if series is not None:
        wanted = str(series).strip()
        found = [frame for frame in frames if wanted in (_number(frame), str(frame.header.get("SeriesInstanceUID")))]
        if not found:
            raise UserError(f"{name}: has no series {wanted}; choose from: {_listed(frames)}")
        reason = "chosen by the user"
        # A series may hold more than the map, as Philips' do.
        ranked = [(frame, rank) for frame in found if (rank := _evidence(frame)[0])]
        if ranked:
            best = max(rank for _, rank in ranked)
            found = [frame for frame, rank in ranked if rank == best]
    else:
        told = [(frame, *_evidence(frame)) for frame in frames]
        best = max(rank for _, rank, _ in told)
        if not best:
            raise UserError(
                f"{name}: no series says that it is an ADC map; name one (series=NUMBER) of: {_listed(frames)}"
            )
        found = [frame for frame, rank, _ in told if rank == best]
        reason = next(text for _, rank, text in told if rank == best)
    grey = [frame for frame in found if not _is_colour(frame.header)]
    if not grey:
        raise UserError(
            f"{name}: {_label(found[0])} is in colour, a picture and no map; give the series of the values themselves"
        )
    if len({str(frame.header.get("SeriesInstanceUID")) for frame in grey}) > 1:
        raise UserError(
            f"{name}: several series are it ({reason}); name one (series=NUMBER or UID) of: {_listed(grey)}"
        )
    return grey, reason


def _evidence(frame: Frame) -> tuple[int, str]:
    """Return how much speaks for a frame being of an ADC map, 0 for nothing, and what."""
    text = str(frame.header.get("SeriesDescription") or "").lower().replace("_", " ")
    if any(mapping.quantities & _ADC_CODES for mapping in frame.real_world):
        return 4, "the code of its quantity is apparent diffusion coefficient"
    if any(_EXPONENTIAL.fullmatch(kind.lower()) for kind in frame.kinds) or _EXPONENTIAL.search(text):
        return 0, ""
    if any(_ADC_KIND.fullmatch(kind) for kind in frame.kinds):
        return 3, "ADC in its image type"
    if any(factor_of(mapping.unit) for mapping in [*frame.real_world, frame.rescale] if mapping):
        return 2, "the unit of its values is a diffusivity"
    if _ADC_WORDS.search(text):
        return 1, "ADC in its series description"
    return 0, ""


def _is_colour(header: Dataset) -> bool:
    return header.get("SamplesPerPixel", 1) != 1 or "MONOCHROME" not in header.get(
        "PhotometricInterpretation", "MONOCHROME2"
    )


def _number(frame: Frame) -> str:
    number = frame.header.get("SeriesNumber")
    return "" if number is None else str(number)


def _label(frame: Frame) -> str:
    return f"series {_number(frame) or frame.header.get('SeriesInstanceUID')}"


def _listed(frames: Sequence[Frame]) -> str:
    """List series by number, type and size; a description is free text, where names may stand."""
    groups: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[str(frame.header.get("SeriesInstanceUID"))].append(frame)
    numbers = [_number(members[0]) for members in groups.values()]
    lines = []
    for uid, members in sorted(groups.items(), key=lambda item: (len(_number(item[1][0])), _number(item[1][0]))):
        number = _number(members[0])
        kinds = "\\".join(members[0].kinds[2:] or members[0].kinds) or "no type"
        lines.append(f"{number if number and numbers.count(number) == 1 else uid} ({len(members)} images, {kinds})")
    return ", ".join(lines[:20]) + (f" and {len(lines) - 20} more" if len(lines) > 20 else "")


def _in_order(frames: list[Frame], where: str) -> list[Frame]:
    """Return slices from first to last along their normal, after refusing those that are no even stack."""
    if any(frame.position is None or not np.isfinite(frame.spacing).all() for frame in frames):
        raise UserError(
            f"{where}: does not say where its images lie (position, orientation, spacing); give the original series"
        )
    first = frames[0]
    if len({frame.shape for frame in frames}) > 1 or any(
        not np.allclose(frame.spacing, first.spacing, rtol=1e-4) for frame in frames
    ):
        raise UserError(f"{where}: images of several sizes in one series; keep those of the map alone in the folder")
    if any(np.abs(frame.orientation - first.orientation).max() > 1e-3 for frame in frames):
        raise UserError(f"{where}: images of several orientations in one series; keep those of the map alone")
    frames = sorted(frames, key=lambda frame: float(frame.position @ first.normal))
    along = np.array([float(frame.position @ first.normal) for frame in frames])
    steps = np.diff(along)
    if not (steps > 1e-3).any():
        raise UserError(f"{where}: one slice ({len(frames)} images); give the folder with all slices of the series")
    if (steps <= 1e-3).any():
        values = sorted({frame.b_value for frame in frames if np.isfinite(frame.b_value)})
        each = len(frames) / (1 + int((steps > 1e-3).sum()))
        kinds = (
            f"b-values {', '.join(f'{value:g}' for value in values)}" if len(values) > 1 else "repeats, time points?"
        )
        raise UserError(
            f"{where}: {each:g} images at each position (4D: {kinds}); an ADC map has one, give the series of the map"
        )
    step = float(np.median(steps))
    off = np.abs(steps - step)
    if off.max() > _EVEN * step:
        at = int(off.argmax())
        ratio = steps[at] / step
        if ratio > 1.5 and abs(ratio - round(ratio)) < 0.05:
            raise UserError(
                f"{where}: {round(ratio) - 1} slice(s) missing after slice {at + 1} of {len(frames)} "
                f"(gap of {steps[at]:.4g} mm, others {step:.4g} mm); export the series again, whole"
            )
        raise UserError(
            f"{where}: slices {at + 1} and {at + 2} are {steps[at]:.4g} mm apart, others {step:.4g} mm; "
            "a volume needs an even distance: give the original series"
        )
    span = np.stack([_placed(frame, where) for frame in frames]) - frames[0].position
    if np.abs(span - np.outer(span @ first.normal, first.normal)).max() > max(_EVEN * step, 0.01 * min(first.spacing)):
        raise UserError(
            f"{where}: slices are shifted against each other (tilted gantry?); resample it to a straight stack"
        )
    return frames


def _placed(frame: Frame, where: str) -> np.ndarray:
    if frame.position is None:
        raise UserError(f"{where}: a slice does not say where it lies; export the series again")
    return frame.position


def _geometry(frames: Sequence[Frame], where: str) -> Geometry:
    first, last = frames[0], frames[-1]
    size = (first.shape[1], first.shape[0], len(frames))
    if np.prod(size, dtype=float) > MAX_PIXELS:
        raise UserError(f"{where}: {size[0]}×{size[1]}×{size[2]} pixels are more than an ADC map has; check its header")
    start, end = _placed(first, where), _placed(last, where)
    step = float((end - start) @ first.normal) / (len(frames) - 1)
    matrix = np.stack([*first.orientation, first.normal], axis=1)
    try:
        return Geometry(size, (first.spacing[1], first.spacing[0], step), tuple(start), tuple(matrix.ravel()))
    except ValueError as error:
        raise UserError(f"{where}: {error}; export the series again") from error


def _mapping(frame: Frame, where: str) -> Mapping | None:
    """Return how the numbers of a slice become diffusivities; None where the header does not say."""
    of_adc = [mapping for mapping in frame.real_world if factor_of(mapping.unit) or mapping.quantities & _ADC_CODES]
    found = of_adc[0] if of_adc else frame.rescale
    if found is None and len(frame.real_world) == 1:
        found = frame.real_world[0]
    if found is None:
        return None
    if found.table:
        raise UserError(
            f"{where}: its values stand in a table (LUT), which is not read; export it with a rescale slope"
        )
    if not np.isfinite([found.slope, found.intercept]).all() or not found.slope:
        raise UserError(
            f"{where}: its slope {found.slope:g} and intercept {found.intercept:g} make no values; export it again"
        )
    return found


def _values(
    frames: Sequence[Frame], mappings: Sequence[Mapping | None], geometry: Geometry, where: Any
) -> tuple[np.ndarray, list[str]]:
    values = np.empty(geometry.size)
    decoded: tuple[Any, np.ndarray] = (None, values)  # a mosaic is decoded once for its tiles
    for index, (frame, mapping) in enumerate(zip(frames, mappings, strict=True)):
        key = (frame.path, frame.number)
        if decoded[0] != key:
            decoded = (key, stored_pixels(frame.path, frame.header, frame.number, where(frame.path)))
        stored = decoded[1]
        if frame.tile is not None:
            row, column = frame.tile
            stored = stored[row : row + frame.shape[0], column : column + frame.shape[1]]
        if stored.shape != frame.shape:
            raise UserError(f"{where(frame.path)}: pixels of {stored.shape}, not {frame.shape}; export it again")
        plane = stored.astype(np.float64)
        if mapping is not None:
            plane = mapping.slope * plane + mapping.intercept
        if frame.padding is not None:
            plane[(stored >= frame.padding[0]) & (stored <= frame.padding[1])] = 0.0
        values[:, :, index] = plane.T
    remarks = []
    if odd := int((~np.isfinite(values)).sum()):
        values[~np.isfinite(values)] = 0.0
        remarks.append(f"{odd} voxels are NaN or infinite, and read as 0")
    return values, remarks


def _late_start(frames: Sequence[Frame]) -> str | None:
    """Return the doubt about a series that begins later than with its first image: a download that was cut off."""
    if "NumberOfFrames" in frames[0].header:
        return None
    numbers = [frame.instance for frame in frames]
    if min(numbers) > 1 and len(set(numbers)) == len(numbers):
        return f"its images are numbered from {min(numbers)}: the first may be missing"
    return None
