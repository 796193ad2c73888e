"""The instance terms of Rachmadi et al. 2024, side by side."""

from typing import Any

import torch

from multifocal.losses.algebra import Sum
from multifocal.losses.center import Center
from multifocal.losses.compound import Compound
from multifocal.losses.criteria import Criterion
from multifocal.losses.overlap import Dice
from multifocal.losses.partitions import Instances, Over, Predictions
from multifocal.losses.proximity import Proximity
from multifocal.losses.rates import FalseRate, MissedRate


def instance_terms(
    probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    criterion: Criterion | None = None,
    instances: torch.Tensor | None = None,
    **options: Any,
) -> dict[str, torch.Tensor]:
    """Return the instance losses of both sides, center, missed and false rate and proximity, unweighted.

    Instances are pooled over the batch.

    Args:
        probabilities: (B, C, *spatial); logits if an activation is given.
        target: zeros and ones of the same shape.
        criterion: what instances are measured with; Dice with a smoothing of 1e-5.
        instances: the target's lesions as integer labels, if they were made beforehand.
        options: see `Options`; `relaxed=False` leaves out the gradients of soft stand-ins.

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
        "instance_gt": Over(measured, Instances()),
        "instance_pred": Over(measured, Predictions()),
        "center": Center(),
        "missed": MissedRate(),
        "false": FalseRate(),
        "proximity": Proximity(criterion=measured),
    }
    expression = Sum(tuple(pair for term in terms.values() for pair in term.weighted))
    loss = Compound(expression, **{"activation": "none", **options})
    values = loss.terms(probabilities, target, instances=instances)
    return dict(zip(terms, values.values(), strict=True))
