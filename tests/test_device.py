"""The number format to compute in."""

import pytest
import torch

from multifocal.device import autocast_type

CPU = torch.device("cpu")


def test_named_formats():
    assert autocast_type("32", CPU) is None
    assert autocast_type("bf16", CPU) is torch.bfloat16 and autocast_type("16", CPU) is torch.float16


@pytest.mark.parametrize(
    ("features", "expected"),
    [({}, None), ({"_is_avx512_bf16_supported"}, torch.bfloat16), ({"_is_amx_tile_supported"}, torch.bfloat16)],
)
def test_auto_is_bfloat16_where_the_processor_computes_in_it(monkeypatch, features, expected):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in features)
    assert autocast_type("auto", CPU) is expected
