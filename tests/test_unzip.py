import lzma
import os
import stat
import zipfile
import zlib

import pytest

from multifocal.errors import UserError
from multifocal.unzip import unzip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(path, members, *, mode=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_members_arrive_whole_and_the_single_top_folder_is_not_repeated(tmp_path):
    content = os.urandom(5000)
    for top in ("Data/", ""):
        archive = make(tmp_path / "a.zip", [(f"{top}1/x.mha", content), (f"{top}2/empty/", b""), (f"{top}y", b"1")])
        folder = tmp_path / f"out{len(top)}"
        assert unzip(archive, folder) == {"1/x.mha": 5000, "y": 1}
        assert tree(folder) == ["1/x.mha", "y"] and (folder / "1/x.mha").read_bytes() == content
        assert (folder / "2/empty").is_dir()
    assert names(tmp_path) == ["a.zip", "out0", "out5"]


def test_resource_forks_are_left_out(tmp_path):
    archive = make(tmp_path / "a.zip", [("Data/x", b"1"), ("__MACOSX/Data/._x", b"2")])
    assert unzip(str(archive), str(tmp_path / "out")) == {"x": 1}


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "..", "a/..", "\\\\server\\evil", "..\\evil", "C:/evil", "c:evil", "a\nb"],
)
def test_no_member_leaves_the_folder(tmp_path, name):
    (tmp_path / "sub").mkdir()
    archive = make(tmp_path / "sub" / "a.zip", [("ok", b"1")])
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("x")
        info.filename = name
        opened.writestr(info, b"evil")
    with pytest.raises(UserError, match=r"a.zip: member .* is refused: its (path|name)[^\n]*$"):
        unzip(archive, tmp_path / "sub" / "out")
    assert names(tmp_path) == ["sub"] and names(tmp_path / "sub") == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files_are_refused(tmp_path, kind):
    archive = make(tmp_path / "a.zip", [("link", b"/etc/passwd")], mode=kind | 0o777)
    with pytest.raises(UserError, match="member 'link' is refused: it is a link or a special file"):
        unzip(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


def test_a_name_that_is_there_twice(tmp_path):
    archive = make(tmp_path / "a.zip", [("a/x", b"1"), ("A/X", b"2")])
    with pytest.raises(UserError, match="it is there twice"):
        unzip(archive, tmp_path / "out")


def test_a_file_below_a_file(tmp_path):
    archive = make(tmp_path / "a.zip", [("x", b"1"), ("x/y", b"2")])
    with pytest.raises(UserError, match="cannot write"):
        unzip(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


def test_bombs_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    archive = make(tmp_path / "a.zip", [("zeros", b"\0" * 3_000_000)])
    assert archive.stat().st_size < 10_000
    with pytest.raises(UserError, match="unpacks to 3000000 bytes, more than the 1000000 allowed"):
        unzip(archive, tmp_path / "out", max_bytes=1_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Use", (), {"free": 2_000_000}))
    with pytest.raises(UserError, match="unpacks to 3000000 bytes, 2000000 are free"):
        unzip(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


def test_a_member_larger_than_it_says_is_damage(tmp_path):
    archive = make(tmp_path / "a.zip", [("zeros", b"\0" * 70_000)])
    content = archive.read_bytes()
    # The sizes in the local and the central header: 70 000 becomes 16.
    assert content.count((70_000).to_bytes(4, "little")) == 2
    archive.write_bytes(content.replace((70_000).to_bytes(4, "little"), (16).to_bytes(4, "little")))
    with pytest.raises(UserError, match="damaged or not a ZIP file"):
        unzip(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: b"text", lambda c: c[:-30], lambda c: c[:60] + b"x" + c[61:]]
)
def test_damaged_archives(tmp_path, damage):
    archive = make(tmp_path / "a.zip", [("x", os.urandom(1000))])
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(UserError, match="a.zip: damaged or not a ZIP file"):
        unzip(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    ("kind", "position", "cause"),
    [
        (zipfile.ZIP_DEFLATED, 31, zlib.error),
        (zipfile.ZIP_BZIP2, 31, OSError),
        (zipfile.ZIP_LZMA, 33, lzma.LZMAError),
    ],
)
def test_damaged_members_however_they_are_packed(tmp_path, kind, position, cause):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", kind) as opened:
        opened.writestr("x", bytes(range(256)) * 10)
    content = bytearray(archive.read_bytes())
    content[position] ^= 0xFF  # among the first bytes after the local header
    archive.write_bytes(content)
    with pytest.raises(UserError, match="a.zip: damaged or not a ZIP file .*; download it again") as caught:
        unzip(archive, tmp_path / "out")
    assert isinstance(caught.value.__cause__, cause) and "\n" not in str(caught.value)
    assert names(tmp_path) == ["a.zip"]


def test_an_encrypted_member(tmp_path):
    archive = make(tmp_path / "a.zip", [("x", b"1")])
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(UserError, match="it is encrypted"):
        unzip(archive, tmp_path / "out")


def test_what_stands_there_is_left_alone(tmp_path):
    archive = make(tmp_path / "a.zip", [("x", b"1")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(UserError, match="out: exists already"):
        unzip(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == ["mine"]
