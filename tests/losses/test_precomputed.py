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


def test_cells_of_two_classes_in_a_batch():
    """The channel that is looked at is strided."""
    target = torch.zeros(2, 2, 16, 16)
    target[:, 1, 2:5, 2:5] = target[:, 1, 9:11, 9:12] = 1
    target[:, 0] = 1 - target[:, 1]
    loss, logits = losses.build("cc-dice-ce", activation="softmax"), torch.randn(2, 2, 16, 16)
    assert loss(logits, target, cells=losses.target_cells(target)).item() == loss(logits, target).item()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int64])
def test_cells_in_few_bytes(dtype):
    """Together the images have more cells than the type has numbers."""
    target = (torch.rand(3, 1, 40, 40, generator=torch.Generator().manual_seed(0)) > 0.92).float()
    cells = losses.target_cells(target)
    assert cells.amax((1, 2, 3)).sum() > 255 > 127 > cells.max()
    loss, logits = losses.build("cc-dice"), torch.zeros_like(target)
    assert loss(logits, target, cells=cells.to(dtype)).item() == loss(logits, target).item()


def test_a_number_beyond_all_voxels_is_refused():
    target = torch.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match="more than there are voxels"):
        losses.build("cc-dice")(torch.zeros_like(target), target, cells=target.long() * 10**10)


def test_spacing_as_arrays_and_headers_give_it():
    for spacing in (np.array([1.0, 2.0]), tuple(np.float32([1, 2])), torch.tensor([1.0, 2.0])):
        assert losses.build("cc-dice", spacing=spacing).options.spacing == (1.0, 2.0)
