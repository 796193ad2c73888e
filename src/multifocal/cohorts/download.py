"""A download that goes on where it stopped, checked against a known hash."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from multifocal.errors import UserError
from multifocal.files import write_error

# Bytes so far and in all (None: the server does not say).
Progress = Callable[[int, int | None], None]
CHUNK = 1 << 16
_TIMEOUT = (30, 60)
_AGAIN = {429, 500, 502, 503, 504}


def download(
    url: str, path: Path, *, sha256: str, progress: Progress | None = None, attempts: int = 5, pause: float = 2.0
) -> None:
    """Download a file, or finish a download that broke; does nothing when the file is there with the right hash.

    What has arrived is kept in `path` + ".part", and asked for no more (HTTP Range) where the server allows it.

    Args:
        url: where it lies.
        path: where it goes; appears only when the hash is right.
        sha256: the hash, in hex.
        progress: called as bytes arrive.
        attempts: connections in a row that may fail without a byte.
        pause: seconds to wait after the first failed connection, then twice and three times as long.

    Raises:
        UserError: the server refuses, the connection keeps breaking, the hash is wrong (what arrived is removed), or
            the file cannot be written.
    """
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


def _finish(url: str, part: Path, progress: Progress | None, attempts: int, pause: float) -> None:
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


def _connect(url: str, part: Path, progress: Progress | None) -> bool:
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
