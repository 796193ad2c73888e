import pytest

from multifocal.cohorts import layout_names, open_cohort
from multifocal.cohorts.case import ImageFile
from multifocal.cohorts.layouts import LAYOUTS, Layout, LayoutResult, register
from multifocal.errors import UserError


@pytest.fixture
def flair(monkeypatch):
    """A layout of one's own, known for one test."""
    layout_names()
    monkeypatch.setattr(LAYOUTS, "_things", dict(LAYOUTS._things))

    @register("flair", needs="FLAIR.nii.gz", matches=lambda root: (root / "FLAIR.nii.gz").is_file())
    def read(found: LayoutResult) -> None:
        found.add(found.root.name, images={"flair": ImageFile(found.root / "FLAIR.nii.gz")})

    return read


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="'nnunet' is taken"):
        layout_names()
        register("nnunet", needs="nothing", matches=lambda root: True)(lambda found: None)
    assert LAYOUTS.get("nnunet").read.__module__.endswith("nnunet")


def test_an_unknown_layout_lists_the_choices(tmp_path):
    with pytest.raises(UserError, match=r"unknown layout 'nnunett'; did you mean 'nnunet'.*bonbid-hie, images2d"):
        open_cohort(tmp_path, layout="nnunett")


def test_every_layout_has_a_name_and_needs():
    assert layout_names() == ("bonbid-hie", "images2d", "manifest", "nnunet")
    for name in layout_names():
        layout = LAYOUTS[name]
        assert isinstance(layout, Layout) and layout.name == name
        assert layout.needs and layout.read.__module__.startswith("multifocal.cohorts.layouts.")
        assert LAYOUTS.describe(name).startswith("Find ")


def test_each_layout_knows_its_own_folder_and_no_other(tmp_path):
    for name, path in (("images2d", "images"), ("bonbid-hie", "1ADC_ss"), ("nnunet", None), ("manifest", None)):
        folder = tmp_path / name
        folder.mkdir()
        if path:
            (folder / path).mkdir()
        else:
            (folder / {"nnunet": "dataset.json", "manifest": "manifest.csv"}[name]).touch()
        assert [layout for layout in layout_names() if LAYOUTS[layout].matches(folder)] == [name]


def test_a_layout_of_ones_own(flair, tmp_path):
    (tmp_path / "S1").mkdir()
    (tmp_path / "S1" / "FLAIR.nii.gz").touch()
    assert "flair" in layout_names()
    for layout in ("auto", "flair"):
        cohort = open_cohort(tmp_path / "S1", layout=layout)
        assert (cohort.layout, [case.name for case in cohort], cohort.maps) == ("flair", ["S1"], ("flair",))
