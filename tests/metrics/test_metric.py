"""Every metric states what it is, keeps to it, and another package's is one of them."""

import math

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.evaluation import (
    Scores,
    case_columns,
    read_results,
    summarize,
    summary_table,
    summary_tables,
    write_results,
)
from multifocal.metrics import METRICS, evaluate_case, metric

ABOUT = {"case": "a", "stratum": "<1 %", "share_of_brain": 0.001, "diagonal_mm": 9.0}
PREDICTION, TARGET = np.array([[1, 1, 0, 0, 1]]), np.array([[0, 1, 0, 1, 0]])


@pytest.fixture
def surplus(monkeypatch):
    """A metric of another package, for as long as a test runs."""
    monkeypatch.setattr(METRICS, "_things", dict(METRICS))

    @metric("surplus", heading="surplus", unit="ml", best="lowest", range=(0, math.inf))
    def surplus(pair):
        """Return the predicted volume outside the target."""
        return (pair.overlap.predicted - pair.overlap.both) * pair.voxel_ml

    return surplus


def test_every_value_lies_in_the_range_of_its_metric(mask_pairs):
    for prediction, target, spacing in mask_pairs:
        for masks in ((prediction, target), (np.zeros_like(prediction), target), (prediction, np.zeros_like(target))):
            for name, value in evaluate_case(*masks, spacing=spacing).items():
                lowest, highest = METRICS[name].range
                assert lowest <= value <= highest + 1e-12 or (METRICS[name].undefined_when and math.isnan(value)), name


def test_a_metric_is_described_by_its_function():
    assert METRICS.describe("dice").startswith("Return twice the shared voxels")
    with pytest.raises(UserError, match="unknown metric 'dcie'; did you mean 'dice'"):
        METRICS["dcie"]


def test_another_packages_metric_is_everywhere(surplus, tmp_path):
    scores = evaluate_case(PREDICTION, TARGET, spacing=(1.0, 2.0))
    assert list(scores)[-1] == "surplus" and scores["surplus"] == 0.004
    assert "surplus" in case_columns()
    row = {**ABOUT, **scores}
    summary = write_results(Scores([row], []), tmp_path)
    assert summary["overall"]["metrics"]["surplus"]["mean"] == 0.004
    assert read_results(tmp_path).rows == [row]
    assert "surplus (ml)" in [column.header for column in summary_tables(summary)[0].columns]
    assert summary_table(summarize([row]), metrics=["surplus"]).row_count == 5


def test_an_evaluation_older_than_the_package_is_read(tmp_path, request):
    row = {**ABOUT, **evaluate_case(PREDICTION, TARGET, spacing=(1.0, 2.0))}
    write_results(Scores([row], []), tmp_path)
    request.getfixturevalue("surplus")
    found = read_results(tmp_path)
    assert found.rows == [row]
    assert "surplus" not in summarize(found.rows)["overall"]["metrics"]
