"""Names in BIDS."""

import pytest

from multifocal.cohorts import Case, ImageFile
from multifocal.cohorts.bids import bids_file, bids_files
from multifocal.errors import UserError


@pytest.mark.parametrize(
    ("name", "subject", "maps", "expected"),
    [
        ("MGH_010-VISIT_01", "MGH_010", ("adc",), "sub-MGH010/ses-VISIT01/dwi/sub-MGH010_ses-VISIT01"),
        ("S1", "S1", ("adc", "zadc"), "sub-S1/dwi/sub-S1"),
        ("S1", "S1", ("flair", "t1"), "sub-S1/anat/sub-S1"),
        ("sub-07_ses-b_adc", "sub-07_ses-b_adc", ("adc",), "sub-07/ses-b/dwi/sub-07_ses-b"),
        ("sub-07", "sub-07", ("adc",), "sub-07/dwi/sub-07"),
    ],
)
def test_subject_session_and_kind(name, subject, maps, expected):
    case = Case(name, subject, {map_: ImageFile("a.mha") for map_ in maps})
    assert bids_file(case).as_posix() == f"{expected}_space-orig_label-lesion_mask.nii.gz"
    assert bids_file(case, "probseg").name.endswith("_space-orig_label-lesion_probseg.nii.gz")


def test_names_that_are_none_or_the_same():
    image = {"adc": ImageFile("a.mha")}
    with pytest.raises(UserError, match="case é: BIDS names hold the letters a to z and digits"):
        bids_file(Case("é", "é", image))
    with pytest.raises(UserError, match="cases a_b and a-b: are both sub-ab in BIDS"):
        bids_files("out", [Case("a_b", "a_b", image), Case("a-b", "a-b", image)])
