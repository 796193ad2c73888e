import pytest

from multifocal import losses
from multifocal.losses import Dice, Focal, LinearRamp, LogHausdorff, StepWeights, Tversky


def test_sums_in_python(batch):
    loss = (0.9 * Tversky(alpha=0.3, beta=0.7) + 0.1 * LogHausdorff()).build()
    assert loss.weights == {"tversky": 0.9, "log-hausdorff-dt": 0.1}
    assert loss(*batch).item() == pytest.approx(losses.build("tversky-hausdorff")(*batch).item())
    doubled = (2 * (Dice() + 0.5 * Focal()) * 3).build()
    assert doubled.weights == {"dice": 6.0, "focal": 3.0}
    assert Dice()(*batch).item() == pytest.approx(losses.build("dice")(*batch).item())


def test_schedules(batch):
    steps = StepWeights(starts=(0.0, 0.5), values=(0.0, 1.0))
    loss = (LinearRamp(2.0, 4.0) * Dice() + 2 * (steps * Focal())).build()
    terms = {name: value.item() for name, value in loss.terms(*batch).items()}
    for progress, dice, focal in ((0.0, 2.0, 0.0), (0.25, 2.5, 0.0), (0.5, 3.0, 2.0), (1.0, 4.0, 2.0)):
        loss.progress = progress
        expected = dice * terms["dice"] + focal * terms["focal"]
        assert loss(*batch).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "a" * Dice(), "weight='a'; expected a number, a pair"),
        (lambda: LinearRamp(1.0, 2.0) * (LinearRamp(1.0, 2.0) * Dice()), "one schedule for each term"),
        (lambda: StepWeights(starts=(0.1,), values=(1.0,)), "starts rising from 0"),
        (lambda: StepWeights(starts=(0.0, 0.0), values=(1.0, 1.0)), "starts rising from 0"),
        (lambda: Dice().over("blob"), "unknown partition 'blob'; did you mean 'blobs'"),
        (lambda: Dice().over("instances", pool="slice"), "pool"),
        (lambda: losses.CriterionSum("mix", ((LogHausdorff(), 1.0),)), "no mean over regions"),
        (lambda: losses.Center(side=4), "odd"),
        (lambda: losses.Center(criterion=Focal()), "overlap"),
    ],
)
def test_what_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_two_terms_of_one_name():
    loss = (Focal(gamma=1.0) + Focal(gamma=2.0)).build()
    assert list(loss.weights) == ["focal", "focal'"]


def test_the_module_says_what_it_is():
    assert "0.9 tversky + 0.1 log-hausdorff-dt" in repr(losses.build("tversky-hausdorff"))


def test_terms_are_unweighted(batch):
    assert (7 * Dice()).build().terms(*batch)["dice"].item() == pytest.approx(Dice()(*batch).item())


def test_batched_dice_is_reached_from_python(batch):
    logits, target = batch
    whole = Dice().over("image", batch=True)(logits, target)
    assert whole.item() == pytest.approx(losses.build("dice", batch=True)(logits, target).item())
