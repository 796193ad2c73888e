"""How sure a system is: of a case, a lesion, a voxel; by members, by mirrored forms, and in files."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, stats

from multifocal.errors import UserError
from multifocal.instances import components
from multifocal.systems import load_model, predict_cohort
from multifocal.systems.system import Prediction
from multifocal.systems.uncertainty import (
    entropy,
    expected_dice,
    lesion_uncertainty,
    mean_pairwise_dice,
    mutual_information,
    uncertainty,
    uncertainty_of,
)
from multifocal.volumes import Geometry, Volume, read

GRID = Geometry((4, 5, 3), (1.0, 2.0, 5.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
MASKS = arrays(bool, (4, 5, 3))
SHARES = arrays(np.float64, (3, 8), elements=st.floats(0, 1))


def predicted(mask, probability=None):
    map_ = None if probability is None else Volume(np.asarray(probability, np.float32), GRID)
    return Prediction(Volume(mask.astype(np.uint8), GRID), map_)


@given(MASKS, st.lists(MASKS, min_size=1, max_size=3))
def test_lsu_is_one_less_the_mean_of_the_best_iou_by_brute_force(mask, members):
    found = lesion_uncertainty(mask, members)
    cube = np.ones((3, 3, 3))
    theirs = [ndimage.label(member, cube) for member in members]
    labels, count = components(mask)
    for number in range(1, count + 1):
        own = labels == number
        best = [
            max([(own & (t == n)).sum() / (own | (t == n)).sum() for n in range(1, many + 1)], default=0)
            for t, many in theirs
        ]
        assert found[number - 1] == pytest.approx(1 - np.mean(best))
    assert len(found) == count


@given(MASKS)
def test_members_that_are_the_mask_are_sure(mask):
    found = uncertainty(predicted(mask, mask), {"a": predicted(mask), "b": predicted(mask)})
    assert (found.agreement, found.expected_dice) == (1.0, 1.0)
    assert found.lowest_ml == found.highest_ml == found.volume_ml == pytest.approx(mask.sum() * 0.01)
    assert all(lesion.lsu == 0 and lesion.entropy == 0 for lesion in found.lesions)
    assert not found.entropy.array.any() and not found.mutual_information.array.any()
    assert sum(lesion.voxels for lesion in found.lesions) == mask.sum()


@given(SHARES)
def test_entropy_and_mutual_information_are_those_of_scipy(members):
    mean = members.mean(axis=0)
    np.testing.assert_allclose(entropy(mean), stats.entropy([mean, 1 - mean], base=2), atol=1e-6)
    shared = np.mean(stats.entropy([members, 1 - members], base=2), axis=0)
    found = mutual_information(list(members))
    np.testing.assert_allclose(found, np.maximum(stats.entropy([mean, 1 - mean], base=2) - shared, 0), atol=1e-6)
    assert (found >= 0).all() and (found <= entropy(mean) + 1e-6).all()


def test_the_mean_dice_of_pairs_and_the_range_of_volumes():
    masks = [np.zeros((4, 5, 3), bool) for _ in range(3)]
    masks[0][0, 0], masks[1][0, 0, :2] = True, True
    found = uncertainty(predicted(masks[0]), dict(zip("abc", map(predicted, masks), strict=True)))
    assert found.agreement == pytest.approx((2 * 2 / 5 + 0 + 0) / 3) == mean_pairwise_dice(masks)
    assert (found.lowest_ml, found.highest_ml) == pytest.approx((0.0, 0.03))
    assert found.expected_dice is None and found.lesions[0].probability is None
    assert found.lesions[0].lsu == pytest.approx(1 - (1 + 2 / 3 + 0) / 3)


def test_expected_dice_is_that_of_drawn_truths():
    random = np.random.default_rng(0)
    p = random.beta(0.3, 0.6, 4000)
    mask = p > 0.4
    truths = random.random((200, p.size)) < p
    drawn = 2 * (truths & mask).sum(axis=1) / (mask.sum() + truths.sum(axis=1))
    assert expected_dice(p, mask) == pytest.approx(drawn.mean(), abs=2e-3)
    assert expected_dice(np.zeros(3), np.zeros(3, bool)) == 1.0
    assert expected_dice(np.ones(3), np.zeros(3, bool)) == 0.0


@pytest.mark.parametrize("members", [1, 2])
def test_members_are_none_or_two_and_lie_on_the_same_grid(members):
    other = replace(GRID, origin=(9.0, 0.0, 0.0))
    masks = [Prediction(Volume(np.zeros(GRID.size, np.uint8), other), None)] * members
    with pytest.raises(ValueError, match=r"at least two" if members == 1 else "member 0: .*same grid"):
        uncertainty(predicted(np.zeros(GRID.size, bool)), {str(n): mask for n, mask in enumerate(masks)})


def lopsided(images):
    """Probability 1 where the prior is, in the left half alone: mirrored, it is the other half."""
    logits = (images[:, 1:2] - 0.5) * 40
    logits[:, :, images.shape[2] // 2 :] = -20
    return logits


def test_a_network_is_asked_for_mirrored_forms(model, cohort):
    case = cohort.cases[1]
    found = uncertainty_of(model(answer=lopsided), case)
    assert model().member_names == ("0-as-is", "1-flip-0") and found.members == 2
    assert found.agreement < 0.5 and found.mutual_information.array.max() == pytest.approx(1)
    assert not found.entropy.geometry.differences(case.images["adc"].geometry())
    sure = uncertainty_of(model(), case)
    assert sure.agreement == 1 and sure.entropy.array.max() < 1e-6
    several = model("inference.flips=[0, 1]", answer=lopsided)
    assert several.member_names == ("0-as-is", "1-flip-0", "2-flip-1", "3-flip-01")
    members = several.members_of(case, several.predict(case))
    mean = np.mean([member.probability.array for member in members.values()], axis=0)
    np.testing.assert_allclose(mean, several.predict(case).probability.array, atol=1e-6)


def test_without_left_first_the_mirror_is_still_that_of_left_and_right(model):
    assert model("preprocessing.axes=SPL").member_names == ("0-as-is", "1-flip-2")


def test_files_of_a_network(model, cohort, tmp_path):
    two = cohort.subset([case.name for case in cohort.cases[1:3]])
    network = model(answer=lopsided)
    predict_cohort(network, two, tmp_path, probabilities=True, parts=True, uncertainty=True)
    predict_cohort(network, two.subset([two.cases[0].name]), tmp_path, uncertainty=True, overwrite=True)
    with (tmp_path / "uncertainty.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    with (tmp_path / "uncertainty_lesions.csv").open() as file:
        lesions = list(csv.DictReader(file))
    assert rows.keys() == {case.name for case in two}
    for case in two:
        found = uncertainty_of(network, case)
        assert float(rows[case.name]["agreement"]) == pytest.approx(found.agreement)
        mine = [row for row in lesions if row["case"] == case.name]
        assert [int(row["number"]) for row in mine] == [*range(1, len(found.lesions) + 1)]
        map_ = read(tmp_path / f"{case.name}_mutual_information.mha")
        np.testing.assert_allclose(map_.array, found.mutual_information.array, atol=1e-6)
        assert (tmp_path / "parts" / "1-flip-0" / f"{case.name}_probability.mha").is_file()


def test_what_has_no_members_says_so(cohort, tmp_path):
    predict_cohort("zadc-threshold", cohort.subset([cohort.cases[1].name]), tmp_path, uncertainty=True)
    with (tmp_path / "uncertainty.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["members"], row["agreement"], row["expected_dice"]) == ("0", "", "")
    assert not list(tmp_path.glob("*_entropy.*"))


def test_a_table_of_something_else_is_refused(cohort, tmp_path):
    (tmp_path / "uncertainty.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="not what `multifocal predict --uncertainty` writes"):
        predict_cohort("zadc-threshold", cohort, tmp_path, uncertainty=True)


def test_label_maps_have_no_uncertainty(cohort):
    with pytest.raises(UserError, match="label maps of instances"):
        uncertainty_of(load_model("nuclei-otsu"), cohort.cases[0])
