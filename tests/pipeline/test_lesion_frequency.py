import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from multifocal.cohorts import Case, Labels
from multifocal.errors import UserError
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.lesion_frequency import Frequency, cell_shares, read_frequency
from multifocal.pipeline.prepare import prepare
from multifocal.pipeline.settings import BrainBox

FREQUENT = BrainBox.model_validate(
    {
        "kind": "brain-box",
        "brain": "adc",
        "channels": [{"map": "adc"}, {"derive": {"name": "lesion-frequency", "cells": 6, "smooth": 0}}],
    }
)


def case(name, subject=None):
    return Case(name, subject or name, {"adc": None}, None)


def measured(targets, *, cells=4, subjects=None):
    subjects = subjects or [f"S{k}" for k in range(len(targets))]
    cases = [case(f"{subject}-{k}", subject) for k, subject in enumerate(subjects)]
    return cases, Frequency.measured(
        [(c, t, np.ones(t.shape, bool)) for c, t in zip(cases, targets, strict=True)], cells=cells
    )


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    size=st.lists(st.integers(1, 7), min_size=2, max_size=3),
    cells=st.integers(2, 6),
    before=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_shares_are_those_of_finely_repeated_voxels(size, cells, before, seed):
    """Each voxel is repeated so often that none lies between cells."""
    target = np.random.default_rng(seed).random(size) < 0.4
    inside = np.pad(np.ones(size, bool), before)
    found = cell_shares(np.pad(target, before), inside, cells=cells)
    fine = target.astype(float)
    for axis in range(len(size)):
        fine = fine.repeat(cells, axis)
    blocks = fine.reshape([part for n in size for part in (cells, n)])
    np.testing.assert_allclose(found, blocks.mean(axis=tuple(range(1, 2 * len(size), 2))), atol=1e-12)


@hypothesis_settings(max_examples=30, deadline=None)
@given(size=st.lists(st.integers(1, 12), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_reading_is_torchs_interpolation(size, seed):
    frequency = np.random.default_rng(seed).random((5, 5, 5)).astype(np.float32)
    found = read_frequency(frequency, np.ones(size, bool), smooth=0)
    expected = functional.interpolate(torch.from_numpy(frequency)[None, None], size, mode="trilinear")[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_only_the_brain_is_read_and_its_box_is_the_space():
    frequency = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    inside = np.zeros((12, 9), bool)
    inside[2:10, 1:5] = True
    inside[3, 2] = False
    found = read_frequency(frequency, inside, smooth=0)
    box = read_frequency(frequency, np.ones((8, 4), bool), smooth=0)
    np.testing.assert_allclose(found[2:10, 1:5], np.where(inside[2:10, 1:5], box, 0))
    assert not found[~inside].any()


def test_smoothing_is_scipys():
    frequency = np.random.default_rng(0).random((6, 6, 6)).astype(np.float32)
    found = read_frequency(frequency, np.ones((6, 6, 6), bool), smooth=1.5)
    expected = ndimage.gaussian_filter(frequency.astype(float), 1.5, mode="nearest")
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_classes_count_as_lesion():
    (target,) = (np.random.default_rng(0).integers(0, 4, (8, 8, 8), np.uint8) for _ in range(1))
    one, other = (measured([t, t])[1].mean for t in (target, (target > 0).astype(np.uint8)))
    assert np.array_equal(one, other)


def test_a_case_sees_the_others_and_no_visit_of_its_own():
    targets = list((np.random.default_rng(0).random((4, 8, 8, 8)) < 0.2).astype(np.uint8))
    cases, found = measured(targets, subjects=["A", "B", "A", "C"])
    shares = [cell_shares(target > 0, np.ones((8, 8, 8), bool), cells=4) for target in targets]
    np.testing.assert_allclose(found.mean, np.mean(shares, axis=0), rtol=1e-6)
    for number, others in ((0, [1, 3]), (1, [0, 2, 3]), (2, [1, 3])):
        np.testing.assert_allclose(found.of(cases[number]), np.mean([shares[k] for k in others], axis=0), rtol=1e-6)
    assert np.array_equal(found.of(case("new", "D")), found.mean)


def test_who_would_see_nobody_is_told_so():
    with pytest.raises(UserError, match="needs two subjects to train on, each to see the other's lesions; leave"):
        measured([np.ones((4, 4, 4))] * 2, subjects=["A", "A"])
    with pytest.raises(UserError, match="cases of one kind; these are 2D and 3D"):
        measured([np.ones((4, 4, 4)), np.ones((4, 4))])
    with pytest.raises(UserError, match="was made of 3D cases, and this one is 2D; give cases like those of training"):
        read_frequency(np.zeros((4, 4, 4), np.float32), np.ones((5, 5), bool), smooth=0)


def test_entries_go_by_what_a_case_may_see(case_in, tmp_path):
    labels = []
    for k in range(4):  # each has its lesion elsewhere
        labels.append(np.zeros((13, 16, 9), np.float32))
        labels[k][6, 6 + k, 4] = 1
    *cases, other = [case_in(tmp_path, name=f"S{k}", seed=k, replace={"label": labels[k]}) for k in range(4)]
    cache = Cache.for_training(tmp_path / "cache", FREQUENT, cases)
    images = [cache.get(one).images[1].copy() for one in (*cases, other)]
    assert all(image.any() for image in images)
    fewer = Cache.for_training(tmp_path / "cache", FREQUENT, cases[:2])
    assert not np.array_equal(fewer.get(other).images[1], images[3])
    assert np.array_equal(Cache.for_training(tmp_path / "cache", FREQUENT, cases).get(other).images[1], images[3])
    assert np.array_equal(fewer.get(other).images[0], cache.get(other).images[0])
    # The channel of the third case is made of the first two, whatever lesions of its own it has.
    blank = case_in(tmp_path / "blank", name="S2", seed=2, replace={"label": np.zeros((13, 16, 9), np.float32)})
    blanked = Cache.for_training(tmp_path / "cache", FREQUENT, [*cases[:2], blank])
    assert np.array_equal(blanked.get(blank).images[1], images[2])
    assert not np.array_equal(blanked.get(cases[0]).images[1], images[0])


def test_a_case_alone_cannot_have_the_channel(case_in, tmp_path):
    with pytest.raises(
        UserError, match="case S_1: the channel lesion-frequency is made from the training cases; train"
    ):
        prepare(case_in(tmp_path), FREQUENT)
    unlabelled = case_in(tmp_path / "none", name="none", replace={"label": None})
    with pytest.raises(UserError, match="case none: has no label to train on"):
        Cache.for_training(tmp_path / "cache", FREQUENT, [unlabelled])


def test_every_class_counts_and_what_is_ignored_does_not(case_in, tmp_path):
    plain, classes = np.zeros((13, 16, 9), np.float32), np.zeros((13, 16, 9), np.float32)
    plain[5:8, 6:9, 3:6] = 1
    classes[5:8, 6:9, 3:5], classes[5:8, 6:9, 5], classes[5:8, 10:12, 3:6] = 2, 7, 9
    labels = Labels(classes={"core": (2,), "rim": (7,)}, ignore=9)
    frequencies = []
    for number, (label, options) in enumerate(((plain, {}), (classes, {"labels": labels}))):
        cases = [case_in(tmp_path / str(number), name=f"S{k}", seed=k, replace={"label": label}) for k in range(2)]
        frequencies.append(Cache.for_training(tmp_path / "cache", FREQUENT, cases, **options).frequency)
    assert frequencies[0].mean.any() and np.array_equal(frequencies[0].mean, frequencies[1].mean)
