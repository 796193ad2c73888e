"""`reduction`: the loss of each image alone, and their sum."""

import pytest
import torch

from multifocal import losses
from multifocal.errors import UserError
from multifocal.losses import Dice
from multifocal.losses.precomputed import target_cells, target_distances


@pytest.mark.parametrize("name", losses.names())
def test_each_image_alone(name, random_batch):
    logits, target = random_batch((3, 2, 12, 10), dtype=torch.float64)
    target[1] = 0
    ignore = torch.zeros(3, 12, 10, dtype=torch.bool)
    ignore[2, :4] = True
    given = {
        "distances": target_distances(target, ignore=ignore[:, None]),
        "cells": target_cells(target, ignore=ignore[:, None]),
        "ignore": ignore,
    }
    x = logits.clone().requires_grad_()
    each = losses.build(name, reduction="none")(x, target, **given)
    assert each.shape == (3,)
    plain = losses.build(name)
    alone = [
        plain(x[i : i + 1], target[i : i + 1], **{key: part[i : i + 1] for key, part in given.items()})
        for i in range(3)
    ]
    assert torch.equal(each, torch.stack(alone))
    total = losses.build(name, reduction="sum")(x, target, **given)
    torch.testing.assert_close(total, each.sum(), rtol=1e-12, atol=0)
    ours, theirs = (torch.autograd.grad(value, x, retain_graph=True)[0] for value in (total, sum(alone)))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", ["dice-ce", "gdf", "tversky", "focal", "jaccard", "hausdorff-dt", "cc-dice-ce"])
def test_the_mean_of_images_is_the_mean(name, activation, random_batch):
    logits, target = random_batch((3, 2, 12, 10), dtype=torch.float64)
    target[:, 0] = 1 - target[:, 1]
    each, mean = (
        losses.build(name, activation=activation, reduction=kind)(logits, target) for kind in ("none", "mean")
    )
    torch.testing.assert_close(each.mean(), mean, rtol=1e-12, atol=0)


def test_terms(random_batch):
    logits, target = random_batch((3, 1, 12, 10))
    loss = losses.build("tlhf", reduction="none")
    terms = loss.terms(logits, target)
    assert {value.shape for value in terms.values()} == {(3,)}
    torch.testing.assert_close(loss.combine(terms), loss(logits, target), rtol=0, atol=0)


def test_what_cannot_be(random_batch):
    for reduction in ("none", "sum"):
        with pytest.raises(UserError, match=f"reduction='{reduction}': dice is over all images at once, batch=True"):
            losses.build("dice-ce", batch=True, reduction=reduction)
    with pytest.raises(UserError, match="reduction='max'; expected 'mean', 'sum' or 'none'"):
        Dice().build(reduction="max")
    logits, target = random_batch((3, 1, 12, 10))
    with pytest.raises(
        ValueError, match=r"target has shape \(2, 1, 12, 10\); expected that of logits, \(3, 1, 12, 10\)"
    ):
        losses.build("dice", reduction="none")(logits, target[:2])
