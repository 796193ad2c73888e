"""Does each published term train what it names? Prints a Markdown table.

    python tools/audit_gradients.py

One image has a lesion that is found, one that is missed, and two components that are false. For each term: the norm
of the gradient by the logits in the published formulation (as the authors' library calls it by default, and with
probabilities passed in), the norm here, and how the gradient here moves the missed lesion and the false components. A
second table does the same for pixel losses on an image without lesions.
"""

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
    """Return the instance terms as printed, on the probabilities that the published code hands on."""

    def parts(mask: torch.Tensor) -> list[torch.Tensor]:
        dense = torch.from_numpy(label(mask[:, 0].detach()).dense())[0]
        return [dense == n for n in range(1, int(dense.max()) + 1)]

    def dice(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return 1 - (2 * (a * b).sum() + 1e-5) / (a.sum() + b.sum() + 1e-5)

    p, y = p[0, 0], target[0, 0]
    predicted, true = parts((p >= 0.5)[None, None]), parts((y > 0)[None, None])
    nothing = torch.zeros_like(y, dtype=torch.bool)
    of_true, of_predicted = [], []
    for lesion in true:
        union = sum((m for m in predicted if (m & lesion).any()), nothing)
        of_true.append(dice(p * (union & ~((y > 0) & ~lesion)), lesion.float()))
    for m in predicted:
        union = sum((g for g in true if (m & g).any()), nothing)
        of_predicted.append(dice(p * m, union.float()))
    # Counted by rounding up or down, and stamped at rounded places: constants for the derivative.
    rates = [torch.stack(values).detach().add(1e-3).floor().mean() for values in (of_true, of_predicted)]
    near = losses.Proximity(relaxed=False).build(activation="none")(p[None, None], target)
    center = losses.Center(relaxed=False).build(activation="none")(p.detach()[None, None], target)
    return {
        "instance_gt": torch.stack(of_true).mean(),
        "instance_pred": torch.stack(of_predicted).mean(),
        "center": center,
        "missed": rates[0],
        "false": rates[1],
        "proximity": near,
    }


def norm(value: torch.Tensor, x: torch.Tensor) -> float:
    """Return the norm of the gradient, 0 where there is no way from the value to the logits."""
    if not value.requires_grad:
        return 0.0
    (found,) = torch.autograd.grad(value, x, retain_graph=True, allow_unused=True)
    return 0.0 if found is None else found.norm().item()


def moves(gradient: torch.Tensor) -> tuple[str, str]:
    """Return how a step against the gradient moves the missed lesion and the false components."""
    missed = -gradient[0, 0][MISSED].sum().item()
    false = -sum(gradient[0, 0][place].sum().item() for place in FALSE)
    return tuple("up" if change > 1e-12 else "down" if change < -1e-12 else "-" for change in (missed, false))


def instance_table() -> None:
    """Print the table of the instance terms."""
    logits, target = scene()
    x = logits.requires_grad_()
    p = torch.sigmoid(x)
    binary = published((p >= 0.5).float(), target)
    soft = published(p, target)
    ours: dict[str, torch.Tensor] = {}
    for name, value in losses.instance_terms(x, target, activation="sigmoid").items():
        ours[name] = value
    ours["proximity, combine=sum"] = losses.Proximity(combine="sum").build()(x, target)
    ours["dice over blobs"] = losses.Dice().over("blobs").build()(x, target)
    ours["dice over cells"] = losses.Dice().over("cells").build()(x, target)
    ours["dice over prediction-cells"] = losses.Dice().over("prediction-cells").build()(x, target)
    print("| term | published, default | published, probabilities in | here | missed lesion | false components |")
    print("|---|---|---|---|---|---|")
    for name, value in ours.items():
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        before = [f"{norm(side[name], x):.2e}" if name in side else "-" for side in (binary, soft)]
        print(f"| {name} | {before[0]} | {before[1]} | {gradient.norm():.2e} | {' | '.join(moves(gradient))} |")


def empty_table() -> None:
    """Print the table of an image without lesions and a false component on it."""
    import monai.losses as monai

    theirs = {
        "generalized-dice": monai.GeneralizedDiceLoss(sigmoid=True),
        "gdf": monai.GeneralizedDiceFocalLoss(sigmoid=True),
        "dice": monai.DiceLoss(sigmoid=True),
        "tversky": monai.TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7),
        "hausdorff-dt": monai.HausdorffDTLoss(sigmoid=True, include_background=True),
    }
    print("\n| loss | MONAI, some p above 0.5 | here | MONAI, all p above 0.5 | here |\n|---|---|---|---|---|")
    for name in losses.names():
        row = []
        for low in (-3.0, 1.0):
            logits, target = torch.full((1, 1, 40, 40), low), torch.zeros(1, 1, 40, 40)
            logits[0, 0][FALSE[0]] = 2.0
            x = logits.requires_grad_()
            before = f"{norm(theirs[name](x, target), x):.2e}" if name in theirs else "-"
            row += [before, f"{norm(losses.build(name)(x, target), x):.2e}"]
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    instance_table()
    empty_table()
