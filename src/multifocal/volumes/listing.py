"""The volumes in a folder, by what their names begin with."""

from pathlib import Path

from multifocal.errors import UserError
from multifocal.volumes.io import strip_extension


def volumes_named(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files `<name><ending>.<ext>` of a folder by name, in order; what is called otherwise is passed over.

    Raises:
        UserError: no such folder, or several files of one name.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a_lesion.nii.gz").write_bytes(b""), (folder / "notes.txt").write_bytes(b"")
        >>> [(name, file.name) for name, file in volumes_named(folder, "_lesion").items()]
        [('a', 'a_lesion.nii.gz')]
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds <case>{ending}.<ext>")
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        stem = strip_extension(file.name)
        if stem != file.name and stem.endswith(ending) and not file.name.startswith("."):
            found.setdefault(stem.removesuffix(ending), []).append(file)
    if doubled := [" and ".join(file.name for file in files) for files in found.values() if len(files) > 1]:
        raise UserError(f"{folder}: more than one prediction for a case: {'; '.join(doubled)}; keep one of each")
    return {name: files[0] for name, files in found.items()}
