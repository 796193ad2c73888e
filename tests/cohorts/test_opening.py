import subprocess
import sys

import pytest

from multifocal.cohorts import layout_names, open_cohort, survey
from multifocal.errors import UserError


def test_a_folder_of_no_layout_is_told_what_each_needs(tmp_path):
    with pytest.raises(UserError, match="the folder is empty") as caught:
        open_cohort(tmp_path)
    assert all(f"{name}: " in str(caught.value) for name in layout_names()) and "\n" not in str(caught.value)
    (tmp_path / "scan.mha").touch()
    with pytest.raises(UserError, match="no known layout"):
        open_cohort(tmp_path)


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        open_cohort(tmp_path / "nowhere")


def test_a_file_that_is_no_manifest(tmp_path):
    (tmp_path / "scan.mha").touch()
    with pytest.raises(UserError, match="scan.mha: no known layout"):
        open_cohort(tmp_path / "scan.mha")


def test_two_layouts_in_one_folder_ask_for_a_choice(tmp_path, make_bonbid):
    make_bonbid(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"several layouts \(bonbid-hie, images2d\)"):
        open_cohort(tmp_path)
    assert len(open_cohort(tmp_path, layout="bonbid-hie")) == 2


def test_a_chosen_layout_that_does_not_fit_says_what_it_needs(tmp_path, make_bonbid):
    with pytest.raises(UserError, match="not laid out as nnunet, which needs dataset.json"):
        open_cohort(make_bonbid(tmp_path), layout="nnunet")


def test_all_problems_come_in_one_error(tmp_path, make_bonbid, bonbid_paths):
    make_bonbid(tmp_path, ("a", "b", "c"))
    bonbid_paths(tmp_path, "a")["zadc"].unlink()
    bonbid_paths(tmp_path, "b")["label"].unlink()
    with pytest.raises(UserError, match="2 problems: ") as caught:
        open_cohort(tmp_path)
    assert "a-ADC_ss.mha has no Z-ADC" in str(caught.value) and "b-ADC_ss.mha has no label" in str(caught.value)
    # The survey keeps the broken cases in its list.
    assert [case.name for case in survey(tmp_path).cases] == ["a", "b", "c"]


def test_the_name_is_the_folders(tmp_path, make_bonbid, monkeypatch):
    monkeypatch.chdir(make_bonbid(tmp_path / "mine"))
    cohort = open_cohort(".")
    assert (cohort.name, cohort.root, cohort.layout) == ("mine", tmp_path / "mine", "bonbid-hie")


def test_importing_cohorts_is_cheap():
    code = "import sys, multifocal.cohorts; print(sorted({'torch', 'pooch', 'requests', 'monai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
