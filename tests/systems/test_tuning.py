"""The choice of what stands between probability and mask, against a search that goes through everything by hand."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import special, stats

from multifocal import recipes
from multifocal.cohorts import Case, Cohort, ImageFile
from multifocal.errors import UserError
from multifocal.metrics import ScoringOptions, evaluate_case
from multifocal.systems import Tuned, Tuner, Tuning
from multifocal.systems.postprocess import MaskSettings, Postprocess, postprocess
from multifocal.systems.tuning import TUNED, choose, read_tuned, score_settings
from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((9, 8, 6), (1.0, 1.5, 2.0), (3.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
DIAGONAL = float(np.linalg.norm(np.multiply(GRID.size, GRID.spacing)))


def made_up(seed):
    """Return a probability and a label that have to do with each other; every fifth label is empty."""
    rng = np.random.default_rng(seed)
    label = np.zeros(GRID.size, bool)
    for _ in range(0 if seed % 5 == 4 else 3):
        low = [rng.integers(0, n - 2) for n in GRID.size]
        label[tuple(slice(a, a + rng.integers(1, 4)) for a in low)] = True
    return special.expit(4.0 * label - 2.5 + rng.normal(0, 1.5, GRID.size)).astype(np.float32), label


def written(folder, number, *, labels=None):
    """Write made-up cases; return their maps, the cohort, and what is in them."""
    cases, maps, held = [], {}, {}
    for seed in range(number):
        name = f"c{seed}"
        probability, label = made_up(seed)
        label = (labels or {}).get(name, label)
        write(folder / f"{name}_adc.nii.gz", Volume(np.ones(GRID.size, np.float32), GRID))
        write(folder / f"{name}_label.nii.gz", Volume(label.astype(np.uint8), GRID))
        write(folder / f"{name}_probability.nii.gz", Volume(probability, GRID))
        image = {"adc": ImageFile(folder / f"{name}_adc.nii.gz")}
        cases.append(Case(name, name, image, ImageFile(folder / f"{name}_label.nii.gz")))
        maps[name], held[name] = folder / f"{name}_probability.nii.gz", (probability, label)
    return maps, Cohort("made up", folder, "manifest", tuple(cases)), held


@pytest.fixture
def files(tmp_path):
    """As many made-up cases."""
    return lambda number: written(tmp_path, number)


def by_hand(held, names, tuning, base, metrics, temperature=1.0):
    """Score every combination by the public functions, and return the means, a row a combination."""
    rows = []
    values = {"threshold": [base.threshold], "hysteresis": [base.hysteresis], "min_size_voxels": [0]}
    values |= {"largest_only": [base.largest_only]} | tuning.axes
    for t, h, n, largest in product(*values.values()):
        if h is not None and h > t:
            continue
        way = Postprocess(threshold=t, hysteresis=h, min_size_voxels=n, largest_only=largest, temperature=temperature)
        scores = []
        for name in names:
            probability, label = held[name]
            mask = postprocess(Volume(probability, GRID), way)[0].array
            found = evaluate_case(mask, label, spacing=GRID.spacing)
            scores.append([DIAGONAL if m == "masd" and np.isnan(found[m]) else found[m] for m in metrics])
        rows.append(np.nanmean(scores, axis=0))
    return np.array(rows)


@pytest.mark.parametrize("metrics", [("dice",), ("masd",), ("f1",), ("dice", "masd", "nsd", "f1")])
def test_the_choice_is_the_best_of_all_combinations(files, metrics):
    maps, cohort, held = files(6)
    tuning = Tuning(
        metric=metrics,
        threshold=(0.3, 0.5, 0.7),
        hysteresis=(None, 0.4),
        min_size_voxels=(0, 3),
        largest_only=(False, True),
    )
    found = Tuner(maps, cohort, tuning, MaskSettings(threshold=0.6)).on(list(maps))
    means = by_hand(held, list(maps), tuning, MaskSettings(threshold=0.6), metrics)
    assert len(found.points) == len(means) == 2 * 2 * (2 + 3)
    np.testing.assert_allclose([[point.means[name] for name in metrics] for point in found.points], means, rtol=1e-12)
    signs = [-1 if name in ("dice", "nsd", "f1") else 1 for name in metrics]
    ranks = sum(stats.rankdata(sign * column) for sign, column in zip(signs, means.T, strict=True))
    assert found.choice == found.points[int(np.argmin(ranks))].settings
    untuned = by_hand(held, list(maps), Tuning(threshold=(0.6,)), MaskSettings(), metrics)[0]
    np.testing.assert_allclose([found.untuned.means[name] for name in metrics], untuned, rtol=1e-12)
    assert found.untuned.settings["threshold"] == 0.6


def test_settings_that_are_not_tried_stay(files):
    maps, cohort, _ = files(3)
    tuning = Tuning(threshold=(0.5,))
    plain = Tuner(maps, cohort, tuning, MaskSettings()).on(list(maps))
    kept = Tuner(maps, cohort, tuning, MaskSettings(largest_only=True)).on(list(maps))
    assert plain.points[0].means != kept.points[0].means and kept.choice == {"threshold": 0.5}


@given(st.integers(0, 10_000))
@settings(max_examples=10)
def test_no_label_of_another_case_changes_the_choice(seed):
    tuning = Tuning(metric=("dice", "f1"), threshold=(0.3, 0.5, 0.7), calibration="temperature")
    rng, found = np.random.default_rng(seed), []
    others = {f"c{n}": rng.permutation(made_up(n)[1].ravel()).reshape(GRID.size) for n in (0, 3)}
    for labels in ({}, others):
        with TemporaryDirectory() as folder:
            maps, cohort, _ = written(Path(folder), 5, labels=labels)
            found.append(Tuner(maps, cohort, tuning, MaskSettings()).on(["c1", "c2", "c4"]))
    assert found[0] == found[1]


def test_the_temperature_comes_before_the_thresholds(files):
    maps, cohort, held = files(5)
    tuning = Tuning(threshold=(0.3, 0.5, 0.7), calibration="temperature")
    found = Tuner(maps, cohort, tuning, MaskSettings(temperature=2.0)).on(list(maps))
    temperature = found.calibration.temperature
    assert temperature != 1.0 and found.choice["temperature"] == 2.0 * temperature
    means = by_hand(held, list(maps), tuning, MaskSettings(), ("dice",), temperature)
    np.testing.assert_allclose([point.means["dice"] for point in found.points], means[:, 0], rtol=1e-12)
    p, y = (np.concatenate([each[part].ravel() for each in held.values()]) for part in (0, 1))
    assert found.calibration.before.brier == pytest.approx(np.mean((p - y) ** 2), rel=1e-3)
    assert found.calibration.voxels == len(p)


def test_the_temperature_alone(files):
    maps, cohort, _ = files(3)
    found = Tuner(maps, cohort, Tuning(calibration="temperature"), MaskSettings()).on(list(maps))
    assert list(found.choice) == ["temperature"] and len(found.points) == 1


def test_the_brain_bounds_the_temperature(files):
    maps, cohort, held = files(2)
    inside = np.zeros(GRID.size, np.float32)
    inside[:5] = 1
    for case in cohort:
        write(case.images["adc"].path, Volume(inside, GRID))
    found = Tuner(maps, cohort, Tuning(calibration="temperature"), MaskSettings()).on(list(maps))
    assert found.calibration.voxels == 2 * inside.sum()
    whole = Tuner(maps, replace(cohort, label_kind="instances"), Tuning(calibration="temperature"), MaskSettings())
    assert whole.on(list(maps)).calibration.voxels == 2 * inside.size


def test_the_mask_is_that_of_the_choice(files):
    maps, cohort, held = files(3)
    tuning = Tuning(threshold=(0.3, 0.7), min_size_voxels=(2, 4), calibration="temperature")
    tuner = Tuner(maps, cohort, tuning, MaskSettings(temperature=1.5))
    found = tuner.on(["c0", "c1"])
    way = Postprocess(**{**found.choice, "temperature": found.calibration.temperature})
    expected = postprocess(Volume(held["c2"][0], GRID), way)[0].array
    assert np.array_equal(tuner.mask("c2", found).array, expected)


def test_parts_of_the_cases_are_chosen_on_by_themselves(files):
    maps, cohort, _ = files(6)
    tuning = Tuning(metric="f1", threshold=(0.2, 0.4, 0.6, 0.8), calibration="temperature")
    tuner = Tuner(maps, cohort, tuning, MaskSettings())
    for part in (["c0", "c1", "c2"], ["c3", "c5"], ["c0", "c1", "c2"]):
        alone = Tuner(maps, cohort, tuning, MaskSettings()).on(part)
        assert tuner.on(part) == alone and alone.cases == tuple(part)


def test_processes_change_nothing(files):
    maps, cohort, _ = files(6)
    tuning = Tuning(threshold=(0.3, 0.6), calibration="temperature")
    alone, together = (Tuner(maps, cohort, tuning, MaskSettings(), workers=n).on(list(maps)) for n in (1, 2))
    assert alone == together


def test_what_nothing_is_better_than_stays(files):
    maps, cohort, _ = files(2)
    tuning = Tuning(threshold=(0.9, 0.95, 0.99), min_size_voxels=(400, 0))
    for threshold, chosen in ((0.95, 0.95), (0.5, 0.9)):
        base = MaskSettings(threshold=threshold, min_size_voxels=400)  # more than any lesion has: all masks are empty
        only = tuning.model_copy(update={"min_size_voxels": (400,)})
        assert Tuner(maps, cohort, only, base).on(list(maps)).choice == {"threshold": chosen, "min_size_voxels": 400}
    assert choose(np.array([[[0.7], [0.7], [0.5]]]), ["dice"], own=1) == 1
    assert choose(np.array([[[0.7], [0.7], [0.5]]]), ["dice"], own=2) == 0


def test_of_equally_good_ones_the_first():
    assert choose(np.array([[[0.5], [0.7], [0.7]]]), ["dice"]) == 1
    assert choose(np.array([[[0.5], [0.7], [0.7]]]), ["masd"]) == 0
    assert choose(np.array([[[0.5, 1.0], [0.7, 2.0]]]), ["dice", "masd"]) == 0


def test_a_metric_that_is_undefined_comes_last_or_says_so():
    some = np.array([[[np.nan], [0.1]], [[np.nan], [0.3]]])
    assert choose(some, ["precision"]) == 1
    with pytest.raises(UserError, match="by precision: it is undefined in all 2 cases"):
        choose(np.full((2, 3, 1), np.nan), ["precision"])


def test_cases_without_lesion_count_as_the_metrics_say(files):
    maps, cohort, _ = files(5)
    found = Tuner(maps, cohort, Tuning(metric=("dice", "masd"), threshold=(0.3, 0.999)), MaskSettings()).on(["c4"])
    assert found.points[0].means == {"dice": 0.0, "masd": DIAGONAL}
    assert found.points[1].means == {"dice": 1.0, "masd": 0.0} and found.choice == {"threshold": 0.999}


def test_rules_of_the_scores_are_kept(files):
    maps, cohort, _ = files(4)
    tuning = Tuning(metric="nsd", threshold=(0.5,))
    wide = Tuner(maps, cohort, tuning, MaskSettings(), options=ScoringOptions(tolerance=5.0)).on(list(maps))
    assert (
        wide.points[0].means["nsd"] > Tuner(maps, cohort, tuning, MaskSettings()).on(list(maps)).points[0].means["nsd"]
    )


def test_what_is_read_back_is_what_was_written(files, tmp_path):
    maps, cohort, _ = files(3)
    tuning = Tuning(threshold=(0.3, 0.6), hysteresis=(None, 0.2), calibration="temperature")
    found = Tuner(maps, cohort, tuning, MaskSettings()).on(list(maps))
    (tmp_path / TUNED).write_text(found.model_dump_json())
    assert read_tuned(tmp_path) == found and isinstance(found, Tuned)
    (tmp_path / TUNED).write_text('{"choice": {}}')
    with pytest.raises(UserError, match=r"tuned\.json"):
        read_tuned(tmp_path)


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({}, "nothing to choose"),
        ({"metric": "dicee", "threshold": [0.5]}, "dicee"),
        ({"metric": "true_ml", "threshold": [0.5]}, "no best value"),
        ({"threshold": [1.5]}, "less than 1"),
        ({"metric": [], "threshold": [0.5]}, "at least 1"),
        ({"min_size_ml": [-1]}, "0"),
    ],
)
def test_what_cannot_be_tuned(says, message):
    with pytest.raises(ValidationError, match=message):
        Tuning(**says)


def test_the_threshold_of_the_expected_dice_is_one_to_try():
    tuning = Tuning(threshold=(0.5, "dice"), hysteresis=(None, 0.4))
    assert [(point["threshold"], point["hysteresis"]) for point in tuning.points(MaskSettings())] == [
        (0.5, None), (0.5, 0.4), ("dice", None),
    ]  # fmt: skip
    values = np.array([[[0.3, 0.3, 0.02, 0.0]]])
    grid = Geometry((1, 1, 4), (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    ways = [MaskSettings(), MaskSettings(threshold="dice"), MaskSettings(threshold="dice", temperature=2.0)]
    options = ScoringOptions()
    scores = score_settings(Volume(values, grid), values > 0.1, ways, metrics=["dice"], options=options)
    assert scores.ravel().tolist() == [0.0, 1.0, 1.0]


def test_a_recipe_whose_hysteresis_is_always_above_is_refused():
    with pytest.raises(UserError, match="hysteresis is above the threshold in every combination"):
        recipes.load("hie-small", overrides=["inference.tune={hysteresis: [0.6, 0.7]}"])


def test_files_that_do_not_fit(files):
    maps, cohort, held = files(2)
    tuner = Tuner(maps, cohort, Tuning(threshold=(0.5,)), MaskSettings())
    with pytest.raises(UserError, match="needs cases"):
        tuner.on([])
    shifted = replace(GRID, origin=(9.0, 0.0, 0.0))
    write(maps["c0"], Volume(held["c0"][0], shifted))
    with pytest.raises(UserError, match="another grid"):
        tuner.on(["c0"])
    for value in (np.nan, 1.5):
        write(maps["c1"], Volume(np.full(GRID.size, value, np.float32), GRID))
        with pytest.raises(UserError, match=r"NaN|something else than probabilities"):
            tuner.on(["c1"])
    unlabelled = replace(cohort, cases=tuple(replace(case, label=None) for case in cohort))
    with pytest.raises(UserError, match="has no label to tune by"):
        Tuner(maps, unlabelled, Tuning(threshold=(0.5,)), MaskSettings()).on(["c0"])
