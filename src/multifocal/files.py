"""Files and folders that are written whole or not at all, held by one process at a time, and swapped all at once."""

import csv
import errno
import json
import os
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multifocal.errors import UserError

WRITING = ".writing-"  # how the names of folders begin that hold a file while it is written
_ODD = "backslashreplace"  # of bytes in a file's name that are no character; JSON reads them back as they were
_CURES = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EACCES: "no permission to write there; choose another folder or change its permissions",
    errno.EPERM: "no permission to write there; choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a file stands where a folder should be; choose another folder",
    errno.ENOTEMPTY: "a folder with something in it stands there by now (of another run?); choose another folder",
    errno.EEXIST: "a file stands where a folder should be; choose another folder",
    errno.EISDIR: "a folder stands where the file should be; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    # What NumPy raises after a write that stored only a part.
    None: "only part of it could be written; if the disk is full, free some space and run again",
}


def write_error(path: str | Path, error: OSError) -> UserError:
    """Return what to tell the user about a failed write: the file, the reason, the cure.

    Args:
        path: what could not be written.
        error: why, as the system says.

    Returns:
        The error, to be raised.
    """
    return UserError(f"{path}: cannot write: {_CURES.get(error.errno, error.strerror)}")


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same name) that becomes `path` if the block succeeds: a file, or a folder.

    A failed or killed write leaves no `path` behind, and an older `path` as it was. Parent folders are made. What the
    block wrote is on the disk before it takes the name, so that a power cut leaves no empty file either.

    Args:
        path: the file or folder to write.

    Yields:
        The temporary path; nothing is there yet.

    Raises:
        UserError: the file cannot be written (disk full, no permission, a file where a folder should be), or `path` is
            the current folder or written as one above another (`..`).

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> (folder / "note.txt").read_text()
        'whole'
    """
    path = Path(path)
    try:
        if path.name in ("", "..") or path.absolute() == Path.cwd():
            raise UserError(
                f"{path}: the current folder, or one above, cannot be replaced; choose a new name inside it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own keeps the full name, so writers that go by the extension see the right one.
        folder, held = _writing_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        temporary = folder / path.name
        yield temporary
        for file in folder.rglob("*"):
            if file.is_file():
                # Windows puts on the disk only what is open for writing; a copy may be read-only.
                with file.open("r+b" if os.access(file, os.W_OK) else "rb") as written:
                    os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def clear_up(*folders: str | Path) -> None:
    """Remove what killed processes left half written in folders; what a living one is writing stays.

    Args:
        *folders: to be cleared; there may be none of them.
    """
    for debris in (debris for folder in folders for debris in Path(folder).glob(f"{WRITING}*")):
        try:
            held = _hold(debris, wait=False)
        except (OSError, UserError):  # somebody is at work there, or there is no telling
            continue
        shutil.rmtree(debris, ignore_errors=True)
        if held is not None:
            os.close(held)


def files_named(folder: str | Path, name: str) -> list[Path]:
    """Return the files of a name in a folder and all below, also while others write there.

    Args:
        folder: where to look; there may be none.
        name: of the files.

    Returns:
        Those that are whole, in order; a folder that is gone before it was looked into has none.

    Example:
        >>> files_named("runs/none-yet", "log.csv")
        []
    """
    found = []
    for home, folders, names in os.walk(folder):  # which passes over what is gone; Path.rglob does not
        folders[:] = [one for one in folders if not one.startswith(WRITING)]
        if name in names:
            found.append(Path(home, name))
    return sorted(found)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all.

    Args:
        path: the file.
        text: what it is to hold; written as UTF-8.
    """
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", errors=_ODD) as file:
        file.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file whole or not at all; NaN and inf, which JSON does not have, are a `ValueError`.

    Args:
        path: the file.
        value: what JSON can hold.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def one_form(name: str) -> str:
    """Return a name in the composed form of Unicode (NFC), so that "é" is one name, however it was typed or stored.

    Every name of a case, wherever it comes from, goes through here before it is compared.

    Args:
        name: a name; macOS and archives made there may have it decomposed (NFD).

    Returns:
        The same name for every form of it.

    Example:
        >>> one_form("Zoe\u0308") == one_form("Zo\u00eb")
        True
    """
    return unicodedata.normalize("NFC", name)


def on_disk(folder: str | Path, written: str) -> Path:
    """Return a path in the form of Unicode that lies on the disk.

    Args:
        folder: where it starts.
        written: the rest of it, as a user wrote it.

    Returns:
        The first that exists of the path as written, composed and decomposed; as written where none does.
    """
    forms = (written, *(unicodedata.normalize(form, written) for form in ("NFC", "NFD")))
    paths = [Path(folder) / form for form in forms]
    return next((path for path in paths if path.exists()), paths[0])


def plain_file(path: str | Path, *, at_most: int | None = None) -> Path:
    """Return the path of what is to be read after refusing pipes and devices, which may never end.

    Args:
        path: the file.
        at_most: its largest size in bytes; None for any.

    Returns:
        The path, also where there is no such file.

    Raises:
        UserError: it is neither file nor folder, or too large.

    Example:
        >>> plain_file("/dev/zero")
        Traceback (most recent call last):
        multifocal.errors.UserError: /dev/zero: is a pipe or a device; save what it gives as a file and name that
    """
    path = Path(path)
    try:
        state = path.stat()
    except OSError:  # which opening it will explain
        return path
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        raise UserError(f"{path}: is a pipe or a device; save what it gives as a file and name that")
    if at_most is not None and state.st_size > at_most:
        raise UserError(
            f"{path}: has {state.st_size} bytes where at most {at_most} are expected; is it the right file?"
        )
    return path


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a `UserError` names the file and line when it cannot be.

    Args:
        path: the file, UTF-8 (with a byte order mark or without).

    Returns:
        What it holds.
    """
    path = plain_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); repair or replace the file") from error


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] | None = None) -> None:
    """Write rows under the given columns (default: the keys of the first row) whole or not at all.

    Args:
        path: the file.
        rows: values by column.
        columns: the header; a column that a row lacks is left empty there.
    """
    names = list(columns or (rows[0] if rows else []))
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors=_ODD) as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def locked(folder: str | Path, *, busy: str | None = None) -> Iterator[int]:
    """Hold a folder, made where there is none, as long as the block runs; a killed process holds nothing.

    Args:
        folder: what to hold.
        busy: the error where somebody else holds it; None waits instead.

    Yields:
        The descriptor that holds it: a process that inherits it holds the folder, too, for as long as it runs.

    Raises:
        UserError: it is held, or cannot be: no permission, a file system or a system without locks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(folder, busy="busy"):
        ...     with locked(folder, busy="another one is at work there"):
        ...         pass
        Traceback (most recent call last):
        multifocal.errors.UserError: another one is at work there
    """
    folder = Path(folder)
    try:
        while (descriptor := _hold(folder, wait=busy is None)) is None:
            continue
    except BlockingIOError as error:
        raise UserError(busy) from error
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def swapped(parent: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a new folder to write `names` in, which take the places of those in `parent` if the block succeeds.

    A name that the block did not write is gone from `parent` afterwards. Until then, and if anything fails, Ctrl-C
    included, all that was there stays. One process at a time; what a killed one left behind is cleared up first. Unlike
    `atomic`, this does not wait for the disk file by file: what is written so can be written again.

    Args:
        parent: the folder.
        names: of folders or files in it.

    Yields:
        The new folder, empty.

    Raises:
        UserError: another process writes there, or something cannot be written (disk full, no permission).
    """
    parent = Path(parent)
    place = parent / names[0]
    busy = f"{place}: is being written by another process; wait for it to end"
    with locked(parent / f"{WRITING}{names[0]}", busy=busy):
        home = parent / f"{WRITING}{names[0]}"
        new, old = home / "new", home / "old"
        try:
            for folder in (new, old):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            yield new
            _swap([move for name in names for move in ((parent / name, old / name), (new / name, parent / name))])
        except OSError as error:
            raise write_error(place, error) from error
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _writing_folder(parent: Path) -> tuple[Path, int | None]:
    """Make a folder to write in, and hold it where the system can, so that nobody clears it up meanwhile."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=WRITING, dir=parent))
        try:
            held = _hold(folder, wait=False)
        except BlockingIOError:  # taken for debris in the moment it was made
            continue
        except (OSError, UserError):
            return folder, None
        if held is not None:
            return folder, held


def _hold(folder: Path, *, wait: bool) -> int | None:
    """Return the descriptor that holds the folder; None where the folder was removed or replaced meanwhile."""
    try:
        import fcntl
    except ModuleNotFoundError as error:
        raise UserError(f"{folder}: this system has no locks for folders; run on Linux or macOS, or in WSL") from error
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if folder.exists() and os.path.samestat(folder.stat(), os.fstat(descriptor)):
            kept, descriptor = descriptor, -1
            return kept
        return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _swap(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename what there is, all or nothing."""
    begun: list[tuple[Path, Path]] = []
    try:
        for origin, target in moves:
            if origin.exists():
                begun.append((origin, target))
                origin.rename(target)
    except BaseException:
        for origin, target in reversed(begun):
            if not origin.exists():
                target.rename(origin)
        raise
