"""A folder of many files that replaces an older one only when it is whole."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multifocal.files import WRITING, write_error


@contextmanager
def swapped(out: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of `out` if the block succeeds; an older `out` stays until then.

    What a killed process left behind is cleared up first. Unlike `multifocal.files.atomic`, this does not wait for the
    disk file by file: a report can be written again.

    Raises:
        UserError: something cannot be written (disk full, no permission, a file in the way).
    """
    mine = f"{WRITING}{out.name}-"
    for debris in out.parent.glob(f"{mine}*"):
        shutil.rmtree(debris, ignore_errors=True)
    try:
        folder = Path(tempfile.mkdtemp(prefix=mine, dir=out.parent))
    except OSError as error:
        raise write_error(out, error) from error
    try:
        new, old = folder / out.name, folder / "old"
        new.mkdir()
        yield new
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise write_error(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
