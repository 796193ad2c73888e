import csv
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from multifocal.cli.data import app
from multifocal.cohorts import Folds, fetch
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((6, 5, 4), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@pytest.fixture
def cohort(tmp_path):
    """A cohort of six cases in the BONBID-HIE layout, whose lesions grow."""
    root = tmp_path / "mine_train"
    for number in range(6):
        rng = np.random.default_rng(number)
        label = np.zeros(GRID.size, np.uint8)
        label[:, 0, 0][:number] = 1
        name = f"S_{number}-VISIT_01"
        arrays = {
            f"1ADC_ss/{name}-ADC_ss.mha": rng.uniform(800, 1500, GRID.size).astype(np.float32),
            f"2Z_ADC/Zmap_{name}-ADC_smooth2mm_clipped10.mha": rng.normal(0, 2, GRID.size).astype(np.float32),
            f"3LABEL/{name}_lesion.mha": label,
        }
        for file, array in arrays.items():
            write(root / file, Volume(array, GRID))
    return root


def run(*arguments, text=None):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_check_shows_every_case_and_writes_the_table(cohort, tmp_path):
    result = run("check", cohort, "--csv", tmp_path / "check.csv")
    assert result.exit_code == 0
    for number in range(6):
        assert f"S_{number}-VISIT_01" in result.stdout
    assert "mine_train (bonbid-hie)" in result.stdout and "usable: 0 errors, 0 warnings" in result.stdout
    assert "6 cases of 6 subjects; no lesion: 1, <1 %: 1, 1-5 %: 4, >5 %: 0; train: 6" in result.stdout
    rows = list(csv.DictReader((tmp_path / "check.csv").open()))
    assert [row["case"] for row in rows] == [f"S_{number}-VISIT_01" for number in range(6)]
    assert rows[2]["size"] == "6 5 4" and float(rows[2]["share"]) == pytest.approx(2 / 120)
    assert rows[2]["stratum"] == "1-5 %" and rows[2]["problems"] == ""


def test_check_lists_every_problem_and_exits_with_2(cohort, tmp_path):
    (cohort / "3LABEL" / "S_1-VISIT_01_lesion.mha").unlink()
    (cohort / "1ADC_ss" / "S_3-VISIT_01-ADC_ss.mha").write_bytes(b"none")
    shutil.copy(cohort / "1ADC_ss" / "S_4-VISIT_01-ADC_ss.mha", cohort / "1ADC_ss" / "S_5-VISIT_01-ADC_ss.mha")
    result = run("check", cohort, "--csv", tmp_path / "check.csv")
    lines = result.stdout.splitlines()
    assert result.exit_code == 2 and "unusable: 2 errors, 2 warnings" in lines
    assert any(
        line.startswith("error: case S_1-VISIT_01: 1ADC_ss/S_1-VISIT_01-ADC_ss.mha has no label") for line in lines
    )
    assert any(line.startswith("error: case S_3-VISIT_01: ") and "not a MetaImage" in line for line in lines)
    assert sum("the same voxels as case" in line for line in lines) == 2
    rows = {row["case"]: row["problems"] for row in csv.DictReader((tmp_path / "check.csv").open())}
    assert len(rows) == 6 and "has no label" in rows["S_1-VISIT_01"] and not rows["S_0-VISIT_01"]


def test_check_of_no_cohort(tmp_path):
    with pytest.raises(UserError, match="the folder is empty"):
        run("check", tmp_path)
    with pytest.raises(UserError, match="unknown layout 'bonbid'"):
        run("check", tmp_path, "--layout", "bonbid")


def test_check_of_a_folder_without_a_case(tmp_path):
    (tmp_path / "1ADC_ss").mkdir()
    (tmp_path / "2Z_ADC").mkdir()
    result = run("check", tmp_path)
    assert result.exit_code == 2 and "error: no case found" in result.stdout


def test_folds_are_written_and_shown(cohort, tmp_path):
    out = tmp_path / "folds.json"
    result = run("folds", cohort, "--out", out, "--k", 3, "--scheme", "nested", "--seed", 4)
    folds = Folds.load(out)
    assert (folds.scheme, folds.seed, len(folds), folds.cohort) == ("nested", 4, 3, "mine_train")
    assert result.exit_code == 0 and "Test 1-5 %" in result.stdout and f"written: {out}" in result.stdout


def test_folds_have_defaults(cohort, tmp_path):
    run("folds", cohort, "--out", tmp_path / "folds.json")
    folds = Folds.load(tmp_path / "folds.json")
    assert (folds.scheme, folds.seed, len(folds)) == ("kfold", 0, 5)


def test_folds_replace_other_folds_only_when_told(cohort, tmp_path):
    out = tmp_path / "folds.json"
    run("folds", cohort, "--out", out, "--k", 2)
    run("folds", cohort, "--out", out, "--k", 2)
    with pytest.raises(UserError, match="folds.json: holds other folds; .*--overwrite"):
        run("folds", cohort, "--out", out, "--k", 3)
    assert len(Folds.load(out)) == 2
    run("folds", cohort, "--out", out, "--k", 3, "--overwrite")
    assert len(Folds.load(out)) == 3


def test_the_datasets_split_takes_no_draw(cohort, tmp_path):
    run("folds", cohort, "--out", tmp_path / "folds.json", "--scheme", "dataset")
    assert len(Folds.load(tmp_path / "folds.json").folds[0].train) == 6
    with pytest.raises(UserError, match="--k and --seed mean nothing"):
        run("folds", cohort, "--out", tmp_path / "folds.json", "--scheme", "dataset", "--seed", 1)
    with pytest.raises(UserError, match="unknown scheme 'knested'; did you mean 'nested'"):
        run("folds", cohort, "--out", tmp_path / "folds.json", "--scheme", "knested")


@pytest.fixture
def fetched(monkeypatch):
    """Replace the download; return the calls."""
    calls = []
    monkeypatch.setattr(
        "multifocal.cohorts.fetch.fetch_bonbid", lambda out, **options: calls.append((out, options)) or [out]
    )
    return calls


@pytest.mark.parametrize("text", ["n\n", "", "\n"])
def test_fetch_shows_the_licence_and_needs_a_yes(fetched, tmp_path, text):
    with pytest.raises(UserError, match="the licence was not accepted, nothing was downloaded; .*--accept-licence"):
        run("fetch", "bonbid-hie", "--out", tmp_path, text=text)
    assert not fetched


def test_fetch_after_a_yes(fetched, tmp_path):
    result = run("fetch", "bonbid-hie", "--out", tmp_path, text="y\n")
    assert "CC BY-NC 4.0" in result.stdout and "doi:10.1038/s41597-024-03986-7" in result.stdout
    assert result.stdout.index("CC BY-NC") < result.stdout.index("Do you accept") < result.stdout.index("ready: ")
    ((out, options),) = fetched
    assert out == tmp_path and options["parts"] == ["train", "val", "test"] and options["base_url"] == fetch.ZENODO


@pytest.mark.parametrize("option", ["--accept-licence", "--accept-license"])
def test_fetch_of_one_part_without_being_asked(fetched, tmp_path, option):
    result = run("fetch", "bonbid-hie", "--out", tmp_path, "--part", "val", option, "--base-url", "http://mirror/")
    assert "CC BY-NC 4.0" in result.stdout and "Do you accept" not in result.stdout
    assert fetched[0][1]["parts"] == ["val"] and fetched[0][1]["base_url"] == "http://mirror/"


def test_fetch_of_what_is_not_known(fetched, tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'bonbid'; did you mean 'bonbid-hie'"):
        run("fetch", "bonbid", "--out", tmp_path)
    with pytest.raises(UserError, match="unknown part 'tain'; did you mean 'train'"):
        run("fetch", "bonbid-hie", "--out", tmp_path, "--part", "tain")
    assert not fetched


@pytest.mark.parametrize("command", ["check", "folds", "fetch"])
def test_every_help_has_an_example(command):
    assert "Example: multifocal data" in " ".join(run(command, "--help").stdout.split())


def test_the_real_cases(bonbid, tmp_path):
    result = run("check", bonbid)
    assert result.exit_code == 0 and "usable: 0 errors, 6 warnings" in result.stdout
    assert "40 cases of 40 subjects; no lesion: 3, <1 %: 23" in result.stdout


def test_phantom_writes_a_cohort_that_check_accepts(tmp_path):
    result = run("phantom", tmp_path / "phantoms", "--cases", 2, "--seed", 3)
    assert result.exit_code == 0 and "2 cases" in result.stdout
    result = run("check", tmp_path / "phantoms")
    assert result.exit_code == 0 and "usable: 0 errors" in result.stdout
    with pytest.raises(UserError, match="not empty"):
        run("phantom", tmp_path / "phantoms")


def test_phantom_of_another_kind_is_a_cohort_of_it(tmp_path):
    result = run("phantom", tmp_path / "nuclei", "--kind", "nuclei", "--cases", 2)
    assert result.exit_code == 0 and "2 cases" in result.stdout
    assert "usable: 0 errors, 0 warnings" in run("check", tmp_path / "nuclei").stdout
    with pytest.raises(UserError, match="unknown kind of synthetic cohort 'nucleus'; did you mean 'nuclei'"):
        run("phantom", tmp_path / "other", "--kind", "nucleus")
    assert not (tmp_path / "other").exists()


def test_phantom_of_another_domain_is_written_by_several_processes(tmp_path):
    result = run("phantom", tmp_path / "random", "--domain", "random", "--cases", 2, "--workers", 2)
    assert result.exit_code == 0 and "2 cases" in result.stdout
    assert "usable: 0 errors" in run("check", tmp_path / "random").stdout
    run("phantom", tmp_path / "neat", "--cases", 2)
    first, second = (sorted((tmp_path / name / "1ADC_ss").iterdir())[0].read_bytes() for name in ("random", "neat"))
    assert first != second
    with pytest.raises(UserError, match="domain: Input should be 'neat' or 'random', found 'wild'"):
        run("phantom", tmp_path / "other", "--domain", "wild")
    with pytest.raises(UserError, match="options of kind of synthetic cohort nuclei: unknown key 'domain'"):
        run("phantom", tmp_path / "other", "--kind", "nuclei", "--domain", "random")
    assert not (tmp_path / "other").exists()
