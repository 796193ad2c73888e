"""The slow, obvious losses: loops over components and whole-image masks, straight from the equations."""

import itertools

import numpy as np
from scipy import ndimage

SMOOTH = 1e-5


def dice(p, y):
    return 1 - (2 * (p * y).sum() + SMOOTH) / (p.sum() + y.sum() + SMOOTH)


def generalized_dice(p, y):
    weight = 1 / y.sum() ** 2 if y.sum() else 0
    return 1 - (2 * weight * (p * y).sum() + SMOOTH) / (weight * (p.sum() + y.sum()) + SMOOTH)


def cost(p, y):
    return -np.log(np.where(y > 0, p, 1 - p))


def focal(p, y, gamma=2.0):
    return np.abs(p - y) ** gamma * cost(p, y)


def gdf(p, y):
    """Prediction outside the region is 0, and costs nothing there: the target is 0 too."""
    inside = p > 0
    return generalized_dice(p, y) + focal(p[inside], y[inside]).sum() / p.size


def components(mask):
    labels, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return [labels == n for n in range(1, count + 1)]


def masks(p, y):
    return components(p >= 0.5), components(y > 0)


def blob_losses(p, y, criterion):
    """Ω without the other lesions; prediction outside counts as 0."""
    true = components(y > 0)
    found = []
    for lesion in true:
        others = (y > 0) & ~lesion
        found.append(criterion(np.where(others, 0, p), np.where(others, 0, y)))
    return found


def instance_losses(p, y, criterion=dice):
    predicted, true = masks(p, y)
    found = []
    for lesion in true:
        union = np.any([m for m in predicted if (m & lesion).any()] or [np.zeros(y.shape, bool)], axis=0)
        others = (y > 0) & ~lesion
        if criterion is not dice:  # costs that are infinite at p = 0: the lesion's own voxels keep their probability
            overlap = np.where(union & ~others, p, 0)
            region = (union & ~others) | lesion
            extra = focal(p[region], lesion[region].astype(float)).sum() / p.size
            found.append(generalized_dice(overlap, lesion.astype(float)) + extra)
        else:
            found.append(criterion(np.where(union & ~others, p, 0), lesion.astype(float)))
    return found


def prediction_losses(p, y):
    predicted, true = masks(p, y)
    found = []
    for m in predicted:
        union = np.any([g for g in true if (m & g).any()] or [np.zeros(y.shape, bool)], axis=0)
        found.append(dice(np.where(m, p, 0), union.astype(float)))
    return found


def missed(p, y):
    predicted, true = masks(p, y)
    return [not any((m & g).any() for m in predicted) for g in true]


def false(p, y):
    predicted, true = masks(p, y)
    return [not any((m & g).any() for g in true) for m in predicted]


def stamps(parts, shape, side=3):
    """The voxels within half a side of the centre of mass of each part, along each axis."""
    image = np.zeros(shape)
    for part in parts:
        near = np.ones(shape, bool)
        for places, centre in zip(np.indices(shape), [c.mean() for c in np.nonzero(part)], strict=True):
            near &= np.abs(places - centre) <= side / 2
        image[near] = 1
    return image


def box(part):
    return [(c.min(), c.max() + 1) for c in np.nonzero(part)]


def middle_box(shape):
    return [((n - min(n, 3)) / 2, (n + min(n, 3)) / 2) for n in shape]


def box_distance(one, other):
    def volume(sides):
        return np.prod([max(b - a, 0) for a, b in sides])

    shared = volume([(max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True)])
    iou = shared / (volume(one) + volume(other) - shared)
    rho = sum(((a + b) / 2 - (c + d) / 2) ** 2 for (a, b), (c, d) in zip(one, other, strict=True))
    tau = sum((max(b, d) - min(a, c)) ** 2 for (a, b), (c, d) in zip(one, other, strict=True))
    return 1 - iou + rho / tau


def proximity_sides(p, y):
    """L_GT and L_P of one image."""
    predicted, true = masks(p, y)
    left = [box(g) for g in true] or [middle_box(y.shape)]
    right = [box(m) for m in predicted] or [middle_box(y.shape)]
    gt = sum(min(box_distance(a, b) for b in right) * v for a, v in zip(left, instance_losses(p, y), strict=False))
    pred = sum(min(box_distance(a, b) for a in left) * v for b, v in zip(right, prediction_losses(p, y), strict=False))
    return gt, pred


def dice_ce(p, y):
    return dice(p, y) + cost(p, y).mean()


def inverse_weighted_dice(p, y):
    parts = [y == 0, *components(y > 0)]
    weight = np.zeros(y.shape)
    for part in parts:
        if part.any():
            weight[part] = y.size / (len(parts) * part.sum())
    return 1 - (2 * (weight * p * y).sum() + SMOOTH) / ((weight * p).sum() + (weight * y).sum() + SMOOTH)


def pooled(p, y, function):
    """Mean over the instances of all images."""
    values = list(itertools.chain(*(function(p[b, c], y[b, c]) for b, c in np.ndindex(*p.shape[:2]))))
    return float(np.mean(values)) if values else 0.0
