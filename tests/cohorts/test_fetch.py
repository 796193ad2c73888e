import hashlib
import json
import shutil
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from multifocal.cohorts import fetch_bonbid, open_cohort
from multifocal.cohorts.fetch import BONBID, Archive
from multifocal.errors import UserError


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
    fetch_bonbid(tmp_path / "out", **mirror, parts=["val", "val"])
    assert fetch_bonbid(tmp_path / "out", **mirror, parts=["val"]) == [tmp_path / "out" / "BONBID2023_Val"]
    assert Handler.asked == ["/BONBID2023_Val.zip?download=1"]


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
