"""Which predicted lesion is which true one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multifocal.instances import Instances, Pairs
from multifocal.metrics.rules import Rules, Score


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of `predicted` and `true` lesions: match i is of lesion `prediction[i]` and `target[i]` (from 0)."""

    predicted: int
    true: int
    prediction: np.ndarray
    target: np.ndarray
    dice: np.ndarray
    iou: np.ndarray

    @cached_property
    def is_right(self) -> np.ndarray:
        """For each predicted lesion, whether it matches a true one."""
        return _marked(self.prediction, self.predicted)

    @cached_property
    def is_found(self) -> np.ndarray:
        """For each true lesion, whether a predicted one matches it."""
        return _marked(self.target, self.true)

    def best_of_prediction(self, score: Score) -> np.ndarray:
        """For each predicted lesion, the highest score of its matches, 0 without one."""
        return _best(self.dice if score == "dice" else self.iou, self.prediction, self.predicted)

    def best_of_target(self, score: Score) -> np.ndarray:
        """For each true lesion, the highest score of its matches, 0 without one."""
        return _best(self.dice if score == "dice" else self.iou, self.target, self.true)


def match(prediction: Instances, target: Instances, overlaps: Pairs, *, rules: Rules) -> Matches:
    """Match the lesions of one case by `rules.matching`.

    Args:
        prediction: the predicted lesions of one image.
        target: the true ones.
        overlaps: `multifocal.instances.pairs(prediction, target)`.
        rules: see `Rules`.

    Example:
        >>> from multifocal.instances import label, pairs
        >>> sides = [label(np.array([[row]], bool)) for row in ([1, 1, 1, 0, 1], [0, 1, 1, 0, 0])]
        >>> found = match(*sides, pairs(*sides), rules=Rules())
        >>> found.is_right.tolist(), found.is_found.tolist(), found.dice.tolist()
        ([True, False], [True], [0.8])
    """
    both = (overlaps.prediction > 0) & (overlaps.target > 0)
    m, n, shared = overlaps.prediction[both] - 1, overlaps.target[both] - 1, overlaps.counts[both]
    sizes = prediction.sizes[m] + target.sizes[n]
    dice, iou = 2 * shared / sizes, shared / (sizes - shared)
    kept = _one_to_one(m, n, iou, rules.threshold) if rules.matching == "iou" else slice(None)
    return Matches(prediction.total, target.total, m[kept], n[kept], dice[kept], iou[kept])


def _one_to_one(m: np.ndarray, n: np.ndarray, iou: np.ndarray, threshold: float) -> list[int]:
    """Return the pairs of at least the threshold that are left when the best come first and each lesion counts once."""
    candidates = np.flatnonzero(iou >= threshold)
    kept, taken = [], (set(), set())  # type: tuple[list[int], tuple[set[int], set[int]]]
    for pair in candidates[np.argsort(-iou[candidates], kind="stable")]:
        ends = int(m[pair]), int(n[pair])
        if ends[0] not in taken[0] and ends[1] not in taken[1]:
            kept.append(int(pair))
            taken[0].add(ends[0])
            taken[1].add(ends[1])
    return kept


def _marked(places: np.ndarray, length: int) -> np.ndarray:
    marks = np.zeros(length, bool)
    marks[places] = True
    return marks


def _best(values: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    best = np.zeros(length)
    np.maximum.at(best, places, values)
    return best
