"""BONBID-HIE from Zenodo, with its licence and its hashes: a download goes on where it stopped."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from multifocal.cohorts.case import SPLITS, Split
from multifocal.errors import UserError, unknown_name
from multifocal.files import locked, read_json, write_error, write_json
from multifocal.unzip import unzip

ZENODO = "https://zenodo.org/records/10602767/files/"
LICENCE = (
    "BONBID-HIE is licensed CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/): research only, not for "
    "commercial use."
)
CITATION = "Cite: Bao et al., Scientific Data 12:53 (2025), doi:10.1038/s41597-024-03986-7."
RECORD = "SOURCE.json"
CHUNK = 1 << 16
_TIMEOUT = (30, 60)
_AGAIN = {429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Archive:
    """A ZIP file of the record.

    Attributes:
        name: less ".zip"; it is also the folder that the archive becomes.
        sha256: its hash, in hex.
    """

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

    Example:
        >>> fetch_bonbid("data", parts=["training"])
        Traceback (most recent call last):
        multifocal.errors.UserError: unknown part 'training'; did you mean 'train'? Choose from: train, val, test
    """
    for part in parts:
        if part not in archives:
            raise unknown_name("part", part, archives)
    return [_fetch(Path(out), archives[part], base_url=base_url, progress=progress) for part in dict.fromkeys(parts)]


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str,
    progress: Callable[[int, int | None], None] | None = None,
    attempts: int = 5,
    pause: float = 2.0,
) -> None:
    """Download a file, or finish a download that broke; does nothing when the file is there with the right hash.

    What has arrived is kept in `path` + ".part", and asked for no more (HTTP Range) where the server allows it.

    Args:
        url: where it lies.
        path: where it goes; appears only when the hash is right.
        sha256: the hash, in hex.
        progress: called as bytes arrive, with the bytes so far and in all (None: the server does not say).
        attempts: connections in a row that may fail without a byte.
        pause: seconds to wait after the first failed connection, then twice and three times as long.

    Raises:
        UserError: the server refuses, the connection keeps breaking, the hash is wrong (what arrived is removed), or
            the file cannot be written.
    """
    path = Path(path)
    _check_address(url)
    import pooch  # it loads requests; only who downloads should wait for that

    pooch.get_logger().setLevel(logging.WARNING)

    def downloader(url: str, output_file: str, _: object) -> None:
        part = path.with_name(path.name + ".part")
        _finish(url, part, progress, attempts, pause)
        part.replace(output_file)

    try:
        pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=downloader)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{url}: what arrived has another SHA-256 than {sha256} and was removed; try again") from error
    except OSError as error:
        raise write_error(path, error) from error


def _fetch(
    out: Path, archive: Archive, *, base_url: str, progress: Callable[[str, int, int | None], None] | None
) -> Path:
    folder = out / archive.name
    if folder.exists():
        _check_whole(folder, archive)
        return folder
    _check_address(base_url)
    url = f"{base_url}{archive.name}.zip?download=1"
    # Hidden, so that a broken download is not taken for a case.
    store = out / ".fetch"
    told = (lambda done, total: progress(archive.name, done, total)) if progress else None
    with locked(store, busy=f"{out}: another process fetches into this folder; wait for it to end"):
        if not folder.exists():  # another process may have been first
            _unpack(store, folder, archive, url=url, told=told)
    return folder


def _unpack(
    store: Path, folder: Path, archive: Archive, *, url: str, told: Callable[[int, int | None], None] | None
) -> None:
    """Download an archive, and make a folder of it with a record of where it came from."""
    file = store / f"{archive.name}.zip"
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


def _check_address(url: str) -> None:
    """Raise unless an address is one of the web: other schemes would be tried again and again, or read this disk."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{url}: is no address that can be fetched; expected http:// or https:// and a server")


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


def _finish(
    url: str, part: Path, progress: Callable[[int, int | None], None] | None, attempts: int, pause: float
) -> None:
    """Connect until the file is whole; a connection that brought something resets the count of failures."""
    from requests import RequestException

    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _connect(url, part, progress):
                return
            reason = "the server is busy"
        except RequestException as error:
            reason = type(error).__name__
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
        if failures >= attempts:
            raise UserError(f"{url}: the download broke after {after} bytes ({reason}); run again to go on from there")
        time.sleep(pause * max(failures, 1))


def _connect(url: str, part: Path, progress: Callable[[int, int | None], None] | None) -> bool:
    """Ask for the bytes still missing and append them; say whether the file is now whole."""
    import requests

    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"} if start else {"Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code in _AGAIN:
            return False
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            # Nothing is missing, or the part is no part of this file: the hash, or the next attempt, will tell.
            if response.headers.get("Content-Range") == f"bytes */{start}":
                return True
            part.unlink()
            return False
        if not response.ok:
            raise UserError(f"{url}: the server answers {response.status_code} {response.reason}; check the address")
        if response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            mode = "ab"
        else:
            mode, start = "wb", 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        free = shutil.disk_usage(part.parent).free
        if total and total - start > free:
            raise UserError(f"{part.parent}: the download needs {total - start} bytes, {free} are free; make room")
        done = start
        with part.open(mode) as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    return True
