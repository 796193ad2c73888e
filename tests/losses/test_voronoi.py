import numpy as np
import pytest
import torch

from multifocal import losses
from multifocal.instances import label


@pytest.mark.parametrize("name", ["cc-dice", "cc-dice-ce", "bicc-dice-ce"])
@pytest.mark.parametrize("kind", [torch.int16, torch.int64])
def test_cells_given(name, kind, random_batch):
    logits, target = random_batch((3, 2, 9, 8), share=0.1)
    target[1, 0] = 0
    loss = losses.build(name, spacing=(1.0, 2.5))
    cells = losses.target_cells(target, spacing=(1.0, 2.5))
    assert cells.shape == target.shape and (cells[1, 0] == 1).all()
    assert cells.amax((2, 3)).view(-1).tolist() == np.maximum(label(target.flatten(0, 1).bool()).counts, 1).tolist()
    gradients = []
    for given in (None, cells.to(kind)):
        x = logits.clone().requires_grad_()
        loss(x, target, cells=given).backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_more_cells_than_two_bytes_number():
    target = torch.zeros(1, 1, 400, 400)
    target[..., ::2, ::2] = 1
    logits = torch.randn(target.shape)
    loss = losses.build("cc-dice")
    cells = losses.target_cells(target)
    assert cells.max() == 200 * 200 > 2**15
    assert loss(logits, target, cells=cells).item() == loss(logits, target).item()


def test_connectivity():
    target = torch.eye(4)[None, None]
    assert losses.target_cells(target).max() == 1
    assert losses.target_cells(target, connectivity="face").max() == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cells: cells - 1, "cells holds 0"),
        (lambda cells: cells.float(), "cells has dtype"),
        (lambda cells: cells[:, :, 1:], "cells has shape"),
        (lambda cells: cells + 1, "without a lesion"),
        (lambda cells: cells.numpy(), "cells is a ndarray"),
    ],
)
def test_what_are_no_cells(change, message, random_batch):
    logits, target = random_batch((2, 1, 9, 8), share=0.1)
    with pytest.raises(ValueError, match=message):
        losses.build("cc-dice")(logits, target, cells=change(losses.target_cells(target)))


@pytest.mark.parametrize(
    ("options", "message"), [({"spacing": (1.0,)}, "2 numbers"), ({"connectivity": "ful"}, "connectivity")]
)
def test_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        losses.target_cells(torch.zeros(1, 1, 4, 4), **options)
