"""The exponential moving average of the weights, against the sum written out by hand."""

import pytest
import torch

from multifocal import recipes
from multifocal.errors import UserError
from multifocal.systems import load_model
from multifocal.training.module import SegmentationModule
from multifocal.weights import read_tree, read_weights

DECAY = 0.8


@pytest.fixture
def averages(monkeypatch):
    """The average by hand after every epoch, from the weights after every step."""
    ends, running = [], {}

    def spy(self, *arguments, **options):
        step(self, *arguments, **options)
        for name, weight in self.network.named_parameters():
            now = weight.detach().double()
            running[name] = DECAY * running[name] + (1 - DECAY) * now if name in running else now.clone()

    def end(self):
        ends.append(dict(running))
        validated(self)

    step, validated = SegmentationModule.optimizer_step, SegmentationModule.on_validation_epoch_end
    monkeypatch.setattr(SegmentationModule, "optimizer_step", spy)
    monkeypatch.setattr(SegmentationModule, "on_validation_epoch_end", end)
    return ends


def assert_close(found, expected):
    assert expected.keys() <= found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_last_weights_are_the_average(train, averages, accumulate):
    run = train(f"training.ema={DECAY}", "training.monitor=null", f"training.accumulate={accumulate}")
    found = read_weights(run / "weights.safetensors")
    assert len(averages) == 3
    assert_close(found, averages[-1])
    state = read_tree(run / "resume.safetensors")["state_dict"]
    assert any(not torch.equal(state[f"network.{name}"], value) for name, value in found.items())
    for name, value in found.items():  # those of batch normalisation are averages already
        assert name in averages[-1] or torch.equal(state[f"network.{name}"], value)


def test_the_best_weights_are_the_average_and_it_is_what_is_validated(train, averages, log, cohort):
    run = train(f"training.ema={DECAY}", "training.epochs=4")
    scores = [float(row["val/dice"]) for row in log(run)]
    assert max(scores) > 0
    assert_close(read_weights(run / "weights.safetensors"), averages[scores.index(max(scores))])
    model, names = load_model(run, device="cpu"), [case.name for case in cohort][4:]
    dices = []
    for case in cohort.subset(names):
        mask, label = model.predict(case).mask.array > 0, case.label.read().array > 0
        dices.append(2 * (mask & label).sum() / (mask.sum() + label.sum()))
    assert sum(dices) / len(dices) == pytest.approx(max(scores), rel=1e-6)


def test_an_average_changes_no_step(train):
    plain = read_tree(train("training.monitor=null", out="plain") / "resume.safetensors")["state_dict"]
    run = train("training.monitor=null", f"training.ema={DECAY}", out="averaged")
    averaged = read_tree(run / "resume.safetensors")["state_dict"]
    assert plain.keys() < averaged.keys()
    assert all(torch.equal(plain[name], averaged[name]) for name in plain)


def test_processes_average_alike(train, forked):
    run = train("training.monitor=null", f"training.ema={DECAY}", processes=2, device="cpu")
    state = read_tree(run / "resume.safetensors")["state_dict"]
    assert int(state["averaged.n_averaged"]) == 3
    assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.mark.parametrize("decay", [0, 1, -0.5, 2])
def test_a_decay_that_is_no_share(small_recipe, decay):
    with pytest.raises(UserError, match="training.ema: Input should be"):
        recipes.load(small_recipe, overrides=[f"training.ema={decay}"])
