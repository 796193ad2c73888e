"""Whether one number sorts cases better than another: differences of AURC, with intervals over the same samples.

    python tools/uncertainty_differences.py COHORT FOLDER:SCORE FOLDER:SCORE...

A folder is that of `evaluate --uncertainty`, or an arm's of a study, over the same cases; a score is `expected_dice`,
`agreement`, `volume_range` or `small` (the volume of the mask, nothing else). Each has its own folder's risk, 1 - Dice.
It prints, for each but the first, how much its AURC lies above that of the first, and 95 % of bootstrap samples of the
subjects.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from multifocal.cohorts import open_cohort
from multifocal.evaluation.uncertainty import subject_draws
from multifocal.metrics.selective import risk_coverage

SCORES = {
    "expected_dice": lambda row: 1 - float(row["expected_dice"]),
    "agreement": lambda row: 1 - float(row["agreement"]),
    "volume_range": lambda row: float(row["volume_range"]),
    "small": lambda row: -float(row["volume_ml"]),
}


def main() -> None:
    """Read, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort")
    parser.add_argument("scores", nargs="+", metavar="FOLDER:SCORE")
    chosen = parser.parse_args()
    subjects = {case.name: case.subject for case in open_cohort(chosen.cohort)}
    found = {}
    for text in chosen.scores:
        folder, _, score = text.rpartition(":")
        if score not in SCORES:
            parser.error(f"{text}: choose a score from {', '.join(SCORES)}")
        with (Path(folder) / "uncertainty.csv").open(newline="", encoding="utf-8") as file:
            rows = {row["case"]: row for row in csv.DictReader(file)}
        found[text] = rows, SCORES[score]
    cases = list(next(iter(found.values()))[0])
    if any(set(rows) != set(cases) for rows, _ in found.values()):
        parser.error("the folders are of other cases than one another")
    draws = subject_draws([subjects[case] for case in cases], samples=1000, seed=0)
    areas = {}
    for text, (rows, of_row) in found.items():
        unsure = np.array([of_row(rows[case]) for case in cases])
        risk = np.array([1 - float(rows[case]["dice"]) for case in cases])
        areas[text] = [risk_coverage(unsure[draw], risk[draw]).aurc for draw in (np.arange(len(cases)), *draws)]
    first, *others = areas.items()
    print(f"{first[0]}: AURC {first[1][0]:.3f}")
    for text, own in others:
        beyond = np.subtract(own, first[1])
        low, high = np.quantile(beyond[1:], [0.025, 0.975])
        print(f"{text}: AURC {own[0]:.3f}, {beyond[0]:+.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
