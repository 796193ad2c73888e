"""Which cases a run trains on when nobody says."""

from dataclasses import replace

import pytest

from multifocal import recipes
from multifocal.cohorts import lesion_shares, make_folds
from multifocal.errors import UserError
from multifocal.training import choose_split


@pytest.fixture
def monitored(small_recipe):
    return recipes.load(small_recipe)


@pytest.fixture
def unmonitored(small_recipe):
    return recipes.load(small_recipe, overrides=["training.monitor=null"])


def split(cohort, *parts):
    return replace(cohort, cases=tuple(replace(case, split=part) for case, part in zip(cohort, parts, strict=True)))


def test_a_fold_file_decides(cohort, monitored, tmp_path):
    folds = make_folds(cohort, lesion_shares(cohort), k=3, scheme="nested")
    folds.save(tmp_path / "folds.json")
    parts = choose_split(cohort, monitored, folds=tmp_path / "folds.json", fold=1)
    expected = folds.folds[1]
    assert (parts.train, parts.validation, parts.test) == (expected.train, expected.validation, expected.test)


@pytest.mark.parametrize(("folds", "fold"), [("folds.json", None), (None, 0)])
def test_file_and_fold_belong_together(cohort, monitored, tmp_path, folds, fold):
    with pytest.raises(UserError, match="--folds FILE and --fold K belong together"):
        choose_split(cohort, monitored, folds=folds and tmp_path / folds, fold=fold)


def test_the_cohorts_own_parts(cohort, monitored):
    names = [case.name for case in cohort]
    parts = choose_split(
        split(cohort, "train", "train", "val", "val", "test", "train"), monitored, folds=None, fold=None
    )
    assert parts.train == (names[0], names[1], names[5])
    assert parts.validation == tuple(names[2:4]) and parts.test == (names[4],)


def test_without_parts_every_labelled_case_trains(cohort, unmonitored):
    cases = (replace(cohort.cases[0], label=None), *cohort.cases[1:])
    parts = choose_split(replace(cohort, cases=cases), unmonitored, folds=None, fold=None)
    assert parts.train == tuple(case.name for case in cases[1:]) and parts.validation == parts.test == ()


def test_a_monitored_recipe_holds_out_one_subject_in_five(cohort, monitored):
    parts = choose_split(cohort, monitored, folds=None, fold=None)
    assert len(parts.validation) in (1, 2) and parts.test == ()
    assert sorted(parts.train + parts.validation) == sorted(case.name for case in cohort)
    assert parts == choose_split(cohort, monitored, folds=None, fold=None)


def test_test_cases_are_never_trained_on(cohort, monitored, unmonitored):
    marked = split(cohort, "train", "train", "train", "train", "train", "test")
    for recipe in (monitored, unmonitored):
        parts = choose_split(marked, recipe, folds=None, fold=None)
        assert parts.test == (cohort.cases[5].name,)
        assert set(parts.train + parts.validation) == {case.name for case in cohort.cases[:5]}


def test_a_cohort_without_labels(cohort, unmonitored):
    bare = replace(cohort, cases=tuple(replace(case, label=None) for case in cohort))
    with pytest.raises(UserError, match="cohort small: no case has a label to train on"):
        choose_split(bare, unmonitored, folds=None, fold=None)


def test_a_case_without_a_part_trains_beside_marked_ones(cohort, monitored):
    names = [case.name for case in cohort]
    chosen = choose_split(split(cohort, None, "val", None, "test", "train", None), monitored, folds=None, fold=None)
    assert chosen.train == (names[0], names[2], names[4], names[5])
    assert chosen.validation == (names[1],) and chosen.test == (names[3],)


def test_few_subjects_are_shared_out_as_far_as_they_go(cohort, monitored):
    few = cohort.subset([case.name for case in cohort][1:4])
    chosen = choose_split(few, monitored)
    assert len(chosen.train) == 2 and len(chosen.validation) == 1
    with pytest.raises(UserError, match="1 subject to train on.*--set training.monitor=null"):
        choose_split(few.subset([few.cases[0].name]), monitored)
