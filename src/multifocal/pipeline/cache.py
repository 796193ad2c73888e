"""Prepared cases on disk: keyed by content and settings, memory-mapped, written whole."""

import errno
import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import multifocal
from multifocal.cohorts import Case, Labels, case_fingerprint
from multifocal.errors import UserError
from multifocal.files import atomic
from multifocal.pipeline.prepare import Prepared, prepare
from multifocal.pipeline.settings import Preprocessing
from multifocal.volumes import Geometry

FORMAT = 3  # raise it when `prepare` changes what it makes, or the cache how it is kept
_MASK = Labels()
ARRAYS = ("images", "target", "inside", "native_brain", "label")


class Cache:
    """A folder of prepared cases; each is made once, by whichever process needs it first.

    An entry's name is the SHA-256 of the bytes of the case's files, the preprocessing settings and the version of the
    format, so a changed scan or setting never meets an old entry. Arrays come back memory-mapped and read-only.

    Args:
        folder: where entries live; made when needed, shared freely between runs and processes.
        settings: the preprocessing.
        labels: what the values of labels mean.

    Example:
        >>> cache = Cache(folder, recipe.preprocessing)  # doctest: +SKIP
        >>> cache.get(case).images.shape  # doctest: +SKIP
        (3, 67, 83, 16)
    """

    def __init__(self, folder: str | Path, settings: Preprocessing, *, labels: Labels = _MASK) -> None:
        self.folder = Path(folder)
        self.settings, self.labels = settings, labels
        self._entries: dict[Case, Path] = {}

    def get(self, case: Case) -> Prepared:
        """Return the prepared case, making its entry first when there is none.

        Args:
            case: the case.

        Returns:
            Its arrays, memory-mapped and read-only.

        Raises:
            UserError: the case cannot be prepared, the entry cannot be written or read, or it is damaged.
        """
        # Files are hashed once a run: a scan that changes under a running training is not looked for.
        if case not in self._entries:
            entry = self.folder / self._key(case)
            if not entry.is_dir():
                self._make(case, entry)
            self._entries[case] = entry
        return _open(self._entries[case], case.name)

    def _key(self, case: Case) -> str:
        parts = [FORMAT, multifocal.__version__, case_fingerprint(case), self.settings.model_dump(mode="json")]
        if self.labels != _MASK:
            parts.append(self.labels.model_dump(mode="json"))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _make(self, case: Case, entry: Path) -> None:
        prepared = prepare(case, self.settings, labels=self.labels)
        arrays = {name: getattr(prepared, name) for name in ARRAYS if getattr(prepared, name) is not None}
        about = {"geometry": asdict(prepared.geometry), "native": asdict(prepared.native), "arrays": list(arrays)}
        try:
            with atomic(entry) as folder:
                folder.mkdir()
                for name, array in arrays.items():
                    np.save(folder / f"{name}.npy", array, allow_pickle=False)
                (folder / "entry.json").write_text(json.dumps(about))
        except UserError:
            # Another process may have been first: its entry is the same, byte for byte.
            if not entry.is_dir():
                raise


@lru_cache(maxsize=4096)  # stays far below the number of memory maps that a process may have
def _open(entry: Path, name: str) -> Prepared:
    try:
        about = json.loads((entry / "entry.json").read_text())
        arrays: dict[str, Any] = {
            array: _mapped(entry / f"{array}.npy") if array in about["arrays"] else None for array in ARRAYS
        }
        return Prepared(name=name, geometry=Geometry(**about["geometry"]), native=Geometry(**about["native"]), **arrays)
    except (FileNotFoundError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{entry}: damaged cache entry ({error}); delete this folder and run again") from error
    except OSError as error:
        cure = "raise the limit (`ulimit -n`)" if error.errno in (errno.EMFILE, errno.ENFILE) else "check the disk"
        raise UserError(f"{entry}: cannot read: {error.strerror}; {cure} and run again") from error


def _mapped(file: Path) -> np.ndarray:
    """Return the array of an .npy file, memory-mapped and read-only."""
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    # Python's maps keep a file open each, and a process may have few; torch's do not.
    try:
        content = torch.from_file(str(file), shared=False, size=file.stat().st_size, dtype=torch.uint8).numpy()
    except RuntimeError as error:
        raise OSError(None, str(error).partition("\n")[0]) from error
    mapped = np.ndarray(array.shape, array.dtype, content, array.offset, array.strides)
    mapped.flags.writeable = False
    return mapped
