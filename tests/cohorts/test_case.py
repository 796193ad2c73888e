import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.cohorts import Case, Cohort, ImageFile
from multifocal.errors import UserError
from multifocal.volumes import Volume, write

SCAN = {"adc": ImageFile(Path("adc.mha")), "zadc": ImageFile(Path("zadc.mha"))}


def cohort(*cases: Case) -> Cohort:
    return Cohort("demo", Path(), "manifest", cases)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "../a", "a..b", "a\nb", "a\0b", "/", "a\ud800", "\udcff"]
)
def test_names_that_could_not_be_files_are_refused(name):
    with pytest.raises(UserError, match="^case .*not a usable name.*$"):
        Case(name, "s", SCAN)
    with pytest.raises(UserError, match="^case s: map .*not a usable name.*$"):
        Case("s", "s", {name: ImageFile(Path("x.mha"))})


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_accepted_names_are_one_plain_path_component(name):
    try:
        Case(name, "s", SCAN)
    except UserError:
        return
    path = Path("folder") / f"{name}_lesion.mha"
    assert path.parent == Path("folder") and path.name == f"{name}_lesion.mha" and not name.startswith(".")


def test_a_case_needs_an_image():
    with pytest.raises(UserError, match="case a: no image"):
        Case("a", "a", {})


def test_cases_are_frozen_hashable_and_travel_to_other_processes():
    images = dict(SCAN)
    case = Case("a", "s", images, ImageFile(Path("l.mha")), "test")
    images.clear()
    assert tuple(case.images) == ("adc", "zadc")
    assert pickle.loads(pickle.dumps(case)) == case and hash(case) == hash(Case("a", "s", SCAN, case.label, "test"))
    with pytest.raises(FrozenInstanceError):
        case.name = "b"


def test_case_names_are_unique():
    with pytest.raises(UserError, match=r"cohort demo: more than one case is named a;"):
        cohort(Case("a", "1", SCAN), Case("b", "2", SCAN), Case("a", "3", SCAN))


def test_a_missing_map_names_the_case_and_the_map():
    with pytest.raises(UserError, match="case b has no map 'zadc'"):
        cohort(Case("a", "1", SCAN), Case("b", "2", {"adc": SCAN["adc"]}))
    with pytest.raises(UserError, match="case a has no map 't1'"):
        cohort(Case("a", "1", {"adc": SCAN["adc"]}), Case("b", "2", {"t1": SCAN["adc"], "adc": SCAN["adc"]}))


def test_subset_keeps_the_given_order_and_refuses_strangers():
    whole = cohort(*(Case(name, name, SCAN) for name in "abc"))
    part = whole.subset(["c", "a"])
    assert [case.name for case in part] == ["c", "a"] and len(part) == 2 and part.maps == ("adc", "zadc")
    assert len(whole.subset([])) == 0 and whole.subset([]).maps == ()
    with pytest.raises(UserError, match="no case 'd'"):
        whole.subset(["d"])
    with pytest.raises(UserError, match="more than one case is named a"):
        whole.subset(["a", "a"])


def test_an_unknown_case_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'case_01'"):
        cohort(Case("case_01", "1", SCAN)).case("case_1")


def test_image_file_reads_its_component(tmp_path, grid):
    array = np.arange(np.prod(grid.size), dtype=np.float32).reshape(grid.size)
    write(tmp_path / "a.mha", Volume(array, grid))
    image = ImageFile(tmp_path / "a.mha")
    assert image.geometry() == grid and np.array_equal(image.read().array, array)
    with pytest.raises(UserError, match="no component 1"):
        ImageFile(tmp_path / "a.mha", component=1).read()
