"""What must not matter: where up is, which image comes first, what else is in the batch, where a lesion lies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal import losses
from multifocal.instances import label

SHAPES = [(2, 1, 9, 8), (3, 1, 7, 12), (2, 2, 8, 8), (2, 1, 6, 5, 4), (3, 1, 4, 8, 6)]
# Distances between voxels are all different, so that no voxel is as near to one lesion as to another by chance.
SPACING = (1.0, 1.0317, 1.0771)
POOLED = {"ici", "false", "proximity"}  # over the lesions of the batch
NOT_LINEAR = {"log-hausdorff-dt", "dice-focal-hausdorff", "tversky-hausdorff", "tlhf"}  # the log of a mean


@st.composite
def batches(draw, *, shapes=SHAPES):
    """Logits and target with boxes on either side, of even and odd sides, and specks; some images have none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from(shapes))
    sides = []
    for density in (draw(st.sampled_from([0.0, 0.05])), draw(st.sampled_from([0.0, 0.05]))):
        stack = rng.random(shape) < density
        for image in np.ndindex(*shape[:2]):
            for _ in range(int(rng.integers(0, 3))):
                lower = [int(rng.integers(0, n)) for n in shape[2:]]
                stack[image][tuple(slice(a, a + int(rng.integers(1, 5))) for a in lower)] = True
        sides.append(stack)
    logits = np.where(sides[0], 1.0, -1.0) * rng.uniform(0.1, 4.0, shape)
    return torch.from_numpy(logits), torch.from_numpy(sides[1].astype(float))


def slope(loss, logits, target):
    x = logits.clone().requires_grad_()
    value = loss(x, target)
    value.backward()
    return value.item(), x.grad


def alike(mask):
    """Whether an image has two components of one size: a tie between them goes to either."""
    sizes = [np.bincount(image[image > 0])[1:] for image in label(mask).dense()]
    return any(len(np.unique(found[found > 0])) < np.count_nonzero(found) for found in sizes)


def tied(name, logits, target):
    sides = [target > 0] if name.startswith("cc-") else [target > 0, logits >= 0] if "cc-" in name else []
    return any(alike(side.flatten(0, 1).numpy()) for side in sides)


@pytest.mark.parametrize("name", losses.names())
@settings(max_examples=12, deadline=None)
@given(batches(), st.data())
def test_flips(name, batch, data):
    logits, target = batch
    if tied(name, logits, target):
        return
    axes = data.draw(st.sampled_from([[2], [3], [2, 3]]))
    loss = losses.build(name, spacing=SPACING[: logits.ndim - 2])
    value, found = slope(loss, logits, target)
    flipped, moved = slope(loss, logits.flip(axes), target.flip(axes))
    assert flipped == pytest.approx(value, rel=1e-6)  # distances are of 32 bits
    torch.testing.assert_close(moved.flip(axes), found, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", losses.names())
@settings(max_examples=8, deadline=None)
@given(batches())
def test_transposes(name, batch):
    logits, target = batch
    if tied(name, logits, target):
        return
    order = list(range(2, logits.ndim))[1:] + [2]
    spacing = SPACING[: logits.ndim - 2]
    value = losses.build(name, spacing=spacing)(logits, target).item()
    turned = losses.build(name, spacing=[spacing[axis - 2] for axis in order])
    sides = (side.permute(0, 1, *order) for side in (logits, target))
    assert turned(*sides).item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", losses.names())
@settings(max_examples=8, deadline=None)
@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_the_batch(name, batch, random):
    logits, target = batch
    order = random.sample(range(len(logits)), len(logits))
    loss = losses.build(name)
    value, found = slope(loss, logits, target)
    mixed, moved = slope(loss, logits[order], target[order])
    assert mixed == pytest.approx(value, rel=1e-9)
    torch.testing.assert_close(moved, found[order], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in losses.names() if name not in POOLED | NOT_LINEAR])
@settings(max_examples=8, deadline=None)
@given(batches())
def test_a_batch_is_the_loop_over_its_images(name, batch):
    logits, target = batch
    loss = losses.build(name)
    each = [loss.terms(logits[i : i + 1], target[i : i + 1]) for i in range(len(logits))]
    for term, value in loss.terms(logits, target).items():
        values = [one[term].item() for one in each]
        if "blobs" in term:  # the mean over the rows that have a lesion
            rows = [int(image.flatten(1).any(1).sum()) for image in target]
            values = [value * count for value, count in zip(values, rows, strict=True)]
            assert value.item() * max(1, sum(rows)) == pytest.approx(sum(values), rel=1e-9)
        else:
            assert value.item() == pytest.approx(np.mean(values), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(batches())
def test_a_batch_pools_the_instances_of_its_images(batch):
    logits, target = batch
    counts = np.array(
        [
            [label(side.flatten(0, 1).numpy()).total for side in pair]
            for pair in zip(_each(target > 0), _each(logits >= 0), strict=True)
        ]
    )
    whole = losses.instance_terms(logits, target, activation="sigmoid")
    each = [
        losses.instance_terms(a, b, activation="sigmoid") for a, b in zip(_each(logits), _each(target), strict=True)
    ]
    for name, side in (("instance_gt", 0), ("missed", 0), ("instance_pred", 1), ("false", 1)):
        values = np.array([one[name].item() for one in each])
        expected = (values * counts[:, side]).sum() / max(1, counts[:, side].sum())
        assert whole[name].item() == pytest.approx(expected, rel=1e-9)


def _each(batch):
    return [batch[i : i + 1] for i in range(len(batch))]


@pytest.mark.parametrize("name", ["blob-dice", "blob-gdf", "ici", "false", "cc-dice"])
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_lesions_of_one_shape_count_the_same_wherever_they_are(name, seed):
    """Two alike in places that are alike: which of them is found does not matter, whatever their shape."""
    rng = np.random.default_rng(seed)
    shape = rng.random((5, 4)) < 0.6
    shape[2, 2] = True
    half = np.zeros((14, 10), bool)
    x, y = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    half[x : x + 5, y : y + 4] = shape
    nothing = np.zeros_like(half)
    target = torch.from_numpy(np.concatenate([half, half]).astype(float))[None, None]
    found = [torch.from_numpy(np.concatenate(halves).astype(float))[None, None] * 0.8 for halves in
             ((half, nothing), (nothing, half))]  # fmt: skip
    loss = losses.build(name, activation="none", spacing=(1.0, 0.1))  # the seam is the border of either's cell
    assert loss(found[0], target).item() == pytest.approx(loss(found[1], target).item(), rel=1e-9)


@pytest.mark.parametrize("name", ["blob-dice", "blob-gdf", "ici", "false"])
def test_equal_shapes_in_unequal_places(name):
    target = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    target[..., 0:3, 0:3] = target[..., 9:12, 14:17] = 1
    first, second = target.clone(), target.clone()
    first[..., 9:, :], second[..., :9, :] = 0, 0
    loss = losses.build(name, activation="none")
    if name == "ici":  # at the corner a cube is whole, too
        assert loss.terms(first, target)["center"] == loss.terms(second, target)["center"]
    assert loss(0.9 * first, target).item() == pytest.approx(loss(0.9 * second, target).item(), rel=1e-9)


def test_ties_between_lesions_that_are_alike_move_a_loss_by_little(random_batch):
    """Voxels as near to one lesion as to another of the same size go to one of them; a flip may give them to the
    other. The bound: what such voxels can carry from one cell to another."""
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(20):
        target = torch.zeros(1, 1, 48, 48, dtype=torch.float64)
        for x, y in torch.randint(2, 44, (8, 2), generator=generator).tolist():
            target[..., x : x + 2, y : y + 2] = 1
        logits = torch.randn(1, 1, 48, 48, generator=generator, dtype=torch.float64) + 2 * target - 2
        loss = losses.build("cc-dice-ce")
        one, other = (loss(*(side.flip(axes) for side in (logits, target))).item() for axes in ([], [2]))
        worst = max(worst, abs(one / other - 1))
    assert 0 < worst < 0.01
