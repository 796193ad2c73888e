"""The plain torch form against the compiled one, to the last bit."""

import numpy as np
import pytest
import torch

from multifocal.kernels import torch_edt
from multifocal.kernels.edt import signed_squares, spread_labels

SHAPES = [(2, 9, 8), (3, 1, 12), (2, 6, 5, 7), (1, 4, 1, 9)]
SPACINGS = [None, (2.0, 2.0, 2.0), (1.0, 2.5, 0.7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("at_once", [1, 1 << 26])
def test_equals_the_compiled_form(shape, spacing, at_once, monkeypatch):
    monkeypatch.setattr(torch_edt, "_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    spacing = None if spacing is None else spacing[: len(shape) - 1]
    for share in (0.05, 0.3, 0.9):
        masks = rng.random(shape) < share
        masks[0] = share > 0.5
        found = torch_edt.border_squares(torch.from_numpy(masks), spacing=spacing)
        expected = np.abs(signed_squares(masks, spacing=spacing, threads=1))
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, rtol=0 if spacing is None else 2e-7)

        labels = np.where(masks, rng.permutation(masks.size).reshape(shape), -1).astype(np.int32)
        labels[..., -1] = np.arange(labels[..., -1].size).reshape(shape[:-1]) % 5
        ranks = torch_edt.spread_ranks(torch.from_numpy(labels), spacing=spacing)
        spread_labels(labels, rank=None, spacing=spacing, threads=1)
        assert np.array_equal(ranks.numpy(), labels)
