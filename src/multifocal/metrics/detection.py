"""How many lesions are found, missed and made up."""

import math
from dataclasses import dataclass

from multifocal.metrics.matching import Matches
from multifocal.metrics.rules import Score


@dataclass(frozen=True)
class Detection:
    """Lesion counts of a case, and what follows from them.

    `right` of the `predicted` lesions match a true one, `found` of the `true` ones a predicted one; the two differ
    where lesions are split or merged. `quality` is the sum over the right ones of the score of their best match.
    Without lesions on either side all is perfect; the table in `multifocal.metrics.catalogue` has the other cases.
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


def detect(matches: Matches, *, score: Score = "dice") -> Detection:
    """Count the lesions of a case by their matches.

    Args:
        matches: what `multifocal.metrics.matching.match` returns.
        score: what the segmentation quality averages.
    """
    return Detection(
        predicted=matches.predicted,
        true=matches.true,
        right=int(matches.is_right.sum()),
        found=int(matches.is_found.sum()),
        quality=float(matches.best_of_prediction(score).sum()),
    )
