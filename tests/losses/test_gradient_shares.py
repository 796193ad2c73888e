"""How a loss shares out its gradient, beside one worked out by hand."""

import pytest
import torch

from multifocal import losses

PARTS = {"large lesion": 400, "middle lesion": 36, "small lesion": 4, "small lesion, missed": 4, "false lesion": 36}


def test_the_shares_of_dice_are_those_of_its_formula():
    # d/dp of 1 - (2I + s) / (P + Y + s), times p (1 - p).
    pixels, s = {**PARTS, "background": 64**2 - 480}, 1e-5
    p = dict.fromkeys(PARTS, 0.7) | {"small lesion, missed": 0.05, "background": 0.05}
    true = {name: name not in ("false lesion", "background") for name in p}
    both = sum(pixels[name] * p[name] for name in p if true[name])
    size = sum(pixels[name] * (p[name] + true[name]) for name in p) + s
    slope = {name: abs((2 * both + s) / size - 2 * true[name]) / size * p[name] * (1 - p[name]) for name in p}
    total = sum(pixels[name] * slope[name] for name in p)
    found = losses.gradient_shares(losses.build("dice"))
    assert {name: count for name, (count, _) in found.items()} == pixels
    for name, (count, share) in found.items():
        assert share == pytest.approx(count * slope[name] / total, rel=1e-4)


@pytest.mark.parametrize("name", losses.names())
def test_the_shares_add_up(name):
    shares = [share for _, share in losses.gradient_shares(losses.build(name)).values()]
    assert sum(shares) == pytest.approx(1) and min(shares) >= 0


def test_a_loss_of_lesions_cares_more_for_a_small_one():
    def beside_large(name):
        shares = losses.gradient_shares(losses.build(name))
        return shares["small lesion"][1] / shares["large lesion"][1]

    assert beside_large("dice") < beside_large("blob-dice") < beside_large("cc-dice")


def test_no_gradient_is_no_share():
    assert {share for _, share in losses.gradient_shares(lambda z, y: (0 * z).sum()).values()} == {0.0}
    assert {share for _, share in losses.gradient_shares(lambda z, y: (0 * z).sum() + torch.ones(())).values()} == {0.0}
