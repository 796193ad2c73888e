"""Against the slow reference, on random images with many, touching, nested, one-voxel, border and no lesions."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal import losses
from multifocal.losses import Dice, Hausdorff

_spec = importlib.util.spec_from_file_location("loss_reference", Path(__file__).with_name("reference.py"))
slow = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(slow)

SHAPES = [(1, 1, 9, 8), (2, 1, 12, 7), (1, 2, 10, 10), (1, 1, 6, 5, 4), (2, 1, 7, 6, 5), (1, 1, 3, 12, 2)]


@st.composite
def batches(draw):
    """Probabilities and target: boxes that touch and nest, specks, and probabilities on both sides of 0.5."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from(SHAPES))
    density = draw(st.sampled_from([0.0, 0.02, 0.15]))
    boxes = draw(st.integers(0, 4))
    sides = []
    for _ in range(2):
        stack = rng.random(shape) < density
        for image in np.ndindex(*shape[:2]):
            for _ in range(boxes):
                lower = [int(rng.integers(0, n)) for n in shape[2:]]
                window = tuple(slice(a, a + int(rng.integers(1, 5))) for a in lower)
                stack[image][window] = rng.random() < 0.8
        sides.append(stack)
    p = np.where(sides[0], rng.uniform(0.5, 0.99, shape), rng.uniform(0.01, 0.499, shape))
    if draw(st.booleans()):  # good predictions as well as independent ones
        p = np.where(rng.random(shape) < 0.9, np.where(sides[1], 0.9, 0.1), p)
    return p, sides[1].astype(float)


def measured(expression, p, y):
    loss = expression.build(activation="none") if not isinstance(expression, torch.nn.Module) else expression
    return loss(torch.from_numpy(p), torch.from_numpy(y)).item()


def images(p):
    return list(np.ndindex(*p.shape[:2]))


@settings(max_examples=150, deadline=None)
@given(batches())
def test_instance_terms(batch):
    p, y = batch
    found = {k: v.item() for k, v in losses.instance_terms(torch.from_numpy(p), torch.from_numpy(y)).items()}
    sides = np.array([slow.proximity_sides(p[i], y[i]) for i in images(p)]).sum(0)
    stamped = [np.stack([slow.stamps(slow.masks(p[i], y[i])[side], y[i].shape) for i in images(p)]) for side in (0, 1)]
    expected = {
        "instance_gt": slow.pooled(p, y, slow.instance_losses),
        "instance_pred": slow.pooled(p, y, slow.prediction_losses),
        "center": slow.dice(*stamped),
        "missed": slow.pooled(p, y, slow.missed),
        "false": slow.pooled(p, y, slow.false),
        "proximity": (sides[1] - sides[0]) ** 2,
    }
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=120, deadline=None)
@given(batches())
def test_blobs(batch):
    p, y = batch
    for name, criterion in (("dice", slow.dice), ("gdf", slow.gdf)):
        per_image = [slow.blob_losses(p[i], y[i], criterion) for i in images(p)]
        expected = np.mean([np.mean(values) for values in per_image if values]) if any(per_image) else 0.0
        loss = losses.build(f"blob-{name}", activation="none")
        parts = loss.terms(torch.from_numpy(p), torch.from_numpy(y))
        assert parts[f"{name} over blobs"].item() == pytest.approx(expected, rel=1e-6)
        whole = criterion if name == "dice" else lambda a, b: slow.generalized_dice(a, b) + slow.focal(a, b).mean()
        image = np.mean([whole(p[i], y[i]) for i in images(p)]) if p.shape[1] == 1 else parts[name].item()
        assert parts[name].item() == pytest.approx(image, rel=1e-6)
        assert loss.combine(parts).item() == pytest.approx(2 * image + expected, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(batches())
def test_instances_with_a_cost(batch):
    p, y = batch
    expected = slow.pooled(p, y, lambda a, b: slow.instance_losses(a, b, slow.gdf))
    parts = losses.build("ici", criterion="gdf", activation="none").terms(torch.from_numpy(p), torch.from_numpy(y))
    assert parts["gdf over instances"].item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def untied(p, y, side):
    """Whether every voxel has one nearest component only; where not, either may have it."""
    parts = slow.masks(p, y)[1 if side == "target" else 0]
    if len(parts) < 2:
        return True
    fields = [slow.ndimage.distance_transform_edt(~part, sampling=SPACING[: y.ndim]) for part in parts]
    distances = np.sort(np.stack(fields), 0)
    return bool((distances[1] - distances[0] > 1e-9).all())


SPACING = (1.0, 1.0307, 1.0639)


@settings(max_examples=120, deadline=None)
@given(batches())
def test_cells(batch):
    p, y = batch
    for side, name in (("target", "cells"), ("prediction", "prediction-cells")):
        if not all(untied(p[i], y[i], side) for i in images(p)):
            continue
        per_image = []
        for i in images(p):
            parts = slow.masks(p[i], y[i])[1 if side == "target" else 0]
            fields = [slow.ndimage.distance_transform_edt(~part, sampling=SPACING[: y[i].ndim]) for part in parts]
            nearest = np.stack(fields).argmin(0) if parts else np.zeros(y[i].shape, int)
            cells = [nearest == n for n in range(max(1, len(parts)))]
            per_image.append(np.mean([slow.dice_ce(p[i][cell], y[i][cell]) for cell in cells]))
        mix = losses.CriterionSum("dice-ce", ((Dice(), 1.0), (losses.CrossEntropy(), 1.0)))
        loss = mix.over(name).build(activation="none", spacing=SPACING[: p.ndim - 2])
        assert measured(loss, p, y) == pytest.approx(np.mean(per_image), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(batches())
def test_inverse_weighted(batch):
    p, y = batch
    expected = np.mean([slow.inverse_weighted_dice(p[i], y[i]) for i in images(p)])
    assert measured(Dice().over("inverse-weighted"), p, y) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(batches())
def test_hausdorff(batch):
    p, y = batch
    values = []
    for i in images(p):
        field = np.zeros(y[i].shape)
        for mask in (p[i] > 0.5, y[i] > 0):
            if mask.any() and not mask.all():
                for side in (mask, ~mask):
                    field += slow.ndimage.distance_transform_edt(side) ** 2
        values.append(((p[i] - y[i]) ** 2 * field).mean())
    assert measured(Hausdorff(empty="zero"), p, y) == pytest.approx(np.mean(values), rel=1e-5)
