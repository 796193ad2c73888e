import numpy as np
import pytest

from multifocal.cohorts import check_cohort, open_cohort, survey
from multifocal.errors import UserError
from multifocal.volumes import Volume, write


@pytest.fixture
def manifest(tmp_path, grid):
    """Return a function that writes a manifest beside the images x.mha and y.mha."""
    for name in ("x.mha", "y.mha"):
        write(tmp_path / "cohort" / name, Volume(np.ones(grid.size, np.uint8), grid))

    def make(text, name="manifest.csv", encoding="utf-8"):
        (tmp_path / "cohort" / name).write_bytes(text.encode(encoding))
        return tmp_path / "cohort"

    return make


def test_all_columns(manifest, tmp_path):
    outside = tmp_path / "cohort" / ".." / "cohort" / "x.mha"
    root = manifest(
        "case,subject,split,flair,t1,label\n"
        "b,S1,train,x.mha,y.mha,y.mha\n"
        "a,S1,Test,../cohort/x.mha,y.mha,\n"
        f'\n c , ,,{outside}, "y.mha",x.mha\n'.replace(', "', ',"')
    )
    cohort = open_cohort(root)
    assert [(case.name, case.subject, case.split) for case in cohort] == [
        ("b", "S1", "train"),
        ("a", "S1", "test"),
        ("c", "c", None),
    ]
    assert cohort.maps == ("flair", "t1") and cohort.case("a").label is None and cohort.root == root
    assert cohort.case("c").images["flair"].path == outside and cohort.case("b").label.path == root / "y.mha"
    assert all(image.read().array.all() for case in cohort for image in case.images.values())


def test_least_columns_from_the_file_itself(manifest):
    root = manifest("case,adc\r\na,x.mha\r\n", name="mine.csv", encoding="utf-8-sig")
    cohort = open_cohort(root / "mine.csv")
    assert (cohort.name, cohort.root, cohort.layout, len(cohort)) == ("mine", root, "manifest", 1)


def test_a_check_tells_a_missing_file_once(manifest):
    found = survey(manifest("case,adc,label\na,x.mha,z.mha\nb,gone.mha,y.mha\n"))
    assert [str(problem).partition(": ")[2] for problem in found.problems] == [
        "manifest.csv row 2, column label: no such file: z.mha",
        "manifest.csv row 3, column adc: no such file: gone.mha",
    ]
    told = [problem.text for report in check_cohort(found) for problem in report.problems]
    assert not [text for text in told if "z.mha" in text or "gone.mha" in text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("case,adc\na,z.mha\n", "case a: manifest.csv row 2, column adc: no such file: z.mha"),
        ("case,adc\n\na,x.mha\nb,\n", "case b: manifest.csv row 4, column adc: empty"),
        ("case,adc,zadc\na,x.mha\n", "row 2, column zadc: empty"),
        ("case,adc\n,x.mha\n", "row 2, column case: empty"),
        ("case,adc\na,x.mha\na,y.mha\n", "case a: there is a second case of this name .y.mha"),
        ("case,adc\n../a,x.mha\n", "case '../a' is not a usable name"),
        ("case,adc,split\na,x.mha,training\n", "row 2, column split: 'training'; expected train, val, test"),
        ("case,adc,label\na,x.mha,z.mha\n", "row 2, column label: no such file"),
        ("case,adc,label\na,x.mha,y.mha\nb,x.mha,\n", "case b: no label, while others of its split have one"),
        ("case,adc\na,x.mha,y.mha\n", "row 2 has 3 cells for 2 columns"),
        ("case,adc,adc\na,x.mha,y.mha\n", "give every column its own name"),
        ("case,adc,\na,x.mha,y.mha\n", "give every column its own name"),
        ("case;adc\na;x.mha\n", "its columns are case;adc; expected 'case'"),
        ("case,label\na,x.mha\n", "expected 'case' and one column per map"),
        ("", "its columns are missing"),
        ("case,adc\n", "no case found"),
        ('case,adc\n"a,x.mha\n', "not a CSV file in UTF-8"),
    ],
)
def test_errors_name_row_and_column(manifest, text, expected):
    with pytest.raises(UserError, match=expected):
        open_cohort(manifest(text))


def test_other_encodings_are_refused(manifest):
    with pytest.raises(UserError, match="not a CSV file in UTF-8"):
        open_cohort(manifest("case,adc\nä,x.mha\n", encoding="latin-1"))
