"""Prepared cases on disk: keyed by content and settings, memory-mapped, written whole."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

import multifocal
from multifocal.cohorts import Case, case_fingerprint
from multifocal.errors import UserError
from multifocal.files import write_error
from multifocal.pipeline.prepare import Prepared, prepare
from multifocal.pipeline.settings import Preprocessing
from multifocal.volumes import Geometry

FORMAT = 1  # raise it when `prepare` changes what it makes
ARRAYS = ("images", "target", "instances", "inside", "native_brain", "label")


class Cache:
    """A folder of prepared cases; each is made once, by whichever process needs it first.

    An entry's name is the SHA-256 of the bytes of the case's files, the preprocessing settings and the version of the
    format, so a changed scan or setting never meets an old entry. Arrays come back memory-mapped and read-only.

    Args:
        folder: where entries live; made when needed, shared freely between runs and processes.
        settings: the preprocessing.

    Example:
        >>> cache = Cache(folder, recipe.preprocessing)  # doctest: +SKIP
        >>> cache.get(case).images.shape  # doctest: +SKIP
        (3, 67, 83, 16)
    """

    def __init__(self, folder: Path, settings: Preprocessing) -> None:
        self.folder = Path(folder)
        self.settings = settings
        self._keys: dict[str, str] = {}

    def get(self, case: Case) -> Prepared:
        """Return the prepared case, making its entry first when there is none."""
        entry = self.folder / self._key(case)
        if not (entry / "entry.json").is_file():
            self._make(case, entry)
        return _load(entry, case.name)

    def _key(self, case: Case) -> str:
        # Files are hashed once a process: a scan that changes under a running training is not looked for.
        if case.name not in self._keys:
            parts = [FORMAT, multifocal.__version__, case_fingerprint(case), self.settings.model_dump(mode="json")]
            self._keys[case.name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        return self._keys[case.name]

    def _make(self, case: Case, entry: Path) -> None:
        prepared = prepare(case, self.settings)
        temporary = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=self.folder))
            for name in ARRAYS:
                array = getattr(prepared, name)
                if array is not None:
                    np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            grids = {"geometry": asdict(prepared.geometry), "native": asdict(prepared.native)}
            (temporary / "entry.json").write_text(json.dumps(grids))
            temporary.chmod(0o777 & ~_umask())  # a temporary folder is private, a cache may be shared
            temporary.rename(entry)
        except OSError as error:
            # Another process was first: its entry is the same, byte for byte.
            if not (entry / "entry.json").is_file():
                raise write_error(entry, error) from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _load(entry: Path, name: str) -> Prepared:
    try:
        grids = json.loads((entry / "entry.json").read_text())
        arrays = {
            array: np.load(entry / f"{array}.npy", mmap_mode="r", allow_pickle=False)
            if (entry / f"{array}.npy").is_file()
            else None
            for array in ARRAYS
        }
        return Prepared(name=name, geometry=Geometry(**grids["geometry"]), native=Geometry(**grids["native"]), **arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{entry}: damaged cache entry ({error}); delete this folder and run again") from error
