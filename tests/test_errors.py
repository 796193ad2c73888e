import numpy as np
import pytest
import SimpleITK
import torch

from multifocal.errors import UserError, out_of_memory, unknown_name


def test_a_user_error_is_a_value_error():
    assert issubclass(UserError, ValueError)


@pytest.mark.parametrize(
    ("name", "choices", "message"),
    [
        ("unet3", ["unetpp", "unet3d"], "unknown network 'unet3'; did you mean 'unet3d'? Choose from: unetpp, unet3d"),
        ("xyz", iter(["a", "b"]), "unknown network 'xyz'; choose from: a, b"),
        ("", ["a"], "unknown network ''; choose from: a"),
        ("a", [], "unknown network 'a'; there are none"),
    ],
)
def test_an_unknown_name_lists_the_choices_and_names_the_nearest(name, choices, message):
    error = unknown_name("network", name, choices)
    assert isinstance(error, UserError)
    assert str(error) == message


def test_it_stays_on_one_line():
    assert "\n" not in str(unknown_name("network", "two\nlines", ["a"]))


@pytest.mark.parametrize(
    ("ask", "size"),
    [
        (lambda: torch.zeros(10**14), ": 3.73e+05 GiB more were asked for than there is"),
        (lambda: np.zeros((10**7, 10**7)), ": 728 TiB more were asked for than there is"),
        (lambda: SimpleITK.Image(60000, 60000, 60000, SimpleITK.sitkFloat64), ""),
        (lambda: bytearray(10**16), ""),
    ],
)
def test_want_of_memory_is_known_whoever_says_it(ask, size):
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        ask()
    assert str(out_of_memory(raised.value, "ask for less")) == f"out of memory{size}; ask for less"


def test_want_of_a_gpus_memory():
    said = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.8 GiB of which 3 GiB is"
    told = out_of_memory(torch.OutOfMemoryError(said), "ask for less")
    assert str(told) == "out of memory: 20.00 GiB more were asked for than there is; ask for less"
    assert out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "") is None
