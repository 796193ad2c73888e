"""Every argument of every criterion, term, partition, schedule and option is checked where it is given."""

import math

import numpy as np
import pytest

from multifocal import losses
from multifocal.errors import UserError
from multifocal.losses import (
    Center,
    CompoundLoss,
    ConstantWeight,
    CriterionSum,
    Dice,
    Focal,
    GeneralizedDice,
    Hausdorff,
    Jaccard,
    LinearRamp,
    LogHausdorff,
    Options,
    Proximity,
    StepWeights,
    Tversky,
)
from multifocal.losses.criteria import Over
from multifocal.losses.regions import Image, InstanceRegions, PredictionRegions


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneralizedDice(weighting="x"), "GeneralizedDice: weighting='x'; expected 'monai' or 'normalized'"),
        (lambda: Hausdorff(empty="x"), "Hausdorff: empty='x'; expected 'diagonal' or 'zero'"),
        (lambda: LogHausdorff(alpha=0.0), "LogHausdorff: alpha=0.0; expected a number greater than 0"),
        (lambda: InstanceRegions(pool="x"), "Instances: pool='x'; expected 'batch' or 'image'"),
        (lambda: PredictionRegions(pool=None), "Predictions: pool=None; expected 'batch' or 'image'"),
        (lambda: Image(batch=1), "Image: batch=1; expected a boolean"),
        (lambda: Focal(gamma=-1.0), "Focal: gamma=-1.0; expected a number greater than or equal to 0"),
        (lambda: Focal(alpha=1.5), "Focal: alpha=1.5; expected a number less than or equal to 1"),
        (lambda: Tversky(alpha=-0.1), "Tversky: alpha=-0.1; expected a number greater than or equal to 0"),
        (lambda: Tversky(beta=math.inf), "Tversky: beta=inf; expected a finite number"),
        (lambda: Dice(smooth=-1.0), "Dice: smooth=-1.0; expected a number greater than 0"),
        (lambda: Dice(smooth=0.0), "Dice: smooth=0.0; expected a number greater than 0"),  # 0/0 of nothing
        (lambda: Jaccard(smooth="1"), "Jaccard: smooth='1'; expected a number"),
        (lambda: Jaccard(smooth=math.nan), "Jaccard: smooth=nan; expected a finite number"),
        (lambda: CriterionSum("mix", ((Dice, 1.0),)), "Mix: parts=.*; expected an instance of Criterion"),
        (lambda: CriterionSum("mix", ()), "Mix: parts is empty"),
        (lambda: Over(Focal(), "blobs"), "Over: partition='blobs'; expected an instance of Partition"),
        (lambda: Center(side=0), "Center: side=0; expected a number greater than 0"),
        (lambda: Center(side=3.0), "Center: side=3.0; expected an integer"),
        (lambda: Center(criterion="dice"), "Center: criterion='dice'; expected an instance of Criterion"),
        (lambda: Proximity(combine="product"), "Proximity: combine='product'; expected 'difference' or 'sum'"),
        (lambda: LinearRamp("a", 1.0), "Linear: first='a'; expected a number"),
        (lambda: ConstantWeight(math.nan), "Constant: value=nan; expected a finite number"),
        (lambda: math.inf * Dice(), "Constant: value=inf; expected a finite number"),
        (lambda: StepWeights(starts=(0.0, 0.5), values=(1.0,)), "expected as many"),
        (lambda: StepWeights(starts=(0.0, 2.0), values=(1.0, 2.0)), "starts rising from 0"),
        (lambda: Options(activation="relu"), "Options: activation='relu'; expected 'sigmoid', 'softmax' or 'none'"),
        (lambda: Options(connectivity=8), "Options: connectivity=8; expected 'full' or 'face'"),
        (lambda: Options(threshold=1.0), "Options: threshold=1.0; expected a number less than 1"),
        (lambda: Options(spacing=(1.0, -1.0)), r"Options: spacing=\(1.0, -1.0\); expected a number greater than 0"),
        (lambda: Options(spacing="mm"), "Options: spacing='mm'; expected a tuple"),
        (lambda: Options(spacing=2.0), "Options: spacing=2.0; expected a tuple"),
        (lambda: Options(relaxed="yes"), "Options: relaxed='yes'; expected a boolean"),
        (lambda: Dice().build(tresh=0.5), "unknown option 'tresh'; did you mean 'threshold'"),
        (lambda: losses.build("ici", side=2), "options of loss ici: Center: side=2; expected an odd number"),
        (
            lambda: losses.build("dice-focal", balance=-1.0),
            "loss dice-focal: balance: Input should be greater",
        ),
        (lambda: losses.build("blob-gdf", blobs=-1.0), "options of loss blob-gdf: blobs: Input should be greater"),
        (lambda: losses.build(["dice"]), r"unknown loss \"\['dice'\]\""),
        (lambda: CompoundLoss(Dice), "loss is <class .*Dice'>; expected terms and weights, such as"),
        (lambda: losses.build("tversky", beta=-1.0), "options of loss tversky: Tversky: beta=-1.0; expected"),
    ],
)
def test_what_cannot_be(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("kind", [tuple, list, iter, np.array, lambda sides: np.array(sides, np.float32)])
def test_spacing_as_headers_give_it(kind):
    assert Options(spacing=kind([1.0, 2.0])).spacing == (1.0, 2.0)
    assert losses.build("hausdorff-dt", spacing=[1, 2]).options.spacing == (1.0, 2.0)


def test_whole_numbers_are_numbers():
    assert Focal(gamma=2).gamma == 2 and LinearRamp(0, 1).at(0.5) == 0.5
    assert Center(side=np.int64(3)) == Center(side=3) and Focal(gamma=np.float32(2)) == Focal()
    assert (np.float32(0.5) * Dice() + np.int64(2) * Focal()).build().weights == {"dice": 0.5, "focal": 2.0}


@pytest.mark.parametrize("where", ["blobs", "instances", "predictions", "cells", "prediction-cells"])
@pytest.mark.parametrize(
    "criterion", [Hausdorff(), LogHausdorff(), CriterionSum("mix", ((Dice(), 1.0), (Hausdorff(), 1.0)))]
)
def test_distances_within_a_region_are_not_those_of_the_image(where, criterion):
    with pytest.raises(UserError, match=f"{criterion.name} over {where}: .* distances are those of the whole image"):
        criterion.over(where)


def test_distances_under_weights_are_those_of_the_image(random_batch):
    """Weighted by what a component's voxels share, and averaged: what the formula says."""
    logits, target = random_batch((1, 1, 12, 10), share=0.0)
    found = Hausdorff().over("inverse-weighted")(logits, target)
    assert found.item() == pytest.approx(Hausdorff()(logits, target).item(), rel=1e-6)


class Doubled(Dice):
    def finish(self, mean):
        return 2 * mean


@pytest.mark.parametrize("criterion", [Hausdorff(), LogHausdorff(), Doubled()])
def test_proximity_does_not_drop_what_it_cannot_do(criterion):
    with pytest.raises(UserError, match="Proximity: criterion=.*; expected a mean over regions"):
        Proximity(criterion=criterion)


@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan, "half"])
def test_progress_is_a_share_of_training(progress):
    loss = losses.build("tlhf")
    for change in (
        lambda: setattr(loss, "progress", progress),
        lambda: StepWeights(starts=(0.0,), values=(1.0,)).at(progress),
    ):
        with pytest.raises(ValueError, match=f"progress={progress!r}; expected a share of training"):
            change()


def test_sums_of_lists(batch):
    parts = [Dice(), 0.5 * Focal(), Tversky()]
    assert sum(parts).build().weights == {"dice": 1.0, "focal": 0.5, "tversky": 1.0}
    assert sum(parts)(*batch).item() == (parts[0] + parts[1] + parts[2])(*batch).item()
    for wrong in (lambda: 1 + Dice(), lambda: Dice() + 0, lambda: "a" + Dice()):
        with pytest.raises(TypeError):
            wrong()


def test_criteria_are_values():
    """Equal arguments make equal criteria: they are keys of what a scene has summed already."""
    assert Dice() == Dice(smooth=1e-5) and Focal(gamma=2.0) != Focal(gamma=3.0)
    assert len({Tversky(), Tversky(alpha=0.3, beta=0.7)}) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: -1.0 * losses.Dice(),
        lambda: losses.Dice() * (1.0, -0.5),
        lambda: losses.build("compound", terms=[{"term": "dice", "weight": -1}]),
        lambda: losses.build("compound", terms=[{"term": "dice", "weight": {"first": -1, "last": 0}}]),
        lambda: losses.build("compound", terms=[{"term": "dice", "weight": {"starts": [0, 0.5], "values": [1, -1]}}]),
        lambda: losses.build(
            "compound", terms=[{"term": "mix", "options": {"name": "m", "parts": [{"term": "dice", "weight": -1}]}}]
        ),
        lambda: losses.build("blob-dice", image=-1),
        lambda: losses.ConstantWeight(1.0).times(-1.0),
    ],
)
def test_no_weight_is_negative(make):
    with pytest.raises(UserError, match="greater than or equal to 0"):
        make()
