"""From class probabilities to a label image: against a voxel at a time in plain Python."""

import numpy as np
import pytest

from multifocal.cohorts import Labels
from multifocal.systems.classes import segment
from multifocal.systems.postprocess import Postprocess
from multifocal.volumes import Geometry, Volume

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
APART = Labels(classes={"core": (4, 1), "edema": (2,), "bleed": (7,)})
NESTED = Labels(classes={"whole": (1, 2), "core": (2,)}, overlap=True)


def volumes(arrays):
    return [Volume(array.astype(np.float32), GRID) for array in arrays]


@pytest.fixture
def softmax():
    logits = np.random.default_rng(0).normal(0, 2, (4, *GRID.size))
    shares = np.exp(logits) / np.exp(logits).sum(0)
    return shares[1:]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_classes_apart(softmax, threshold):
    found = segment(volumes(softmax), APART, Postprocess(threshold=threshold))
    for place in np.ndindex(GRID.size):
        shares = softmax[(slice(None), *place)]
        expected = (4, 2, 7)[int(np.argmax(shares))] if np.float32(shares).sum() >= threshold else 0
        assert found.mask.array[place] == expected
    assert np.allclose(found.probability.array, softmax.sum(0), atol=1e-6)
    assert list(found.classes) == ["core", "edema", "bleed"]
    assert np.array_equal(found.classes["edema"].array, softmax[1].astype(np.float32))


def test_classes_that_overlap():
    whole, core = np.random.default_rng(1).random((2, *GRID.size))
    found = segment(volumes([whole, core]), NESTED, Postprocess(threshold=0.6))
    for place in np.ndindex(GRID.size):
        w, c = whole[place], core[place]
        odds = [np.log(p / (1 - p)) - np.log(0.6 / 0.4) for p in (w, c)]
        expected = 0 if max(w, c) < 0.6 else (2 if odds[1] > 0 else 1)
        assert found.mask.array[place] == expected
    assert np.allclose(found.probability.array, np.maximum(whole, core), atol=1e-6)


def test_small_lesions_of_two_classes_are_one():
    core, edema = np.zeros((2, *GRID.size))
    core[0, 0, 0], edema[1, 0, 0], edema[5, 4, 3] = 0.9, 0.9, 0.9
    found = segment(volumes([core, edema, 0 * core]), APART, Postprocess(min_size_ml=0.003))
    assert found.mask.array[0, 0, 0] == 4 and found.mask.array[1, 0, 0] == 2  # 2 voxels of 2 µl
    assert found.mask.array[5, 4, 3] == 0


def test_within_the_brain(softmax):
    brain = np.zeros(GRID.size, bool)
    brain[:3] = True
    found = segment(volumes(softmax), APART, Postprocess(threshold=0.5, within_brain=True), brain=brain)
    assert found.mask.array[:3].any() and not found.mask.array[3:].any()
    assert not found.classes["core"].array[3:].any() and not found.probability.array[3:].any()


def test_one_class_has_its_own_value_and_no_parts():
    lesion = np.zeros(GRID.size)
    lesion[1] = 0.7
    found = segment(volumes([lesion]), Labels(classes={"plaque": (3,)}), Postprocess())
    assert set(np.unique(found.mask.array)) == {0, 3} and not found.classes
