import pytest
import torch

from multifocal import losses
from multifocal.errors import UserError
from multifocal.losses.inputs import one_vs_rest_logits
from multifocal.nnunet import build_loss


def example(classes: int = 1, shape=(2, 20, 24), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of background and classes, and a label map with lesions of every class."""
    rng = torch.Generator().manual_seed(seed)
    batch, *space = shape
    logits = torch.randn(batch, 1 + classes, *space, generator=rng) * 3
    labels = torch.zeros(batch, 1, *space)
    for number in range(classes):
        labels[:, :, 2 + 6 * number : 6 + 6 * number, 3:7] = number + 1
        labels[:, :, 2 + 6 * number : 5 + 6 * number, 12:19] = number + 1
    return logits, labels


def hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.cat([labels == number for number in range(1, classes + 1)], 1)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_sigmoid_of_class_against_rest_is_softmax(channels):
    logits = torch.randn(2, channels, 5, 7, dtype=torch.float64) * 5
    found = one_vs_rest_logits(logits).sigmoid()
    assert torch.allclose(found.double(), logits.softmax(1)[:, 1:], atol=1e-6)


def test_logits_one_vs_rest_logits_stay_exact_where_softmax_rounds_to_one():
    logits = torch.tensor([0.0, 80.0, -20.0]).view(1, 3, 1, 1).requires_grad_()
    found = one_vs_rest_logits(logits)
    assert found.flatten().tolist() == pytest.approx([80.0, -100.0])
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), logits)
    assert torch.isfinite(gradient).all() and gradient[0, 1].item() == 1


@pytest.mark.parametrize("name", losses.names())
def test_binary_labels_give_the_loss_of_the_foreground_alone(name):
    logits, labels = example()
    expected = losses.build(name)(logits[:, 1:] - logits[:, :1], labels)
    assert build_loss(name)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["blob-gdf", "cc-dice-ce", "ici", "tversky-hausdorff"])
def test_every_class_has_lesions_of_its_own(name):
    logits, labels = example(classes=3)
    expected = losses.build(name, activation="none")(logits.softmax(1)[:, 1:], hot(labels, 3))
    assert build_loss(name)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-4)


def test_background_has_no_lesions():
    logits, labels = example()
    # The background's channel is one whole component; were it measured, more of it would change the missed rate.
    missed = build_loss("compound", terms=[{"term": "missed"}])
    nothing = torch.cat([torch.full_like(labels, 9.0), torch.full_like(labels, -9.0)], 1)
    assert missed(nothing, labels).item() == 1


def test_cross_entropy_of_two_classes_is_that_of_softmax():
    logits, labels = example()
    expected = torch.nn.functional.cross_entropy(logits, labels[:, 0].long())
    found = build_loss("compound", terms=[{"term": "ce"}])(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_regions_go_through_a_sigmoid():
    logits, labels = example(classes=2)
    target = torch.cat([labels > 0, labels == 2], 1)
    expected = losses.build("blob-gdf")(logits[:, 1:], target)
    found = build_loss("blob-gdf", regions=True)(logits[:, 1:], target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", sorted(set(losses.names()) - {"bce-msssim-jaccard"}))
def test_ignored_voxels_are_as_if_they_were_cut_away(name, regions):
    logits, labels = example()
    ignored = torch.zeros_like(labels, dtype=torch.bool)
    ignored[..., 5:, :] = True  # cuts a lesion
    known = (..., slice(0, 5), slice(None))
    if regions:
        logits = logits[:, 1:] - logits[:, :1]
        target, kept = torch.cat([labels > 0, ignored], 1), labels[known] > 0
    else:
        target, kept = labels.masked_fill(ignored, 2), labels[known]
    expected = build_loss(name, regions=regions)(logits[known], kept)
    logits = logits.masked_fill(ignored, float("nan")).requires_grad_()
    loss = build_loss(name, regions=regions, ignore_label=2, weights=(0.75, 0.25))
    value = loss([logits, logits], [target, target])  # each resolution has ignored voxels of its own
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient[ignored.expand_as(gradient)] == 0).all() and gradient.any()


def test_cross_entropy_with_an_ignore_label_is_that_of_nnunet():
    # nnU-Net's DC_and_CE_loss: torch's cross-entropy with ignore_index, and Dice within the mask (Σpy, Σp, Σy of it).
    logits, labels = example(shape=(1, 20, 24))
    labels[..., 4:9, :8] = 2
    expected = torch.nn.functional.cross_entropy(logits, labels[:, 0].long(), ignore_index=2)
    found = build_loss("compound", terms=[{"term": "ce"}], ignore_label=2)(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    p, y, mask = logits.softmax(1)[:, 1:], (labels == 1), labels != 2
    expected = 1 - 2 * (p * y * mask).sum() / ((p * mask).sum() + (y * mask).sum())
    assert build_loss("dice", ignore_label=2)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_patch_without_a_label_costs_nothing():
    logits, labels = example()
    value = build_loss("blob-gdf", ignore_label=2)(logits.requires_grad_(), torch.full_like(labels, 2))
    value.backward()
    assert value.item() == 0 and (logits.grad == 0).all()


def test_classes_are_weighed_without_the_background():
    logits, labels = example(classes=3)
    weights = (1.0, 0.0, 2.0)
    found = build_loss("dice-ce", class_weights=weights)(logits, labels)
    expected = losses.build("dice-ce", class_weights=weights)(one_vs_rest_logits(logits), hot(labels, 3))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(ValueError, match="expected one for each channel of the logits, 3"):
        build_loss("dice-ce", class_weights=(1.0, 1.0, 1.0, 1.0))(logits, labels)


@pytest.mark.parametrize(
    "options", [{"ignore": 2}, {"soft_labels": True}, {"reduction": "none"}, {"activation": "none"}]
)
def test_what_nnunet_says_itself_is_refused(options):
    with pytest.raises(UserError, match=next(iter(options))):
        build_loss("dice-ce", **options)


def test_deep_supervision_sums_resolutions_by_weight():
    logits, labels = example()
    outputs, targets = [logits, logits[..., ::2, ::2], logits[..., ::4, ::4]], [labels, labels[..., ::2, ::2], None]
    parts = [losses.build("cc-dice")(x[:, 1:] - x[:, :1], y) for x, y in zip(outputs[:2], targets[:2], strict=True)]
    # The third has no weight and is not looked at: nnU-Net computes nothing where the weight is 0.
    found = build_loss("cc-dice", weights=(0.75, 0.25, 0.0))(outputs, targets)
    assert found.item() == pytest.approx((0.75 * parts[0] + 0.25 * parts[1]).item(), rel=1e-5)


def test_spacing_grows_with_coarser_outputs():
    loss = build_loss("hausdorff-dt", weights=(0.5, 0.5), factors=[(1, 1, 1), (1, 2, 4)], spacing=(3.0, 1.0, 0.5))
    assert [level.options.spacing for level in loss.levels] == [(3.0, 1.0, 0.5), (3.0, 2.0, 2.0)]
    with pytest.raises(ValueError, match="factors"):
        build_loss("hausdorff-dt", weights=(0.5, 0.5), spacing=(3.0, 1.0, 0.5))


def test_schedules_go_by_progress():
    logits, labels = example()
    loss = build_loss("tlhf", weights=(0.5, 0.5))
    values = []
    for progress in (0.0, 1.0):
        loss.set_progress(progress)
        values.append(loss([logits, logits], [labels, labels]).item())
    loss.take_terms()
    loss([logits.requires_grad_(), logits], [labels, labels])
    assert values[1] - values[0] == pytest.approx(2 * loss.take_terms()["focal"], rel=1e-4)


def test_terms_are_means_over_training_steps_at_full_resolution():
    first, second = example(seed=1), example(seed=2)
    loss = build_loss("blob-gdf", weights=(0.9, 0.1))
    expected = {"gdf": 0.0, "gdf over blobs": 0.0}
    for logits, labels in (first, second):
        loss([logits, logits[..., ::2, ::2]], [labels, labels[..., ::2, ::2]])
        terms = losses.build("blob-gdf").terms(logits[:, 1:] - logits[:, :1], labels)
        expected = {name: expected[name] + terms[name].item() / 2 for name in terms}
    with torch.no_grad():  # validation
        loss([first[0], first[0]], [first[1], first[1]])
    assert loss.take_terms() == pytest.approx(expected, rel=1e-5)
    assert loss.take_terms() == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", losses.names())
def test_half_precision_outputs(name, dtype):
    logits, labels = example()
    logits = logits.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = build_loss(name)(logits, labels)
    expected = build_loss(name)(logits.detach().float(), labels)
    assert value.dtype == torch.float32 and value.item() == pytest.approx(expected.item(), rel=1e-5)
    value.backward()
    assert torch.isfinite(logits.grad).all() and logits.grad.any()


@pytest.mark.parametrize("name", losses.names())
def test_targets_that_become_empty_at_low_resolution(name):
    logits, _ = example()
    logits.requires_grad_()
    labels = torch.zeros(2, 1, 20, 24)
    labels[:, :, 5, 5] = 1
    value = build_loss(name, weights=(0.6, 0.4))(
        [logits, logits[..., ::4, ::4]], [labels, torch.zeros_like(labels[..., ::4, ::4])]
    )
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all()


def test_integer_labels_of_any_type_and_volumes():
    logits, labels = example(shape=(1, 12, 20, 6))
    values = {build_loss("ici")(logits, labels.to(kind)).item() for kind in (torch.int16, torch.uint8, torch.float32)}
    assert len(values) == 1


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x, y: build_loss("dice", weights=(0.5, 0.5))([x], [y]), "1 outputs and 1 targets; expected 2"),
        (lambda x, y: build_loss("dice")(x[:, :1], y), "expected a channel of background"),
        (lambda x, y: build_loss("dice")(x, y + 1), "expected labels from 0 to 1"),
        (lambda x, y: build_loss("dice")(x, torch.cat([y, y], 1)), "expected 1 channels"),
        (lambda x, y: build_loss("dice", regions=True, ignore_label=3)(x, torch.cat([y, y], 1)), "expected 3 channels"),
        (lambda x, y: build_loss("dice", weights=()), "weights"),
    ],
)
def test_input_that_does_not_fit(call, expected):
    with pytest.raises(ValueError, match=expected):
        call(*example())


def test_unknown_names_and_options_are_the_users():
    with pytest.raises(UserError, match="unknown loss 'blob'"):
        build_loss("blob")
    with pytest.raises(UserError, match="unknown key 'alphas'"):
        build_loss("tversky", alphas=1.0)
    with pytest.raises(UserError, match="activation='none': nnU-Net's labels"):
        build_loss("tversky", activation="none")
