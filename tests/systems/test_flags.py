"""What is odd about a scan: each flag by a scan that is spoiled in that way, and by none that is not."""

from dataclasses import replace

import numpy as np
import pytest

from multifocal.cohorts import Case, Fold, ImageFile, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.systems import flags, load_model, model_digest, uncertainty
from multifocal.systems.flags import Flag
from multifocal.systems.ranges import RANGES, read_ranges, training_ranges
from multifocal.systems.system import Prediction
from multifocal.training import fit
from multifocal.volumes import Volume, write


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, cases=6, seed=3)
    return open_cohort(folder)


@pytest.fixture(scope="module")
def ranges(phantom):
    return training_ranges(phantom)


def judged(case, ranges, *, mask=None, **options):
    adc = case.images["adc"].read()
    prediction = load_model("zadc-threshold").predict(case)
    if mask is not None:
        prediction = Prediction(Volume(mask(adc.array).astype(np.uint8), adc.geometry), None)
    return flags(case, prediction, ranges=ranges, **options)


def raised(found):
    return {flag.name for flag in found if flag.raised}


def spoiled(case, folder, change):
    """The case with both maps changed; what returns arrays keeps the grid."""
    images = {}
    for name, image in case.images.items():
        volume = image.read()
        found = change(name, volume)
        images[name] = ImageFile(folder / f"{name}.mha")
        write(
            images[name].path,
            found if isinstance(found, Volume) else Volume(np.ascontiguousarray(found), volume.geometry),
        )
    return Case(case.name, case.subject, images)


def test_scans_that_it_was_trained_on_are_not_odd(phantom, ranges):
    for case in phantom:
        mask = case.label.read().array
        found = judged(case, ranges, mask=lambda _, mask=mask: mask)
        assert raised(found) <= {"empty mask"}, case.name
        assert all(flag.source for flag in found)


def scaled(factor):
    return lambda name, volume: volume.array * (factor if name == "adc" else 1.0)


def turned(row):
    return lambda name, volume: np.flip(volume.array, int(np.argmax(np.abs(volume.geometry.matrix[row]))))


def wide(name, volume):
    return Volume(volume.array, replace(volume.geometry, spacing=tuple(2.5 * each for each in volume.geometry.spacing)))


def noisy(name, volume):
    noise = np.random.default_rng(0).normal(0, 400, volume.array.shape)
    return np.where(volume.array != 0, volume.array + noise * (name == "adc"), 0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (scaled(1e-3), {"unit", "intensity"}),
        (scaled(1e3), {"unit", "intensity"}),
        (scaled(0.4), {"intensity"}),
        (turned(1), {"turned round"}),
        (turned(2), {"turned round"}),
        (wide, {"spacing", "field of view", "brain volume", "brain size"}),
        (noisy, {"noise"}),
        (lambda name, volume: np.ones_like(volume.array), {"brain cut off"}),
    ],
)
def test_what_is_spoiled_is_flagged(phantom, ranges, tmp_path, change, expected):
    case = spoiled(phantom.cases[2], tmp_path, change)
    assert expected <= raised(judged(case, ranges))


def test_a_unit_is_only_flagged_where_it_is_one(phantom, ranges, tmp_path):
    assert "unit" not in raised(judged(spoiled(phantom.cases[2], tmp_path, scaled(0.4)), ranges))
    assert not [flag for flag in judged(phantom.cases[2], ranges) if flag.name == "unit" and "zadc" in flag.number]


def test_what_the_mask_says(phantom, ranges):
    case = phantom.cases[2]
    assert "empty mask" in raised(judged(case, ranges, mask=np.zeros_like))
    from scipy import ndimage

    rim = judged(case, ranges, mask=lambda adc: (adc != 0) & ~ndimage.binary_erosion(adc != 0))
    assert "lesion at the brain's edge" in raised(rim)
    adc = case.images["adc"].read()
    one, other = (Prediction(Volume((adc.array > 0).astype(np.uint8) * on, adc.geometry), None) for on in (0, 1))
    apart = uncertainty(other, {"a": one, "b": other})
    found = judged(case, ranges, mask=lambda adc: adc > 0, uncertainty=apart)
    assert "members disagree" in raised(found)
    assert "members disagree" not in raised(
        judged(case, ranges, uncertainty=uncertainty(other, {"a": other, "b": other}))
    )


def test_without_ranges_it_is_said_that_nothing_is_known(phantom):
    found = judged(phantom.cases[2], None)
    about = [flag for flag in found if flag.name not in ("empty mask", "members disagree")]
    assert about and all(flag.raised is None and flag.low is None for flag in about)
    assert all("is not known (the run has no ranges.json)" in flag.text for flag in about)


def test_a_flag_is_one_line_for_people():
    flag = Flag("noise", "noise", 0.3, 0.01, 0.12, "share", "range of 32 training cases and a quarter", raised=True)
    assert flag.text == "noise: noise is 0.3 share, above 0.12 (range of 32 training cases and a quarter)"
    low = Flag("members disagree", "agreement", 0.4, 0.5, None, "", "our choice", raised=True)
    assert low.text == "members disagree: agreement is 0.4, below 0.5 (our choice)"


def test_training_writes_the_ranges_once_and_models_have_them(small_cohort, small_recipe, tmp_path):
    from multifocal import recipes

    cohort = open_cohort(small_cohort)
    names = tuple(case.name for case in cohort)
    split = Fold(train=names[:4], validation=names[4:], test=())
    members = [{"recipe": str(small_recipe), "set": {"training": {"seed": seed, "epochs": 1}}} for seed in (0, 1)]
    says = {"kind": "ensemble", "name": "two", "description": "", "source": "", "members": members}
    recipe = recipes.parse(says, where="two.yaml")
    fit(recipe, cohort, split=split, out=tmp_path / "run", progress=False, device="cpu")
    assert [path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob(RANGES)] == [RANGES]
    model = load_model(tmp_path / "run", device="cpu")
    [ranges] = model.ranges
    assert ranges == read_ranges(tmp_path / "run") == training_ranges(cohort.subset(names[:4]))
    digest = model_digest(tmp_path / "run")
    (tmp_path / "run" / RANGES).unlink()
    assert load_model(tmp_path / "run", device="cpu").ranges == (None,)
    assert model_digest(tmp_path / "run") == digest  # what it finds is the same


def test_what_is_odd_to_one_of_several_trainings_is_odd(phantom, ranges, tmp_path):
    case = spoiled(phantom.cases[2], tmp_path, noisy)
    calm = judged(phantom.cases[2], (ranges, ranges))
    assert not raised(calm) - {"empty mask"} and all(flag.raised is False for flag in calm if flag.name == "spacing")
    wider = {name: one.model_copy(update={"least": -1e9, "most": 1e9}) for name, one in ranges.numbers.items()}
    anything = ranges.model_copy(update={"numbers": wider})
    assert "noise" not in raised(judged(case, anything))
    for several in ((anything, ranges), (ranges, anything)):
        found = judged(case, several)
        assert "noise" in raised(found) and len(found) == len(judged(case, ranges))
        [flag] = [flag for flag in found if flag.name == "noise"]
        assert f"training {1 + several.index(ranges)} of 2" in flag.text


def test_what_is_odd_to_no_training_is_not_known_where_one_is_not(phantom, ranges, tmp_path):
    found = judged(phantom.cases[2], (ranges, None))
    assert {flag.raised for flag in found if flag.name == "spacing"} == {None}
    assert "noise" in raised(judged(spoiled(phantom.cases[2], tmp_path, noisy), (None, ranges)))


def test_models_together_have_the_ranges_of_each(small_cohort, small_recipe, tmp_path):
    from multifocal import recipes
    from multifocal.systems import build, join

    cohort = open_cohort(small_cohort)
    names = tuple(case.name for case in cohort)
    recipe = recipes.load(small_recipe, overrides=["training.epochs=1"])
    for which, train in enumerate((names[:3], names[1:4])):
        split = Fold(train=train, validation=names[4:], test=())
        fit(recipe, cohort, split=split, out=tmp_path / str(which), progress=False, device="cpu")
    first, second = (read_ranges(tmp_path / str(which)) for which in range(2))
    runs = [str(tmp_path / str(which)) for which in range(2)]
    assert first != second and join([*runs, runs[0], "zadc-threshold"], device="cpu").ranges == (first, second)
    members = [{"run": run} for run in runs]
    says = {"kind": "ensemble", "name": "two", "description": "", "source": "", "members": members}
    assert build(recipes.parse(says, where="two.yaml"), device="cpu").ranges == (first, second)
