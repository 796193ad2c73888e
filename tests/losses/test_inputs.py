import pytest
import torch

from multifocal import losses
from multifocal.instances import label

NAN, INF = float("nan"), float("inf")


def pair(*shape):
    return torch.zeros(shape), torch.zeros(shape)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (
            torch.zeros(1, 1, 4, 4),
            torch.zeros(1, 1, 4, 5),
            r"target has shape \(1, 1, 4, 5\); expected .*\(1, 1, 4, 4\)",
        ),
        (torch.zeros(4, 4), torch.zeros(4, 4), r"logits has shape \(4, 4\); expected \(B, C, X, Y\)"),
        (torch.zeros(1, 1, 4, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4, 4), r"expected \(B, C, X, Y\)"),
        (torch.zeros(1, 0, 4, 4), torch.zeros(1, 0, 4, 4), "at least one voxel"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), torch.zeros(1, 1, 4, 4), "logits has dtype torch.int64"),
        (torch.full((1, 1, 4, 4), NAN), torch.zeros(1, 1, 4, 4), "logits holds NaN"),
        (torch.full((1, 1, 4, 4), INF), torch.zeros(1, 1, 4, 4), "logits ranges from inf to inf; expected finite"),
        (torch.full((1, 1, 4, 4), -INF), torch.zeros(1, 1, 4, 4), "logits ranges from -inf to -inf; expected finite"),
        (torch.full((1, 1, 4, 4), 1e5).half(), torch.zeros(1, 1, 4, 4), "expected finite numbers"),
        ([[[[0.0]]]], torch.zeros(1, 1, 1, 1), "logits is a list; expected a tensor"),
        (torch.zeros(1, 1, 4, 4), None, "target is a NoneType; expected a tensor"),
        (torch.zeros(1, 1, 4, 4), "mask", "target is a str; expected a tensor"),
        (torch.zeros(1, 1, 4, 4), torch.zeros(4, 4), r"target has shape \(4, 4\); expected \(B, C, X, Y\)"),
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.complex64), "expected zeros and ones of a real"),
        (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), NAN), "target holds nan"),
        (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5), "target holds 0.5; expected only 0 and 1"),
        (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 2), "target holds 2"),
        (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), -1, dtype=torch.int16), "target holds -1"),
        (torch.zeros(1, 1, 4, 4).numpy(), torch.zeros(1, 1, 4, 4), "logits is a ndarray"),
    ],
)
def test_what_does_not_fit(logits, target, message):
    with pytest.raises(ValueError, match=message):
        losses.build("dice")(logits, target)


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({"activation": "none"}, {}, "expected probabilities"),
        ({"activation": "softmax"}, {}, "expected 2 or more"),
        ({"spacing": (1.0, 1.0, 1.0)}, {}, "expected 2 numbers"),
        ({}, {"instances": torch.zeros(1, 1, 4, 5, dtype=torch.int32)}, "instances has shape"),
        ({}, {"instances": torch.zeros(1, 1, 4, 4)}, "instances has dtype"),
        ({}, {"instances": torch.ones(1, 1, 4, 4, dtype=torch.int32)}, "instances is not 0 exactly where target is"),
        ({}, {"instances": -torch.ones(1, 1, 4, 4, dtype=torch.int32)}, "label -1"),
        ({}, {"instances": torch.zeros(1, 1, 4, 4, dtype=torch.int32).numpy()}, "instances is a ndarray"),
        (
            {},
            {"instances": torch.zeros(1, 1, 4, 4, dtype=torch.bool)},
            "instances has dtype torch.bool; expected integer",
        ),
        ({}, {"distances": torch.zeros(1, 1, 4)}, "distances has shape"),
        ({}, {"distances": torch.zeros(1, 1, 4, 4).numpy()}, "distances is a ndarray; expected a tensor"),
        ({}, {"distances": "field"}, "distances is a str; expected a tensor"),
        ({}, {"distances": torch.zeros(1, 1, 4, 4, dtype=torch.int32)}, "distances has dtype torch.int32"),
    ],
)
def test_options_that_do_not_fit(options, call, message):
    """Where nothing is made of what was passed, too: only what it holds is then not looked at."""
    logits, target = torch.full((1, 1, 4, 4), 3.0), torch.zeros(1, 1, 4, 4)
    for name in ("ici", "dice") if "is not 0" not in message and "label" not in message else ("ici",):
        with pytest.raises(ValueError, match=message):
            losses.build(name, **options)(logits, target, **call)


def changed(distances, where, value):
    distances = distances.clone()
    distances[where] = value
    return distances


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: changed(d, (0, 0, 3, 3), NAN), "distances holds NaN or infinity"),
        (lambda d: changed(d, (0, 0, 3, 3), INF), "distances holds NaN or infinity"),
        (lambda d: changed(d, (0, 0, 3, 3), -1.0), "distances is not above 0"),
        (lambda d: 0 * d, "distances is not above 0"),
        (lambda d: changed(d, (1, 0, 3, 3), 1.0), "distances is not above 0"),  # an image without a lesion
        (
            lambda d: 2 * d,
            r"distances are 2 beside a border; expected those of target_distances.target, spacing=\(1.0, 3.0\)",
        ),
        (lambda d: 0.25 * d, "distances are 0.25 beside a border"),
    ],
)
def test_distances_that_cannot_be(change, message):
    logits, target = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    target[0, :, 2:5, 2:6] = 1
    distances = losses.target_distances(target, spacing=(1.0, 3.0))
    loss = losses.build("tversky-hausdorff", spacing=(1.0, 3.0))
    expected = loss(logits, target)
    for kind in (torch.float32, torch.float64, torch.float16):
        assert loss(logits, target, distances=distances.to(kind)).item() == pytest.approx(expected.item(), rel=1e-3)
    with pytest.raises(ValueError, match=message):
        loss(logits, target, distances=change(distances))


@pytest.mark.parametrize(
    ("target", "spacing", "message"),
    [
        (torch.full((1, 1, 4, 4), 2), None, "target holds 2; expected only 0 and 1"),
        (torch.zeros(4, 4), None, r"target has shape \(4, 4\)"),
        (torch.zeros(1, 1, 4, 4), (1.0, 1.0, 1.0), "expected 2 numbers, one for each axis"),
        (torch.zeros(1, 1, 4, 4), (1.0, 0.0), "spacing=.*; expected a number greater than 0"),
        ("target", None, "target is a str"),
    ],
)
def test_targets_without_distances(target, spacing, message):
    with pytest.raises(ValueError, match=message):
        losses.target_distances(target, spacing=spacing)


def test_the_threshold_is_that_of_distances_too(random_batch):
    logits, target = random_batch((2, 1, 12, 10))
    low, high = (losses.build("hausdorff-dt", threshold=t) for t in (0.2, 0.5))
    assert low(logits, target).item() != pytest.approx(high(logits, target).item(), rel=1e-3)
    p = torch.sigmoid(logits)
    lifted = torch.where(p > 0.2, 0.9, 0.1)  # the same mask at either threshold
    fields = [((loss.terms(torch.logit(lifted), target))["hausdorff-dt"]).item() for loss in (low, high)]
    assert fields[0] == pytest.approx(fields[1], rel=1e-6)


@pytest.mark.parametrize("options", [{"spacing": (0.0, 1.0)}, {"threshold": 0.0}, {"threshold": 1.0}])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match="greater than 0|less than 1"):
        losses.build("ici", **options)


@pytest.mark.parametrize("name", losses.names())
@pytest.mark.parametrize("shape", [(2, 1, 12, 12), (1, 2, 6, 5, 4)], ids=str)
def test_empty_sides(name, shape):
    """Finite in every combination; on an empty target no voxel is pushed up, and predicted ones are pushed down."""
    spot = torch.full(shape, -4.0)
    spot[:, :, 2:5, 2:4] = 4.0
    for logits in (spot, torch.full(shape, -4.0), torch.full(shape, 4.0)):
        for target in (torch.zeros(shape), torch.ones(shape), (spot > 0).float()):
            x = logits.clone().requires_grad_()
            value = losses.build(name)(x, target)
            value.backward()
            assert torch.isfinite(value) and torch.isfinite(x.grad).all()
            if not target.any() and (logits > 0).any():
                assert (x.grad[logits > 0] > 0).all()
                if name != "bce-msssim-jaccard":  # structure has no sign voxel by voxel
                    assert (x.grad >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["gdf", "blob-gdf", "false", "cc-dice-ce", "log-hausdorff-dt"])
def test_half_precision(name, dtype, random_batch):
    logits, target = random_batch((2, 1, 64, 64))
    x = logits.to(dtype).requires_grad_()
    wide = x.detach().float().requires_grad_()
    loss = losses.build(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(x, target.to(dtype))
    expected = loss(wide, target)
    assert value.dtype == torch.float32 and value.item() == expected.item()
    value.backward()
    expected.backward()
    assert x.grad.dtype == dtype
    torch.testing.assert_close(x.grad.float(), wide.grad, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64, torch.float64])
def test_target_types_and_layouts(kind, random_batch):
    logits, target = random_batch((2, 3, 9, 8))
    loss = losses.build("blob-gdf")
    strided = logits.to(memory_format=torch.channels_last)
    assert loss(strided, target.to(kind)).item() == loss(logits, target).item()


def test_instances_given(random_batch):
    """Precomputed labels give the same loss, and may say that touching lesions are two."""
    logits, target = random_batch((2, 1, 16, 16))
    found = torch.from_numpy(label(target[:, 0].bool().numpy()).dense())[:, None]
    loss = losses.build("blob-gdf")
    assert loss(logits, target, instances=3 * found).item() == loss(logits, target).item()
    joined = torch.zeros(1, 1, 8, 8)
    joined[..., 2:4, 1:7] = 1
    ids = joined.int()
    ids[..., 4:] *= 9
    p = 0.9 * joined
    p[..., 4:] = 0
    one, two = (losses.instance_terms(p, joined, instances=i)["missed"].item() for i in (joined.int(), ids))
    assert (one, two) == (0.0, 0.5)


def test_connectivity_and_threshold():
    target = torch.zeros(1, 1, 6, 6)
    target[..., 1, 1] = target[..., 2, 2] = 1
    p = 0.4 * target
    p[..., 1, 1] = 0.8
    full, face = (losses.instance_terms(p, target, connectivity=c)["missed"].item() for c in ("full", "face"))
    assert (full, face) == (0.0, 0.5)
    assert losses.instance_terms(p, target, connectivity="face", threshold=0.3)["missed"].item() == 0


@pytest.mark.parametrize("name", losses.names())
def test_logits_may_lie_anyhow_in_memory(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 48, 48, generator=generator)
    target = torch.zeros(2, 1, 48, 48)
    target[:, :, 5:9, 6:11] = 1
    loss = losses.build(name)
    for view in (logits[:, 1:2], logits.transpose(2, 3)[:, :1], logits[:1, :1].expand(2, -1, -1, -1)):
        assert not view.is_contiguous()
        assert torch.equal(loss(view, target), loss(view.contiguous(), target))


@pytest.mark.parametrize("name", losses.names())
def test_certainty_in_the_wrong_class_is_pushed_back_with_a_finite_force(name):
    size = 176 if name == "bce-msssim-jaccard" else 24  # its five scales need room
    probability = torch.zeros(1, 1, size, size)
    target = torch.zeros_like(probability)
    target[..., 4:7, 4:7] = 1  # missed with certainty
    probability[..., 14:16, 14:16] = 1  # false with certainty
    probability.requires_grad_()
    losses.build(name, activation="none")(probability, target).backward()
    assert probability.grad.isfinite().all()


def test_cross_entropy_of_certain_probabilities_is_torch_s():
    probability = torch.tensor([[[[0.0, 1.0, 0.0, 1.0, 0.3]]]], requires_grad=True)
    target = torch.tensor([[[[1.0, 0.0, 0.0, 1.0, 1.0]]]])
    value = losses.CrossEntropy().build(activation="none")(probability, target)
    expected = torch.nn.functional.binary_cross_entropy(probability, target)
    assert torch.allclose(value, expected)
    (gradient,) = torch.autograd.grad(value, probability)
    assert gradient[..., 0] < 0 < gradient[..., 1] and gradient.isfinite().all()


def test_validation_in_inference_mode_with_several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        logits = torch.randn(2, 1, 64, 64, 64, generator=torch.Generator().manual_seed(0))
        target = torch.zeros_like(logits)
        target[:, :, 5:9, 5:9, 5:9] = 1
        loss = losses.build("ici")
        expected = loss(logits, target)
        with torch.inference_mode():
            assert torch.allclose(loss(logits, target), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["dice-ce", "blob-gdf", "cc-dice-ce"])
def test_class_numbers_need_no_channel(name):
    logits = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    classes = torch.randint(3, (2, 9, 8), generator=torch.Generator().manual_seed(1))
    loss = losses.build(name, activation="softmax")
    torch.testing.assert_close(loss(logits, classes), loss(logits, classes[:, None]))


def test_a_target_without_channel_says_how_it_gets_one():
    with pytest.raises(ValueError, match=r"\(2, 9, 8\); .* \(2, 1, 9, 8\): target.unsqueeze\(1\)"):
        losses.build("dice")(torch.zeros(2, 1, 9, 8), torch.zeros(2, 9, 8))


def test_a_volume_without_batch_is_not_taken_for_many_channels():
    volume = torch.zeros(1, 24, 20, 18)  # (C, X, Y, Z)
    with pytest.raises(ValueError, match=r"which is 24 channels; .* logits.unsqueeze\(0\)"):
        losses.build("dice")(volume, volume)
    losses.build("dice")(volume[None], volume[None])
    losses.build("dice", activation="softmax")(volume, torch.zeros(1, 20, 18).long())  # 24 classes are possible
