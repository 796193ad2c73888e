"""What can be compared, and what is refused."""

import math
from dataclasses import replace

import pytest

from multifocal.comparison import DEFAULT_METRICS, compare
from multifocal.errors import UserError


def test_the_usual_metrics_that_all_methods_have_are_compared(methods, evaluate):
    assert compare(methods, samples=5).metrics == tuple(
        name for name in DEFAULT_METRICS if name in methods["plain"].rows[0]
    )
    only = evaluate({"dice": [0.5] * 20})
    for row, other in zip(only.rows, methods["plain"].rows, strict=True):
        row["true_ml"] = other["true_ml"]
    assert compare({**methods, "only": only}, samples=5).metrics == ("dice",)


def test_metrics_can_be_chosen(methods):
    found = compare(methods, metrics=["nsd", "dice", "nsd"], samples=5)
    assert found.metrics == ("nsd", "dice")
    assert found.settings["mean_ranks"]["RA"] == ["nsd", "dice"]


def dropped(results, *cases):
    return replace(results, rows=[row for row in results.rows if row["case"] not in cases])


def changed(results, **values):
    first, *rest = results.rows
    return replace(results, rows=[{**first, **values}, *rest])


def doubled(results):
    return replace(results, rows=[*results.rows, results.rows[0]])


def scored(results, **settings):
    return replace(results, summary={"settings": settings})


@pytest.mark.parametrize(
    ("break_", "options", "message"),
    [
        (lambda m: {**m, "better": dropped(m["better"], "case01", "case07")}, {}, "better lacks case01, case07"),
        (lambda m: {**m, "plain": dropped(m["plain"], "case03")}, {}, "plain lacks case03"),
        (lambda m: {**m, "better": changed(m["better"], true_ml=5.5)}, {}, "case00: true_ml is 0.0 .*plain and 5.5"),
        (lambda m: {**m, "better": changed(m["better"], stratum=">5 %")}, {}, "case00: stratum is <1 %.*same labels"),
        (lambda m: {**m, "better": changed(m["better"], dice=math.inf)}, {}, "better: case case00: dice is infinite"),
        (lambda m: {**m, "better": doubled(m["better"])}, {}, "better: more than one row for case00"),
        (
            lambda m: {"a": scored(m["plain"], t=1.0), "b": scored(m["better"], t=2.0)},
            {},
            "t is 1.0 for a and 2.0 for b",
        ),
        (
            lambda m: {"a": scored(m["plain"], threshold=0.5), "b": scored(m["better"], threshold=0.5, strict=True)},
            {},
            "strict is False for a and True for b",  # a was evaluated before there was the rule
        ),
        (lambda m: {"a": dropped(m["plain"], *(f"case{k:02d}" for k in range(20)))}, {}, "a: no cases"),
        (lambda m: m, {"metrics": ["dize"]}, "did you mean 'dice'"),
        (lambda m: m, {"metrics": ["true_ml"]}, "unknown metric to compare 'true_ml'"),
        (lambda m: m, {"metrics": ["hd95"]}, "no hd95 in the evaluation of plain, better, missing"),
        (lambda m: m, {"undefined": "skipp"}, "did you mean 'skip'"),
    ],
)
def test_refused_with_a_cure(methods, break_, options, message):
    with pytest.raises(UserError, match=message):
        compare(break_(methods), samples=5, **options)


def labelled(results):
    return replace(results, rows=[{**row, "label": label} for row in results.rows for label in ("core", "edema")])


def test_of_several_classes_one_is_compared(methods):
    found = {name: labelled(results) for name, results in methods.items()}
    for row in found["plain"].rows:
        row["dice"] += 0.1 * (row["label"] == "edema")
    core, edema = (compare(found, label=label, samples=5) for label in ("core", "edema"))
    assert core.overall == compare(methods, samples=5).overall
    assert edema.settings["label"] == "edema"
    means = [comparison.overall.methods["plain"].metrics["dice"].mean for comparison in (core, edema)]
    assert means[1] - means[0] == pytest.approx(0.1)
    with pytest.raises(UserError, match="classes are core, edema; choose one with --label"):
        compare(found)
    with pytest.raises(UserError, match="classes are core, edema; 'cyst' is not among them"):
        compare(found, label="cyst")
    with pytest.raises(UserError, match="not told apart; 'core' is not among them"):
        compare(methods, label="core")


@pytest.mark.parametrize(
    "options", [{"samples": 0}, {"seed": -1}, {"metrics": []}], ids=lambda options: next(iter(options))
)
def test_options_that_cannot_be(methods, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        compare(methods, **options)


def test_no_methods():
    with pytest.raises(ValueError, match="at least one"):
        compare({})


def test_allowing_missing_predictions_is_no_other_way_of_scoring(methods):
    found = {"a": scored(methods["plain"], allow_missing=True), "b": scored(methods["better"], allow_missing=False)}
    assert compare(found, samples=5).methods == ("a", "b")
