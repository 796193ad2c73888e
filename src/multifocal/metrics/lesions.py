"""The lesions of one case: kept or left out, matched, measured."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from multifocal.instances import Instances, given, label, pairs
from multifocal.metrics.cells import cc_dice
from multifocal.metrics.detection import detect
from multifocal.metrics.matching import Matches, match
from multifocal.metrics.rules import Rules


@dataclass(frozen=True)
class Lesion:
    """A true lesion, or a false one: predicted where no true one matches.

    `centre` is the centre of mass in voxels, along the array's axes. `dice` is that of the best match, 0 without one.
    """

    kind: Literal["true", "false"]
    volume_ml: float
    centre: tuple[float, ...]
    matched: bool
    dice: float


@dataclass(frozen=True, eq=False)
class LesionScores:
    """Both sides of a case lesion by lesion, how they match, and the metrics that follow.

    `offset` is where the crop that the lesions lie in begins in the image.
    """

    prediction: Instances
    target: Instances
    matches: Matches
    metrics: dict[str, float]
    voxel_ml: float
    offset: tuple[int, ...]

    def lesions(self) -> list[Lesion]:
        """Return the true lesions, then the false ones."""
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
    prediction: np.ndarray, target: np.ndarray, *, voxel_ml: float, offset: tuple[int, ...], rules: Rules
) -> LesionScores:
    """Compare two masks, or label maps as `rules.label_maps` says, lesion by lesion.

    Args:
        prediction: boolean mask, or integer label map.
        target: the same of the truth, of the same shape.
        voxel_ml: volume of a voxel.
        offset: where the arrays begin in the image.
        rules: see `Rules`.
    """
    least = rules.min_size / voxel_ml - 1e-9  # a lesion of just the least size is kept, whatever the rounding
    predicted = _kept(_instances(prediction, is_map=rules.predicts_label_maps, rules=rules), least)
    true = _kept(_instances(target, is_map=rules.has_label_maps, rules=rules), least)
    overlaps = pairs(predicted, true)
    matches = match(predicted, true, overlaps, rules=rules)
    found = detect(matches, score=rules.quality)
    metrics = {
        "true_lesions": float(found.true),
        "predicted_lesions": float(found.predicted),
        "tp": float(found.right),
        "missed": float(found.missed),
        "false": float(found.false),
        "fdr": found.fdr,
        "fnr": found.fnr,
        "ppv": found.ppv,
        "sen": found.sen,
        "f1": found.f1,
        "pq": found.pq,
        "sq": found.sq,
        "rq": found.rq,
        "cc_dice": cc_dice(predicted, true, overlaps),
    }
    return LesionScores(predicted, true, matches, metrics, voxel_ml, offset)


def _instances(mask: np.ndarray, *, is_map: bool, rules: Rules) -> Instances:
    return given(mask[None]) if is_map else label(mask[None], connectivity=rules.connectivity)


def _kept(lesions: Instances, least: float) -> Instances:
    """Return the lesions of at least so many voxels, numbered anew."""
    kept = lesions.sizes >= least
    if kept.all():
        return lesions
    number = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    inside = kept[lesions.labels - 1]
    voxels, labels = lesions.voxels[inside], number[lesions.labels[inside]]
    return Instances(voxels, labels, np.array([np.count_nonzero(kept)]), lesions.shape)
