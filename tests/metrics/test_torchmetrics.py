"""The torchmetrics classes against the functions, and over two processes."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from torch import distributed

from multifocal.errors import UserError
from multifocal.evaluation import summarize
from multifocal.metrics import METRICS, ScoringOptions, evaluate_case
from multifocal.metrics.torchmetrics import CaseMetric, CaseMetrics

SPACING = (1.0, 1.5, 3.0)
NAMES = ("dice", "masd", "nsd", "hd95", "volume_difference", "sensitivity")


def batches():
    random = np.random.default_rng(0)
    found = []
    for size in (2, 1, 3):
        masks = [torch.from_numpy(random.random((size, 1, 6, 5, 4)) > 0.7) for _ in range(2)]
        found.append(masks)
    found[0][0][0] = False  # a missed case: distances are undefined
    return found


def rows():
    found = []
    for preds, target in batches():
        for prediction, true in zip(preds, target, strict=True):
            scores = evaluate_case(prediction[0].numpy(), true[0].numpy(), spacing=SPACING)
            diagonal = math.hypot(6 * 1.0, 5 * 1.5, 4 * 3.0)
            found.append({"case": str(len(found)), "stratum": "<1 %", "diagonal_mm": diagonal, **scores})
    return found


@pytest.mark.parametrize("undefined", ["skip", "diagonal"])
def test_equal_to_the_summary_of_the_functions(undefined):
    metrics = CaseMetrics(NAMES, undefined=undefined)
    for preds, target in batches():
        metrics.update(preds, target, SPACING)
    found = metrics.compute()
    summary = summarize(rows(), undefined=undefined)["overall"]["metrics"]
    assert list(found) == list(NAMES)
    for name in NAMES:
        key = "mean_absolute" if METRICS[name].best == "zero" else "mean"
        assert found[name].item() == pytest.approx(summary[name][key], rel=1e-6), name
        assert metrics.undefined[NAMES.index(name)] == summary[name]["undefined"]
    assert summary["masd"]["undefined"] == 1


def test_forward_gives_the_batch_and_compute_everything_since_reset():
    metric = CaseMetric("dice")
    values = [row["dice"] for row in rows()]
    forwards = [metric(preds, target, SPACING).item() for preds, target in batches()]
    assert forwards == pytest.approx([np.mean(values[:2]), values[2], np.mean(values[3:])], rel=1e-6)
    assert metric.compute().item() == pytest.approx(np.mean(values), rel=1e-6)
    metric.reset()
    assert metric.defined.item() == 0
    metric.update(*batches()[1], SPACING)
    assert metric.compute().item() == pytest.approx(values[2], rel=1e-6)


def test_each_case_may_have_its_own_spacing():
    preds, target = batches()[2]
    spacings = torch.tensor([[1.0, 1.0, 1.0], [2.0, 1.0, 4.0], [0.5, 0.5, 0.5]])
    metric = CaseMetric("masd")
    metric.update(preds, target, spacings)
    expected = [
        evaluate_case(a[0].numpy(), b[0].numpy(), spacing=sides.tolist())["masd"]
        for a, b, sides in zip(preds, target, spacings, strict=True)
    ]
    assert metric.compute().item() == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_masks_of_any_type(dtype):
    preds, target = batches()[1]
    assert CaseMetric("dice")(preds.to(dtype), target.to(dtype), SPACING) == CaseMetric("dice")(preds, target, SPACING)


def test_rules_are_those_of_the_functions():
    preds, target = batches()[1]
    expected = evaluate_case(preds[0, 0].numpy(), target[0, 0].numpy(), spacing=SPACING, tolerance=0.5)["nsd"]
    assert CaseMetric("nsd", rules=ScoringOptions(tolerance=0.5))(preds, target, SPACING).item() == pytest.approx(
        expected
    )
    assert expected != evaluate_case(preds[0, 0].numpy(), target[0, 0].numpy(), spacing=SPACING)["nsd"]


def test_in_a_collection_and_saved():
    collection = torchmetrics.MetricCollection({"val": CaseMetrics(["dice", "nsd"]), "masd": CaseMetric("masd")})
    for preds, target in batches():
        collection.update(preds, target, spacing=SPACING)
    found = collection.compute()
    assert set(found) == {"dice", "nsd", "masd"}
    assert CaseMetric("dice").higher_is_better and not CaseMetric("masd").higher_is_better
    one, other = CaseMetric("dice"), CaseMetric("dice")
    one.persistent(mode=True)
    other.persistent(mode=True)
    one.update(*batches()[0], SPACING)
    other.load_state_dict(one.state_dict())
    other.update(*batches()[1], SPACING)
    assert other.compute().item() == pytest.approx(np.mean([row["dice"] for row in rows()[:3]]), rel=1e-6)


def test_nothing_defined_is_nan():
    empty = torch.zeros(1, 1, 4, 4)
    metric = CaseMetric("masd")
    metric.update(empty, 1 - empty, (1.0, 1.0))
    assert math.isnan(metric.compute().item()) and metric.undefined.item() == 1


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((2, 4, 4), (1.0, 1.0), "preds and target have shapes"),
        ((2, 3, 4, 4), (1.0, 1.0), "preds and target have shapes"),
        ((2, 1, 4, 4), (1.0, 1.0, 1.0), r"spacing has shape \(3,\); expected \(2,\) or \(2, 2\)"),
        ((2, 1, 4, 4), (1.0, -1.0), "spacing is"),
    ],
)
def test_bad_batches(shape, spacing, message):
    masks = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        CaseMetrics().update(masks, masks, spacing)


def test_bad_options():
    with pytest.raises(UserError, match="did you mean 'dice'"):
        CaseMetrics(["dize"])
    with pytest.raises(UserError, match="did you mean 'skip'"):
        CaseMetric("dice", undefined="skipp")


def _process(rank: int, folder: Path) -> None:
    os.environ |= {"OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    metrics = CaseMetrics(NAMES)
    for preds, target in batches()[rank::2]:  # two batches for the one, one for the other
        metrics.update(preds, target, SPACING)
    torch.save(metrics.compute(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path):
    torch.multiprocessing.start_processes(_process, args=(tmp_path,), nprocs=2, start_method="fork")
    alone = CaseMetrics(NAMES)
    for preds, target in batches():
        alone.update(preds, target, SPACING)
    expected = {name: value.item() for name, value in alone.compute().items()}
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-6)
