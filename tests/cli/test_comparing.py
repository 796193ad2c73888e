"""`multifocal compare`: folders of evaluations in, tables out."""

import json
import math

import pytest

from multifocal.comparison import DEFAULT_METRICS
from multifocal.evaluation import Scores, write_results
from multifocal.metrics import METRICS


@pytest.fixture
def evaluations(tmp_path):
    """Two evaluations of 8 cases, the second better by 0.1, and one of 7 cases."""

    def row(case, shift):
        values = {
            name: 0.4 + case / 100 + shift * (-1 if metric.best == "lowest" else 1) for name, metric in METRICS.items()
        }
        values |= {"true_ml": float(case), "masd": math.nan if case == 3 else 3.0 - shift}
        place = {"stratum": ("<1 %", ">5 %")[case % 2], "share_of_brain": 0.01, "diagonal_mm": 100.0}
        return {"case": f"c{case}", **values, **place}

    for name, shift, count in (("a", 0.0, 8), ("b", 0.1, 8), ("short", 0.0, 7)):
        write_results(Scores([row(case, shift) for case in range(count)], []), tmp_path / "scores" / name)
    return tmp_path / "scores"


def test_two_folders(multifocal, evaluations, tmp_path, listing):
    ended = multifocal("compare", evaluations / "a", evaluations / "b", "--out", tmp_path / "out", "--samples", 50)
    assert (ended.code, ended.err) == (0, "")
    assert listing(tmp_path / "out") == ["comparison.json", "table.csv", "table.md", "table.tex"]
    assert "Means and ranks over all 8 cases" in ended.out and "Paired differences" in ended.out
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["methods"] == ["a", "b"]
    assert found["metrics"] == list(DEFAULT_METRICS)
    assert list(found["strata"]) == ["<1 %", ">5 %"]
    dice = found["overall"]["methods"]["b"]["metrics"]["dice"]
    assert (dice["rank"], dice["first"], dice["n"]) == (1, 1, 8)
    assert found["overall"]["methods"]["b"]["mean_ranks"]["challenge"]["rank"] == 1
    masd = found["overall"]["methods"]["b"]["metrics"]["masd"]
    assert (masd["n"], masd["undefined"], masd["rule"]) == (7, 1, "skip")


def test_names_metrics_rule_and_seed(multifocal, evaluations, tmp_path):
    arguments = [f"old={evaluations / 'a'}", f"new [x]={evaluations / 'b'}", "--out", tmp_path / "out"]
    options = ["--metric", "masd", "--metric", "f1", "--undefined", "diagonal", "--samples", 30, "--seed", 5]
    ended = multifocal("compare", *arguments, *options)
    assert ended.code == 0 and "new [x]" in ended.out
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (found["methods"], found["metrics"]) == (["old", "new [x]"], ["masd", "f1"])
    settings = found["settings"]
    assert (settings["undefined"], settings["samples"], settings["seed"]) == ("diagonal", 30, 5)
    assert found["overall"]["methods"]["old"]["metrics"]["masd"]["mean"] == pytest.approx((7 * 3 + 100) / 8)


def test_the_same_command_writes_the_same_files(multifocal, evaluations, tmp_path):
    for name in "xy":
        multifocal("compare", evaluations / "a", evaluations / "b", "--out", tmp_path / name, "--samples", 20)
    for file in ("comparison.json", "table.csv", "table.md", "table.tex"):
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_a_comparison_is_replaced_only_when_told(multifocal, evaluations, tmp_path):
    command = ["compare", evaluations / "a", evaluations / "b", "--out", tmp_path / "out", "--samples", 5]
    multifocal(*command)
    before = (tmp_path / "out" / "comparison.json").read_bytes()
    ended = multifocal(*command, "--seed", 1)
    assert ended.code == 2 and "--overwrite" in ended.err
    assert (tmp_path / "out" / "comparison.json").read_bytes() == before
    assert multifocal(*command, "--seed", 1, "--overwrite").code == 0
    assert (tmp_path / "out" / "comparison.json").read_bytes() != before


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["a", "nowhere"], "nowhere: no cases.csv"),
        (["a", "short"], "short lacks c7"),
        (["a", "a"], "a second method called a; tell them apart with NAME=DIR"),
        (["=a"], "no name; write NAME=DIR"),
    ],
)
def test_wrong_folders_are_exit_code_2(multifocal, evaluations, tmp_path, monkeypatch, folders, message):
    monkeypatch.chdir(evaluations)
    ended = multifocal("compare", *folders, "--out", tmp_path / "out", "--samples", 5)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err and ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_wrong_metrics_are_exit_code_2(multifocal, evaluations, tmp_path):
    ended = multifocal("compare", evaluations / "a", "--out", tmp_path / "out", "--metric", "dize")
    assert ended.code == 2 and "did you mean 'dice'" in ended.err


def test_a_folder_with_an_equals_sign_in_its_name(multifocal, evaluations, tmp_path):
    (evaluations / "a").rename(evaluations / "lr=0.1")
    ended = multifocal("compare", evaluations / "lr=0.1", "--out", tmp_path / "out", "--samples", 5)
    assert ended.code == 0
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["methods"] == ["lr=0.1"]
