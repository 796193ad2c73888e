"""The instance terms of Rachmadi et al. 2024, side by side."""

from typing import Any

import torch

from multifocal.losses.algebra import Sum
from multifocal.losses.compound import Compound
from multifocal.losses.criteria import Criterion, Dice
from multifocal.losses.detection import Center, FalseRate, MissedRate, Proximity
from multifocal.losses.partitions import Instances, Over, Predictions


def instance_terms(
    probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    criterion: Criterion | None = None,
    relaxed: bool = True,
    instances: torch.Tensor | None = None,
    **options: Any,
) -> dict[str, torch.Tensor]:
    """Return the instance losses of both sides, center, missed and false rate and proximity, unweighted.

    Instances are pooled over the batch.

    Args:
        probabilities: (B, C, *spatial); logits if an activation is given.
        target: zeros and ones of the same shape.
        criterion: what instances are measured with; Dice with a smoothing of 1e-5.
        relaxed: take the gradients of soft stand-ins where the published terms have none.
        instances: the target's lesions as integer labels, if they were made beforehand.
        options: see `Options`.

    Raises:
        ValueError: input that does not fit.

    Example:
        >>> target = torch.zeros(1, 1, 8, 8)
        >>> target[..., 1:3, 1:3] = 1
        >>> {name: round(float(value), 2) for name, value in instance_terms(0.9 * target, target).items()}
        {'instance_gt': 0.05, 'instance_pred': 0.05, 'center': 0.0, 'missed': 0.0, 'false': 0.0, 'proximity': 0.0}
    """
    measured = criterion or Dice()
    terms = {
        "instance_gt": Over(measured, Instances(relaxed=relaxed)),
        "instance_pred": Over(measured, Predictions()),
        "center": Center(relaxed=relaxed),
        "missed": MissedRate(relaxed=relaxed),
        "false": FalseRate(relaxed=relaxed),
        "proximity": Proximity(criterion=measured, relaxed=relaxed),
    }
    expression = Sum(tuple(pair for term in terms.values() for pair in term.weighted))
    loss = Compound(expression, **{"activation": "none", **options})
    values = loss.terms(probabilities, target, instances=instances)
    return dict(zip(terms, values.values(), strict=True))
