"""Unpack an archive from elsewhere without trusting it."""

import lzma
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from multifocal.errors import UserError
from multifocal.files import write_error

MAX_BYTES = 64 << 30
_RUBBISH = ("__MACOSX/",)


def unzip(archive: str | Path, folder: str | Path, *, max_bytes: int = MAX_BYTES) -> dict[str, int]:
    """Unpack a ZIP file into a folder that appears only when all of it is there.

    A single top folder in the archive is not repeated inside `folder`.

    Args:
        archive: the ZIP file.
        folder: must not exist yet.
        max_bytes: what the members may come to, unpacked.

    Returns:
        The size of each file by its path in the folder.

    Raises:
        UserError: the archive is damaged or encrypted, a member would leave the folder or is not a plain file or
            folder, the whole is larger than `max_bytes` or than the free space, or the folder exists or cannot be
            written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "scans.zip"
        >>> with zipfile.ZipFile(file, "w") as made:
        ...     made.writestr("scans/S1.txt", "one")
        >>> unzip(file, file.with_suffix(""))
        {'S1.txt': 3}
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: exists already; move it away or choose another folder")
    working = folder.with_name(f".unpacking-{folder.name}")
    try:
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened, working, max_bytes)
            for info in members:
                target = working / info.filename
                if info.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
        top = list(working.iterdir())
        inner = top[0] if len(top) == 1 and top[0].is_dir() else working
        sizes = {path.relative_to(inner).as_posix(): path.stat().st_size for path in inner.rglob("*") if path.is_file()}
        inner.rename(folder)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        # What bzip2 finds wrong has no number.
        raise (_damaged(archive, error) if error.errno is None else write_error(folder, error)) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return sizes


def _checked(archive: Path, opened: zipfile.ZipFile, folder: Path, max_bytes: int) -> list[zipfile.ZipInfo]:
    """Return the members to unpack, after refusing the whole archive if one of them is not harmless."""
    members = [info for info in opened.infolist() if not info.filename.startswith(_RUBBISH)]
    seen: set[str] = set()
    for info in members:
        reason = _refusal(info)
        key = info.filename.rstrip("/").casefold()
        if not reason and key in seen:
            reason = "it is there twice"
        seen.add(key)
        if reason:
            raise UserError(f"{archive}: member {info.filename!r} is refused: {reason}; do not use this archive")
    total, free = sum(info.file_size for info in members), shutil.disk_usage(folder).free
    if total > max_bytes:
        raise UserError(
            f"{archive}: unpacks to {total} bytes, more than the {max_bytes} allowed; do not use this archive"
        )
    if total > free:
        raise UserError(f"{folder.parent}: the archive unpacks to {total} bytes, {free} are free; make room")
    return members


def _refusal(info: zipfile.ZipInfo) -> str | None:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or re.match(r"[A-Za-z]:", info.filename):
        return "its path leaves the folder"
    if not path.parts or not info.filename.isprintable():
        return "its name is not usable"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link or a special file"
    if info.flag_bits & 0x1:
        return "it is encrypted"
    return None


def _damaged(archive: Path, error: Exception) -> UserError:
    return UserError(f"{archive}: damaged or not a ZIP file ({error}); download it again")
