"""One scan, given as files on the command line, as a cohort of one case."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from multifocal.cohorts.case import COLOURS, Case, Cohort, ImageFile
from multifocal.cohorts.check import image_complaints
from multifocal.cohorts.layouts import LAYOUTS, layout_names
from multifocal.cohorts.opening import open_cohort
from multifocal.errors import UserError
from multifocal.volumes import EXTENSIONS, Volume, extension_of, read, strip_extension, write

LAYOUT = "files"
_STRIPPED = 0.25  # of the image's edge at most: a brain that is cut off reaches one side or two, a head's noise all
_LOOKED_AT = 500  # files of a folder, to see whether it is DICOM


def single_scan(files: Mapping[str, str | Path], *, name: str | None = None) -> Cohort:
    """Return a cohort of one case without a label.

    Args:
        files: the image of each map, by its name; one file for red, green and blue holds all three.
        name: of the case, which its masks are called by; None takes that of the first file.

    Returns:
        The cohort.

    Raises:
        UserError: there is no such file, it is no image, or the name could be none of a file.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "S1.nii.gz"
        >>> file.touch()
        >>> [case.name for case in single_scan({"adc": file})]
        ['S1']
    """
    paths = {map_: Path(file) for map_, file in files.items()}
    for map_, path in paths.items():
        if not path.is_file():
            raise UserError(f"{map_}={path}: no such file")
        if not extension_of(path.name):
            raise UserError(f"{map_}={path}: is no image that can be read; expected one of {', '.join(EXTENSIONS)}")
    first = next(iter(paths.values()))
    name = name or strip_extension(first.name)
    of_one = tuple(paths) == COLOURS and len(set(paths.values())) == 1
    images = {map_: ImageFile(path, number if of_one else None) for number, (map_, path) in enumerate(paths.items())}
    case = Case(name, name, images)
    return Cohort(case.name, first.parent, LAYOUT, (case,))


def open_scans(sources: Sequence[str], *, maps: Sequence[str], name: str | None = None, layout: str = "auto") -> Cohort:
    """Return the cases of what a command was given: a cohort, or one scan.

    Args:
        sources: the folder or manifest of a cohort; or the image of each map as `MAP=FILE`; or one image, where only
            one map is wanted.
        maps: what the system reads, in its order; empty where it does not say.
        name: of the case of one scan.
        layout: of a cohort.

    Returns:
        The cohort.

    Raises:
        UserError: it is neither, a map that is wanted is missing, or one is given that nothing reads.

    Example:
        >>> open_scans(["scan.mha"], maps=("adc", "zadc"))
        Traceback (most recent call last):
        multifocal.errors.UserError: scan.mha: is one image, and the model reads 2 maps; give each as adc=FILE zadc=FILE
    """
    named = [_named(source) for source in sources]
    if is_cohort(sources):
        if layout == "auto":
            _check_known(Path(sources[0]))
        if name is not None:
            raise UserError(f"--name {name}: is for one scan; the cases of a cohort have names of their own")
        return open_cohort(sources[0], layout=layout)
    if len(sources) == 1 and named[0] is None:
        if len(maps) != 1 and tuple(maps) != COLOURS:
            wanted = " ".join(f"{map_}=FILE" for map_ in maps) or "MAP=FILE"
            how_many = f"the model reads {len(maps)} maps" if maps else "the model does not say what it is of"
            raise UserError(f"{sources[0]}: is one image, and {how_many}; give each as {wanted}")
        return single_scan(dict.fromkeys(maps, sources[0]), name=name)
    files: dict[str, str] = {}
    for source, pair in zip(sources, named, strict=True):
        if pair is None:
            example = maps[0] if maps else "adc"
            raise UserError(f"{source}: of several files each is given as MAP=FILE, such as {example}={source}")
        if pair[0] in files:
            raise UserError(f"{source}: the map {pair[0]} is given twice; name each once")
        files[pair[0]] = pair[1]
    _check_maps(files, maps)
    return single_scan({map_: files[map_] for map_ in maps or files}, name=name)


def maps_given(sources: Sequence[str], *, layout: str = "auto") -> tuple[str, ...] | None:
    """Return which maps there are of what a command was given.

    Args:
        sources: as `open_scans` takes them.
        layout: of a cohort.

    Returns:
        The names of the maps; None of one image that does not say what it is of.

    Raises:
        UserError: whatever `open_cohort` raises of a cohort.

    Example:
        >>> maps_given(["adc=scan.nii.gz"]), maps_given(["scan.nii.gz"])
        (('adc',), None)
    """
    named = [_named(source) for source in sources]
    known = tuple(
        pair[0] if pair else "adc"
        for source, pair in zip(sources, named, strict=True)
        if pair or _is_dicom(Path(source))
    )
    if known:
        return known
    if not is_cohort(sources):
        return None
    if layout == "auto":
        _check_known(Path(sources[0]))
    return open_cohort(sources[0], layout=layout).maps


def is_cohort(sources: Sequence[str]) -> bool:
    """Return whether a command was given a cohort: a folder or a manifest, and not the files or the DICOM of one scan.

    Args:
        sources: as `open_scans` takes them.

    Returns:
        Whether it was; whether there is such a cohort, `open_scans` says.

    Example:
        >>> is_cohort(["BONBID2023_Train"]), is_cohort(["scan.nii.gz"]), is_cohort(["adc=scan.nii.gz"])
        (True, False, False)
    """
    if len(sources) != 1 or _named(sources[0]) is not None:
        return False
    path = Path(sources[0])
    return not extension_of(path.name) and not _is_dicom(path)


def doubts(volumes: Mapping[str, Volume], *, where: Mapping[str, object]) -> list[str]:
    """Return what a model may be wrong about in a scan that nobody has checked: its units, and whether it is stripped.

    Args:
        volumes: by the name of the map.
        where: what each is called in a line, such as its file, by the name of the map.

    Returns:
        A line each.

    Raises:
        UserError: a map cannot be what it is said to be: another unit, empty, constant, NaN.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((4, 4), (2.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> head = Volume(np.arange(900.0, 916.0, dtype=np.float32).reshape(4, 4), grid)
        >>> doubts({"adc": head}, where={"adc": "adc.mha"})[0].partition(",")[0]
        'adc.mha: 100 % of its edge is not 0'
    """
    found = []
    for map_, volume in volumes.items():
        if map_ == "adc" and (share := _edge_share(volume.array)) > _STRIPPED:
            found.append(
                f"{where[map_]}: {100 * share:.0f} % of its edge is not 0, so it does not look skull-stripped, and all "
                "that is not 0 counts as brain; give --brain"
            )
        for severity, text in image_complaints(map_, volume.array, is_flat=volume.geometry.ndim == 2):
            if severity == "error":
                # What is around the head hides the unit: that comes first.
                raise UserError(
                    found[-1] if found and found[-1].startswith(f"{where[map_]}: ") else f"{where[map_]}: {text}"
                )
            found.append(f"{where[map_]}: {text}")
    return found


def _edge_share(array: np.ndarray) -> float:
    edge = np.ones(array.shape, bool)
    edge[(slice(1, -1),) * edge.ndim] = False
    return float((array[edge] != 0).mean())


def dicom_in(sources: Sequence[str]) -> str | None:
    """Return which of what a command was given is DICOM: a folder, a ZIP file, or one file; None where nothing is.

    Args:
        sources: as `open_scans` takes them.

    Returns:
        The path.

    Raises:
        UserError: several are.

    Example:
        >>> dicom_in(["adc=scan.nii.gz"])
    """
    paths = [pair[1] if (pair := _named(source)) else source for source in sources]
    found = [path for path in paths if _is_dicom(Path(path))]
    if len(found) > 1:
        raise UserError(f"{found[1]}: is the second DICOM folder or file; one scan's ADC series is read from one")
    return found[0] if found else None


def read_scan(sources: Sequence[str], *, maps: Sequence[str], scan: Volume | None) -> dict[str, Volume]:
    """Return the maps of one scan.

    Args:
        sources: as `open_scans` takes them; the one that is DICOM stands for the map "adc".
        maps: what the system reads, see `open_scans`.
        scan: the map that was read from DICOM; None where none is.

    Returns:
        By the name of the map.

    Raises:
        UserError: a map is missing, given twice, or read by nothing; a file cannot be read.

    Example:
        >>> read_scan(["adc=a.mha", "adc=b.mha"], maps=("adc",), scan=None)
        Traceback (most recent call last):
        multifocal.errors.UserError: adc=b.mha: the map adc is given twice; name each once
    """
    files: dict[str, str] = {}
    for source in sources:
        map_, path = _named(source) or (maps[0] if len(maps) == 1 and scan is None else "adc", source)
        if map_ in files:
            raise UserError(f"{source}: the map {map_} is given twice; name each once")
        files[map_] = path
    _check_maps(files, maps)
    return {map_: scan if scan is not None and _is_dicom(Path(path)) else read(path) for map_, path in files.items()}


def scan_files(folder: str | Path, name: str, maps: Iterable[str], *, overwrite: bool = False) -> dict[str, Path]:
    """Return the files that `write_scan` writes, before anything is computed for them.

    Args:
        folder: where they go: `<name>_<map>.nii.gz`.
        name: of the case.
        maps: the names of the maps.
        overwrite: whether files that exist are to be replaced.

    Returns:
        By the name of the map.

    Raises:
        UserError: one exists, or a name could be none of a file.

    Example:
        >>> [file.name for file in scan_files("maps", "S1", ["adc"]).values()]
        ['S1_adc.nii.gz']
    """
    files = {map_: Path(folder) / f"{name}_{map_}.nii.gz" for map_ in maps}
    Case(name, name, {map_: ImageFile(file) for map_, file in files.items()})  # names become those of files
    if not overwrite and (there := [file for file in files.values() if file.exists()]):
        raise UserError(f"{there[0]}: exists already; choose another folder, or --overwrite to replace it")
    return files


def within_brain(volumes: Mapping[str, Volume], brain: Volume) -> dict[str, Volume]:
    """Return the maps of one scan with 0 outside the brain.

    Args:
        volumes: see `read_scan`.
        brain: on the grid of all maps, 0 outside the brain.

    Returns:
        By the name of the map.

    Raises:
        UserError: the brain lies on another grid than a map.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((2, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> adc, brain = Volume(np.array([[900], [950]]), grid), Volume(np.array([[0], [1]]), grid)
        >>> within_brain({"adc": adc}, brain)["adc"].array.ravel().tolist()
        [0, 950]
    """
    for map_, volume in volumes.items():
        if differences := brain.geometry.differences(volume.geometry):
            raise UserError(f"--brain: {', '.join(differences)} in {map_}; give all maps and the mask on one grid")
    return {
        map_: replace(volume, array=np.where(brain.array != 0, volume.array, 0)) for map_, volume in volumes.items()
    }


def write_scan(files: Mapping[str, Path], volumes: Mapping[str, Volume]) -> list[str]:
    """Write the maps of one scan as NIfTI files, and return what to open in the place of the scan.

    Args:
        files: see `scan_files`.
        volumes: by the name of the map.

    Returns:
        `MAP=FILE` for each.

    Raises:
        UserError: a file cannot be written.

    Example:
        >>> write_scan(files, volumes)  # doctest: +SKIP
        ['adc=maps/S1_adc.nii.gz']
    """
    for map_, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, volumes[map_])
    return [f"{map_}={file}" for map_, file in files.items()]


def _check_maps(files: Mapping[str, object], maps: Sequence[str]) -> None:
    if missing := [map_ for map_ in maps if map_ not in files]:
        raise UserError(
            f"the model reads {', '.join(maps)}, and {missing[0]} is missing; add {missing[0]}=FILE, or "
            f"--fallback RUN with a model that reads {', '.join(files)} alone"
        )
    if maps and (unread := [map_ for map_ in files if map_ not in maps]):
        raise UserError(f"{unread[0]}={files[unread[0]]}: the model reads only {', '.join(maps)}; leave it out")


def _check_known(path: Path) -> None:
    """Raise `UserError` of a path that is there and is nothing that is predicted."""
    if not path.exists() or any(LAYOUTS[name].matches(path) for name in layout_names()):
        return
    if path.is_file():
        raise UserError(f"{path}: is neither an image ({', '.join(EXTENSIONS)}), nor DICOM, nor a manifest (.csv)")
    state = (
        "holds neither the DICOM of a scan nor" if any(path.iterdir()) else "is empty; expected the DICOM of a scan or"
    )
    needs = "; ".join(f"{name}: {LAYOUTS[name].needs}" for name in layout_names())
    raise UserError(f"{path}: {state} a cohort, which is one of: {needs}")


def _is_dicom(path: Path) -> bool:
    """Return whether a path is DICOM; of a folder, whether it is no cohort and a file in it is."""
    if path.is_dir():
        if any(LAYOUTS[layout].matches(path) for layout in layout_names()):
            return False
        files = islice((file for file in sorted(path.rglob("*")) if file.is_file()), _LOOKED_AT)
        return any(_is_dicom(file) for file in files if file.suffix.lower() != ".zip")
    if not path.is_file():
        return False
    if path.suffix.lower() in (".dcm", ".ima", ".zip"):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _named(source: str) -> tuple[str, str] | None:
    """Return the map and file of `MAP=FILE`; None for a path, which may have an equals sign itself."""
    map_, equals, file = source.partition("=")
    return (map_, file) if equals and map_.isidentifier() and not Path(source).exists() else None
