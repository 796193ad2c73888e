import re

from hypothesis import given
from hypothesis import strategies as st

from multifocal.reports.formatting import file_names


@given(st.lists(st.text(min_size=1, max_size=100), unique=True, max_size=6))
def test_every_name_has_a_file_of_its_own_that_stays_in_the_folder(names):
    files = file_names(names)
    assert list(files) == names
    assert len({file.lower() for file in files.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}", file) for file in files.values())


def test_plain_names_stay():
    assert file_names(["MGHNICU_010-VISIT_01", "a.b"]) == {"MGHNICU_010-VISIT_01": "MGHNICU_010-VISIT_01", "a.b": "a.b"}


def test_names_that_differ_by_case_or_by_what_is_replaced_are_kept_apart():
    files = file_names(["case", "CASE", "a b", "a/b", "..", "../etc", "-"])
    assert len({file.lower() for file in files.values()}) == 7
    assert files["case"] == "case"
    assert not any("/" in file or file.startswith(".") for file in files.values())
