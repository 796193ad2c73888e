"""MS-SSIM in parts against MS-SSIM in one, and against an independent implementation."""

import pytest
import torch

from multifocal.losses import MSSSIM, ms_ssim


@pytest.mark.parametrize("shape", [(3, 1, 70, 50), (2, 2, 30, 14, 9), (1, 1, 200, 190)])
def test_parts_add_up(shape, monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    target = (torch.rand(shape) < 0.2).double()
    found = []
    for at_once in (1, 3000, 1 << 30):
        monkeypatch.setattr(ms_ssim, "_AT_ONCE", at_once)
        logits = x.clone().requires_grad_()
        value = MSSSIM()(logits, target)
        value.backward()
        found.append((value.detach(), logits.grad))
    for value, gradient in found[:2]:
        torch.testing.assert_close(value, found[2][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, found[2][1], rtol=1e-9, atol=1e-15)


def test_equals_torchmetrics():
    image = pytest.importorskip("torchmetrics.functional.image")
    torch.manual_seed(0)
    p = torch.rand(2, 1, 192, 180, dtype=torch.float64)
    y = (torch.nn.functional.avg_pool2d(p, 5, 1, 2) > 0.5).double()
    found = MSSSIM().build(activation="none")(p, y)
    scales, options = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333), {"data_range": 1.0, "reduction": "none"}
    expected = torch.ones(2, dtype=torch.float64)
    for number, weight in enumerate(scales):
        if number < len(scales) - 1:
            _, mean = image.structural_similarity_index_measure(p, y, return_contrast_sensitivity=True, **options)
            p, y = (torch.nn.functional.avg_pool2d(side, 2) for side in (p, y))
        else:  # theirs reaches beyond the image's border, by half a window
            _, whole = image.structural_similarity_index_measure(p, y, return_full_image=True, **options)
            mean = whole[..., 5:-5, 5:-5].mean((1, 2, 3))
        expected = expected * mean**weight
    assert 1 - found.item() == pytest.approx(expected.mean().item(), rel=1e-9)
