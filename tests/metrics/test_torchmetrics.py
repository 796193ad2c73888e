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


def agreeing_then_not():
    """A first batch on which all metrics below are 1, and a second on which no two are the same."""
    target = torch.zeros(2, 1, 12, 12, dtype=torch.bool)
    target[0, 0, 1:5, 1:5] = target[1, 0, 2:6, 2:6] = True
    target[1, 0, 9:11, 9:11] = True
    shifted = target.roll(1, dims=2)
    shifted[1, 0, 8:, 8:] = False  # a lesion is missed
    return [(target, target), (shifted, target)]


APART = {
    "dice": ("dice", {}),
    "nsd": ("nsd", {}),
    "near": ("nsd", {"tolerance": 0.5}),
    "sen": ("sen", {}),
    "f1": ("f1", {}),
}


def of_functions(name, rules):
    """The mean over the four cases, from `evaluate_case`, which knows no states."""
    cases = [case for batch in agreeing_then_not() for case in zip(*batch, strict=True)]
    scores = [evaluate_case(a[0].numpy(), b[0].numpy(), spacing=(1.0, 1.0), **rules)[name] for a, b in cases]
    return pytest.approx(np.mean(scores), rel=1e-6)


def test_a_collection_keeps_metrics_and_rules_apart_that_agree_on_the_first_batch():
    metrics = {key: CaseMetric(name, rules=ScoringOptions(**rules)) for key, (name, rules) in APART.items()}
    metrics["again"] = CaseMetric("dice")
    collection = torchmetrics.MetricCollection(metrics, compute_groups=True)
    for preds, target in agreeing_then_not():
        collection.update(preds, target, spacing=(1.0, 1.0))
    found = {name: value.item() for name, value in collection.compute().items()}
    assert len({round(found[key], 6) for key in APART}) == len(APART)  # or the test would show nothing
    for key, (name, rules) in APART.items():
        assert found[key] == of_functions(name, rules), key
    # What always agrees still shares its states, so that cases are scored once.
    assert sorted(map(sorted, collection.compute_groups.values())) == [
        ["again", "dice"],
        ["f1"],
        ["near"],
        ["nsd"],
        ["sen"],
    ]


def test_a_collection_keeps_rules_for_undefined_distances_and_orders_of_names_apart():
    target = torch.ones(1, 1, 4, 4)
    collection = torchmetrics.MetricCollection(
        {
            "skip": CaseMetric("masd"),
            "diagonal": CaseMetric("masd", undefined="diagonal"),
            "there": CaseMetrics(["dice", "sensitivity"]),
            "back": CaseMetrics(["sensitivity", "dice"]),
        }
    )
    half = torch.zeros(1, 1, 4, 4)
    half[..., :2] = 1
    for preds in (target, half, 0 * target):
        collection.update(preds, target, spacing=(3.0, 4.0))
    masd = evaluate_case(half[0, 0].numpy(), target[0, 0].numpy(), spacing=(3.0, 4.0))["masd"]
    found = collection.compute()
    assert found["skip"].item() == pytest.approx(masd / 2)
    assert found["diagonal"].item() == pytest.approx((masd + 20) / 3)  # 4 pixels of 3 mm and 4 of 4 mm
    for key in ("there", "back"):
        assert found[f"{key}_dice"].item() == pytest.approx((1 + 2 / 3) / 3)
        assert found[f"{key}_sensitivity"].item() == pytest.approx(1.5 / 3)


def test_lightning_logs_a_collection_whose_metrics_agree_at_first():
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            metrics = {key: CaseMetric(name, rules=ScoringOptions(**rules)) for key, (name, rules) in APART.items()}
            self.metrics = torchmetrics.MetricCollection(metrics)

        def validation_step(self, batch, batch_idx):
            self.metrics.update(*batch, spacing=(1.0, 1.0))
            self.log_dict(self.metrics)

    loader = torch.utils.data.DataLoader(agreeing_then_not(), batch_size=None)
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    [found] = lightning.Trainer(enable_checkpointing=False, **options).validate(Module(), loader, verbose=False)
    for key, (name, rules) in APART.items():
        assert found[key] == of_functions(name, rules), key


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
    together = torchmetrics.MetricCollection({name: CaseMetric(name) for name in NAMES})
    for preds, target in batches()[rank::2]:
        together.update(preds, target, spacing=SPACING)
    assert {name: value.item() for name, value in together.compute().items()} == pytest.approx(
        {name: value.item() for name, value in metrics.compute().items()}
    )
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
