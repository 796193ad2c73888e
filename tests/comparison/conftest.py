"""Evaluations to compare."""

import numpy as np
import pytest

from multifocal.evaluation import Results


@pytest.fixture
def evaluate():
    """Make an evaluation from values by metric, one a case; strata in turn unless given."""

    def evaluate(values, *, strata=None, settings=None):
        count = len(next(iter(values.values())))
        strata = strata or [("<1 %", "1-5 %", ">5 %")[k % 3] for k in range(count)]
        rows = [
            {
                "case": f"case{k:02d}",
                "stratum": strata[k],
                "true_ml": float(k),
                "diagonal_mm": 100.0 + k,
                **{name: float(numbers[k]) for name, numbers in values.items()},
            }
            for k in range(count)
        ]
        return Results(rows, [], {"settings": settings or {}})

    return evaluate


@pytest.fixture
def methods(evaluate):
    """Three methods over 20 cases; "missing" has two undefined distances, "better" one of them."""
    random = np.random.default_rng(3)
    found = {}
    for name, shift, gaps in (("plain", 0.0, []), ("better", 0.1, [4]), ("missing", -0.1, [4, 9])):
        values = {
            "dice": random.uniform(0.2, 0.8, 20) + shift,
            "masd": random.uniform(0.5, 4.0, 20) - 3 * shift,
            "nsd": random.uniform(0.2, 0.8, 20) + shift,
            "volume_difference": random.normal(0, 5, 20),
        }
        values["masd"][gaps] = np.nan
        found[name] = evaluate(values)
    return found
