import pytest

from multifocal.cohorts.layouts import LayoutResult, Problem
from multifocal.volumes import EXTENSIONS, strip_extension


def listing(folder, *names):
    for name in names:
        (folder / name).touch()
    found = LayoutResult(folder)
    return found.listing(folder, pattern=r"(.+)", expected="STEM"), found.problems


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_every_ending_that_is_read_is_listed(tmp_path, ending):
    files, problems = listing(tmp_path, f"a{ending}")
    assert files == {"a": tmp_path / f"a{ending}"} and not problems


@pytest.mark.parametrize("name", ["a.MHA", "a.Nii.gz", "a.PNG", "a.dcm", "a"])
def test_an_ending_is_one_for_the_list_if_it_is_one_for_the_reader(tmp_path, name):
    files, problems = listing(tmp_path, name)
    stem = strip_extension(name)
    if stem == name:
        assert not files
        expected = f"{name}: not an image format read here; convert it to one of {', '.join(EXTENSIONS)}"
        assert problems == [Problem("error", expected)]
    else:
        assert files == {stem: tmp_path / name} and not problems


@pytest.mark.parametrize("names", [("a.mhd", "a.raw"), ("A.MHD", "A.RAW"), ("a.NRRD", "a.Raw")])
def test_the_voxels_of_a_header_are_no_image_of_their_own(tmp_path, names):
    files, problems = listing(tmp_path, *names)
    assert list(files.values()) == [tmp_path / names[0]] and not problems


def test_a_problem_names_its_case():
    assert str(Problem("warning", "small", case="S1")) == "case S1: small" and str(Problem("error", "none")) == "none"
