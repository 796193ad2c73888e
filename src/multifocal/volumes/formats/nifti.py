"""NIfTI-1 (.nii, .nii.gz), header and voxels: SimpleITK mixes the forms of a header, and reads NaN as 0."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multifocal.errors import UserError
from multifocal.volumes.formats import FORMATS, ImageFormat, OpenImage
from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.headers import Stored, damaged, finite_numbers
from multifocal.volumes.nifti_forms import NiftiForms, forms_of

_KINDS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 128: "u1", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    2304: "u1",
}  # fmt: skip
_COLOURS = {128: 3, 2304: 4}  # numbers a voxel
_VECTORS = (1005, 1006, 1007)  # intents: the fifth axis is no place
_HEADER_LENGTH = 348
_VOXELS_FROM = 352
_LARGEST_SIZE = 32767


@dataclass(frozen=True)
class _Header:
    """What of a header is needed to read its voxels."""

    packed: bool
    order: str
    size: tuple[int, ...]
    kind: int
    offset: int
    slope: float
    intercept: float
    unused: float  # an intercept without a slope
    intent: int
    forms: NiftiForms

    @property
    def colours(self) -> int:
        return _COLOURS.get(self.kind, 1)

    @property
    def vector(self) -> int:
        """Numbers a voxel that lie an image apart."""
        return self.size[4] if len(self.size) == 5 and self.intent in _VECTORS else 1

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.order + _KINDS[self.kind])

    @property
    def needed(self) -> int:
        """Bytes of voxels."""
        return math.prod(self.size) * self.colours * self.dtype.itemsize


class Nifti(ImageFormat):
    """NIfTI-1: 2D to 7D, one file; the geometry is in float32 (a relative error of about 1e-6)."""

    endings = (".nii", ".nii.gz")

    def read_header(self, path: Path) -> Stored:
        """Read where a NIfTI-1 file keeps its voxels; a `UserError` says which field is wrong.

        Args:
            path: of the file.

        Returns:
            The place and the number of bytes.

        Raises:
            UserError: a field of the header that cannot be.
        """
        header = _header(path)
        length = path.stat().st_size
        if header.packed:
            return Stored(path, 0, length, header.offset + header.needed, "gzip")
        return Stored(path, header.offset, length - header.offset, header.needed)

    def check_readable(self, path: Path) -> None:
        """Refuse a .nii.gz beside a .nii of the same name.

        Args:
            path: of the file.

        Raises:
            UserError: there is one.
        """
        beside = path.with_suffix("")
        if path.name.lower().endswith(".nii.gz") and beside.exists():
            # Programs built on ITK take the header of the one and the voxels of the other.
            raise UserError(
                f"{path}: {beside.name} lies beside it, and other programs mix the two; remove or rename one of them"
            )

    def check_writable(self, path: Path, volume: Volume) -> None:
        """Refuse axes longer than the header can say.

        Args:
            path: where to.
            volume: what.

        Raises:
            UserError: one is longer.
        """
        if max(volume.geometry.size) > _LARGEST_SIZE:
            raise UserError(f"{path}: NIfTI holds at most {_LARGEST_SIZE} voxels an axis; write .mha instead")

    def remarks(self, path: Path) -> list[str]:
        """Return where the forms of the header contradict each other, and what of a scale is left aside.

        Args:
            path: of the file.

        Returns:
            A text for each doubt.
        """
        header = _header(path)
        found = header.forms.differences(header.size[:3])
        if header.unused:
            found.append(f"scl_inter {header.unused:g} is left aside, because scl_slope is 0")
        return found

    def open(self, path: Path) -> OpenImage:
        """Read the grid by the form of the header that holds, see `NiftiForms`.

        Args:
            path: of the file.

        Returns:
            The grid, and the way to the voxels.

        Raises:
            UserError: no form of the header is a grid, or a 2D image that is no axial slice.
        """
        header = _header(path)
        n = min(len(header.size), 3)
        form = header.forms.chosen(n)
        if form is None:
            raise UserError(
                f"{path}: neither qform nor sform is a grid (axes sheared, or voxels without a size), as after an "
                "affine registration; resample the image onto a plain grid in the program that made it"
            )
        affine = header.forms.affine(form)
        spacing = header.forms.spacing(form, n)
        direction = affine[:n, :n] / np.linalg.norm(affine[:3, :n], axis=0)
        try:
            geometry = Geometry(
                header.size[:n], spacing, tuple(affine[:n, 3]), tuple(direction.ravel()), nifti=header.forms
            )
        except ValueError as error:
            if n == 2:
                raise UserError(
                    f"{path}: a 2D image that is no axial slice; save it as a 3D image of one slice"
                ) from error
            raise UserError(f"{path}: {error}; correct the header or convert the image again") from error
        channels = header.colours * header.vector
        return OpenImage(header, geometry, channels, math.prod(header.size[n:]) * header.colours)

    def read_voxels(self, path: Path, image: OpenImage, component: int | None) -> np.ndarray:
        """Read one scalar image, NaN and inf among its voxels.

        Args:
            path: of the file.
            image: what `open` returned.
            component: which of them, from 0; channels come first. None is the only one.

        Returns:
            Array in the axis order (x, y, z), C-contiguous; scaled numbers come out as float.

        Raises:
            UserError: not readable.
        """
        header: _Header = image.reader
        frame, channel = divmod(component or 0, image.channels)
        if header.vector > 1:
            frame, channel = channel * (image.components // image.channels) + frame, 0
        size = image.geometry.size
        count = math.prod(size) * header.colours
        try:
            with gzip.open(path) if header.packed else path.open("rb") as file:
                file.seek(header.offset + frame * count * header.dtype.itemsize)
                data = file.read(count * header.dtype.itemsize)
            stored = np.frombuffer(data, header.dtype, count)
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise damaged(path, f"cannot be read ({error})") from error
        values = stored.reshape(*size[::-1], header.colours)[..., channel].T
        if header.slope == 1 and header.intercept == 0:
            return np.array(values, header.dtype.newbyteorder("="), order="C")
        scaled = np.array(values, np.float64, order="C")
        with np.errstate(invalid="ignore"):  # an inf times 0, which stays what it is
            scaled = scaled * header.slope + header.intercept
        is_single = header.dtype.itemsize < 4 or header.dtype == np.float32  # which holds up to 24 bits exactly
        return scaled.astype(np.float32 if is_single else np.float64)

    def write(self, path: Path, volume: Volume) -> None:
        """Write an image, with the header's forms that its grid was read with.

        Args:
            path: where to.
            volume: what `check_writable` let pass.
        """
        data = nifti_bytes(volume)
        path.write_bytes(gzip.compress(data, compresslevel=6, mtime=0) if path.name.endswith(".gz") else data)


FORMATS.register("nifti", Nifti())


def nifti_bytes(volume: Volume, *, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """Return a volume as a NIfTI-1 file, not compressed; the same volume gives the same bytes.

    Args:
        volume: the image; bools become uint8.
        slope: what voxels are multiplied with when they are read.
        intercept: what is added then.

    Returns:
        Header and voxels.

    Raises:
        ValueError: a dtype that NIfTI has not.

    Example:
        >>> grid = Geometry((2, 3), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> len(nifti_bytes(Volume(np.zeros((2, 3), np.int16), grid)))
        364
    """
    array, geometry = volume.array, volume.geometry
    array = array.view(np.uint8) if array.dtype == np.bool_ else array
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    name = array.dtype.str[1:]
    kind = next((kind for kind, known in _KINDS.items() if known == name and kind not in _COLOURS), None)
    if kind is None:
        raise ValueError(f"array of {array.dtype}; NIfTI has no such numbers")
    forms = geometry.nifti
    if forms is None or not _describes(forms, geometry):
        forms = forms_of(geometry.affine)
    header = bytearray(_VOXELS_FROM)
    struct.pack_into("<i", header, 0, _HEADER_LENGTH)
    struct.pack_into("<8h", header, 40, array.ndim, *array.shape, *[1] * (7 - array.ndim))
    struct.pack_into("<2h", header, 70, kind, 8 * array.itemsize)
    forms.pack_into(header)
    struct.pack_into("<4f", header, 92, *[1.0] * 4)
    struct.pack_into("<3f", header, 108, _VOXELS_FROM, slope, intercept)
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header) + array.tobytes(order="F")


def _describes(forms: NiftiForms, geometry: Geometry) -> bool:
    """Whether the forms that a geometry was read with are still those of its grid."""
    form = forms.chosen(geometry.ndim)
    if form is None:
        return False
    affine, n = forms.affine(form), geometry.ndim
    found = np.column_stack([affine[:n, :n], affine[:n, 3]])
    return bool(np.allclose(found, geometry.affine[:n], rtol=0, atol=1e-4 * min(geometry.spacing)))


def _header(path: Path) -> _Header:
    packed, header = _start(path)
    if packed and path.suffix.lower() == ".nii":
        raise UserError(f"{path}: is compressed; rename it to end in .nii.gz")
    order = next((order for order in "<>" if header[:4] == struct.pack(f"{order}i", _HEADER_LENGTH)), None)
    if len(header) < _HEADER_LENGTH or order is None or header[344:347] != b"n+1":
        raise UserError(f"{path}: not a NIfTI-1 file with header and voxels in one; save it as one, or copy it again")

    def numbers(form: str, offset: int) -> tuple:
        return struct.unpack_from(f"{order}{form}", header, offset)

    dims, *sizes = numbers("8h", 40)
    if not 2 <= dims <= 7 or min(sizes[:dims]) < 1:
        raise damaged(path, f"dim {(dims, *sizes)} in the header is not a size")
    forms = NiftiForms.unpack(header, order)
    spacing = forms.pixdim[1 : min(dims, 3) + 1]
    finite_numbers(path, "pixdim", spacing, len(spacing))
    finite_numbers(path, "qform and sform", (*forms.quaternion, *forms.rows), 18)
    if forms.chosen(min(dims, 3)) is None and min(spacing) <= 0:
        raise damaged(path, f"pixdim {spacing} in the header is not a positive spacing")
    (kind,), (intent,) = numbers("h", 70), numbers("h", 68)
    if kind not in _KINDS:
        raise UserError(f"{path}: NIfTI datatype {kind} cannot be read; convert it to a real number type")
    start, slope, intercept = numbers("3f", 108)
    finite_numbers(path, "vox_offset", [start], 1)
    unused = intercept if slope == 0 and math.isfinite(intercept) else 0.0
    if slope == 0 or math.isnan(slope) or kind in _COLOURS:  # the standard: not scaled, whatever the intercept
        slope, intercept = 1.0, 0.0
    finite_numbers(path, "scl_slope and scl_inter", [slope, intercept], 2)
    offset = max(int(start), _HEADER_LENGTH)
    return _Header(packed, order, tuple(sizes[:dims]), kind, offset, slope, intercept, unused, intent, forms)


def _start(path: Path) -> tuple[bool, bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        with path.open("rb") as file:
            return False, file.read(_HEADER_LENGTH)
    try:
        with gzip.open(path) as file:
            return True, file.read(_HEADER_LENGTH)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"compressed voxels are corrupt ({error})") from error
