"""A synthetic cohort as a user asks for it: any kind, written whole or not at all, the same bytes for the same seed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multifocal.cohorts import check_cohort, open_cohort
from multifocal.cohorts.phantom import PHANTOMS, phantom_case, write_phantom
from multifocal.cohorts.phantom.nuclei import nuclei_case
from multifocal.cohorts.phantom.wmh import flair_case
from multifocal.errors import UserError
from multifocal.volumes import read


def hashes(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_kinds_there_are():
    assert sorted(PHANTOMS) == ["hie", "nuclei", "wmh"]
    assert all(PHANTOMS.describe(kind) for kind in PHANTOMS)


def test_neonates_are_what_is_written_unless_said_otherwise_and_are_those_they_were(tmp_path):
    """The numbers are those of the version that knew no other kind; bytes would differ where the processor rounds."""
    write_phantom(tmp_path / "cohort", cases=1, seed=5)
    label = read(next((tmp_path / "cohort/3LABEL").glob("*.mha"))).array
    adc = read(next((tmp_path / "cohort/1ADC_ss").glob("*.mha"))).array
    assert (adc.shape, int(label.sum()), int((adc != 0).sum())) == ((160, 160, 28), 78, 38838)
    assert adc[adc != 0].mean() == pytest.approx(1473.7281, rel=1e-5)


@pytest.mark.parametrize(("kind", "files"), [("hie", 6), ("nuclei", 4), pytest.param("wmh", 5, marks=pytest.mark.slow)])
def test_same_seed_same_bytes_in_another_process(tmp_path, kind, files):
    write_phantom(tmp_path / "here", cases=2, seed=5, kind=kind)
    code = (
        "from multifocal.cohorts.phantom import write_phantom; "
        f"write_phantom({str(tmp_path / 'there')!r}, cases=2, seed=5, kind={kind!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"OMP_NUM_THREADS": "2"})
    here = hashes(tmp_path / "here")
    assert here == hashes(tmp_path / "there")
    assert len(here) == files
    assert [p for report in check_cohort(open_cohort(tmp_path / "here")) for p in report.problems] == []


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def stop(count: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "cohort", cases=2, seed=0, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_a_full_one_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    write_phantom(str(tmp_path / "empty"), cases=1, seed=0)
    before = hashes(tmp_path / "empty")
    assert len(before) == 3
    with pytest.raises(UserError, match="not empty"):
        write_phantom(tmp_path / "empty", cases=1, seed=1)
    assert hashes(tmp_path / "empty") == before


def test_one_of_several_at_once_wins_and_the_others_say_so(tmp_path):
    def other(done, cases):
        if not (tmp_path / "out").exists():
            write_phantom(tmp_path / "out", cases=1, seed=1)

    with pytest.raises(UserError, match="out: cannot write: a folder with something in it stands there.*; choose"):
        write_phantom(tmp_path / "out", cases=1, seed=0, progress=other)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bad_requests_name_the_cure(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match="is a file"):
        write_phantom(tmp_path / "file", cases=1, seed=0)
    with pytest.raises(UserError, match="at least 1"):
        write_phantom(tmp_path / "new", cases=0, seed=0)
    with pytest.raises(UserError, match="0 or more"):
        write_phantom(tmp_path / "new", cases=1, seed=-1)
    with pytest.raises(UserError, match="kind of synthetic cohort 'wmhh'; did you mean 'wmh'"):
        write_phantom(tmp_path / "new", cases=1, seed=0, kind="wmhh")
    for make in (phantom_case, flair_case, nuclei_case):
        with pytest.raises(UserError, match="choose 0 to 1"):
            make(seed=0, index=2, cases=2)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "file").read_text() == "kept"
