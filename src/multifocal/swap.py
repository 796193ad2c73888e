"""Folders of many files that replace older ones only when all are whole."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from multifocal.files import WRITING, write_error
from multifocal.locks import locked


@contextmanager
def swapped(parent: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a new folder to write `names` in, which take the places of those in `parent` if the block succeeds.

    A name that the block did not write is gone from `parent` afterwards. Until then, and if anything fails, Ctrl-C
    included, all that was there stays. One process at a time; what a killed one left behind is cleared up first. Unlike
    `multifocal.files.atomic`, this does not wait for the disk file by file: what is written so can be written again.

    Args:
        parent: the folder.
        names: of folders in it.

    Raises:
        UserError: another process writes there, or something cannot be written (disk full, no permission).
    """
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
