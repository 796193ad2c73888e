"""Read and write images: MetaImage, NIfTI, NRRD, PNG, TIFF and what else is registered in `volumes.formats`."""

from pathlib import Path

from multifocal.errors import SMALLER_IMAGE, UserError, out_of_memory, within_memory
from multifocal.files import atomic, one_form, plain_file
from multifocal.volumes.formats import FORMATS, ImageFormat, OpenImage
from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.headers import check_length, check_stream, damaged


def read(path: str | Path, *, component: int | None = None) -> Volume:
    """Read a 2D or 3D image, in the axis order (x, y, z) and dtype of the file (scaled NIfTI comes out as float).

    Of an image with several components (colours, vectors, time points) `component` picks one. PNG and TIFF files have
    unit spacing; without a component, one with a palette is read as its indices. NaN and inf among the voxels are
    allowed.

    Args:
        path: the image file.
        component: which one, counted from 0; None for an image that has only one.

    Returns:
        The voxels and their grid.

    Raises:
        UserError: no such file, not a readable image, truncated or corrupt, a header that promises more voxels than the
            file can hold or whose data file lies elsewhere, a .nii beside a .nii.gz of the same name, an impossible
            geometry, several components and none picked, more voxels than there is memory for.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> file = Path(tempfile.mkdtemp()) / "ramp.mha"
        >>> write(file, Volume(np.arange(6.0).reshape(2, 3), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> read(file).array.tolist(), read(file).geometry.spacing
        ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], (1.0, 2.0))
    """
    path = Path(path)
    with within_memory(SMALLER_IMAGE, where=str(path)):
        return _read(path, component)


def read_geometry(path: str | Path) -> Geometry:
    """Read the grid of an image from its header; of the voxels only the number of bytes is checked.

    Args:
        path: the image file.

    Returns:
        The grid that `read` gives.

    Raises:
        UserError: as `read`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> file = Path(tempfile.mkdtemp()) / "mask.nii.gz"
        >>> write(file, Volume(np.zeros((2, 3), bool), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> read_geometry(file).size
        (2, 3)
    """
    return _open(Path(path), whole=False)[1].geometry


def component_count(path: str | Path) -> int:
    """Return how many scalar images a file holds: 3 of colour, 4 with transparency, as many as there are time points.

    Args:
        path: the image file.

    Returns:
        The number, from the header.

    Raises:
        UserError: as `read`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> file = Path(tempfile.mkdtemp()) / "mask.mha"
        >>> write(file, Volume(np.ones((2, 3), bool), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> component_count(file)
        1
    """
    return _open(Path(path), whole=False)[1].components


def remarks(path: str | Path) -> list[str]:
    """Return what in an image's header other programs may read otherwise.

    Args:
        path: the image file.

    Returns:
        A text for each doubt: forms of a NIfTI header that contradict each other, a scale that is left aside,
        significant bits of a PNG. [] where there is none.

    Raises:
        UserError: as `read`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> file = Path(tempfile.mkdtemp()) / "mask.nii.gz"
        >>> write(file, Volume(np.ones((2, 3), bool), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> remarks(file)
        []
    """
    return _open(Path(path), whole=False)[0].remarks(Path(path))


def write(path: str | Path, volume: Volume) -> None:
    """Write an image whole or not at all, compressed; the extension chooses the format.

    Values come back exactly, and from MetaImage and NRRD the geometry too. NIfTI keeps the geometry in float32 (a
    relative error of about 1e-6), PNG and TIFF (2D) keep none. Bools become uint8. The voxels of an .mhd lie in
    a .zraw beside it.

    Args:
        path: the file to write; an old one is replaced.
        volume: the image.

    Raises:
        UserError: unknown extension, a volume that the format cannot hold, disk full, no permission.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> file = Path(tempfile.mkdtemp()) / "mask.mha"
        >>> write(file, Volume(np.ones((2, 3), bool), Geometry((2, 3), (1, 2), (0, 0), (1, 0, 0, 1))))
        >>> read(file).array.dtype
        dtype('uint8')
    """
    path = Path(path)
    extension = extension_of(path.name)
    if not extension or not path.name.endswith(extension):  # capitals: other programs may not read them
        raise UserError(
            f"{path}: unknown image type; choose a name that ends in {', '.join(extensions())} (lower case)"
        )
    format_, dtype = _by_ending()[extension], volume.array.dtype
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        raise UserError(f"{path}: {dtype} cannot be written; convert it to float32")
    format_.check_writable(path, volume)
    with within_memory(SMALLER_IMAGE, where=str(path)), atomic(path) as temporary:
        try:
            format_.write(temporary, volume)
            # ITK does not notice every failed write, so what lies on the disk is checked before it takes the name.
            stored = format_.read_header(temporary)
            check_length(temporary, stored)
            check_stream(temporary, stored)
        except (RuntimeError, OSError, UserError) as error:
            if out_of_memory(error, ""):
                raise
            raise UserError(
                f"{path}: cannot write all of it (is the disk full?); free some space, run again"
            ) from error
        format_.place_voxels(stored, path)


def extensions() -> tuple[str, ...]:
    """Return the extensions of the images that can be read and written, those of other packages' formats last.

    Returns:
        Lower case, with their dots.

    Example:
        >>> extensions()[:6]
        ('.mha', '.mhd', '.nii', '.nii.gz', '.nrrd', '.png')
    """
    return tuple(_by_ending())


def extension_of(name: str) -> str:
    """Return the image extension of a file name (".nii.gz" as one), or nothing if it has none.

    Args:
        name: the file's name; ".NII.GZ" ends as ".nii.gz" does.

    Returns:
        The extension with its dot, in lower case, or "".

    Example:
        >>> extension_of("case_01.nii.gz"), extension_of("CASE_01.MHA"), extension_of("notes.txt")
        ('.nii.gz', '.mha', '')
    """
    return next((e for e in sorted(_by_ending(), key=len, reverse=True) if name.lower().endswith(e)), "")


def strip_extension(name: str) -> str:
    """Return a file name without its image extension (".nii.gz" as one), or as it is if it has none.

    Args:
        name: the file's name.

    Returns:
        The name without what `extension_of` returns.

    Example:
        >>> strip_extension("case_01.nii.gz"), strip_extension("v1.2.mha"), strip_extension("notes.txt")
        ('case_01', 'v1.2', 'notes.txt')
    """
    return name[: len(name) - len(extension_of(name))]


def image_files(path: str | Path) -> list[Path]:
    """Return the files of an image: its own, and the one that its header says holds the voxels.

    Args:
        path: the image file, or the header where the voxels lie in another file.

    Returns:
        One path, or two: the image's own comes first.

    Raises:
        UserError: not a readable image.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> grid = Geometry((1, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> file = Path(tempfile.mkdtemp()) / "case.mhd"
        >>> write(file, Volume(np.zeros((1, 1), np.uint8), grid))
        >>> [file.name for file in image_files(file)]
        ['case.mhd', 'case.zraw']
    """
    path = Path(path)
    extension = extension_of(path.name)
    if not extension:
        raise _unknown_type(path)
    return list(dict.fromkeys((path, _by_ending()[extension].read_header(path).path)))


def volumes_named(folder: str | Path, ending: str) -> dict[str, Path]:
    """Return the files `<name><ending>.<ext>` of a folder by name, in order; what is called otherwise is passed over.

    Args:
        folder: where to look; folders inside it are not searched.
        ending: what stands between name and extension, such as "_lesion"; may be "".

    Returns:
        Paths by name; hidden files are left out.

    Raises:
        UserError: no such folder, or several files of one name.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a_lesion.nii.gz").write_bytes(b""), (folder / "notes.txt").write_bytes(b"")
        >>> [(name, file.name) for name, file in volumes_named(folder, "_lesion").items()]
        [('a', 'a_lesion.nii.gz')]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds <case>{ending}.<ext>")
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        stem = strip_extension(file.name)
        if stem != file.name and stem.endswith(ending) and not file.name.startswith("."):
            found.setdefault(one_form(stem.removesuffix(ending)), []).append(file)
    if doubled := [" and ".join(file.name for file in files) for files in found.values() if len(files) > 1]:
        raise UserError(f"{folder}: more than one prediction for a case: {'; '.join(doubled)}; keep one of each")
    return {name: files[0] for name, files in found.items()}


def _read(path: Path, component: int | None) -> Volume:
    format_, image = _open(path, whole=True)
    if component is None and image.components > 1 and not image.has_indices:
        raise UserError(
            f"{path}: holds {image.components} components (colours, time points) where one image is expected; save "
            f"one of them as a file of its own, or in Python read it with component=0 to {image.components - 1}"
        )
    if component is not None and not 0 <= component < image.components:
        raise UserError(f"{path}: there is no component {component}; it holds {image.components}, counted from 0")
    return Volume(format_.read_voxels(path, image, component), image.geometry)


def _open(path: Path, *, whole: bool) -> tuple[ImageFormat, OpenImage]:
    extension = extension_of(path.name)
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name an image file")
        if not path.exists():
            raise UserError(f"{path}: no such file; check the path")
        if not extension:
            raise _unknown_type(path)
        if not plain_file(path).stat().st_size:
            raise damaged(path, "file is empty")
        format_ = _by_ending()[extension]
        format_.check_readable(path)
        stored = format_.read_header(path)
        check_length(path, stored)
        if whole:
            check_stream(path, stored)
    except OSError as error:
        raise UserError(
            f"{path}: cannot read: {error.strerror or error}; check the file and its permissions"
        ) from error
    return format_, format_.open(path)


def _by_ending() -> dict[str, ImageFormat]:
    return {ending: format_ for format_ in FORMATS.values() for ending in format_.endings}


def _unknown_type(path: Path) -> UserError:
    return UserError(f"{path}: unknown image type; readable are {', '.join(extensions())}")
