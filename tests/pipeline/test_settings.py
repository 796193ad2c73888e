import pytest
from pydantic import TypeAdapter, ValidationError

from multifocal.config import Config, validate
from multifocal.errors import UserError
from multifocal.pipeline.settings import BrainBox, Channel, Preprocessing, Resize


class Holder(Config):
    preprocessing: Preprocessing


BOX = {"kind": "brain-box", "brain": "adc", "channels": [{"map": "adc"}]}
RESIZE = {"kind": "resize", "size": [8, 8, None], "channels": [{"map": "adc"}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": []}, "at least 1 item"),
        ({"channels": [{"map": "adc", "range": [3, 3]}]}, "expected low < high"),
        ({"channels": [{"map": "adc", "clip": [3, 1]}]}, "expected low < high"),
        ({"channels": [{"map": "adc", "clip": [None, None]}]}, "clips nothing"),
        ({"channels": [{"map": "adc", "below": 1, "range": [0, 1]}]}, "below makes a binary prior"),
        ({"channels": [{"map": "adc", "below": 1, "zscore": "image"}]}, "below makes a binary prior"),
        ({"channels": [{"map": "adc", "below": float("nan")}]}, "finite"),
        ({"channels": [{"map": "adc", "zscore": "lesion"}]}, "'image' or 'brain'"),
        ({"axes": "LPSS"}, "one letter each"),
        ({"axes": "LP"}, "one letter each"),
        ({"axes": "LLS"}, "one letter each"),
        ({"axes": "LRS"}, "one letter each"),
        ({"axes": "lps"}, "one letter each"),
        ({"spacing": [1, 1, 0]}, "greater than 0"),
        ({"spacing": [1]}, "at least 2 items"),
        ({"margin": -1}, "greater than or equal to 0"),
        ({"brain": None}, "valid string"),
        ({"size": [8, 8, 8]}, "unknown key 'size'"),
        (RESIZE | {"size": [8, 8, 0]}, "greater than 0"),
        (RESIZE | {"size": [8]}, "at least 2 items"),
        (RESIZE | {"size": [8] * 4}, "at most 3 items"),
        (RESIZE | {"interpolation": "cubic"}, "'linear' or 'nearest'"),
        (RESIZE | {"margin": 1}, "unknown key 'margin'"),
        (RESIZE | {"channels": [{"map": "adc", "zscore": "brain"}]}, "zscore: brain needs brain"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    data = change if "kind" in change else BOX | change
    with pytest.raises(UserError, match=message):
        validate(Holder, {"preprocessing": data}, where="my.yaml")


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAL", "PIR"])
def test_any_orientation_may_be_asked_for(axes):
    assert validate(Holder, {"preprocessing": BOX | {"axes": axes}}, where="x").preprocessing.axes == axes


def test_the_kind_chooses():
    adapter = TypeAdapter(Preprocessing)
    assert isinstance(adapter.validate_python(BOX), BrainBox)
    assert isinstance(adapter.validate_python(RESIZE), Resize)


def test_priors():
    assert Channel(map="zadc", below=0).is_prior
    assert not Channel(map="zadc", range=(0, 1)).is_prior
    with pytest.raises(ValidationError):
        Channel(map="zadc", below=0).below = 1
