"""Names that have moved are found at their old place, with a warning that names the new one."""

import importlib

import pytest

from multifocal import evaluation, metrics

OLD = {
    "multifocal.metrics": [
        *("evaluate_cohort", "read_results", "write_results", "summarize", "summary_table", "summary_tables"),
        *("bins_table", "Results", "Scores", "LESION_COLUMNS", "VOLUME_BINS", "volume_bin", "Rules", "Options"),
    ],
    "multifocal.metrics.comparison": [
        *("DEFAULT_METRICS", "MEAN_RANKS", "Comparison", "Difference", "Group", "MeanRank", "Method", "Pair"),
        *("Score", "compare", "write_comparison"),
    ],
    "multifocal.inference": ["Model", "Prediction", "autocast_type", "choose_device", "load_model", "predict_cohort"],
    "multifocal.metrics.running": ["CaseMetric", "CaseMetrics"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in OLD.items() for name in names])
def test_an_old_name_is_found_and_says_where_it_is(module, name):
    with pytest.warns(DeprecationWarning, match=f"^{module}.{name} is now (.*)") as caught:
        found = getattr(importlib.import_module(module), name)
    owner, _, new = str(caught[0].message).rpartition(" ")[2].rpartition(".")
    assert found is getattr(importlib.import_module(owner), new)


def test_a_constant_that_became_a_function():
    with pytest.warns(DeprecationWarning, match=r"is now multifocal.evaluation.case_columns\(\)"):
        assert evaluation.case_columns() == metrics.COLUMNS


def test_a_name_that_never_was():
    with pytest.raises(AttributeError, match=r"module 'multifocal.metrics' has no attribute 'evaluate_everything'"):
        getattr(metrics, "evaluate_" + "everything")
