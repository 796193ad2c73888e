"""The lesions of one case: kept or left out, matched, counted, measured."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from multifocal.instances import Instances, Pairs, given, label, pairs
from multifocal.limits import at_least
from multifocal.metrics.cc_dice import cc_dice
from multifocal.metrics.scoring_options import MatchScore, ScoringOptions


@dataclass(frozen=True)
class Lesion:
    """A true lesion, or a false one: predicted where no true one matches.

    Attributes:
        kind: "true", or "false".
        volume_ml: its volume.
        centre: centre of mass in voxels, along the array's axes.
        matched: whether it matches a lesion of the other side.
        dice: that of the best match, 0 without one.

    Example:
        >>> from multifocal.metrics import score_case
        >>> score_case([[1, 1, 0, 0]], [[0, 1, 0, 1]], spacing=(1.0, 2.0)).lesions[0]
        Lesion(kind='true', volume_ml=0.002, centre=(0.0, 1.0), matched=True, dice=0.6666666666666666)
    """

    kind: Literal["true", "false"]
    volume_ml: float
    centre: tuple[float, ...]
    matched: bool
    dice: float


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of the lesions of a case: match i is of the lesions `prediction[i]` and `target[i]`.

    Attributes:
        predicted: number of predicted lesions.
        true: number of true ones.
        prediction: the predicted lesion of each match, from 0, shape (matches,).
        target: the true one.
        dice: Dice of the two.
        iou: their IoU.
    """

    predicted: int
    true: int
    prediction: np.ndarray
    target: np.ndarray
    dice: np.ndarray
    iou: np.ndarray

    @cached_property
    def is_right(self) -> np.ndarray:
        """Mark the predicted lesions that match a true one.

        Returns:
            Booleans of shape (predicted lesions,).
        """
        return _marked(self.prediction, self.predicted)

    @cached_property
    def is_found(self) -> np.ndarray:
        """Mark the true lesions that a predicted one matches.

        Returns:
            Booleans of shape (true lesions,).
        """
        return _marked(self.target, self.true)

    def best_of_prediction(self, score: MatchScore) -> np.ndarray:
        """Return for each predicted lesion the highest score of its matches, 0 without one.

        Args:
            score: "dice" or "iou".

        Returns:
            Shape (predicted lesions,).
        """
        return _best(self.dice if score == "dice" else self.iou, self.prediction, self.predicted)

    def best_of_target(self, score: MatchScore) -> np.ndarray:
        """Return for each true lesion the highest score of its matches, 0 without one.

        Args:
            score: "dice" or "iou".

        Returns:
            Shape (true lesions,).
        """
        return _best(self.dice if score == "dice" else self.iou, self.target, self.true)


@dataclass(frozen=True)
class Detection:
    """Lesion counts of a case, and what follows from them.

    Without lesions on either side all is perfect; the table in `multifocal.metrics.metric` has the other cases.

    Attributes:
        predicted: number of predicted lesions.
        true: number of true ones.
        right: how many of the predicted ones match a true one.
        found: how many of the true ones match a predicted one; differs from `right` where lesions are split or merged.
        quality: sum over the right ones of the score of their best match.
    """

    predicted: int
    true: int
    right: int
    found: int
    quality: float

    @property
    def missed(self) -> int:
        """True lesions that nothing matches."""
        return self.true - self.found

    @property
    def false(self) -> int:
        """Predicted lesions that match nothing."""
        return self.predicted - self.right

    @property
    def ppv(self) -> float:
        """`right / predicted`: the share of the predicted lesions that are lesions; 1 - FDR."""
        return self._rate(self.right, self.predicted)

    @property
    def sen(self) -> float:
        """`found / true`: the share of the true lesions that are found; 1 - FNR."""
        return self._rate(self.found, self.true)

    @property
    def fdr(self) -> float:
        """`false / predicted` (seed 004, eq. 6: false instances over all predicted ones)."""
        return 1.0 - self.ppv

    @property
    def fnr(self) -> float:
        """`missed / true` (seed 004, eq. 5: missed instances over all true ones)."""
        return 1.0 - self.sen

    @property
    def f1(self) -> float:
        """Harmonic mean of PPV and SEN; 0 where one of them is 0 or undefined."""
        if not self.predicted or not self.true:
            return self._without_lesions
        total = self.ppv + self.sen
        return 2 * self.ppv * self.sen / total if total else 0.0

    @property
    def rq(self) -> float:
        """Recognition quality `TP / (TP + FP/2 + FN/2)`, with TP = right, FP = false, FN = missed."""
        whole = self.right + self.false / 2 + self.missed / 2
        return self.right / whole if whole else 1.0

    @property
    def sq(self) -> float:
        """Segmentation quality: the mean score of the right ones; 0 where none is right."""
        return self.quality / self.right if self.right else self._without_lesions

    @property
    def pq(self) -> float:
        """Panoptic quality `Σ score / (TP + FP/2 + FN/2) = SQ · RQ` (seed 004, eq. 15)."""
        return self.sq * self.rq

    @property
    def _without_lesions(self) -> float:
        return 0.0 if self.predicted or self.true else 1.0

    def _rate(self, part: int, whole: int) -> float:
        if self.predicted == self.true == 0:
            return 1.0
        return part / whole if whole else math.nan


@dataclass(frozen=True, eq=False)
class LesionScores:
    """Both sides of a case lesion by lesion, and how they match.

    Attributes:
        prediction: the predicted lesions that are not left out for their size.
        target: the true ones.
        overlaps: which of them share voxels.
        matches: which of them match.
        detection: how many are found, missed and made up.
        voxel_ml: volume of a voxel.
        offset: where the crop that the lesions lie in begins in the image, in voxels.
    """

    prediction: Instances
    target: Instances
    overlaps: Pairs
    matches: Matches
    detection: Detection
    voxel_ml: float
    offset: tuple[int, ...]

    @cached_property
    def cc_dice(self) -> float:
        """Average Dice over the Voronoi cells of the true lesions.

        Returns:
            The mean, 0 to 1.
        """
        return cc_dice(self.prediction, self.target, self.overlaps)

    def lesions(self) -> list[Lesion]:
        """Return the true lesions, then the false ones.

        Returns:
            Each with its volume, place and best match.
        """
        dice = self.matches.best_of_target("dice").tolist()
        found, right = self.matches.is_found.tolist(), self.matches.is_right.tolist()
        true = [
            Lesion("true", volume, centre, is_found, score)
            for (volume, centre), is_found, score in zip(self._measured(self.target), found, dice, strict=True)
        ]
        false = [
            Lesion("false", volume, centre, matched=False, dice=0.0)
            for (volume, centre), is_right in zip(self._measured(self.prediction), right, strict=True)
            if not is_right
        ]
        return true + false

    def _measured(self, side: Instances) -> list[tuple[float, tuple[float, ...]]]:
        centres = side.centres + np.array(self.offset)
        return list(zip((side.sizes * self.voxel_ml).tolist(), map(tuple, centres.tolist()), strict=True))


def score_lesions(
    prediction: np.ndarray, target: np.ndarray, *, voxel_ml: float, offset: tuple[int, ...], options: ScoringOptions
) -> LesionScores:
    """Compare two masks, or label maps as `options.label_maps` says, lesion by lesion.

    Args:
        prediction: boolean mask, or integer label map.
        target: the same of the truth, of the same shape.
        voxel_ml: volume of a voxel.
        offset: where the arrays begin in the image, in voxels.
        options: see `ScoringOptions`.

    Returns:
        The lesions of both sides, matched and counted.
    """
    least = options.min_size / voxel_ml
    predicted = _kept(_instances(prediction, is_map=options.predicts_label_maps, options=options), least)
    true = _kept(_instances(target, is_map=options.has_label_maps, options=options), least)
    overlaps = pairs(predicted, true)
    matches = match(predicted, true, overlaps, options=options)
    return LesionScores(predicted, true, overlaps, matches, detect(matches, score=options.quality), voxel_ml, offset)


def match(prediction: Instances, target: Instances, overlaps: Pairs, *, options: ScoringOptions) -> Matches:
    """Match the lesions of one case by `options.matching`.

    Args:
        prediction: the predicted lesions of one image.
        target: the true ones.
        overlaps: `multifocal.instances.pairs(prediction, target)`.
        options: see `ScoringOptions`.

    Returns:
        The matches.

    Example:
        >>> from multifocal.instances import label, pairs
        >>> sides = [label(np.array([[row]], bool)) for row in ([1, 1, 1, 0, 1], [0, 1, 1, 0, 0])]
        >>> found = match(*sides, pairs(*sides), options=ScoringOptions())
        >>> found.is_right.tolist(), found.is_found.tolist(), found.dice.tolist()
        ([True, False], [True], [0.8])
    """
    both = (overlaps.prediction > 0) & (overlaps.target > 0)
    m, n, shared = overlaps.prediction[both] - 1, overlaps.target[both] - 1, overlaps.counts[both]
    sizes = prediction.sizes[m] + target.sizes[n]
    dice, iou = 2 * shared / sizes, shared / (sizes - shared)
    kept = _one_to_one(m, n, iou, options) if options.matching == "iou" else slice(None)
    return Matches(prediction.total, target.total, m[kept], n[kept], dice[kept], iou[kept])


def detect(matches: Matches, *, score: MatchScore = "dice") -> Detection:
    """Count the lesions of a case by their matches.

    Args:
        matches: what `match` returns.
        score: what the segmentation quality averages, "dice" or "iou".

    Returns:
        The counts.
    """
    return Detection(
        predicted=matches.predicted,
        true=matches.true,
        right=int(matches.is_right.sum()),
        found=int(matches.is_found.sum()),
        quality=float(matches.best_of_prediction(score).sum()),
    )


def _instances(mask: np.ndarray, *, is_map: bool, options: ScoringOptions) -> Instances:
    return given(mask[None]) if is_map else label(mask[None], connectivity=options.connectivity)


def _kept(lesions: Instances, least: float) -> Instances:
    """Return the lesions of at least so many voxels, numbered anew."""
    kept = at_least(lesions.sizes, least)
    if kept.all():
        return lesions
    number = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    inside = kept[lesions.labels - 1]
    voxels, labels = lesions.voxels[inside], number[lesions.labels[inside]]
    return Instances(voxels, labels, np.array([np.count_nonzero(kept)]), lesions.shape)


def _one_to_one(m: np.ndarray, n: np.ndarray, iou: np.ndarray, options: ScoringOptions) -> list[int]:
    """Return the pairs that reach the threshold and are left when the best come first and each lesion counts once."""
    candidates = np.flatnonzero(iou > options.threshold if options.strict else iou >= options.threshold)
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
