"""Does each published term train what it names? Prints the tables of docs/gradient-audit.md.

    python tools/audit_gradients.py

One image has a lesion that is found, one that is missed, and two components that are false. For each term: the norm
of the gradient by the logits in the published formulation, rebuilt here from the printed equations (called as the
authors' library calls it by default, and with probabilities passed in), the norm here, and how far a unit step against
the gradient moves the missed lesion and the false components. A second table does the same for an image without
lesions.
"""

from collections.abc import Callable
from functools import partial

import torch

from multifocal import losses
from multifocal.instances import label

FOUND, MISSED = (slice(6, 12), slice(6, 12)), (slice(6, 10), slice(24, 28))
FALSE = ((slice(24, 28), slice(5, 9)), (slice(25, 28), slice(26, 33)))


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and target."""
    logits, target = torch.full((1, 1, 40, 40), -3.0), torch.zeros(1, 1, 40, 40)
    target[0, 0][FOUND], target[0, 0][MISSED] = 1, 1
    logits[..., 8:14, 6:12] = 2.0
    for place in FALSE:
        logits[0, 0][place] = 2.0
    return logits, target


def published(p: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the instance terms as printed, on what the published code hands on as the prediction."""
    p, y = p[0, 0], target[0, 0]
    predicted, true = components(p >= 0.5), components(y > 0)
    nothing = torch.zeros_like(y, dtype=torch.bool)
    of_true, of_predicted = [], []
    for lesion in true:  # eq. 2
        union = sum((m for m in predicted if (m & lesion).any()), nothing)
        of_true.append(dice(p * (union & ~((y > 0) & ~lesion)), lesion.float()))
    for m in predicted:  # eq. 3
        union = sum((g for g in true if (m & g).any()), nothing)
        of_predicted.append(dice(p * m, union.float()))
    apart = torch.tensor([[box_distance(g, m) for m in predicted] for g in true])  # eq. 7
    on_lesions, on_predictions = (apart.amin(axis) for axis in (1, 0))
    near = (torch.stack(of_predicted) * on_predictions).sum() - (torch.stack(of_true) * on_lesions).sum()
    # Eqs. 5 and 6 count with a floor function, and eq. 4 stamps cubes at whole voxels: constants for the derivative.
    missed, false = (torch.stack(values).add(1e-3).floor().mean() for values in (of_true, of_predicted))
    return {
        "instance_gt": torch.stack(of_true).mean(),
        "instance_pred": torch.stack(of_predicted).mean(),
        "center": dice(stamped(predicted), stamped(true)),
        "missed": missed,
        "false": false,
        "proximity": near.square(),  # eqs. 8 to 10
    }


def components(mask: torch.Tensor) -> list[torch.Tensor]:
    """Return the connected components of one image as masks."""
    dense = torch.from_numpy(label(mask[None].detach()).dense())[0]
    return [dense == n for n in range(1, int(dense.max()) + 1)]


def dice(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the Dice loss of two images."""
    return 1 - (2 * (a * b).sum() + 1e-5) / (a.sum() + b.sum() + 1e-5)


def stamped(parts: list[torch.Tensor]) -> torch.Tensor:
    """Return the image of a square of 3 pixels at each component's centre of mass."""
    image = torch.zeros(parts[0].shape)
    for part in parts:
        x, y = (int(places.double().mean().round()) for places in part.nonzero(as_tuple=True))
        image[max(x - 1, 0) : x + 2, max(y - 1, 0) : y + 2] = 1
    return image


def box_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return `1 - IoU + ρ²/τ²` of the bounding boxes of two masks."""
    (a, b), (c, d) = ((mask.nonzero().amin(0).double(), mask.nonzero().amax(0).double() + 1) for mask in (one, other))
    shared = (torch.minimum(b, d) - torch.maximum(a, c)).clamp_min(0).prod()
    iou = shared / ((b - a).prod() + (d - c).prod() - shared)
    across = (torch.maximum(b, d) - torch.minimum(a, c)).square().sum()
    return float(1 - iou + ((a + b - c - d) / 2).square().sum() / across)


def slope(loss: Callable[[torch.Tensor], torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    """Return the gradient by the logits; 0 where no way leads from one to the other."""
    x = logits.clone().requires_grad_()
    value = loss(x)
    found = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
    return torch.zeros_like(logits) if found is None else found


def norms(*gradients: torch.Tensor) -> list[str]:
    """Return the norms of gradients as a table has them."""
    return [f"{gradient.norm().item():.2e}" for gradient in gradients]


def move(gradient: torch.Tensor, places: tuple) -> str:
    """Return how a step against the gradient moves a pixel of these places on average."""
    step = -torch.cat([gradient[0, 0][place].reshape(-1) for place in places]).mean().item()
    return f"{'up' if step > 0 else 'down'} {abs(step):.0e}" if step else "-"


def instance_table() -> None:
    """Print the table of the instance terms."""
    logits, target = scene()
    print("| term | published, default | published, probabilities in | relaxed=False | here | missed lesion | false |")
    print("|---|---|---|---|---|---|---|")
    for name in ("instance_gt", "instance_pred", "center", "missed", "false", "proximity"):

        def theirs(x: torch.Tensor, name: str = name) -> torch.Tensor:
            return published(x, target)[name]

        def ours(x: torch.Tensor, name: str = name, **options: bool) -> torch.Tensor:
            return losses.instance_terms(x, target, activation="sigmoid", **options)[name]

        binary = slope(lambda x, f=theirs: f((torch.sigmoid(x) >= 0.5).float()), logits)
        soft = slope(lambda x, f=theirs: f(torch.sigmoid(x)), logits)
        row(name, norms(binary, soft, slope(partial(ours, relaxed=False), logits)), slope(ours, logits))
    terms = {
        "proximity, combine=sum": losses.Proximity(combine="sum"),
        **{f"dice over {where}": losses.Dice().over(where) for where in ("blobs", "cells", "prediction-cells")},
    }
    for name, term in terms.items():
        plain, here = (slope(partial(term.build(relaxed=relaxed), target=target), logits) for relaxed in (False, True))
        row(name, ["-", "-", *norms(plain)], here)


def row(name: str, cells: list[str], here: torch.Tensor) -> None:
    """Print one row of the first table."""
    print(f"| {' | '.join([name, *cells, *norms(here), move(here, (MISSED,)), move(here, FALSE)])} |")


def empty_table() -> None:
    """Print the table of an image without lesions and a false component on it."""
    import monai.losses as monai

    theirs = {
        "dice": monai.DiceLoss(sigmoid=True),
        "dice-ce": monai.DiceCELoss(sigmoid=True),
        "generalized-dice": monai.GeneralizedDiceLoss(sigmoid=True),
        "focal": monai.FocalLoss(),
        "tversky": monai.TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7),
        "jaccard": monai.DiceLoss(sigmoid=True, jaccard=True, smooth_nr=2e-5, smooth_dr=2e-5),
        "dice-focal": monai.DiceFocalLoss(sigmoid=True),
        "gdf": monai.GeneralizedDiceFocalLoss(sigmoid=True),
        "hausdorff-dt": monai.HausdorffDTLoss(sigmoid=True, include_background=True),
        "log-hausdorff-dt": monai.LogHausdorffDTLoss(sigmoid=True, include_background=True),
    }
    print("\n| loss | MONAI | relaxed=False | here | false component | MONAI, all p > 0.5 | here, all p > 0.5 |")
    print("|---|---|---|---|---|---|---|")
    target = torch.zeros(1, 1, 40, 40)
    few, everywhere = torch.full_like(target, -3.0), torch.full_like(target, 1.0)
    for logits in (few, everywhere):
        logits[0, 0][FALSE[0]] = 2.0
    for name in losses.names():
        build = partial(losses.build, name)
        plain, here = (slope(partial(build(relaxed=relaxed), target=target), few) for relaxed in (False, True))
        on_all = slope(partial(build(), target=target), everywhere)
        of_monai = ["-", "-"]
        if name in theirs:
            of_monai = norms(*(slope(partial(theirs[name], target=target), logits) for logits in (few, everywhere)))
        cells = [of_monai[0], *norms(plain, here), move(here, FALSE[:1]), of_monai[1], *norms(on_all)]
        print(f"| {' | '.join([name, *cells])} |")


if __name__ == "__main__":
    instance_table()
    empty_table()
