"""What a loss looks at: how it shares its gradient out over large and small, found, missed and false lesions."""

from collections.abc import Callable

import torch

_SIDE = 64
_FOUND, _MISSED = 0.7, 0.05  # probabilities
# What is there, and where: the corner, the side of a square, whether it is a true lesion, and its probability.
_SQUARES = {
    "large lesion": ((4, 4), 20, True, _FOUND),
    "middle lesion": ((4, 40), 6, True, _FOUND),
    "small lesion": ((24, 44), 2, True, _FOUND),
    "small lesion, missed": ((40, 8), 2, True, _MISSED),
    "false lesion": ((44, 40), 6, False, _FOUND),
}


def gradient_shares(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> dict[str, tuple[int, float]]:
    """Return how much of its gradient a loss spends on each part of one small scene.

    The share of a part is `Σ |∂L/∂z|` over its pixels, divided by that of all pixels; z are the logits. The scene is
    64×64 pixels: three lesions of 400, 36 and 4 pixels with p = 0.7, one of 4 with p = 0.05, a false one of 36 with
    p = 0.7, and a background with p = 0.05.

    Args:
        loss: called with logits and target, (1, 1, 64, 64) each; returns a scalar.

    Returns:
        Number of pixels and share, by part; the shares add up to 1. All are 0 where there is no gradient at all.

    Example:
        >>> from multifocal import losses
        >>> of_dice, of_blobs = (gradient_shares(losses.build(name)) for name in ("dice", "blob-dice"))
        >>> of_dice["small lesion"][1] < of_blobs["small lesion"][1]
        True
    """
    probability = torch.full((1, 1, _SIDE, _SIDE), _MISSED)
    target = torch.zeros_like(probability)
    boxes = {}
    for name, ((x, y), side, is_true, p) in _SQUARES.items():
        boxes[name] = (..., slice(x, x + side), slice(y, y + side))
        probability[boxes[name]] = p
        target[boxes[name]] = float(is_true)
    logits = torch.logit(probability).requires_grad_()
    loss(logits, target).backward()
    spent = logits.grad.abs() if logits.grad is not None else torch.zeros_like(probability)
    total = float(spent.sum()) or 1.0
    found = {name: (side**2, float(spent[boxes[name]].sum()) / total) for name, (_, side, *_) in _SQUARES.items()}
    pixels, share = (sum(column) for column in zip(*found.values(), strict=True))
    return {**found, "background": (int(_SIDE**2 - pixels), max(0.0, float(spent.sum()) / total - share))}
