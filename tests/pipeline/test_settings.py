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
        ({"channels": [{"zscore": "brain"}]}, "channels.0: map is missing"),
        ({"channels": [{"derive": "mirror"}]}, "channels.0: map is missing"),
        (
            {"channels": [{"map": "adc", "derive": "reflect"}]},
            "choose from: reciprocal, mirror, mirror-difference, coord",
        ),
        ({"channels": [{"map": "adc", "derive": "reciprocal"}]}, "by is missing"),
        ({"channels": [{"map": "adc", "derive": {"name": "mirror", "by": "zadc"}}]}, "unknown key 'by'"),
        ({"channels": [{"map": "adc"}, {"derive": "coordinates"}]}, "axis is missing"),
        ({"channels": [{"map": "adc"}, {"derive": {"name": "coordinates", "axis": 3}}]}, "less than or equal to 2"),
        (
            {"channels": [{"map": "adc", "derive": {"name": "coordinates", "axis": 0}}]},
            "coordinates is made from no map",
        ),
        ({"channels": [{"map": "adc"}, {"derive": "lesion-frequency", "n4": True}]}, "made from no map"),
        ({"channels": [{"derive": "lesion-frequency"}]}, "all of them say only where a voxel lies"),
        ({"channels": [{"map": "adc"}, *[{"derive": "lesion-frequency"}] * 2]}, "lesion-frequency stands twice"),
        ({"channels": [{"map": "adc", "range": "brain"}]}, "channels.0.range: Input should be 'image' or 'slice'"),
        ({"channels": [{"map": "adc", "percentiles": [5, 1]}]}, "expected low < high"),
        ({"channels": [{"map": "adc", "percentiles": [5, 101]}]}, "less than or equal to 100"),
        ({"channels": [{"map": "adc", "standardize": [0, 0]}]}, "greater than 0"),
        ({"channels": [{"map": "adc", "standardize": [0, 1], "zscore": "image"}]}, "both set mean and spread"),
        ({"channels": [{"map": "adc", "over": "brain", "range": [0, 1]}]}, "over: brain says what percentiles"),
        ({"channels": [{"map": "adc", "below": 1, "percentiles": [0, 50]}]}, "below makes a binary prior"),
        ({"channels": [{"map": "adc", "below": 1, "background": 0}]}, "below makes a binary prior"),
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
        (RESIZE | {"channels": [{"map": "adc", "range": "image", "over": "brain"}]}, "over: brain needs brain"),
        (RESIZE | {"channels": [{"map": "adc", "background": 0}]}, "background needs brain"),
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


def test_a_derivation_is_said_by_name_or_with_options():
    short, long = (Channel.model_validate({"map": "adc", "derive": how}) for how in ("mirror", {"name": "mirror"}))
    assert short == long and Channel.model_validate_json(short.model_dump_json()) == short


def test_channels_that_say_where_a_voxel_lies():
    assert Channel.model_validate({"derive": "lesion-frequency"}).is_place
    assert not Channel.model_validate({"map": "adc", "derive": "mirror"}).is_place
