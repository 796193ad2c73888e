"""How `default` would be chosen by cases that it is not scored on: a log of all trials, by nested folds.

    python tools/choose_default.py COHORT --folds FILE --out trials.csv

A trial is one combination of the forest of voxels, that of candidates, their mean, the cut and the least volume. For
each fold, every trial is scored on its training cases, each of them by forests that were fitted on the training cases
of the other folds; the trial with the highest mean of Dice, NSD and F1 is chosen, and what it scores on the fold's test
cases, by forests fitted on all training cases, is the fold's result. The log has a line a fold and trial. Printed are
what was chosen, the scores of the choices over all folds, and those of the recipe `default` itself.
"""

import argparse
import csv
import itertools
import sys
from pathlib import Path

import numpy as np

from multifocal import recipes
from multifocal.cohorts import Folds, Labels, open_cohort
from multifocal.metrics import evaluate_case
from multifocal.pipeline.prepare import prepare
from multifocal.pipeline.settings import BrainBox, Channel
from multifocal.systems import load_model
from multifocal.systems.candidates import LESION
from multifocal.systems.combination import GeometricMean, Mean
from multifocal.systems.forest import BoostedTrees, ExtraTrees, Forest, RandomTrees
from multifocal.systems.scan import Scan
from multifocal.volumes import restore

VOXELS = {
    "boosted": BoostedTrees(method="boosted"),
    "boosted, 5 repeats": BoostedTrees(method="boosted", repeats=5),
    "boosted, slow": BoostedTrees(method="boosted", trees=300, learning_rate=0.03, min_samples_leaf=50),
}
CANDIDATES = {
    "random": RandomTrees(trees=500, max_depth=None, min_samples_leaf=3, max_features=0.3),
    "extra": ExtraTrees(method="extra", trees=500, max_depth=None, min_samples_leaf=3, max_features=0.5),
    "boosted": BoostedTrees(method="boosted", trees=60, learning_rate=0.05, max_leaves=6, min_samples_leaf=10, l2=5.0),
}
MEANS = {"geometric": GeometricMean, "arithmetic": Mean}
CUTS = ("dice", 0.4)
LEAST_ML = (0.03, 0.05, 0.08)
METRICS = ("dice", "nsd", "f1")
TRIALS = tuple(itertools.product(VOXELS, CANDIDATES, MEANS, CUTS, LEAST_ML))
DEFAULT = ("boosted, 5 repeats", "extra", "geometric", "dice", 0.05)


class Judged:
    """A case with what both forests judge: described once, asked often."""

    def __init__(self, case, stages, first, labels):
        recipe = stages["voxels"]
        channels = tuple(Channel(map=name) for name in recipe.second.maps)
        settings = BrainBox(kind="brain-box", brain=recipe.brain, channels=channels, margin=2)
        prepared = prepare(case, settings, labels=labels, with_label=True)
        maps = dict(zip(recipe.second.maps, prepared.images, strict=True))
        mask = first.predict(case).mask
        probability = restore(mask, prepared.geometry, interpolation="nearest").array.astype(np.float32)
        scan = Scan(case.name, maps, probability, prepared.inside, prepared.geometry)
        self.grid, self.target, self.inside = prepared.geometry, prepared.target > 0, prepared.inside
        self.found = {name: stage.second.find(scan) for name, stage in stages.items()}
        self.rows = {name: stage.second.describe(scan, self.found[name]) for name, stage in stages.items()}
        self.answers = {name: stage.second.answers(self.found[name], prepared.target) for name, stage in stages.items()}

    def score(self, probabilities, mean, cut, least_ml):
        rule = MEANS[mean](threshold=cut, min_size_ml=least_ml)
        mask = rule(probabilities, self.grid.voxel_ml, self.grid.axial)
        scores = evaluate_case(mask, self.target, spacing=self.grid.spacing, brain=self.inside)
        return [scores[name] for name in METRICS]


def fitted(stage, name, settings, judged):
    answers = np.concatenate([one.answers[name] for one in judged])
    drawn = stage.second.drawn(answers, np.random.default_rng(settings.seed))
    rows = np.concatenate([one.rows[name] for one in judged])
    return Forest.fit(rows[drawn], answers[drawn] == LESION, settings)


def asked(forest, stage, name, one):
    return stage.second.paint(one.found[name], forest.predict(one.rows[name]), one.inside.shape)


def scored(stages, training, tested, judged):
    """Return the scores `(cases, trials, metrics)` of cases by forests of others."""
    fit_on = [judged[name] for name in training]
    options = {"voxels": VOXELS, "candidates": CANDIDATES}
    forests = {
        (name, option): fitted(stages[name], name, settings, fit_on)
        for name, choices in options.items()
        for option, settings in choices.items()
    }
    table = []
    for one in (judged[name] for name in tested):
        images = {key: asked(forest, stages[key[0]], key[0], one) for key, forest in forests.items()}
        table.append(
            [
                one.score([images["voxels", voxels], images["candidates", candidates]], *rest)
                for voxels, candidates, *rest in TRIALS
            ]
        )
    return np.array(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort")
    parser.add_argument("--folds", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    cohort, folds = open_cohort(arguments.cohort), Folds.load(arguments.folds).folds
    stages = {"voxels": recipes.load("zadc-voxels"), "candidates": recipes.load("zadc-candidates")}
    first = load_model("zadc-clean")
    labels = Labels()
    judged = {name: Judged(cohort.case(name), stages, first, labels) for fold in folds for name in fold.test}
    # Forests fitted without two folds serve both: each is asked about the other's part of the training cases.
    inner = {}
    for a, b in itertools.combinations(range(len(folds)), 2):
        rest = [name for k, fold in enumerate(folds) if k not in (a, b) for name in fold.test]
        both = scored(stages, rest, (*folds[a].test, *folds[b].test), judged)
        inner[a, b], inner[b, a] = both[len(folds[a].test) :], both[: len(folds[a].test)]
        print(f"without folds {a} and {b}", file=sys.stderr, flush=True)
    results, fixed = [], []
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        log = csv.writer(file, lineterminator="\n")
        log.writerow(["fold", "voxels", "candidates", "mean", "threshold", "least_ml", *METRICS, "all", "chosen"])
        for k, fold in enumerate(folds):
            within = np.concatenate([inner[k, other] for other in range(len(folds)) if other != k]).mean(axis=0)
            best = int(np.argmax(within.mean(axis=1)))
            for number, (trial, scores) in enumerate(zip(TRIALS, within, strict=True)):
                log.writerow([k, *trial, *(f"{each:.4f}" for each in (*scores, scores.mean())), int(number == best)])
            rest = [name for other, one in enumerate(folds) if other != k for name in one.test]
            outer = scored(stages, rest, fold.test, judged)
            results.append(outer[:, best])
            fixed.append(outer[:, TRIALS.index(DEFAULT)])
            print(f"fold {k}: {', '.join(map(str, TRIALS[best]))}", flush=True)
    for what, values in (("as chosen", results), ("default", fixed)):
        means = np.concatenate(values).mean(axis=0)
        print(f"{what}: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(METRICS, means, strict=True)))


if __name__ == "__main__":
    main()
