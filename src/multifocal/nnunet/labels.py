"""nnU-Net's outputs and targets as the losses take them: a channel for each class or region, zeros and ones."""

import torch

from multifocal.losses.inputs import one_vs_rest_logits


def read(
    output: torch.Tensor, target: torch.Tensor, *, regions: bool, ignore_label: int | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return logits for a sigmoid, a target of zeros and ones, and which voxels are ignored.

    Args:
        output: (B, 1 + classes, *spatial), channel 0 the background; of regions (B, R, *spatial).
        target: label map (B, 1, *spatial); of regions (B, R, *spatial), and one channel more with an ignore label.
        regions: which of both it is.
        ignore_label: the label of voxels that have none.

    Returns:
        The logits, float32, and the target, bool; both (B, classes, *spatial), or (B, R, *spatial) of regions. Where
        the target has the ignore label, bool (B, 1, *spatial); None without such a label.

    Raises:
        ValueError: target and output do not fit.
    """
    if not regions and output.shape[1] < 2:
        raise ValueError(f"output has shape {tuple(output.shape)}; expected a channel of background and of each class")
    classes = output.shape[1] - (not regions)
    expected = classes + (ignore_label is not None) if regions else 1
    if target.shape[1] != expected:
        raise ValueError(f"target has shape {tuple(target.shape)}; expected {expected} channels")
    ignored = None
    if ignore_label is not None:
        ignored = target[:, classes:].bool() if regions else target == ignore_label
        output = output.masked_fill(ignored, 0)
    hot = target[:, :classes].bool() if regions else _one_hot(target, ignored, classes)
    # Each class against the rest has the published loss of one channel, whatever the number of classes. (With
    # `activation="softmax"` and without a background, focal has no term for false positives, as in MONAI.)
    return output.float() if regions else one_vs_rest_logits(output.float()), hot, ignored


def _one_hot(labels: torch.Tensor, ignored: torch.Tensor | None, classes: int) -> torch.Tensor:
    known = labels if ignored is None else labels.masked_fill(ignored, 0)
    lowest, highest = (float(end) for end in known.aminmax())
    if lowest < 0 or highest > classes:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"target holds {wrong:g}; expected labels from 0 to {classes}")
    numbers = torch.arange(1, classes + 1, device=labels.device)
    return labels == numbers.view(1, -1, *[1] * (labels.ndim - 2))
