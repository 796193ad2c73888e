"""Deep supervision: the loss by hand, and what is left of it in the run."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from multifocal import losses, recipes
from multifocal.errors import UserError
from multifocal.networks import DeepSupervision
from multifocal.systems import load_model
from multifocal.training.module import SegmentationModule
from multifocal.weights import read_tree, read_weights

THREE = "network.options={features: [2, 4, 4, 4], dropout: [0, 0, 0, 0]}"
WEIGHTS = "training.deep_supervision=[1.0, 0.5, 0.25]"


@pytest.fixture
def module(small_recipe, monkeypatch):
    """Make a module outside of a training, which logs nothing."""
    monkeypatch.setattr(SegmentationModule, "_log", lambda *_, **__: None)

    def module(*overrides):
        return SegmentationModule(recipes.load(small_recipe, overrides=[THREE, *overrides])).train()

    return module


def batch(size=(16, 8, 8)):
    torch.manual_seed(0)
    return torch.rand(2, 2, *size), (torch.rand(2, 1, *size) < 0.2).float()


@pytest.mark.parametrize("loss", ["dice-focal", "cc-dice-ce", "hausdorff-dt"])
def test_the_loss_is_the_weighted_sum_of_those_of_every_size(module, loss):
    images, target = batch()
    trained = module(WEIGHTS, f"loss.name={loss}")
    found = trained.training_step((images, target), 0)
    levels, heads = trained.network.network.decoder, trained.supervision.heads
    kept = []
    hooks = [levels[i].register_forward_hook(lambda _module, _inputs, output: kept.append(output)) for i in (2, 1)]
    logits = trained.network(images)
    for hook in hooks:
        hook.remove()
    expected = losses.build(loss)(logits, target)
    for weight, features, head, factor in ((0.25, kept[0], heads[1], 4), (0.5, kept[1], heads[0], 2)):
        coarse = functional.interpolate(target, [n // factor for n in target.shape[2:]], mode="nearest-exact")
        expected = expected + weight * losses.build(loss)(head(features), coarse)
    torch.testing.assert_close(found, expected)


def test_without_it_nothing_is_added(module):
    images, target = batch()
    plain = module()
    torch.testing.assert_close(
        plain.training_step((images, target), 0), losses.build("dice-focal")(plain.network(images), target)
    )
    assert plain.supervision is None and not any(key.startswith("supervision") for key in plain.state_dict())


def test_the_gradient_reaches_every_parameter_and_all_are_trained(module):
    trained = module(WEIGHTS)
    trained.training_step(batch((9, 7, 5)), 0).backward()  # sizes that the network pads
    assert [key for key, one in trained.named_parameters() if one.grad is None] == []
    optimized = trained.configure_optimizers().param_groups[0]["params"]
    assert {id(one) for one in optimized} == {id(one) for one in trained.parameters()}


def test_the_voxels_of_a_coarser_output_are_larger(module):
    trained = module(WEIGHTS, "loss={name: tversky-hausdorff, options: {spacing: [1.0, 1.0, 3.0]}}")
    assert [loss.options.spacing for loss in (trained.loss, *trained.coarser_losses)] == [
        (1.0, 1.0, 3.0),
        (2.0, 2.0, 6.0),
        (4.0, 4.0, 12.0),
    ]


def test_the_prior_and_the_start_are_those_of_the_heads(module):
    options = "network={init: xavier, options: {features: [2, 4, 4, 4], dropout: [0, 0, 0, 0], prior: 0.02}}"
    trained = module(WEIGHTS, options)
    for head in trained.supervision.heads:
        assert torch.sigmoid(head.bias).item() == pytest.approx(0.02)
        assert head.weight.abs().max() <= (6 / (4 + 1)) ** 0.5


def test_the_network_starts_as_without(module):
    with_heads, without = module(WEIGHTS).network.state_dict(), module().network.state_dict()
    assert all(torch.equal(with_heads[key], without[key]) for key in without)


def test_a_weight_is_a_weight(module):
    images, target = batch()
    values = []
    for weights in ([1.0, 0.5], [2.0, 1.0]):  # as they are said: nothing makes them 1 in sum
        values.append(module(f"training.deep_supervision={weights}").training_step((images, target), 0))
    torch.testing.assert_close(values[1], 2 * values[0])


@pytest.mark.parametrize("monitor", ["null", "dice"])
def test_the_run_holds_the_network_alone(train, log, monitor, monkeypatch):
    seen = []
    forward = DeepSupervision.forward
    monkeypatch.setattr(DeepSupervision, "forward", lambda self, *of: seen.append(self.training) or forward(self, *of))
    run = train(THREE, WEIGHTS, f"training.monitor={monitor}", "training.ema=0.5")
    plain = train(THREE, f"training.monitor={monitor}", "training.ema=0.5", out="plain")
    found, without = (read_weights(folder / "weights.safetensors") for folder in (run, plain))
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in without.items()}
    assert any(not torch.equal(found[key], without[key]) for key in found)
    heads = [key for key in read_tree(run / "resume.safetensors")["state_dict"] if key.startswith("supervision")]
    assert heads == [f"supervision.heads.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")]
    assert len(seen) == 3 * 2  # two steps an epoch, and none in validation
    assert not any(isinstance(one, DeepSupervision) for one in load_model(run).network.modules())
    assert all(float(row["train/loss"]) > float(row["train/dice"]) for row in log(run))


def test_a_training_begins_with_the_weights_of_one_with_other_heads(train, tmp_path):
    train(THREE, WEIGHTS, "training.epochs=1", out="first")
    run = train(THREE, "training.epochs=1", f"training.start_from={tmp_path / 'first'}", out="second")
    assert (run / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["network={name: segresnet}", "training.deep_supervision=[1, 0.5]"],
            "training.deep_supervision weighs 2 outputs, and segresnet gives 1; leave it out, or choose a network such",
        ),
        (
            ["training.deep_supervision=[1, 0.5]"],
            "training.deep_supervision weighs 2 outputs, and unet3d gives 1; leave it out, or choose a network",
        ),
        (
            [THREE, "training.deep_supervision=[1, 0.5, 0.25, 0.1]"],
            "training.deep_supervision weighs 4 outputs, and unet3d gives 3; leave some out",
        ),
        ([THREE, "training.deep_supervision=[1]"], "training: deep_supervision needs a weight for two outputs or more"),
        ([THREE, "training.deep_supervision=[1, 0]"], "training.deep_supervision.1: Input should be greater than 0"),
        ([THREE, "training.deep_supervision=0.5"], "training.deep_supervision: Input should be a list, found 0.5"),
    ],
)
def test_what_cannot_be_is_refused_when_the_recipe_is_read(small_recipe, overrides, message):
    with pytest.raises(UserError) as caught:
        recipes.load(small_recipe, overrides=overrides)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_that_diverges_is_told_of_as_ever(module):
    trained = module(WEIGHTS)
    nn.init.constant_(trained.supervision.heads[1].bias, float("nan"))
    assert trained.training_step(batch(), 0).isnan()
