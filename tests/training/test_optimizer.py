"""Gradient descent against its formulas, and the options that belong to one optimizer alone."""

import pytest
import torch

from multifocal import recipes
from multifocal.errors import UserError
from multifocal.training.module import SegmentationModule
from multifocal.weights import read_weights


def descend(recipe, gradients):
    """A weight of 1 after steps with these gradients, by the recipe's optimizer."""
    module = SegmentationModule(recipe)
    module.network = torch.nn.Linear(1, 1, bias=False)
    weight = module.network.weight
    weight.data.fill_(1.0)
    optimizer = module.configure_optimizers()
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    return weight.item()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_the_formula(small_recipe, momentum, nesterov):
    if nesterov and not momentum:
        return
    section = f"optimizer={{name: sgd, lr: 0.1, weight_decay: 0.01, momentum: {momentum}, nesterov: {nesterov}}}"
    gradients, weight, velocity = (1.0, -0.5, 0.25, 2.0), 1.0, 0.0
    for number, gradient in enumerate(gradients):
        gradient += 0.01 * weight
        velocity = momentum * velocity + gradient if number else gradient
        weight -= 0.1 * (gradient + momentum * velocity if nesterov else velocity)
    assert descend(recipes.load(small_recipe, overrides=[section]), gradients) == pytest.approx(weight, rel=1e-5)


def test_sgd_trains_with_its_momentum(train):
    runs = [
        read_weights(train(f"optimizer={{name: sgd, lr: 0.01, {options}}}", out=str(number)) / "weights.safetensors")
        for number, options in enumerate(("momentum: 0", "momentum: 0.9", "momentum: 0.9, nesterov: true"))
    ]
    key = next(name for name in runs[0] if name.endswith("0.0.weight"))
    assert len({tuple(run[key].flatten().tolist()) for run in runs}) == 3


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{momentum: 0.9}", "optimizer: momentum is an option of sgd, not of adamw: leave it out, or set name to sgd"),
        ("{name: adam, nesterov: true}", "optimizer: nesterov is an option of sgd, not of adam"),
        ("{name: sgd, nesterov: true}", "optimizer: nesterov needs momentum above 0: set momentum, or nesterov to"),
        (
            "{clip: 1, clip_by: value, clip_value: 1}",
            "clip_value goes before a clip of the norm: with clip_by: value, clip",
        ),
        ("{clip_value: 0}", "optimizer.clip_value: Input should be greater than 0"),
        ("{name: sgd, momentum: 1}", "optimizer.momentum: Input should be less than 1"),
        ("{name: sgd, betas: [0.9, 0.99]}", "optimizer: unknown key 'betas'"),
    ],
)
def test_options_of_another_optimizer_are_refused(small_recipe, section, message):
    with pytest.raises(UserError, match=message):
        recipes.load(small_recipe, overrides=[f"optimizer={section}"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("clip_value: 2.0", lambda g: g.clamp(-2, 2)),
        ("clip: 3.0", lambda g: g * 3 / g.norm()),
        ("clip: 2.0, clip_by: value", lambda g: g.clamp(-2, 2)),
        ("clip_value: 2.0, clip: 3.0", lambda g: g.clamp(-2, 2) * 3 / g.clamp(-2, 2).norm()),
        ("clip_value: 2.0, clip: 300.0", lambda g: g.clamp(-2, 2)),
    ],
)
def test_gradients_are_bounded_by_value_and_then_by_norm(train, monkeypatch, options, expected):
    """Those of every step of a run: they are replaced by some as large as told before they are bounded."""
    raw, stepped = torch.linspace(-9.0, 9.0, 7), []
    clip, step = SegmentationModule.configure_gradient_clipping, torch.optim.SGD.step

    def replaced(self, optimizer, *arguments, **others):
        for number, weight in enumerate(optimizer.param_groups[0]["params"]):
            told = torch.zeros(weight.numel())
            if not number:
                told[: len(raw)] = raw
            weight.grad.copy_(told.reshape(weight.shape))
        clip(self, optimizer, *arguments, **others)

    def spied(self, closure):
        closure()
        stepped.append([weight.grad.clone() for weight in self.param_groups[0]["params"]])

    monkeypatch.setattr(SegmentationModule, "configure_gradient_clipping", replaced)
    monkeypatch.setattr(torch.optim.SGD, "step", spied)
    train(f"optimizer={{name: sgd, lr: 0.01, {options}}}", "training.epochs=1", "training.monitor=null")
    assert step is not torch.optim.SGD.step and stepped
    for first, *others in stepped:
        torch.testing.assert_close(first.reshape(-1)[: len(raw)], expected(raw), rtol=1e-4, atol=1e-6)
        assert not any(each.any() for each in others)
