import pytest

from multifocal.errors import UserError, unknown_name


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
