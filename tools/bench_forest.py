"""Time of asking a random forest, beside scikit-learn in the same run. Prints a Markdown table.

    OMP_NUM_THREADS=1 python tools/bench_forest.py [--rows N] [--features N] [--trees N]

Rows are drawn, answers follow from some of them, and forests are those of a cascade's defaults: at most 8 deep, 20
samples in a leaf. Seconds are those of the processor, in one thread; of three repetitions the least counts.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from multifocal.systems.forest import Forest, RandomTrees

FITTED_ON = 20_000


def main() -> None:
    """Fit, ask both, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=75)
    parser.add_argument("--trees", type=int, default=100)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(FITTED_ON, options.features)).astype(np.float32)
    answers = rows[:, 0] + rows[:, -1] * rows[:, 1] + rng.normal(size=FITTED_ON) > 1
    settings = RandomTrees(trees=options.trees)
    ours = Forest.fit(rows, answers, settings)
    theirs = RandomForestClassifier(
        settings.trees, max_depth=settings.max_depth, min_samples_leaf=settings.min_samples_leaf, random_state=0
    ).fit(rows, answers)
    asked = rng.normal(size=(options.rows, options.features)).astype(np.float32)
    ours.predict(asked[:1])  # compiles
    if not np.array_equal(ours.predict(asked), theirs.predict_proba(asked)[:, 1]):
        raise SystemExit("the two answer differently")
    print(f"{options.rows} rows of {options.features} features, {options.trees} trees, {len(ours.left)} nodes\n")
    print("| asked | s | rows a s |\n|---|---:|---:|")
    for name, call in (("ours", ours.predict), ("scikit-learn", theirs.predict_proba)):
        took = min(_timed(call, asked) for _ in range(3))
        print(f"| {name} | {took:.3f} | {options.rows / took:,.0f} |")


def _timed(call: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> float:
    started = time.process_time()
    call(rows)
    return time.process_time() - started


if __name__ == "__main__":
    main()
