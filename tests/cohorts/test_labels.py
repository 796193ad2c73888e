"""What values of label images mean: codes there and back, classes that overlap, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from multifocal.cohorts import Case, Cohort, ImageFile, Labels, check_labels, lesion_share, with_labels
from multifocal.cohorts.labels import IGNORED
from multifocal.config import validate
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, write

NESTED = Labels(classes={"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}, overlap=True)
APART = Labels(classes={"core": (1, 4), "edema": (2,)}, ignore=255)
MASK = Labels()
GRID = Geometry((4, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("labels", "named", "channels", "activation", "names"),
    [
        (Labels(), (1,), 1, "sigmoid", ("lesion",)),
        (Labels(ignore=2), (1,), 1, "sigmoid", ("lesion",)),
        (Labels(classes={"plaque": (3, 1)}), (3, 1), 1, "sigmoid", ("plaque",)),
        (APART, (1, 4, 2), 3, "softmax", ("core", "edema")),
        (NESTED, (1, 2, 4), 3, "sigmoid", ("whole", "core", "enhancing")),
    ],
)
def test_what_follows_from_the_classes(labels, named, channels, activation, names):
    assert (labels.named, labels.channels, labels.activation, labels.names) == (named, channels, activation, names)


@pytest.mark.parametrize("labels", [Labels(), Labels(ignore=9), APART, NESTED])
def test_values_come_back_from_their_codes(labels):
    values = np.array([[0, *labels.named]])
    codes = labels.encode(values)
    assert codes.dtype == np.uint8 and codes.tolist() == [list(range(len(labels.named) + 1))]
    assert np.array_equal(labels.decode(codes), values)
    if labels.ignore:
        assert labels.encode(np.array([labels.ignore, 0])).tolist() == [IGNORED, 0]


def test_members_are_what_the_classes_say():
    for labels in (APART, NESTED):
        for code, value in enumerate(labels.named, start=1):
            assert labels.members[code].tolist() == [value in values for values in labels.classes.values()]
        assert not labels.members[[0, IGNORED]].any()


def test_large_values_keep_their_size():
    labels = Labels(classes={"a": (300,), "b": (2,)})
    assert labels.decode(np.array([1, 2, 0])).dtype == np.uint16
    assert labels.decode(np.array([1, 2, 0])).tolist() == [300, 2, 0]


def test_a_value_without_a_name_has_no_code():
    with pytest.raises(ValueError, match="holds 3; expected only 0, 1, 2, 4, 255"):
        APART.encode(np.array([1, 3]))


@given(st.lists(st.floats(0.001, 0.999), min_size=3, max_size=3), st.floats(0.05, 0.95))
def test_overlapping_classes_take_the_value_that_fits_best(probabilities, threshold):
    (code,) = NESTED.most_likely([np.array([p]) for p in probabilities], threshold=threshold)
    odds = [np.log(p / (1 - p)) - np.log(threshold / (1 - threshold)) for p in probabilities]
    fits = [sum(o for o, values in zip(odds, NESTED.classes.values(), strict=True) if v in values) for v in (1, 2, 4)]
    assert fits[code - 1] == pytest.approx(max(fits), abs=1e-8)
    reached = {
        v
        for v in (1, 2, 4)
        if [p >= threshold for p in probabilities] == NESTED.members[(1, 2, 4).index(v) + 1].tolist()
    }
    assert not reached or {(1, 2, 4)[code - 1]} == reached


def test_classes_apart_take_the_first_value_of_the_most_probable():
    found = APART.most_likely([np.array([0.4, 0.1]), np.array([0.3, 0.2])], threshold=0.9)
    assert APART.decode(found).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"classes": {"a": 1, "b": [1, 2]}}, "value 1 is in a and b: set overlap"),
        ({"classes": {"a": 0}}, "classes.a"),
        ({"classes": {"a": []}}, "classes.a"),
        ({"classes": {"a": True}}, "classes.a"),
        ({"classes": {"a": 1.5}}, "classes.a"),
        ({"classes": {"../a": 1}}, "a name is a folder's"),
        ({"classes": {"a": 1}, "overlap": True}, "overlap is about several classes"),
        ({"classes": {"a": 1, "b": 2}, "ignore": 2}, "ignore=2 is a class's value"),
        ({"ignore": 1}, "ignore=1 is a class's value"),
        ({"ignore": 0}, "ignore"),
        ({"class": {"a": 1}}, "did you mean 'classes'"),
        ({"classes": {f"c{n}": n + 1 for n in range(255)}}, "255 values are named; expected 254"),
    ],
)
def test_what_cannot_be(data, expected):
    with pytest.raises(UserError, match=expected):
        validate(Labels, data, where="mine.yaml: labels")


def test_frozen():
    with pytest.raises(ValidationError):
        APART.ignore = 3  # type: ignore[misc]


@pytest.fixture
def cohort(tmp_path):
    def cohort(values, labels=MASK, **options) -> Cohort:
        write(tmp_path / "map.nrrd", Volume(np.array([[1.0], [2], [3], [0]], np.float32), GRID))
        write(tmp_path / "label.nrrd", Volume(np.array(values, np.uint8)[:, None], GRID))
        case = Case("a", "a", {"map": ImageFile(tmp_path / "map.nrrd")}, ImageFile(tmp_path / "label.nrrd"))
        return Cohort("mine", Path(tmp_path), "manifest", (case,), labels=labels, **options)

    return cohort


def test_labels_are_checked_by_what_the_cohort_says_of_them(cohort):
    check_labels(cohort([0, 1, 4, 255], APART))
    with pytest.raises(UserError, match=r"holds 3 at .*expected only 0, 1, 2, 4, 255; name the values: labels.classes"):
        check_labels(cohort([0, 3, 0, 0], APART))
    with pytest.raises(UserError, match=r"expected only 0 and 1; write masks .* or name the values"):
        check_labels(cohort([0, 2, 0, 0]))


def test_what_is_ignored_is_neither_lesion_nor_brain(cohort):
    assert lesion_share(cohort([0, 4, 2, 0]).cases[0], labels=APART) == 2 / 3
    assert lesion_share(cohort([0, 4, 255, 0]).cases[0], labels=APART) == 1 / 2


def test_a_cohort_takes_its_meaning_from_the_recipe(cohort):
    plain, named = cohort([0, 1, 0, 0]), cohort([0, 1, 0, 0], APART)
    assert with_labels(plain, APART).labels == APART
    assert with_labels(named, NESTED).labels == NESTED
    with pytest.raises(UserError, match=r'say in the recipe what they are: labels: {"classes": {"core": \[1, 4\]'):
        with_labels(named, Labels())
    instances = replace(plain, label_kind="instances")
    assert with_labels(instances, Labels()).labels == Labels()
    with pytest.raises(UserError, match="its labels number instances, and are of one class"):
        with_labels(instances, APART)


def test_instances_and_their_borders_are_two_classes():
    labels = Labels(border=1.0, ignore=9)
    assert (labels.names, labels.channels, labels.activation) == (("inside", "border"), 3, "softmax")
    values = np.zeros((5, 7), int)
    values[1:4, 1:4], values[1:4, 4:6], values[4, 6] = 5, 1, 9
    codes = labels.encode_instances(values)
    assert codes[2].tolist() == [0, 2, 1, 2, 2, 2, 0] and codes[4, 6] == IGNORED
    assert np.array_equal(labels.encode(np.array([0, 1, 2])), [0, 1, 2])
    assert np.array_equal(labels.decode(np.array([0, 1, 2])), [0, 1, 2])
    assert labels.members[[1, 2]].tolist() == [[True, False], [False, True]]
    with pytest.raises(ValidationError, match="leave classes and overlap out"):
        Labels(border=1.0, classes={"a": (1,), "b": (2,)})


def test_borders_are_of_instances(cohort):
    numbered = replace(cohort([0, 1, 4, 0]), label_kind="instances")
    assert with_labels(numbered, Labels(border=1.5)).labels.border == 1.5
    with pytest.raises(UserError, match="its labels are masks, not numbered instances; leave labels.border out"):
        with_labels(cohort([0, 1, 0, 0]), Labels(border=1.5))
