"""Lengths and volumes that lie on a limit: the same answer from every file format, and from exact arithmetic."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from multifocal.cohorts import Case, Cohort, ImageFile, stratum
from multifocal.comparison import compare
from multifocal.errors import UserError
from multifocal.evaluation import evaluate_cohort, read_results, volume_bin, write_results
from multifocal.limits import SLACK, at_least, at_most
from multifocal.metrics import ScoringOptions, score_case
from multifocal.systems import Postprocess
from multifocal.systems.combination import ByVolume
from multifocal.systems.postprocess import postprocess
from multifocal.volumes import Geometry, Volume, read, write

ENDINGS = ("mha", "nrrd", "nii.gz")
SIDES = (0.4, 0.7, 1.1)
GRID = Geometry((16, 16, 16), SIDES, (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def eight(sides=SIDES) -> float:
    """Volume of 8 voxels in ml, from exact products."""
    return float(8 * math.prod(Fraction(str(side)) for side in sides) / 1000)


def masks() -> tuple[np.ndarray, np.ndarray]:
    """A wall and the same wall five planes (2 mm) thicker; beside both a lesion of 8 voxels."""
    target = np.zeros(GRID.size, np.uint8)
    target[2:4, 2:12, 2:12] = 1
    prediction = target.copy()
    prediction[4:9, 2:12, 2:12] = 1
    for mask in (target, prediction):
        mask[12:14, 13:15, 13:15] = 1
    return prediction, target


def written(folder, ending):
    folder.mkdir()
    prediction, target = masks()
    for name, array in (("adc", 1 + target), ("label", target), ("a_lesion", prediction)):
        write(folder / f"{name}.{ending}", Volume(array, GRID))
    case = Case("a", "a", {"adc": ImageFile(folder / f"adc.{ending}")}, ImageFile(folder / f"label.{ending}"))
    return Cohort("demo", folder, "manifest", (case,))


def test_the_format_does_keep_less():
    assert float(np.float32(0.4)) > 0.4  # what NIfTI hands back: the premise of this file


@pytest.mark.parametrize("ending", ENDINGS)
def test_evaluate_gives_one_answer_on_the_limit(tmp_path, ending):
    cohort = written(tmp_path / "a", ending)
    scores = evaluate_cohort(cohort.root, cohort, tolerance=2.0, min_size=eight(), convention="voxel")
    [row] = scores.rows
    assert (row["true_lesions"], row["predicted_lesions"]) == (2, 2)  # the small ones are of the least size
    # Brute force over all pairs of edge voxels, in whole tenths of a millimetre: no rounding anywhere.
    prediction, target = masks()
    steps = np.array([4, 7, 11])
    edges = [np.argwhere(_edge(mask)) * steps for mask in (prediction, target)]
    squares = ((edges[0][:, None] - edges[1][None]) ** 2).sum(-1)
    near = (squares.min(1) <= 20**2).sum() + (squares.min(0) <= 20**2).sum()
    assert row["nsd"] == near / sum(map(len, edges))
    assert (squares.min(1) == 20**2).any()  # or the tolerance would not be on trial


def _edge(mask):
    """The voxels of a mask with a face neighbour outside, which is what MONAI counts."""
    padded = np.pad(mask, 1).astype(bool)
    inner = padded.copy()
    for axis in range(3):
        inner &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return (padded & ~inner)[1:-1, 1:-1, 1:-1]


# In float32, 0.7 is a little less and 1.1 a little more.
@pytest.mark.parametrize("sides", [(0.7, 0.7, 0.7), (1.1, 1.1, 1.1), SIDES])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_lesion_of_just_the_least_size_is_kept(tmp_path, ending, sides):
    prediction, _ = masks()
    write(tmp_path / f"p.{ending}", Volume(prediction.astype(np.float32), replace(GRID, spacing=sides)))
    probability = read(tmp_path / f"p.{ending}")
    spacing, least = probability.geometry.spacing, eight(sides)
    scores = score_case(prediction, prediction, spacing=spacing, options=ScoringOptions(min_size=least))
    assert [lesion.matched for lesion in scores.lesions] == [True, True]
    kept, _ = postprocess(probability, Postprocess(min_size_ml=least))
    assert np.array_equal(kept.array, prediction)
    assert not postprocess(probability, Postprocess(min_size_ml=1.001 * least))[0].array[12:].any()
    # The small lesion is not below its own volume: it is the second system's, and the first's is dropped.
    rule, nothing = ByVolume(below_ml=least), np.zeros_like(prediction)
    assert not rule([prediction, nothing], probability.geometry.voxel_ml).any()
    assert np.array_equal(rule([nothing, prediction], probability.geometry.voxel_ml), prediction)


@pytest.mark.parametrize("factor", [1 - 3e-7, 1.0, 1 + 3e-7])
def test_bins_and_strata_of_volumes_from_single_precision(factor):
    for number in range(1, 20):
        assert volume_bin(0.05 * number * factor).startswith(f"{0.05 * number:.2f}-"), number
    assert volume_bin(factor) == ">=1"
    assert stratum(0.01 * factor) == stratum(0.05 * factor) == "1-5 %"


def test_off_the_limit_nothing_changes():
    values = np.array([0.5, 0.999, 0.99999, 1.00001, 1.001, 2.0])
    assert at_most(values, 1.0).tolist() == (values <= 1).tolist()
    assert at_least(values, 1.0).tolist() == (values >= 1).tolist()
    assert at_most(0.0, 0.0) and not at_most(1e-12, 0.0)
    assert stratum(0.0099) == "<1 %" and stratum(0.0501) == ">5 %"
    assert 1.5 * np.finfo(np.float32).eps < SLACK  # three sides, each off by half of it at most


def test_methods_scored_against_one_label_in_two_formats_compare(tmp_path):
    found = {}
    for ending in ("mha", "nii.gz"):
        cohort = written(tmp_path / ending, ending)
        write_results(evaluate_cohort(cohort.root, cohort), tmp_path / ending / "scores")
        found[ending.partition(".")[0]] = read_results(tmp_path / ending / "scores")
    true = [results.rows[0]["true_ml"] for results in found.values()]
    assert true[0] != true[1]
    assert compare(found, metrics=["dice"], samples=10).methods == ("mha", "nii")
    found["nii"].rows[0]["true_ml"] *= 1.001
    with pytest.raises(UserError, match="true_ml"):
        compare(found, metrics=["dice"], samples=10)
