"""Hold what the package computes, writes and answers fast while it is rebuilt.

    git worktree add ../before 8a783c5      # the answers to keep
    PYTHONPATH=../before/src OMP_NUM_THREADS=1 python tools/record_answers.py record before.json
    PYTHONPATH=src OMP_NUM_THREADS=1 python tools/record_answers.py record after.json
    python tools/record_answers.py compare before.json after.json

`record` (three to four minutes on one core) asks the multifocal that Python finds: every named loss, every term over
every region, all metrics under several rules, and on a phantom cohort trainings, masks, evaluations, comparisons, a
study and what is said to mistakes. It touches only what users touch: the command line, `multifocal.losses`,
`multifocal.metrics`. Where a class is to be called otherwise, both names are tried. `--only losses --only errors`
records these sections alone.

`compare` prints each answer that differs, both values, and by how much: relative for a number, and for an array
relative to its largest entry or to the sum of its absolute entries. The exit code is 1 when one differs by more than
`--rtol` (0: by a bit). Numbers are kept with all their digits, arrays as a hash and a few numbers that say whether a
difference is one of rounding. Records are of one machine and one set of libraries: make both where you compare them.
"""

import argparse
import contextlib
import csv
import hashlib
import inspect
import io
import json
import math
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
SCREEN = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
CLOCKS = {"seconds", "step_ms", "peak_mib", "hours", "versions", "started", "fingerprint", "at", "predict_s"}
Record = dict[str, Any]


def first_of(module: Any, *names: str) -> Any:
    """Return what a module calls by the first of the names that it has."""
    return next(getattr(module, name) for name in names if hasattr(module, name))


def told(array: Any) -> Record:
    """Return an array as a hash of its bytes and a few numbers."""
    import torch

    if hasattr(array, "detach"):
        array = array.detach().contiguous().cpu()
        bytes_ = array.reshape(-1).view(torch.uint8).numpy().tobytes()
        kind, array = str(array.dtype).removeprefix("torch."), array.double().numpy()
    else:
        array = np.ascontiguousarray(array)
        bytes_, kind, array = array.tobytes(), str(array.dtype), array.astype(float)
    flat = array.ravel()
    numbers = {"sum": flat.sum(), "dot": flat @ np.random.default_rng(7).random(flat.size), "abs": np.abs(flat).sum()}
    places = np.linspace(0, flat.size - 1, 4).astype(int) if flat.size else []
    return {
        "sha": hashlib.sha256(bytes_).hexdigest()[:24],
        "kind": f"{kind} {list(array.shape)}",
        **{name: float(number) for name, number in numbers.items()},
        "max": float(np.abs(flat).max(initial=0)),
        "at": [float(flat[place]) for place in places],
    }


def asked(question: Callable[[], Any]) -> Any:
    """Return an answer, or what is said to a mistake; anything else than a `ValueError` is a bug and goes on up."""
    try:
        return question()
    except ValueError as error:
        return f"error: {error}"


# --- losses ---


def smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float = 1.5) -> np.ndarray:
    """Return noise of deviation 1 that is smooth along the spatial axes."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape), (0, 0, *[sigma] * (len(shape) - 2)))
    return noise / noise.std()


# Shape, options, and what is peculiar about a scene.
SCENES: dict[str, tuple[tuple[int, ...], Record, Record]] = {
    "2d": ((2, 1, 24, 28), {}, {}),
    "3d": ((2, 1, 14, 16, 10), {}, {}),
    "2d three channels": ((2, 3, 24, 24), {}, {"target": "int64"}),
    "3d two channels, spacing": ((2, 2, 12, 13, 8), {"spacing": (1.0, 1.0, 3.0)}, {}),
    "2d softmax": ((2, 3, 24, 22), {"activation": "softmax"}, {}),
    "3d softmax, numbers": (
        (2, 2, 12, 12, 9),
        {"activation": "softmax", "spacing": (2.0, 2.0, 2.5)},
        {"numbers": True},
    ),
    "2d softmax, with": ((2, 3, 20, 22), {"activation": "softmax", "include_background": True}, {}),
    "3d softmax, without": ((1, 3, 12, 10, 9), {"activation": "softmax", "include_background": False}, {}),
    "3d bfloat16": ((2, 1, 12, 14, 10), {}, {"type": "bfloat16"}),
    "2d float16": ((2, 2, 24, 20), {"spacing": (1.5, 0.5)}, {"type": "float16"}),
    "2d empty target": ((2, 1, 24, 24), {}, {"true": 0.0}),
    "3d empty prediction": ((2, 1, 12, 14, 9), {"spacing": (1.0, 1.0, 4.0)}, {"shift": -9.0}),
    "2d both empty": ((2, 1, 20, 20), {}, {"true": 0.0, "shift": -9.0}),
    "3d one empty": ((2, 1, 13, 14, 9), {"spacing": (0.5, 1.0, 2.0)}, {"empty": 0}),
    "2d face": ((3, 1, 26, 24), {"connectivity": "face", "threshold": 0.3}, {"sigma": 0.8}),
    "3d not relaxed": ((2, 1, 14, 14, 9), {"relaxed": False}, {"empty": 1}),
    "2d probabilities": ((2, 1, 24, 24), {"activation": "none"}, {}),
    "3d float64": ((1, 1, 14, 12, 10), {}, {"type": "float64", "sigma": 1.0}),
    "2d full target": ((1, 1, 20, 24), {}, {"true": 1.0}),
    "2d without first": ((2, 2, 24, 26), {"include_background": False, "spacing": (2.0, 1.0)}, {"target": "bool"}),
}
REGIONS: dict[str, Record] = {
    "image": {},
    "image of the batch": {"partition": "image", "options": {"batch": True}},
    "blobs": {},
    "instances": {},
    "instances of images": {"partition": "instances", "options": {"pool": "image"}},
    "predictions": {},
    "predictions of images": {"partition": "predictions", "options": {"pool": "image"}},
    "cells": {},
    "prediction-cells": {},
    "inverse-weighted": {},
}


def scene(name: str) -> tuple[Any, Any]:
    """Return logits and target of a scene."""
    import torch

    shape, options, how = SCENES[name]
    rng = np.random.default_rng(list(SCENES).index(name))
    noise = smooth(rng, shape, how.get("sigma", 1.5))
    level = np.quantile(noise, 1 - how.get("true", 0.12)) if 0 < how.get("true", 0.12) < 1 else math.inf
    truth = (noise > level) | (how.get("true") == 1.0)
    if "empty" in how:
        truth[how["empty"]] = False
    logits = 3 * (0.6 * noise + 0.8 * smooth(rng, shape)) - 3 + how.get("shift", 0.0)
    if options.get("activation") == "none":
        logits = np.clip(1 / (1 + np.exp(-logits)), 0.01, 0.99)
    if options.get("activation") == "softmax":
        numbers = np.where(truth[:, 1:].any(1), 1 + noise[:, 1:].argmax(1), 0)[:, None]
        truth = (
            numbers if how.get("numbers") else numbers == np.arange(shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
        )
    target = torch.from_numpy(truth).to(getattr(torch, how.get("target", "float32")))
    return torch.from_numpy(logits).to(getattr(torch, how.get("type", "float32"))), target


def criteria() -> tuple[dict[str, tuple[Any, Record]], dict[str, tuple[Any, Record]]]:
    """Return the criteria, and the terms that have no regions, in Python and as in YAML."""
    from multifocal import losses as floor

    total, similarity = first_of(floor, "CriterionSum", "Mix"), first_of(floor, "MSSSIM", "MultiScaleSimilarity")
    parts = ((floor.Dice(), 1.0), (floor.Focal(gamma=3.0), 2.0))
    written = {"name": "mine", "parts": ["dice", {"term": "focal", "weight": 2, "options": {"gamma": 3}}]}
    tversky = floor.Tversky(alpha=0.1, beta=0.9)
    inner = {"term": "tversky", "options": {"alpha": 0.1, "beta": 0.9}}
    return {
        "dice": (floor.Dice(), {}),
        "dice smooth": (floor.Dice(smooth=1.0), {"term": "dice", "options": {"smooth": 1.0}}),
        "jaccard": (floor.Jaccard(), {}),
        "tversky": (tversky, inner),
        "generalized-dice": (floor.GeneralizedDice(), {}),
        "generalized-dice normalized": (
            floor.GeneralizedDice(weighting="normalized"),
            {"term": "generalized-dice", "options": {"weighting": "normalized"}},
        ),
        "ce": (floor.CrossEntropy(), {}),
        "focal": (floor.Focal(gamma=1.5, alpha=0.7), {"term": "focal", "options": {"gamma": 1.5, "alpha": 0.7}}),
        "hausdorff-dt": (floor.Hausdorff(alpha=1.0), {"term": "hausdorff-dt", "options": {"alpha": 1.0}}),
        "log-hausdorff-dt": (
            floor.LogHausdorff(empty="zero"),
            {"term": "log-hausdorff-dt", "options": {"empty": "zero"}},
        ),
        "gdf": (floor.gdf(), {}),
        "dice-ce": (floor.dice_ce(), {}),
        "mix": (total("mine", parts), {"term": "mix", "options": written}),
    }, {
        "center": (floor.Center(), {}),
        "center of 5": (
            floor.Center(side=5, criterion=tversky),
            {"term": "center", "options": {"side": 5, "criterion": inner}},
        ),
        "missed": (floor.MissedRate(), {}),
        "false": (floor.FalseRate(), {}),
        "proximity": (floor.Proximity(), {}),
        "proximity sum": (
            floor.Proximity(combine="sum", criterion=tversky),
            {"term": "proximity", "options": {"combine": "sum", "criterion": inner}},
        ),
        "ms-ssim": (similarity(), {}),
    }


def expressions() -> dict[str, Callable[..., Any]]:
    """Return what builds each loss with a scene's options, by a name that stays."""
    from multifocal import losses as floor

    linear, steps = first_of(floor, "LinearRamp", "Linear"), first_of(floor, "StepWeights", "Steps")
    constant, module = first_of(floor, "ConstantWeight", "Constant"), first_of(floor, "CompoundLoss", "Compound")

    def named(name: str, **own: Any) -> Callable[..., Any]:
        return lambda **options: floor.build(name, **own, **options)

    def terms(*parts: Record) -> Callable[..., Any]:
        return named("compound", terms=list(parts))

    def placed(criterion: Any, region: str) -> Callable[..., Any]:
        place = {"partition": region, **REGIONS[region]}
        over = place["partition"], place.get("options", {})
        return lambda **options: criterion.over(over[0], **over[1]).build(**options)

    found = {f"named/{name}": named(name) for name in floor.names()}
    found |= {
        "named/ici of gdf": named("ici", criterion="gdf", side=5, weighting="normalized"),
        "named/proximity sum": named("proximity", criterion="gdf", combine="sum"),
        "named/dice-focal balance": named("dice-focal", gamma=1.0, balance=0.3, batch=True),
        "named/blob-gdf weights": named("blob-gdf", image=1.0, blobs=2.0, gamma=3.0),
        "python/sum": (0.9 * floor.Tversky() + constant(0.1) * floor.LogHausdorff() + floor.Dice().over("cells")).build,
        "python/schedules": lambda **options: module(
            linear(2.0, 4.0) * floor.Focal() + steps(starts=(0.0, 0.2), values=(1.0, 3.0)) * floor.Dice(), **options
        ),
        "python/sum of a list": sum([floor.Dice(), 0.5 * floor.Focal(), floor.Dice()]).build,
        "yaml/schedules": terms(
            {"term": "focal", "weight": [2.0, 4.0]},
            {"term": "dice", "weight": {"starts": [0, 0.2], "values": [1, 3]}},
            {"term": "jaccard", "over": "blobs", "weight": {"first": 0.5, "last": 1.0}},
        ),
    }
    regional, whole = criteria()
    for name, (term, data) in (regional | whole).items():
        found |= {f"python/{name}": term.build, f"yaml/{name}": terms({"term": name, **data})}
    for name, (criterion, data) in regional.items():
        for region, place in REGIONS.items():
            found[f"python/{name} over {region}"] = placed(criterion, region)
            found[f"yaml/{name} over {region}"] = terms({"term": name, **data, "over": place or region})
    return found


def answer(build: Callable[..., Any], name: str, progress: float) -> Record:
    """Return a loss of a scene, its gradient, and its terms."""
    logits, target = scene(name)
    loss = build(**SCENES[name][1])
    loss.progress = progress
    logits.requires_grad_()
    value = loss(logits, target)
    value.backward()
    parts = {part: number.item() for part, number in loss.terms(logits.detach(), target).items()}
    grad = None if logits.grad is None else told(logits.grad)
    return {"value": value.item(), "type": str(value.dtype), "gradient": grad, "terms": parts}


def answers_of_losses() -> Record:
    """Return every loss of every scene."""
    import torch

    from multifocal import losses as floor

    torch.set_num_threads(1)
    found: Record = {"names": list(floor.names()), "described": {name: floor.describe(name) for name in floor.names()}}
    for name, build in expressions().items():
        progress = 0.25 if "schedules" in name or "tlhf" in name else 0.0
        found[name] = {each: asked(lambda b=build, s=each, p=progress: answer(b, s, p)) for each in SCENES}
    for name, (_, options, _) in SCENES.items():
        found.setdefault("instance terms", {})[name] = asked(lambda n=name, o=options: instance_terms(n, o))
        found.setdefault("precomputed", {})[name] = asked(lambda n=name, o=options: precomputed(n, o))
    return found


def instance_terms(name: str, options: Record) -> Record:
    """Return the instance terms of a scene, and the gradient of their sum."""
    from multifocal import losses as floor

    found: Record = {}
    for label, criterion in (("dice", None), ("gdf", floor.gdf())):
        logits, target = scene(name)
        logits.requires_grad_()
        terms = floor.instance_terms(logits, target, criterion=criterion, **{"activation": "sigmoid", **options})
        sum(terms.values()).backward()
        found[label] = {part: value.item() for part, value in terms.items()} | {"gradient": told(logits.grad)}
    return found


def precomputed(name: str, options: Record) -> Record:
    """Return distances and cells of a scene's target, and losses that are given them."""
    from multifocal import losses as floor

    logits, target = scene(name)
    if options.get("activation") == "softmax" and target.shape != logits.shape:
        return {}
    spacing = {key: value for key, value in options.items() if key == "spacing"}
    shared = {key: value for key, value in options.items() if key in ("spacing", "connectivity")}
    distances = floor.target_distances(target.float(), **spacing)
    cells = floor.target_cells(target.float(), **shared)
    value = floor.build("log-hausdorff-dt", **options)(logits, target, distances=distances).item()
    own = floor.build("cc-dice", **options)(logits, target, cells=cells).item()
    return {"distances": told(distances), "cells": told(cells), "log-hausdorff-dt": value, "cc-dice": own}


# --- metrics ---

# Shape, spacing, share of true and of predicted voxels, and how alike they are.
PAIRS: list[tuple[tuple[int, ...], tuple[float, ...], float, float, float]] = [
    ((40, 36), (1.0, 1.0), 0.1, 0.1, 0.8),
    ((48, 30), (0.7, 2.1), 0.05, 0.1, 0.6),
    ((30, 30), (1.0, 1.0), 0.1, 0.0, 0.0),
    ((30, 30), (1.0, 1.5), 0.0, 0.1, 0.0),
    ((30, 30), (1.0, 1.0), 0.0, 0.0, 0.0),
    ((22, 24, 12), (1.0, 1.0, 4.0), 0.1, 0.0, 0.0),
    ((22, 24, 12), (1.0, 1.2, 4.0), 0.0, 0.05, 0.0),
    ((22, 24, 12), (1.0, 1.0, 4.0), 0.0, 0.0, 0.0),
    ((16, 16, 8), (1.0, 1.0, 1.0), 1.0, 0.5, 0.5),
    ((20, 1, 14), (1.0, 5.0, 1.0), 0.1, 0.1, 0.7),
    *(
        ((26 + n, 24, 12 + n), (0.8 + 0.1 * n, 1.0, 2.0 + n % 3), 0.03 + 0.02 * (n % 4), 0.08, (0.3, 0.6, 0.9)[n % 3])
        for n in range(10)
    ),
]
RULES: dict[str, Record] = {
    "default": {},
    "voxel": {"convention": "voxel", "tolerance": 1.0},
    "tolerance 0": {"tolerance": 0.0},
    "face": {"connectivity": "face"},
    "min size": {"min_size": 0.02},
    "iou": {"matching": "iou"},
    "iou 0.2 dice": {"matching": "iou", "threshold": 0.2, "score": "dice"},
    "overlap iou": {"score": "iou", "connectivity": "face", "min_size": 0.01},
    "bonbid-2023": {"protocol": "bonbid-2023"},
    "target map": {"label_maps": "target"},
    "maps": {"label_maps": "both", "matching": "iou", "threshold": 0.1},
}


def pair(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a predicted and a true mask."""
    shape, _, true, predicted, alike = PAIRS[number]
    rng = np.random.default_rng(100 + number)
    first, other = (smooth(rng, (1, 1, *shape), 1.2)[0, 0] for _ in range(2))
    second = alike * first + math.sqrt(1 - alike**2) * other
    masks = [
        noise > np.quantile(noise, 1 - share) if 0 < share < 1 else np.full(shape, share == 1)
        for noise, share in ((second, predicted), (first, true))
    ]
    return masks[0], masks[1]


def scored(number: int, options: Record) -> Record:
    """Return the metrics of a pair and its lesions."""
    from scipy.ndimage import label

    from multifocal import metrics

    masks, spacing, maps = pair(number), PAIRS[number][1], options.get("label_maps", "neither")
    prediction = label(masks[0])[0] if maps == "both" else masks[0]
    target = label(masks[1])[0] if maps != "neither" else masks[1]
    known = inspect.signature(metrics.score_case).parameters
    given = "options" if "options" in known else list(known)[-1]  # called rules, or otherwise
    rules = first_of(metrics, "ScoringOptions", "Rules")(**options)
    found = metrics.score_case(prediction, target, spacing=spacing, **{given: rules})
    names = "kind", "volume_ml", "centre", "matched", "dice"
    lesions = [{name: plain(getattr(lesion, name)) for name in names} for lesion in found.lesions]
    return {"metrics": metrics.evaluate_case(prediction, target, spacing=spacing, **options), "lesions": lesions}


def surfaces(number: int) -> Record:
    """Return surface distances and overlap of a pair, its classes, and its share of a brain."""
    from multifocal import metrics

    (prediction, target), spacing, found = pair(number), PAIRS[number][1], {}
    for convention in ("surfel", "voxel"):
        each = metrics.surface_distances(prediction, target, spacing=spacing, convention=convention)
        found[convention] = {"masd": each.masd, "assd": each.assd, "hd95": each.hd95}
        found[convention] |= {f"nsd {mm}": each.nsd(tolerance=mm) for mm in (0.0, 0.5, 1.0, 3.0)}
    classes = [np.where(mask, 1 + (np.indices(mask.shape).sum(0) // 9) % 3, 0) for mask in (prediction, target)]
    labels = {"all": (1, 2, 3), "core": 2}
    found["classes"] = metrics.evaluate_case(*classes, spacing=spacing, labels=labels)
    found["share"] = metrics.evaluate_case(
        prediction, target, spacing=spacing, brain=np.ones_like(target) if target.any() else ~target
    )["share_of_brain"]
    return found


def answers_of_metrics() -> Record:
    """Return every metric of every pair."""
    from multifocal import metrics

    facts = {name: [m.heading, m.unit, m.level, m.best] for name, m in metrics.METRICS.items()}
    found: Record = {"facts": facts, "columns": [*metrics.COLUMNS, *metrics.LESION_COLUMNS]}
    for number, (shape, spacing, *_) in enumerate(PAIRS):
        each = {name: asked(lambda n=number, o=options: scored(n, o)) for name, options in RULES.items()}
        found[f"{number} {shape} {spacing}"] = each | {"surfaces": asked(lambda n=number: surfaces(n))}
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


# --- the command line ---

TINY = """
name: tiny
description: seconds to train
source: tools
preprocessing:
  kind: brain-box
  brain: adc
  channels: [{map: adc, zscore: brain}, {map: zadc, range: [0, 3]}]
augmentation:
  noise: {p: 0.5, std: [0.0, 0.1]}
  flip: {p: 0.5, axes: [0]}
network: {name: unet3d, options: {features: [2, 4], dropout: [0.0, 0.2]}}
loss: {name: dice-focal}
optimizer: {name: adamw, lr: 3e-2}
training: {epochs: 3, batch_size: 2, monitor: dice, precision: 32}
"""
RICH = """
name: rich
description: a little of everything
source: tools
preprocessing:
  kind: brain-box
  brain: adc
  channels: [{map: adc, zscore: brain}, {map: zadc, range: [0, 3]}, {map: zadc, below: -2.0}]
augmentation:
  noise: {p: 0.9, std: [0.0, 0.1]}
  blur: {p: 0.5, std: [0.0, 1.0]}
  gamma: {p: 0.5, log_gamma: [-0.1, 0.1]}
  affine: {p: 0.9, degrees: [-10, 10], scales: [0.9, 1.1]}
  flip: {p: 0.5, axes: [0, 1]}
  anisotropy: {p: 0.5, downsampling: [1.2, 2.0]}
network: {name: unet3d, options: {features: [2, 4, 4], dropout: [0.0, 0.1, 0.1], norm: instance, prior: 0.01}}
loss: {name: tlhf}
optimizer: {name: adamw, lr: 1e-2, weight_decay: 1e-3, l1: 1e-6, clip: 1.0}
schedule: {name: cosine, warmup: 1}
training: {epochs: 3, batch_size: 1, accumulate: 2, monitor: null, precision: bf16, seed: 5}
inference: {threshold: 0.3, flips: [0], window: [48, 48, 24], overlap: 0.25, within_brain: true}
"""
FLAT = """
name: flat
description: axial slices
source: tools
preprocessing:
  kind: resize
  size: [32, 32, null]
  interpolation: nearest
  brain: adc
  channels: [{map: adc, clip: [0, null], range: [0, 3400]}, {map: zadc, range: [-10, 10]}]
augmentation: {flip: {p: 0.5}, blur: {p: 0.5, std: [0.0, 0.5]}}
network: {name: unetpp, options: {encoder: mobilenet_v2, depth: 3}, init: xavier}
loss: {name: blob-dice}
optimizer: {name: adam, lr: 1e-3}
schedule: {name: plateau, factor: 0.5, patience: 1}
training: {epochs: 2, batch_size: 16, monitor: dice, precision: 32}
inference: {threshold: 0.35}
"""
STUDY = """
name: small
description: a threshold and a network
recipe: tiny.yaml
set: {training: {epochs: 2, monitor: null}}
arms:
  z2: {recipe: zadc-threshold, below: -2.2}
  ici: {loss: {name: ici}}
folds: {scheme: kfold, number: 3, seed: 0, run: [0, 2]}
seeds: [0]
metrics: {undefined: diagonal, rules: {tolerance: 1.0, connectivity: face}}
resources: {cpus: 1, memory_gib: 1.5}
published: {source: a paper, data: its scans, values: {z2: {dice: 0.5, masd: null}}}
"""


class Desk:
    """A temporary folder in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (("tiny", TINY), ("rich", RICH), ("flat", FLAT), ("small", STUDY)):
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")

    def __call__(self, command: str, *more: str) -> str:
        """Run a command in a process of its own, and return what it prints; it must succeed."""
        ended = subprocess.run(
            [sys.executable, "-m", "multifocal", *command.split(), *more],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise RuntimeError(f"multifocal {command} ended with {ended.returncode}: {ended.stderr[-2000:]}")
        return self.cleaned(ended.stdout)

    def said(self, command: str, *more: str) -> Record:
        """Run a command in this process (many are quick) as `python -m multifocal`: its exit code and what it says."""
        out, err, code, before = io.StringIO(), io.StringIO(), 0, sys.argv
        sys.argv = ["multifocal", *command.split(), *more]
        try:
            with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                runpy.run_module("multifocal", run_name="__main__")
        except SystemExit as error:
            code = error.code
        except Exception as error:  # noqa: BLE001  (a bug is an answer, too)
            code = f"{type(error).__name__}: {error}"
        finally:
            sys.argv = before
        return {"code": code, "err": self.cleaned(err.getvalue()), "out": self.cleaned(out.getvalue())}

    def cleaned(self, text: str) -> str:
        """Return a text without the folder's path and without spaces that end a line."""
        text = text.replace(str(self.folder.resolve()), "<tmp>").replace(str(self.folder), "<tmp>")
        return "\n".join(line.rstrip() for line in text.splitlines())

    def tables(self, folder: str) -> Record:
        """Return what the CSV and JSON files below a folder say, times left out."""
        files = sorted(path for path in (self.folder / folder).rglob("*") if path.suffix in (".csv", ".json"))
        found = {str(path.relative_to(self.folder)): path for path in files if "cache" not in path.parts}
        return {name: self.table(path) if path.suffix == ".csv" else self.data(path) for name, path in found.items()}

    def table(self, path: Path) -> list[Record]:
        """Return the rows of a CSV file."""
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: value for key, value in row.items() if key not in CLOCKS} for row in csv.DictReader(file)]
        return [{key: number(value) for key, value in row.items()} for row in rows]

    def data(self, path: Path) -> Any:
        """Return what a JSON file says."""
        return timeless(json.loads(path.read_text(encoding="utf-8")))

    def images(self, folder: str) -> Record:
        """Return the images of a folder, voxels and grid."""
        import SimpleITK

        found = {}
        for path in sorted((self.folder / folder).rglob("*.mha")):
            image = SimpleITK.ReadImage(str(path))
            grid = [image.GetSpacing(), image.GetOrigin(), image.GetDirection()]
            voxels = told(SimpleITK.GetArrayFromImage(image))
            found[str(path.relative_to(self.folder))] = {"voxels": voxels, "grid": plain(grid)}
        return found

    def run_folder(self, folder: str) -> Record:
        """Return what a training came to: its log, its weights, and the recipe that it wrote down."""
        from safetensors.numpy import load_file

        weights = load_file(self.folder / folder / "weights.safetensors")
        recipe = (self.folder / folder / "recipe.yaml").read_text(encoding="utf-8")
        return {
            "log": self.table(self.folder / folder / "log.csv"),
            "weights": {name: told(value) for name, value in sorted(weights.items())},
            "recipe": recipe,
            "about": self.data(self.folder / folder / "run.json"),
        }


def number(text: str) -> float | str:
    """Return a cell of a CSV file as a number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def timeless(value: Any) -> Any:
    """Return what a JSON file says without times, versions and hashes of settings."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in CLOCKS}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@contextlib.contextmanager
def desk() -> Iterator[Desk]:
    """Yield a desk that is cleared away in the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield Desk(Path(folder))


def answers_of_work() -> Record:
    """Return what the commands write for a cohort of phantoms."""
    found: Record = {}
    with desk() as run:
        run("data phantom cohort --cases 6 --seed 3")
        found["phantom"] = run.images("cohort")
        found["check"] = run("data check cohort --csv check.csv"), run.table(run.folder / "check.csv")
        for scheme in ("kfold", "nested"):
            run(f"data folds cohort --out {scheme}.json --k 4 --seed 1 --scheme {scheme}")
            found[f"folds {scheme}"] = json.loads((run.folder / f"{scheme}.json").read_text(encoding="utf-8"))
        for command in (
            "recipes",
            "recipes default",
            "recipes zadc-threshold",
            "studies",
            "studies hie-losses",
            "networks",
            "losses",
        ):
            found[command] = run.said(command)
        for recipe, more in (("tiny", "--folds nested.json --fold 0"), ("rich", ""), ("flat", "")):
            found[f"train {recipe}"] = run(f"train {recipe}.yaml cohort --out {recipe} --device cpu {more}")
            found[f"run {recipe}"] = run.run_folder(recipe)
        for name, what, more in (
            ("z2", "zadc-threshold", ""),
            ("z25", "zadc-threshold", "--set below=-2.5"),
            ("net", "tiny", "--probabilities"),
            ("richer", "rich", "--probabilities --folds kfold.json --fold 1"),
            ("flatter", "flat", "--set inference.threshold=0.5"),
        ):
            run(f"predict {what} cohort --out masks/{name} {more}")
        run("ensemble masks/z2 masks/z25 masks/flatter --out masks/vote")
        run("ensemble masks/net masks/net --out masks/mean --how mean --threshold 0.3")
        run("ensemble masks/z2 masks/z25 --out masks/volume --how volume --below 0.1 --connectivity face")
        found["masks"] = run.images("masks")
        for name, what, more in (
            ("z2", "z2", ""),
            ("z25", "z25", ""),
            ("net", "net", ""),
            ("iou", "z2", "--matching iou --threshold 0.2 --connectivity face --min-size 0.02 --undefined diagonal"),
            ("protocol", "z25", "--protocol bonbid-2023 --folds kfold.json --fold 0"),
            ("voxel", "richer", "--convention voxel --tolerance 1 --allow-missing --score iou"),
        ):
            found[f"evaluate {name}"] = run(f"evaluate masks/{what} cohort --out scores/{name} {more}")
        found["compare"] = run("compare scores/z2 scores/z25 scores/net --out comparison")
        more = "--metric masd --metric f1 --undefined diagonal --samples 500 --seed 3"
        found["compare two"] = run(f"compare a=scores/z2 b=scores/net --out comparison2 {more}")
        for folder in ("scores", "comparison", "comparison2"):
            found |= run.tables(folder)
        run("study small.yaml cohort --out study --device cpu --workers 1")
        found |= run.tables("study")
        found["masks of the study"] = run.images("study")
        found["study.yaml"] = (run.folder / "study/study.yaml").read_text(encoding="utf-8")
        for cell in sorted((run.folder / "study/cells/ici").iterdir()):
            found[f"run ici {cell.name}"] = run.run_folder(str(cell.relative_to(run.folder)))
    return found


# --- mistakes ---

SETTINGS = (
    "training.epoch=3",
    "training.epochs=three",
    "training.epochs=0",
    "training.monitor=dicee",
    "training.precision=8",
    "training.monitor=null training.patience=3",
    "loss.name=dise",
    "loss.options.alfa=1",
    "loss={name: ici, options: {side: 2}}",
    "loss={name: tversky, options: {alpha: -1}}",
    "loss={name: dice, options: {activation: softmax}}",
    "loss={name: dice, options: {spacing: [1, 2]}}",
    "loss={name: compound}",
    "loss={name: compound, options: {terms: [{term: dise}]}}",
    "loss={name: compound, options: {terms: [{term: dice, over: blob}]}}",
    "loss={name: compound, options: {terms: [{term: dice, weight: heavy}]}}",
    "loss={name: compound, options: {terms: [{term: hausdorff-dt, over: blobs}]}}",
    "loss={name: compound, options: {terms: [{term: dice, over: {partition: instances, options: {pool: lake}}}]}}",
    "loss={name: compound, options: {terms: [{term: dice, weight: {starts: [0.5], values: [1]}}]}}",
    "loss={name: compound, options: {terms: [{term: mix, options: {name: mine, parts: []}}]}}",
    "network.name=unet3",
    "network.options.feature=[2]",
    "network.options.features=[2]",
    "augmentation.nois={p: 1}",
    "augmentation.noise.p=2",
    "preprocessing.kind=box",
    "preprocessing.channels.0.map=t1",
    "preprocessing.channels.7.map=adc",
    "optimizer.lr=-1",
    "schedule={name: cosin}",
    "inference.window=[2, 2]",
    "inference.flips=[3]",
    "kind=forest",
    "epochs",
)
MISTAKES = (
    "tarin",
    "train tiny.yaml cohort",
    "train tiny.yaml nowhere --out out",
    "train defualt cohort --out out",
    "train none.yaml cohort --out out",
    "train broken.yaml cohort --out out",
    "train list.yaml cohort --out out",
    "train twice.yaml cohort --out out",
    "train missing.yaml cohort --out out",
    "train zadc-threshold cohort --out out",
    "train tiny.yaml cohort --out out --device quantum",
    "train tiny.yaml cohort --out out --processes 0",
    "train tiny.yaml cohort --out run",
    "train tiny.yaml cohort --out run --resume",
    "train tiny.yaml cohort --out run --resume --set training.epochs=1",
    "train tiny.yaml cohort --out masks",
    "train tiny.yaml cohort --out tiny.yaml",
    "train tiny.yaml cohort --out out --folds folds.json",
    "train tiny.yaml cohort --out out --folds folds.json --fold 9",
    "train tiny.yaml cohort --out out --folds folds.json --fold 0",
    "train tiny.yaml cohort --out out --folds none.json --fold 0",
    "train tiny.yaml cohort --out out --folds list.yaml --fold 0",
    "train tiny.yaml cohort --out out --folds changed.json --fold 0",
    "train tiny.yaml few --out out --folds folds.json --fold 0",
    "train tiny.yaml moved --out out",
    "train tiny.yaml half --out out",
    "train tiny.yaml cohort --out out --layout nnunett",
    "train tiny.yaml empty --out out",
    "predict default cohort --out out",
    "predict defualt cohort --out out",
    "predict masks cohort --out out",
    "predict unfinished cohort --out out",
    "predict unfit cohort --out out",
    "predict run cohort --out out --device quantum",
    "predict run cohort --out out --set training.epochs=3",
    "predict run cohort --out out --set inference.threshold=2",
    "predict zadc-threshold cohort --out out --probabilities",
    "predict zadc-threshold cohort --out out --set belwo=1",
    "predict zadc-threshold cohort --out masks",
    "predict zadc-threshold lacking --out out",
    "predict zadc-threshold torn --out out",
    "evaluate nowhere cohort --out out",
    "evaluate some cohort --out out",
    "evaluate masks few --out out",
    "evaluate masks moved --out out",
    "evaluate masks half --out out",
    "evaluate masks cohort --out scores",
    "evaluate masks cohort --out out --matching touch",
    "evaluate masks cohort --out out --tolerance -1",
    "evaluate masks cohort --out out --threshold 0",
    "evaluate masks cohort --out out --label core",
    "evaluate masks cohort --out out --label core=2",
    "evaluate masks cohort --out out --label core=1 --label-maps both",
    "evaluate masks cohort --out out --protocol bonbid-2023 --undefined diagonal",
    "evaluate masks cohort --out out --protocol bonbid-2023 --tolerance 1",
    "evaluate masks cohort --out out --fold 0",
    "compare scores --out out --metric dise",
    "compare scores scores --out out",
    "compare scores nowhere --out out",
    "compare scores masks --out out",
    "compare scores spoilt --out out",
    "compare a=scores b=other --out out --label core",
    "compare a=scores b=other --out out --samples 0",
    "ensemble masks --out out --below 1",
    "ensemble masks nowhere --out out",
    "ensemble masks some --out out",
    "ensemble masks masks --out out --how mean",
    "ensemble masks masks --out out --at-least 3",
    "study demmo cohort --out out",
    "study tiny.yaml cohort --out out",
    "study small.yaml cohort --out masks",
    "study small.yaml cohort --out out --device cuda",
    "study small.yaml cohort --out out --set folds.number=9",
    "study small.yaml cohort --out out --set folds.run=[7]",
    "study small.yaml cohort --out out --set seeds=[0,0]",
    "study small.yaml cohort --out out --set set.training.monitor=dice",
    "study small.yaml cohort --out out --set set.training.seed=1",
    "study small.yaml cohort --out out --set arms.z2.recipe=zadc",
    "study small.yaml cohort --out out --set arms.ici.loss.name=icy",
    "study small.yaml cohort --out out --set metrics.rules.tolerence=1",
    "study small.yaml cohort --out out --engine ray --dry-run",
    "report masks cohort",
    "recipes defualt",
    "studies demmo",
    "data check nowhere",
    "data check empty",
    "data check lacking",
    "data phantom masks --cases 1",
    "data phantom out --cases 0",
    "data folds cohort --out out.json --scheme tenfold",
    "data folds cohort --out out.json --k 9",
    "data folds cohort --out folds.json --k 2",
    "data folds cohort --out out.json --scheme dataset",
    "data folds cohort --out out.json --scheme dataset --k 3",
    "data fetch bonbid --out out",
    "data fetch bonbid-hie --out out --part all",
)


def make_mistakes(run: Desk) -> None:
    """Put things that are wrong on the desk, and some that are right."""
    import SimpleITK

    run("data phantom cohort --cases 5 --seed 2")
    run("data folds cohort --out folds.json --k 5")
    run("predict zadc-threshold cohort --out masks")
    run("evaluate masks cohort --out scores")
    run("train tiny.yaml cohort --out run --device cpu --set training.epochs=1")
    for name, text in (
        ("broken", "name: [unclosed"),
        ("list", "[1, 2]"),
        ("twice", TINY + "name: again"),
        ("missing", TINY.replace("loss: {name: dice-focal}", "")),
    ):
        (run.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    folds = json.loads((run.folder / "folds.json").read_text(encoding="utf-8"))
    folds["folds"][0]["train"].pop()
    (run.folder / "changed.json").write_text(json.dumps(folds), encoding="utf-8")
    (run.folder / "empty").mkdir()
    for copy in ("few", "moved", "half", "lacking", "torn"):
        shutil.copytree(run.folder / "cohort", run.folder / copy)
    for copy, of in (
        ("some", "masks"),
        ("spoilt", "scores"),
        ("other", "scores"),
        ("unfinished", "run"),
        ("unfit", "run"),
    ):
        shutil.copytree(run.folder / of, run.folder / copy)
    for path in run.folder.glob("few/*/*_003-*"):
        path.unlink()
    next(run.folder.glob("some/*_002-*")).unlink()
    next(run.folder.glob("lacking/2Z_ADC/*_002-*")).unlink()
    torn = next(run.folder.glob("torn/1ADC_ss/*_001-*"))
    torn.write_bytes(torn.read_bytes()[:-500])
    label = next(run.folder.glob("moved/3LABEL/*_002-*"))
    image = SimpleITK.ReadImage(str(label))
    image.SetOrigin([place + 5 for place in image.GetOrigin()])
    SimpleITK.WriteImage(image, str(label))
    label = next(run.folder.glob("half/3LABEL/*_002-*"))
    SimpleITK.WriteImage(SimpleITK.Cast(SimpleITK.ReadImage(str(label)), SimpleITK.sitkFloat32) * 0.5, str(label))
    cases = run.folder / "spoilt/cases.csv"
    cases.write_text(cases.read_text(encoding="utf-8").replace("0.", "x.", 1), encoding="utf-8")
    (run.folder / "unfinished/weights.safetensors").unlink()
    recipe = run.folder / "unfit/recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("- 4\n", "- 6\n"), encoding="utf-8")


def mistakes_in_python() -> dict[str, Callable[[], Any]]:
    """Return calls that no loss and no metric can answer."""
    import torch

    from multifocal import losses as floor
    from multifocal import metrics

    x, y, mask = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), np.zeros((4, 4), bool)
    wrong = {"spacing": (1.0,), "threshold": 1.0, "activation": "tanh", "connectivity": "edge", "relaxed": "yes"}
    inputs: dict[str, tuple[Any, Any]] = {
        "other shape": (x, y[..., 1:]),
        "no mask": (x, y + 0.5),
        "NaN": (x * math.nan, y),
        "infinity": (x + math.inf, y),
        "integers": (x.long(), y),
        "no channel": (x[0], y[0]),
        "array": (x.numpy(), y),
        "empty": (x[:0], y[:0]),
    }
    tall = np.zeros((4, 4, 4), bool)
    measures: dict[str, tuple[Any, Any, Record]] = {
        "shapes": (mask, mask[1:], {}),
        "values": (mask + 2, mask, {}),
        "negative spacing": (mask, mask, {"spacing": (1.0, -1.0)}),
        "spacings": (mask, mask, {"spacing": (1.0, 1.0, 1.0)}),
        "1d": (mask[0], mask[0], {"spacing": (1.0,)}),
        "tolerance": (tall, tall, {"tolerance": -1.0, "spacing": (1.0, 1.0, 1.0)}),
        "min size": (mask, mask, {"min_size": math.nan}),
        "matching": (mask, mask, {"matching": "touch"}),
        "threshold": (mask, mask, {"threshold": 0.0}),
        "score": (mask, mask, {"score": "dicee"}),
        "protocol": (mask, mask, {"protocol": "bonbid-2023"}),
        "protocol and tolerance": (tall, tall, {"protocol": "bonbid-2023", "tolerance": 1.0}),
        "labels": (mask, mask, {"labels": {"core": 0}}),
        "no labels": (mask, mask, {"labels": {}}),
        "brain": (mask, mask, {"brain": mask}),
        "brain's shape": (mask, mask, {"brain": ~mask[1:]}),
    }
    found: dict[str, Callable[[], Any]] = {
        "unknown loss": lambda: floor.build("dise"),
        "unknown option": lambda: floor.build("dice", batches=True),
        "Dice smooth": lambda: floor.Dice(smooth=-1.0),
        "Focal alpha": lambda: floor.Focal(alpha=2.0),
        "Center side": lambda: floor.Center(side=2),
        "region": lambda: floor.Dice().over("blob"),
        "region of a term": lambda: floor.MissedRate().over("blobs"),
        "two ramps": lambda: (1.0, 2.0) * ((0.0, 1.0) * floor.Dice()),
        "weight": lambda: "heavy" * floor.Dice(),
        "progress": lambda: setattr(floor.build("tlhf"), "progress", 2.0),
        "no rows": lambda: metrics.summarize([]),
        "undefined": lambda: metrics.summarize([{"case": "a", "stratum": "<1 %", "dice": 1.0}], undefined="zero"),
        "stratum": lambda: metrics.summarize([{"case": "a", "stratum": "much", "dice": 1.0}]),
        "no evaluation": lambda: metrics.read_results("nowhere"),
    }
    found |= {
        f"option {key}": lambda k=key, v=value: floor.build("dice", **{k: v})(x, y) for key, value in wrong.items()
    }
    found |= {f"loss {key}": lambda g=given: floor.build("blob-dice")(*g) for key, given in inputs.items()}
    for key, (prediction, target, options) in measures.items():
        given = {"spacing": (1.0, 1.0), **options}
        found[f"metric {key}"] = lambda p=prediction, t=target, g=given: metrics.evaluate_case(p, t, **g)
    return found


def answers_of_errors() -> Record:
    """Return what is said to mistakes."""
    found: Record = {name: str(asked(question)) for name, question in mistakes_in_python().items()}
    with desk() as run:
        make_mistakes(run)
        for command in MISTAKES:
            found[command] = run.said(command)
        for setting in SETTINGS:
            pairs = [setting] if "{" in setting else setting.split(" ") if setting.count("=") > 1 else [setting]
            more = [part for pair in pairs for part in ("--set", pair)]
            found[f"--set {setting}"] = run.said("train tiny.yaml cohort --out out --device cpu", *more)
        for name in list(found):
            if isinstance(found[name], dict) and found[name]["code"] == 0:
                print(f"no mistake: {name}", file=sys.stderr)
    return found


# --- both ---

SECTIONS: dict[str, Callable[[], Record]] = {
    "losses": answers_of_losses,
    "metrics": answers_of_metrics,
    "work": answers_of_work,
    "errors": answers_of_errors,
}


def record(out: Path, sections: list[str]) -> None:
    """Write the answers of the multifocal that Python finds."""
    import multifocal

    source = Path(multifocal.__file__).resolve().parents[1]
    os.environ |= {**THREADS, **SCREEN, "PYTHONPATH": str(source)}
    print(f"recording {source}", file=sys.stderr)
    found = {name: SECTIONS[name]() for name in sections}
    out.write_text(json.dumps(plain(found), indent=0), encoding="utf-8")
    print(f"{sum(1 for _ in leaves(plain(found)))} answers in {out}", file=sys.stderr)


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each answer with its place; an array is one answer."""
    if isinstance(value, dict) and "sha" not in value:
        for name, item in value.items():
            yield from leaves(item, f"{key} / {name}" if key else name)
    elif isinstance(value, list):
        yield f"{key} / length", len(value)
        for place, item in enumerate(value):
            yield from leaves(item, f"{key} / {place}")
    else:
        yield key, value


def difference(left: Any, right: Any) -> float:
    """Return by how much two answers differ: 0 not at all, infinity where no number says it."""
    if isinstance(left, dict) and isinstance(right, dict):
        if left == right or left["sha"] == right["sha"]:
            return 0.0
        if left["kind"] != right["kind"]:
            return math.inf
        numbers = [(left[name], right[name], max(left["abs"], right["abs"])) for name in ("sum", "dot", "abs")]
        largest = max(left["max"], right["max"])
        numbers += [(a, b, largest) for a, b in zip(left["at"], right["at"], strict=True)]
        numbers.append((left["max"], right["max"], largest))
        found = max(relative(*each) for each in numbers)
        return found or sys.float_info.min  # other bytes, though nothing here shows it
    if all(isinstance(side, int | float) and not isinstance(side, bool) for side in (left, right)):
        return relative(left, right, max(abs(left), abs(right)))
    return 0.0 if left == right else math.inf


def relative(left: float, right: float, scale: float) -> float:
    """Return a difference in proportion; NaN is as NaN."""
    if left == right or (math.isnan(left) and math.isnan(right)):
        return 0.0
    found = abs(left - right) / scale if scale else math.inf
    return math.inf if math.isnan(found) else found


def compare(before: Path, after: Path, rtol: float) -> int:
    """Print what differs between two records, and return how many answers differ by more than `rtol`."""
    one, other = (dict(leaves(json.loads(path.read_text(encoding="utf-8")))) for path in (before, after))
    beyond = within = 0
    nothing = object()
    for key in {**one, **other}:
        left, right = one.get(key, nothing), other.get(key, nothing)
        found = math.inf if nothing in (left, right) else difference(left, right)
        if found == 0:
            continue
        beyond, within = (beyond + 1, within) if found > rtol else (beyond, within + 1)
        if found > rtol:
            sides = ["(none)" if side is nothing else json.dumps(side) for side in (left, right)]
            print(f"{key}\n  - {sides[0]}\n  + {sides[1]}\n  relative difference {found:.3g}")
    print(f"{len({**one, **other})} answers: {beyond} differ by more than {rtol:g}, {within} by less")
    return beyond


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="write the answers of the multifocal that Python finds")
    recording.add_argument("out", type=Path)
    recording.add_argument("--only", action="append", choices=SECTIONS, help="a section; may be given again")
    comparing = commands.add_parser("compare", help="print what differs between two records")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument("--rtol", type=float, default=0.0, help="the largest relative difference that is let pass")
    given = parser.parse_args()
    if given.command == "record":
        record(given.out, given.only or list(SECTIONS))
    elif compare(given.before, given.after, given.rtol):
        sys.exit(1)


if __name__ == "__main__":
    main()
