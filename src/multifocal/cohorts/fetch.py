"""BONBID-HIE from Zenodo, with its licence and its hashes."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multifocal.cohorts.case import SPLITS, Split
from multifocal.cohorts.download import download
from multifocal.cohorts.unzip import unzip
from multifocal.errors import UserError, unknown_name
from multifocal.files import read_json, write_error, write_json

ZENODO = "https://zenodo.org/records/10602767/files/"
LICENCE = (
    "BONBID-HIE is licensed CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/): research only, not for "
    "commercial use."
)
CITATION = "Cite: Bao et al., Scientific Data 12:53 (2025), doi:10.1038/s41597-024-03986-7."
RECORD = "SOURCE.json"


@dataclass(frozen=True)
class Archive:
    """A ZIP file of the record: its name less ".zip" (which is also the folder it becomes) and its SHA-256."""

    name: str
    sha256: str


# SHA-256 of the files of Zenodo record 10602767.
BONBID: Mapping[Split, Archive] = {
    "train": Archive("BONBID2023_Train", "f1058093887daea1ebc07368b0642d3c40a3f70da5e2e225558ec32de3fa345b"),
    "val": Archive("BONBID2023_Val", "8eaaa05cad00d5d5112583ca01be9ec685e15ca87b946b19a4010b3da35f4786"),
    "test": Archive("BONBID2023_Test", "ac3988c57f035ee74a20dd70194e6fd51fe9aecc3a68e093f487620b24fcbfa3"),
}


def fetch_bonbid(
    out: str | Path,
    *,
    parts: Sequence[Split] = SPLITS,
    base_url: str = ZENODO,
    archives: Mapping[Split, Archive] = BONBID,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[Path]:
    """Download and unpack BONBID-HIE into `out`; parts that are there whole are left as they are.

    A download that broke goes on where it stopped. The archives are removed once unpacked. The caller shows `LICENCE`
    first.

    Args:
        out: gets one folder per part, in the layout "bonbid-hie".
        parts: which of train, val and test.
        base_url: where the archives lie; their names are appended.
        archives: name and hash of each part's archive.
        progress: called with the part's name, the bytes so far and in all (None: unknown).

    Returns:
        The folders of the parts.

    Raises:
        UserError: an unknown part, a failed download or a wrong hash, an archive that is refused, or a folder of that
            name that was not fetched whole.
    """
    for part in parts:
        if part not in archives:
            raise unknown_name("part", part, archives)
    return [_fetch(Path(out), archives[part], base_url=base_url, progress=progress) for part in dict.fromkeys(parts)]


def _fetch(
    out: Path, archive: Archive, *, base_url: str, progress: Callable[[str, int, int | None], None] | None
) -> Path:
    folder = out / archive.name
    if folder.exists():
        _check_whole(folder, archive)
        return folder
    # Hidden, so that a broken download is not taken for a case.
    store = out / ".fetch"
    file = store / f"{archive.name}.zip"
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(store, error) from error
    url = f"{base_url}{archive.name}.zip?download=1"
    told = (lambda done, total: progress(archive.name, done, total)) if progress else None
    download(url, file, sha256=archive.sha256, progress=told)
    unpacked = store / archive.name
    record = {"source": url, "sha256": archive.sha256, "licence": LICENCE, "citation": CITATION}
    shutil.rmtree(unpacked, ignore_errors=True)
    sizes = unzip(file, unpacked)
    write_json(unpacked / RECORD, record | {"files": dict(sorted(sizes.items()))})
    try:
        unpacked.rename(folder)
        file.unlink()
        if not any(store.iterdir()):
            store.rmdir()
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def _check_whole(folder: Path, archive: Archive) -> None:
    """Raise unless the folder is a fetched part with all its files in their sizes."""
    cure = "move the folder away and fetch again"
    record = folder / RECORD
    content: Any = read_json(record) if record.is_file() else None
    if not isinstance(content, dict) or content.get("sha256") != archive.sha256:
        raise UserError(f"{folder}: exists, but is no whole download of {archive.name}.zip; {cure}")
    for name, size in dict(content.get("files", {})).items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise UserError(f"{path}: missing or changed since it was fetched; {cure}")
