import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from multifocal.cohorts import Case, Cohort, Fold, Folds, ImageFile, dataset_folds, make_folds, read_fold, stratum
from multifocal.errors import UserError

SCAN = {"adc": ImageFile(Path("adc.mha"))}


def cohort_of(visits, *, splits=None, name="demo"):
    """Return a cohort with so many visits of each subject."""
    names = [(f"S{s}-V{v}", f"S{s}") for s, count in enumerate(visits) for v in range(count)]
    cases = [Case(n, s, SCAN, split=splits[i] if splits else None) for i, (n, s) in enumerate(names)]
    return Cohort(name, Path(), "manifest", tuple(cases))


SHARES = st.sampled_from([0.0, 0.002, 0.009, 0.02, 0.04, 0.2, 0.6])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_folds_promise(data):
    scheme = data.draw(st.sampled_from(["kfold", "nested"]))
    visits = data.draw(st.lists(st.integers(1, 3), min_size=3, max_size=30))
    cohort = cohort_of(visits)
    shares = {case.name: data.draw(SHARES) for case in cohort}
    k = data.draw(st.integers(3, min(len(visits), 6)))
    seed = data.draw(st.integers(0, 5))
    folds = make_folds(cohort, shares, k=k, seed=seed, scheme=scheme)
    names = sorted(case.name for case in cohort)
    subjects = {case.name: case.subject for case in cohort}
    assert sorted(name for fold in folds.folds for name in fold.test) == names and len(folds) == k
    for number in range(k):
        fold = folds.fold(number, cohort)
        parts = [fold.train, fold.validation, fold.test]
        assert sorted(sum(map(list, parts), [])) == names
        people = [{subjects[name] for name in part} for part in parts]
        assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
        assert set(fold.validation) == (set(folds.folds[(number + 1) % k].test) if scheme == "nested" else set())
    tested = [{subjects[name] for name in fold.test} for fold in folds.folds]
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    worst = {s: max(shares[n] for n in names if subjects[n] == s) for s in set(subjects.values())}
    for level in {stratum(share) for share in worst.values()}:
        counts = [sum(stratum(worst[s]) == level for s in group) for group in tested]
        assert max(counts) - min(counts) <= 1
    shuffled = list(cohort.cases)
    random.Random(seed).shuffle(shuffled)
    again = make_folds(replace(cohort, cases=tuple(shuffled)), shares, k=k, seed=seed, scheme=scheme)
    assert again == folds


def test_the_seed_decides():
    cohort = cohort_of([1] * 20)
    shares = {case.name: 0.002 for case in cohort}
    assert len({make_folds(cohort, shares, seed=seed).folds for seed in range(6)}) == 6
    # Known once and for all: folds drawn today are those drawn next year.
    assert make_folds(cohort, shares, seed=1).folds[0].test == ("S0-V0", "S11-V0", "S17-V0", "S9-V0")


@pytest.mark.parametrize(
    ("k", "scheme", "expected"),
    [
        (1, "kfold", "k is 1; kfold folds of 4 subjects need 2 to 4"),
        (2, "nested", "k is 2; nested folds of 4 subjects need 3 to 4"),
        (5, "kfold", "k is 5"),
        (3, "kfolds", "unknown scheme 'kfolds'; did you mean 'kfold'"),
    ],
)
def test_folds_that_cannot_be(k, scheme, expected):
    cohort = cohort_of([2, 1, 1, 1])
    with pytest.raises(UserError, match=expected):
        make_folds(cohort, {case.name: 0.0 for case in cohort}, k=k, scheme=scheme)


def test_a_case_without_a_share():
    with pytest.raises(UserError, match="case S1-V0: no lesion share"):
        make_folds(cohort_of([1, 1]), {"S0-V0": 0.0}, k=2)


def test_the_datasets_own_split():
    cohort = cohort_of([1] * 5, splits=["train", "test", "val", "train", "test"])
    folds = dataset_folds(cohort)
    assert folds.folds == (Fold(train=("S0-V0", "S3-V0"), validation=("S2-V0",), test=("S1-V0", "S4-V0")),)
    assert (folds.scheme, folds.seed, folds.fold(0, cohort)) == ("dataset", None, folds.folds[0])
    with pytest.raises(UserError, match="no split for S1-V0"):
        dataset_folds(cohort_of([1, 1], splits=["train", None]))
    with pytest.raises(UserError, match="no case for training"):
        dataset_folds(cohort_of([1, 1], splits=["test", "test"]))


def test_a_split_by_the_dataset_may_divide_a_subject():
    cohort = cohort_of([2], splits=["train", "test"])
    assert dataset_folds(cohort).fold(0, cohort).test == ("S0-V1",)


@pytest.fixture
def saved(tmp_path):
    cohort = cohort_of([2, 1, 1, 1])
    folds = make_folds(cohort, {case.name: 0.0 for case in cohort}, k=2, seed=3)
    folds.save(tmp_path / "folds.json")
    return cohort, folds, tmp_path / "folds.json"


def test_there_and_back(saved):
    cohort, folds, path = saved
    assert Folds.load(path) == Folds.load(str(path)) == folds
    folds.save(str(path))
    assert read_fold(cohort, folds=str(path), fold=1) == read_fold(cohort, folds=path, fold=1) == folds.folds[1]
    assert json.loads(path.read_text())["cohort"] == "demo"
    with pytest.raises(ValidationError):
        folds.seed = 4


def test_folds_belong_to_their_cohort(saved):
    cohort, folds, _ = saved
    other = Cohort("other", Path(), "manifest", (*cohort.cases[1:], Case("new", "new", SCAN)))
    with pytest.raises(UserError, match="missing from the cohort: S0-V0; not in the folds: new"):
        folds.fold(0, other)
    for number in (-1, 2):
        with pytest.raises(UserError, match=f"no fold {number}; choose from 0 to 1"):
            folds.fold(number, cohort)


def test_a_subject_in_two_parts_is_refused(saved):
    cohort, folds, _ = saved
    torn = replace(cohort, cases=tuple(replace(case, subject="same") for case in cohort))
    with pytest.raises(UserError, match="subject same is in train and in test"):
        folds.fold(0, torn)


def change_case(content):
    content["folds"][0]["test"][0] = "stranger"


def drop_case(content):
    content["folds"][0]["train"].pop()


def double_case(content):
    content["folds"][0]["train"].append(content["folds"][0]["test"][0])


def same_fold_twice(content):
    content["folds"][1] = content["folds"][0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_case, "cases of fold 0 are not those"),
        (drop_case, "cases of fold 0 are not those"),
        (double_case, "fold 0 holds case .* more than once"),
        (same_fold_twice, "not every case is tested exactly once"),
        (lambda content: content.update(folds=[]), "there is no fold"),
        (lambda content: content.update(extra=1), "extra: Extra inputs are not permitted"),
        (lambda content: content.pop("fingerprint"), "fingerprint: Field required"),
        (lambda content: content.update(scheme="other"), "scheme: "),
    ],
)
def test_a_changed_file_is_refused(saved, change, expected):
    path = saved[2]
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"folds.json: .*{expected}.*multifocal data folds"):
        Folds.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "no"])
def test_a_file_of_no_folds(tmp_path, text):
    (tmp_path / "folds.json").write_text(text)
    with pytest.raises(UserError, match="folds.json"):
        Folds.load(tmp_path / "folds.json")
    with pytest.raises(UserError, match="no such file"):
        Folds.load(tmp_path / "none.json")


def test_a_subject_counts_with_its_worst_visit():
    # Two subjects have one grave visit each, beside a mild one: they must not meet in one fold.
    cohort = cohort_of([2, 2, 1, 1])
    shares = {"S0-V0": 0.0, "S0-V1": 0.3, "S1-V0": 0.3, "S1-V1": 0.0, "S2-V0": 0.0, "S3-V0": 0.0}
    for seed in range(8):
        folds = make_folds(cohort, shares, k=2, seed=seed)
        assert [Counter(name[:2] in ("S0", "S1") for name in fold.test)[True] for fold in folds.folds] == [2, 2]
