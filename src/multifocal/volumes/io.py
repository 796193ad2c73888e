"""Read and write images: MetaImage, NIfTI, NRRD and PNG, through SimpleITK."""

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813

from multifocal.errors import UserError
from multifocal.files import atomic
from multifocal.volumes import headers
from multifocal.volumes.geometry import Geometry
from multifocal.volumes.integrity import check_length, check_stream
from multifocal.volumes.resample import to_image
from multifocal.volumes.volume import Volume

sitk.ProcessObject.GlobalWarningDisplayOff()

READERS = {
    ".mha": headers.read_meta,
    ".mhd": headers.read_meta,
    ".nii": headers.read_nifti,
    ".nii.gz": headers.read_nifti,
    ".nrrd": headers.read_nrrd,
    ".png": headers.read_png,
}
EXTENSIONS = tuple(READERS)
LARGEST_NIFTI_SIZE = 32767


class Header(NamedTuple):
    """What is known before the voxels are read: the way to them, the grid, and how many scalar images there are."""

    reader: sitk.ImageFileReader
    geometry: Geometry
    components: int


def extension_of(name: str) -> str:
    """Return the image extension of a file name (".nii.gz" as one), or nothing if it has none.

    Example:
        >>> extension_of("case_01.nii.gz"), extension_of("notes.txt")
        ('.nii.gz', '')
    """
    return next((e for e in sorted(EXTENSIONS, key=len, reverse=True) if name.endswith(e)), "")


def strip_extension(name: str) -> str:
    """Return a file name without its image extension (".nii.gz" as one), or as it is if it has none.

    Example:
        >>> strip_extension("case_01.nii.gz"), strip_extension("v1.2.mha"), strip_extension("notes.txt")
        ('case_01', 'v1.2', 'notes.txt')
    """
    return name.removesuffix(extension_of(name))


def read(path: str | Path, *, component: int | None = None) -> Volume:
    """Read a 2D or 3D image, in the axis order (x, y, z) and dtype of the file (scaled NIfTI comes out as float).

    Of an image with several components (colours, vectors, time points) `component` picks one. PNG files have unit
    spacing. NaN and inf among the voxels are allowed.

    Raises:
        UserError: no such file, not a readable image, truncated or corrupt, a header that promises more voxels than the
            file can hold or whose data file lies elsewhere, a .nii beside a .nii.gz of the same name, an impossible
            geometry, several components and none picked.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "ramp.mha"
        >>> write(file, Volume(np.arange(6.0).reshape(2, 3), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> read(file).array.tolist(), read(file).geometry.spacing
        ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], (1.0, 2.0))
    """
    path = Path(path)
    header = _open(path, whole=True)
    components, backwards = header.components, header.geometry.size[::-1]
    if component is None and components > 1:
        raise UserError(f"{path}: holds {components} components; pick one with component=0 to {components - 1}")
    if component is not None and not 0 <= component < components:
        raise UserError(f"{path}: there is no component {component}; it holds {components}, counted from 0")
    try:
        image = header.reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise headers.damaged(path, f"cannot be read ({_reason(error)})") from error
    channels = image.GetNumberOfComponentsPerPixel()
    frame, channel = divmod(component or 0, channels)
    view = sitk.GetArrayViewFromImage(image).reshape(-1, *backwards, channels)[frame, ..., channel]
    array = np.array(view.T, order="C")
    if READERS[extension_of(path.name)] is headers.read_nifti and array.dtype.kind == "f":
        _put_back_non_finite(array, path, (channels, components // channels), (channel, frame))
    return Volume(array, header.geometry)


def read_geometry(path: str | Path) -> Geometry:
    """Read the grid of an image from its header; of the voxels only the number of bytes is checked.

    Raises:
        UserError: as `read`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "mask.nii.gz"
        >>> write(file, Volume(np.zeros((2, 3), bool), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> read_geometry(file).size
        (2, 3)
    """
    return _open(Path(path), whole=False).geometry


def image_files(path: Path) -> list[Path]:
    """Return the files of an image: its own, and the one that its header says holds the voxels.

    Raises:
        UserError: not a readable image.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> grid = Geometry((1, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> file = Path(tempfile.mkdtemp()) / "case.mhd"
        >>> write(file, Volume(np.zeros((1, 1), np.uint8), grid))
        >>> [file.name for file in image_files(file)]
        ['case.mhd', 'case.zraw']
    """
    extension = extension_of(path.name)
    if not extension:
        raise _unknown_type(path)
    return list(dict.fromkeys((path, READERS[extension](path).path)))


def write(path: str | Path, volume: Volume) -> None:
    """Write an image whole or not at all, compressed; the extension chooses the format.

    Values come back exactly, and from MetaImage and NRRD the geometry too. NIfTI keeps the geometry in float32 (a
    relative error of about 1e-6), PNG (2D uint8 or uint16) keeps none. Bools become uint8. The voxels of an .mhd lie in
    a .zraw beside it.

    Raises:
        UserError: unknown extension, a volume that the format cannot hold, disk full, no permission.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "mask.mha"
        >>> write(file, Volume(np.ones((2, 3), bool), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> read(file).array.dtype
        dtype('uint8')
    """
    path = Path(path)
    extension = extension_of(path.name)
    if not extension:
        raise UserError(f"{path}: unknown image type; choose a name that ends in {', '.join(EXTENSIONS)} (lower case)")
    dtype, size = volume.array.dtype, volume.geometry.size
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        raise UserError(f"{path}: {dtype} cannot be written; convert it to float32")
    if extension == ".png" and (len(size) != 2 or dtype not in (np.bool_, np.uint8, np.uint16)):
        raise UserError(f"{path}: PNG holds 2D uint8 or uint16, not {len(size)}D {dtype}; write .mha instead")
    if extension in (".nii", ".nii.gz") and max(size) > LARGEST_NIFTI_SIZE:
        raise UserError(f"{path}: NIfTI holds at most {LARGEST_NIFTI_SIZE} voxels an axis; write .mha instead")
    if extension == ".mhd" and "%" in str(path):
        raise UserError(f"{path}: an .mhd cannot be written where the path has a '%'; write .mha instead")
    image = to_image(volume)
    with atomic(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
            # ITK does not notice every failed write, so what lies on the disk is checked before it takes the name.
            stored = READERS[extension](temporary)
            check_length(temporary, stored)
            check_stream(temporary, stored)
        except (RuntimeError, UserError) as error:
            raise UserError(
                f"{path}: cannot write all of it (is the disk full?); free some space, run again"
            ) from error
        if extension == ".mhd":
            with stored.path.open("r+b") as voxels:
                os.fsync(voxels.fileno())  # `atomic` sees to the header alone
            # Between these steps there is no header, so never one with another image's voxels.
            path.unlink(missing_ok=True)
            stored.path.replace(path.parent / stored.path.name)


def _open(path: Path, *, whole: bool) -> Header:
    extension = extension_of(path.name)
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name an image file")
        if not path.exists():
            raise UserError(f"{path}: no such file; check the path")
        if not extension:
            raise _unknown_type(path)
        if not path.stat().st_size:
            raise headers.damaged(path, "file is empty")
        beside = path.with_suffix("")
        if extension == ".nii.gz" and beside.exists():
            # ITK takes the header of the one and the voxels of the other.
            raise UserError(
                f"{path}: {beside.name} lies beside it and would be read in its place; remove or rename one of them"
            )
        stored = READERS[extension](path)
        check_length(path, stored)
        if whole:
            check_stream(path, stored)
    except OSError as error:
        raise UserError(
            f"{path}: cannot read: {error.strerror or error}; check the file and its permissions"
        ) from error
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise headers.damaged(path, f"cannot be read ({_reason(error)})") from error
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise UserError(f"{path}: holds complex numbers; save real ones, such as the magnitude")
    size = reader.GetSize()
    n = min(len(size), 3)
    direction = np.array(reader.GetDirection()).reshape(len(size), len(size))[:n, :n]
    spacing, origin = reader.GetSpacing()[:n], reader.GetOrigin()[:n]
    if extension == ".png":
        direction, spacing, origin = np.eye(n), (1.0,) * n, (0.0,) * n
    try:
        geometry = Geometry(size[:n], spacing, origin, tuple(direction.ravel()))
    except ValueError as error:
        raise UserError(f"{path}: {error}; correct the header or convert the image again") from error
    return Header(reader, geometry, reader.GetNumberOfComponents() * int(np.prod(size[n:])))


def _put_back_non_finite(array: np.ndarray, path: Path, components: tuple[int, int], at: tuple[int, int]) -> None:
    # ITK reads the NaN and inf of a NIfTI file as 0; whoever checks the data must see them.
    values = headers.unchanged_floats(path, array.size * math.prod(components))
    if values is not None:
        values = values.reshape(*components, *array.shape[::-1])[at].T
        lost = ~np.isfinite(values)
        array[lost] = values[lost]


def _unknown_type(path: Path) -> UserError:
    return UserError(f"{path}: unknown image type; readable are {', '.join(EXTENSIONS)} (lower case)")


def _reason(error: Exception) -> str:
    text = str(error).split("ERROR:")[-1]
    return " ".join(re.sub(r"\w+\(0x[0-9a-f]+\):", "", text).split())
