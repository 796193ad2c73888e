import hashlib
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from multifocal.cohorts.download import CHUNK, download
from multifocal.errors import UserError

CONTENT = os.urandom(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Server:
    """A server of one file: it can break the connection after some bytes, refuse, or not know of ranges."""

    def __init__(self):
        self.ranges, self.status, self.busy, self.breaks, self.asked = True, 200, 0, [], []
        self.content = CONTENT
        handler = type("Handler", (BaseHTTPRequestHandler,), {"do_GET": lambda it: self.answer(it), "log_message": log})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/file.zip"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, it):
        wanted = it.headers.get("Range")
        self.asked.append(wanted)
        if self.busy:
            self.busy -= 1
            return it.send_error(503)
        if self.status != 200:
            return it.send_error(self.status)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranges else 0
        total = len(self.content)
        if start >= total:
            it.send_response(416)
            it.send_header("Content-Range", f"bytes */{total}")
            it.send_header("Content-Length", "0")
            return it.end_headers()
        it.send_response(206 if start else 200)
        if start:
            it.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        it.send_header("Content-Length", str(total - start))
        it.end_headers()
        stop = self.breaks.pop(0) if self.breaks else total - start
        return it.wfile.write(self.content[start : start + stop])


def log(*_):
    return None


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def get(server, path, **options):
    download(server.url, path, sha256=SHA, pause=0, **options)


def test_a_whole_download(server, tmp_path):
    told = []
    get(server, tmp_path / "file.zip", progress=lambda done, total: told.append((done, total)))
    assert (tmp_path / "file.zip").read_bytes() == CONTENT and names(tmp_path) == ["file.zip"]
    assert told[-1] == (len(CONTENT), len(CONTENT)) and sorted(told) == told


def test_a_second_call_asks_for_nothing(server, tmp_path):
    get(server, tmp_path / "file.zip")
    get(server, tmp_path / "file.zip")
    assert len(server.asked) == 1


def test_a_file_with_another_hash_is_fetched_anew(server, tmp_path):
    (tmp_path / "file.zip").write_bytes(b"old")
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_broken_connection_goes_on_where_it_stopped(server, tmp_path):
    server.breaks = [100_000, 80_000]
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    # At most the last piece is asked for again.
    assert server.asked == [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]


def test_the_next_run_goes_on_too(server, tmp_path):
    server.breaks = [140_000, 0, 0]
    with pytest.raises(UserError, match="broke after 131072 bytes .*; run again to go on from there"):
        get(server, tmp_path / "file.zip", attempts=2)
    assert names(tmp_path) == ["file.zip.part"]
    server.asked.clear()
    get(server, tmp_path / "file.zip")
    assert server.asked == [f"bytes={2 * CHUNK}-"] and (tmp_path / "file.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["file.zip"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.ranges, server.breaks = False, [100_000]
    get(server, tmp_path / "file.zip")
    assert server.asked == [None, f"bytes={CHUNK}-"] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_that_is_whole_already(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    get(server, tmp_path / "file.zip")
    assert server.asked == [f"bytes={len(CONTENT)}-"] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"more")
    get(server, tmp_path / "file.zip")
    assert server.asked[1:] == [None] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_wrong_hash_removes_what_arrived(server, tmp_path):
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(UserError, match=f"another SHA-256 than {SHA} and was removed"):
        get(server, tmp_path / "file.zip")
    assert names(tmp_path) == []


def test_a_part_of_another_file_is_found_out(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="another SHA-256"):
        get(server, tmp_path / "file.zip")
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.busy = 2
    get(server, tmp_path / "file.zip")
    server.busy = 9
    with pytest.raises(UserError, match="the server is busy"):
        get(server, tmp_path / "other.zip", attempts=3)
    assert len(server.asked) == 6


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_repeated(server, tmp_path, status):
    server.status = status
    with pytest.raises(UserError, match=f"file.zip: the server answers {status}"):
        get(server, tmp_path / "file.zip")
    assert len(server.asked) == 1 and names(tmp_path) == []


def test_nobody_there(server, tmp_path):
    url = server.url.replace("/file", ".invalid/file").replace(f":{server.server.server_port}", "")
    with pytest.raises(UserError, match="the download broke after 0 bytes"):
        download(url, tmp_path / "file.zip", sha256=SHA, attempts=2, pause=0)


def test_a_full_disk(server, tmp_path, monkeypatch):
    from multifocal.cohorts import download as module

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Use", (), {"free": 10}))
    with pytest.raises(UserError, match="needs 300000 bytes, 10 are free; make room"):
        get(server, tmp_path / "file.zip")


def test_a_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write: a file stands where a folder should be"):
        get(server, tmp_path / "file" / "file.zip")
