"""One scan, given as files on the command line, as a cohort of one case."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from multifocal.cohorts.case import COLOURS, Case, Cohort, ImageFile
from multifocal.cohorts.opening import open_cohort
from multifocal.errors import UserError
from multifocal.volumes import EXTENSIONS, extension_of, strip_extension

LAYOUT = "files"


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
    if len(sources) == 1 and named[0] is None and not extension_of(Path(sources[0]).name):
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
    if missing := [map_ for map_ in maps if map_ not in files]:
        raise UserError(f"the model reads {', '.join(maps)}, and {missing[0]} is missing; add {missing[0]}=FILE")
    if maps and (unread := [map_ for map_ in files if map_ not in maps]):
        raise UserError(f"{unread[0]}={files[unread[0]]}: the model reads only {', '.join(maps)}; leave it out")
    return single_scan({map_: files[map_] for map_ in maps or files}, name=name)


def _named(source: str) -> tuple[str, str] | None:
    """Return the map and file of `MAP=FILE`; None for a path, which may have an equals sign itself."""
    map_, equals, file = source.partition("=")
    return (map_, file) if equals and map_.isidentifier() and not Path(source).exists() else None
