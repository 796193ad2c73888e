import pytest
import torch
from pydantic import ValidationError

from multifocal.errors import UserError
from multifocal.pipeline.augment import Augmentation
from multifocal.pipeline.augment.sampling import draw


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": {"p": 1.2}}, "less than or equal to 1"),
        ({"noise": {"p": -0.1}}, "greater than or equal to 0"),
        ({"noise": {"std": [-0.1, 0.1]}}, "must not go below 0"),
        ({"blur": {"std": [0.5, 0.1]}}, "0.5 to 0.1 runs backwards"),
        ({"gamma": {"log_gamma": [0, float("inf")]}}, "finite"),
        ({"gamma": {"log_gamma": [0.1]}}, "Field required"),
        ({"anisotropy": {"downsampling": [0.5, 2]}}, "must not go below 1"),
        ({"anisotropy": {"axes": []}}, "at least 1 item"),
        ({"flip": {"axes": [0, 0]}}, "name one axis twice"),
        ({"flip": {"axes": [3]}}, "less than or equal to 2"),
        ({"affine": {"scales": [0, 1]}}, "must stay above 0"),
        ({"affine": {"degrees": [10, -10]}}, "runs backwards"),
        ({"affine": {"translations": [1, -1]}}, "1 to -1 runs backwards"),
        ({"affine": {"rotate_about": [3]}}, "less than or equal to 2"),
        ({"affine": {"rotate_about": []}}, "at least 1 item"),
        ({"elastic": {"control_points": 3}}, "greater than or equal to 4"),
        ({"elastic": {"control_points": 4}}, "use at least 5 control points"),
        ({"elastic": {"max_displacement": -1}}, "greater than or equal to 0"),
        ({"elastic": {"locked_borders": 3}}, "0, 1 or 2"),
        ({"elastic": {"displacement": 3}}, "Extra inputs"),
        ({"rotate": {}}, "Extra inputs"),
        ({"scale": {"factors": [1.1, 0.9]}}, "1.1 to 0.9 runs backwards"),
        ({"shift": {"offsets": [0, float("nan")]}}, "finite"),
        ({"quarter_turns": {"planes": []}}, "at least 1 item"),
        ({"quarter_turns": {"planes": [[1, 1]]}}, "name one axis twice"),
        ({"quarter_turns": {"planes": [[0, 3]]}}, "less than or equal to 2"),
        ({"paste": {"values": "relative"}}, "'absolute' or 'difference'"),
        ({"one_of": [{"members": [{}]}]}, "at least 2 items"),
        ({"one_of": [{"members": [{}, {"weight": 0}]}]}, "greater than 0"),
        ({"one_of": [{"members": [{}, {"rotate": {}}]}]}, "Extra inputs"),
        ({"blur": {}, "one_of": [{"members": [{}, {"blur": {}}]}]}, "blur stands in one_of.0 and elsewhere"),
        ({"one_of": [{"members": [{}, {"flip": {}}]}] * 2}, "flip stands in one_of.1 and elsewhere"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Augmentation.model_validate(settings)


def test_settings_survive_a_round_trip():
    names = [name for name in Augmentation.model_fields if name != "one_of"]
    group = {"members": [{"weight": 3}, {"gamma": {"p": 1}}]}
    settings = Augmentation.model_validate(
        {name: {"p": 0.25} for name in names if name != "gamma"} | {"one_of": [group]}
    )
    assert Augmentation.model_validate(settings.model_dump(mode="json")) == settings
    assert Augmentation() == Augmentation.model_validate(dict.fromkeys(names))


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Augmentation().noise = None


def drawn(*, size=(8, 8, 8), **affine):
    generator = torch.Generator().manual_seed(1)
    settings = Augmentation.model_validate({"affine": {"p": 1, **affine}})
    return draw(settings, channels=1, size=size, generator=generator).affine


def test_turns_about_one_axis_and_shifts_leave_the_other_draws_as_they_are():
    every, about_z, shifted = drawn(), drawn(rotate_about=[2]), drawn(translations=[-4, 2])
    assert all(every.angles) and about_z.angles == (0.0, 0.0, every.angles[2])
    assert (about_z.scales, shifted.scales, shifted.angles) == (every.scales, every.scales, every.angles)
    assert every.translations == () and len(shifted.translations) == 3 == len(set(shifted.translations))
    assert all(-4 <= shift <= 2 for shift in shifted.translations)
    assert drawn(size=(8, 8), rotate_about=[2]) == drawn(size=(8, 8))


def test_an_image_turns_about_axis_2():
    with pytest.raises(
        UserError, match=r"augmentation, affine.rotate_about: \[0\]: a 2D image turns about axis 2 alone"
    ):
        drawn(size=(8, 8), rotate_about=[0])
