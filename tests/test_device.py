"""What to compute on, and in which number format."""

import pytest
import torch

from multifocal.device import autocast_type, check_device, choose_device
from multifocal.errors import UserError

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


def test_auto_is_float32_on_mps():
    assert autocast_type("auto", torch.device("mps")) is None


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, None)])
def test_auto_is_bfloat16_where_the_gpu_computes_in_it(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert autocast_type("auto", torch.device("cuda")) is expected


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_cuda_before_mps_before_the_cpu(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(expected)


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_that_works_is_taken(monkeypatch, device):
    tried = []
    monkeypatch.setattr(torch, "zeros", lambda size, *, device: tried.append(device) or torch.ones(size))
    assert choose_device(device) == torch.device(device) and tried == [torch.device(device)]


@pytest.mark.parametrize("device", ["bogus", "cuda:99", "mps:x"])
def test_a_device_that_does_not_is_one_line(device):
    with pytest.raises(UserError, match=f"^device '{device}' cannot be used here: ") as raised:
        choose_device(device)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_names_of_devices(device):
    check_device(device)


@pytest.mark.parametrize("device", ["", "tpu", "cuda:", "cuda:N", "cuda:-1", "cuda:1 ", "cuda:\u0661", "CPU", "mps:0"])
def test_what_is_no_name_of_a_device(device):
    with pytest.raises(UserError, match=f"^device '{device}': choose from auto, cpu, cuda, cuda:N, mps$"):
        check_device(device)
