import pytest
from pydantic import ValidationError

from multifocal.pipeline.augment import Augmentation


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
        ({"elastic": {"control_points": 3}}, "greater than or equal to 4"),
        ({"elastic": {"control_points": 4}}, "use at least 5 control points"),
        ({"elastic": {"max_displacement": -1}}, "greater than or equal to 0"),
        ({"elastic": {"locked_borders": 3}}, "0, 1 or 2"),
        ({"elastic": {"displacement": 3}}, "Extra inputs"),
        ({"rotate": {}}, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Augmentation.model_validate(settings)


def test_settings_survive_a_round_trip():
    settings = Augmentation.model_validate({name: {"p": 0.25} for name in Augmentation.model_fields})
    assert Augmentation.model_validate(settings.model_dump(mode="json")) == settings
    assert Augmentation() == Augmentation.model_validate(dict.fromkeys(Augmentation.model_fields))


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Augmentation().noise = None
