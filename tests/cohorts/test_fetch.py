import hashlib
import json
import os
import re
import shutil
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from multifocal.cohorts import fetch, fetch_bonbid, open_cohort
from multifocal.cohorts.fetch import BONBID, CHUNK, Archive, download
from multifocal.errors import UserError
from multifocal.files import locked

CONTENT = os.urandom(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Handler(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path, make_bonbid):
    """Serve three small parts; return what `fetch_bonbid` needs to know."""
    archives = {}
    for part, name in (("train", "BONBID2023_Train"), ("val", "BONBID2023_Val"), ("test", "BONBID2023_Test")):
        folder = make_bonbid(tmp_path / "source" / name, (f"{part}_1-VISIT_01", f"{part}_2-VISIT_01"))
        file = tmp_path / "served" / f"{name}.zip"
        file.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(file, "w") as archive:
            for path in sorted(folder.rglob("*.mha")):
                archive.write(path, path.relative_to(folder.parent))
        archives[part] = Archive(name, hashlib.sha256(file.read_bytes()).hexdigest())
    Handler.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield {"base_url": f"http://127.0.0.1:{server.server_port}/", "archives": archives}
    server.shutdown()
    server.server_close()


def test_all_parts_become_one_cohort(mirror, tmp_path):
    told = {}
    folders = fetch_bonbid(tmp_path / "out", **mirror, progress=lambda name, done, total: told.update({name: total}))
    assert [folder.name for folder in folders] == ["BONBID2023_Train", "BONBID2023_Val", "BONBID2023_Test"]
    cohort = open_cohort(tmp_path / "out")
    assert {case.name[:-11]: case.split for case in cohort} == {"train": "train", "val": "val", "test": "test"}
    assert len(cohort) == 6 and cohort.cases[0].label.read().array.any()
    assert names(tmp_path / "out") == sorted(folder.name for folder in folders)
    record = json.loads((folders[0] / "SOURCE.json").read_text())
    assert record["sha256"] == mirror["archives"]["train"].sha256 and "CC BY-NC 4.0" in record["licence"]
    assert len(record["files"]) == 6 and set(told) == {folder.name for folder in folders}


def test_a_second_call_downloads_nothing(mirror, tmp_path):
    fetch_bonbid(str(tmp_path / "out"), **mirror, parts=["val", "val"])
    assert fetch_bonbid(tmp_path / "out", **mirror, parts=["val"]) == [tmp_path / "out" / "BONBID2023_Val"]
    assert Handler.asked == ["/BONBID2023_Val.zip?download=1"]


@pytest.mark.parametrize("address", ["file:///etc/", "ftp://127.0.0.1/", "/data/", "http://", "https:///x/", "x:/"])
def test_only_the_web_is_asked(tmp_path, address):
    expected = f"^{address}: is no address that can be fetched; expected http"
    with pytest.raises(UserError, match=expected):
        fetch_bonbid(tmp_path / "out", base_url=address)
    with pytest.raises(UserError, match=expected):
        download(address, tmp_path / "out" / "a.zip", sha256=SHA)
    assert names(tmp_path) == []


def test_one_process_fetches_at_a_time(mirror, tmp_path):
    with locked(tmp_path / "out" / ".fetch"), pytest.raises(UserError, match="another process fetches into this fold"):
        fetch_bonbid(tmp_path / "out", **mirror, parts=["val"])
    assert Handler.asked == [] and len(fetch_bonbid(tmp_path / "out", **mirror, parts=["val"])) == 1


def test_an_archive_left_by_a_killed_run_is_not_downloaded_again(mirror, tmp_path):
    (tmp_path / "out" / ".fetch" / ".unpacking-BONBID2023_Val" / "half").mkdir(parents=True)
    shutil.copy(tmp_path / "served" / "BONBID2023_Val.zip", tmp_path / "out" / ".fetch")
    fetch_bonbid(tmp_path / "out", **mirror, parts=["val"])
    assert Handler.asked == [] and names(tmp_path / "out") == ["BONBID2023_Val"]


def test_an_unpacked_part_left_by_a_killed_run_is_not_in_the_way(mirror, tmp_path):
    (tmp_path / "out" / ".fetch" / "BONBID2023_Val").mkdir(parents=True)
    fetch_bonbid(tmp_path / "out", **mirror, parts=["val"])
    assert len(open_cohort(tmp_path / "out" / "BONBID2023_Val")) == 2


@pytest.mark.parametrize("damage", ["own folder", "lost file", "cut file"])
def test_a_part_that_is_not_whole_is_not_touched(mirror, tmp_path, damage):
    folder = tmp_path / "out" / "BONBID2023_Val"
    if damage == "own folder":
        folder.mkdir(parents=True)
    else:
        fetch_bonbid(tmp_path / "out", **mirror, parts=["val"])
        file = sorted(folder.rglob("*.mha"))[0]
        file.write_bytes(b"") if damage == "cut file" else file.unlink()
    with pytest.raises(UserError, match="BONBID2023_Val.*; move the folder away and fetch again"):
        fetch_bonbid(tmp_path / "out", **mirror, parts=["val"])
    assert folder.is_dir()


def test_a_wrong_hash_leaves_nothing(mirror, tmp_path):
    archives = {"val": Archive("BONBID2023_Val", "0" * 64)}
    with pytest.raises(UserError, match="another SHA-256"):
        fetch_bonbid(tmp_path / "out", parts=["val"], base_url=mirror["base_url"], archives=archives)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_an_unknown_part(mirror, tmp_path):
    with pytest.raises(UserError, match="unknown part 'vall'; did you mean 'val'"):
        fetch_bonbid(tmp_path / "out", **mirror, parts=["train", "vall"])
    assert Handler.asked == [] and not (tmp_path / "out").exists()


def test_no_permission_to_write(mirror, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="cannot write: a file stands where a folder should be"):
        fetch_bonbid(tmp_path / "out", **mirror)


def test_the_published_hashes():
    assert {part: archive.sha256[:8] for part, archive in BONBID.items()} == {
        "train": "f1058093",
        "val": "8eaaa05c",
        "test": "ac3988c5",
    }
    assert all(len(archive.sha256) == 64 for archive in BONBID.values())


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
    get(server, str(tmp_path / "file.zip"))
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
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: type("Use", (), {"free": 10}))
    with pytest.raises(UserError, match="needs 300000 bytes, 10 are free; make room"):
        get(server, tmp_path / "file.zip")


def test_a_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write: a file stands where a folder should be"):
        get(server, tmp_path / "file" / "file.zip")
