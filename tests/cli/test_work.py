"""Train, predict and evaluate, as a user would one after the other."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from multifocal.cohorts import Folds, open_cohort
from multifocal.metrics import METRICS
from multifocal.systems import Postprocess, postprocess
from multifocal.volumes import Geometry, Volume, read, write

NAMES = [f"S_{number}-VISIT_01" for number in range(6)]


def masks(folder):
    return sorted(path.name for path in folder.iterdir())


def rows(folder):
    return list(csv.DictReader((folder / "cases.csv").open()))


def written(folder):
    return f"written: {', '.join(str(folder / name) for name in ('cases.csv', 'lesions.csv', 'summary.json'))}\n"


def test_folds_train_predict_evaluate(multifocal, cohort, small_recipe, tmp_path):
    folds, run, out = tmp_path / "folds.json", tmp_path / "run", tmp_path / "masks"
    assert multifocal("data", "folds", cohort, "--out", folds, "--k", 3, "--scheme", "nested").code == 0
    fold = Folds.load(folds).folds[1]
    ended = multifocal("train", small_recipe, cohort, "--out", run, "--folds", folds, "--fold", 1, "--device", "cpu")
    assert ended.code == 0
    line = r"epoch \d of 3: loss [\d.]+, dice [\d.]+, [\d.]+ s, at most \d+ s left"
    assert len(ended.err.splitlines()) == 3 and all(re.fullmatch(line, told) for told in ended.err.splitlines())
    assert ended.out == (
        f"small: 2 cases to train on, 2 to validate, 2 left for testing\nweights: {run / 'weights.safetensors'}\n"
    )
    assert json.loads((run / "run.json").read_text())["parts"]["test"] == list(fold.test)

    ended = multifocal("predict", run, cohort, "--out", out, "--folds", folds, "--fold", 1, "--probabilities")
    assert (ended.code, ended.err, ended.out) == (0, "", f"2 masks in {out}\n")
    assert masks(out) == sorted(f"{name}_{kind}.mha" for name in fold.test for kind in ("lesion", "probability"))

    ended = multifocal("evaluate", out, cohort, "--out", tmp_path / "scores", "--folds", folds, "--fold", 1)
    assert (ended.code, ended.err) == (0, "")
    assert [row["case"] for row in rows(tmp_path / "scores")] == list(fold.test)
    whole = multifocal("evaluate", out, cohort, "--out", tmp_path / "whole")
    assert whole.code == 2 and whole.err.startswith(f"error: {out}: no prediction for ") and whole.err.count("\n") == 1
    assert not (tmp_path / "whole").exists()


SMALLER = {
    "hie-small": ("network.options={features: [2, 4], dropout: [0, 0.1]}",),
    "hie-unet3d-2025": (
        "network.options={features: [2, 4], dropout: [0, 0.1]}", "preprocessing.size=[24, 24, 8]",
    ),
    "hie-sparseg-2025": (
        "network.options={encoder: resnet18, attention: scse, depth: 3}", "preprocessing.size=[32, 32, null]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("recipe", SMALLER)
def test_every_recipe_trains_and_predicts(multifocal, cohort, tmp_path, recipe):
    settings = [part for setting in (*SMALLER[recipe], "training.epochs=2") for part in ("--set", setting)]
    ended = multifocal("train", recipe, cohort, "--out", tmp_path / "run", "--device", "cpu", *settings)
    assert ended.code == 0 and ended.err.count("epoch ") == ended.err.count("\n") == 2
    ended = multifocal("predict", tmp_path / "run", cohort, "--out", tmp_path / "masks", "--device", "cpu")
    assert ended.code == 0 and ended.err.startswith("6 of 6 cases are known from training (")
    for case in open_cohort(cohort):
        assert read(tmp_path / "masks" / f"{case.name}_lesion.mha").geometry == case.images["adc"].geometry()


def test_cases_that_a_run_was_trained_on_are_told_and_marked(multifocal, cohort, finished_run, tmp_path):
    """From the prediction to the evaluation, by way of an ensemble; other cases and systems take the mark away."""
    run, told = Path(shutil.copytree(finished_run, tmp_path / "run")), "3 of 6 cases are known from training (2 trained"
    parts = {"train": NAMES[:2], "validation": NAMES[2:3], "test": NAMES[3:]}
    (run / "run.json").write_text(json.dumps({"parts": parts, "cohort": {"fingerprint": ""}}))
    predict = ("predict", run, cohort, "--device", "cpu", "--out")
    ended = multifocal(*predict, tmp_path / "masks")
    assert ended.code == 0 and ended.err.startswith(told) and ended.err.count("\n") == 1
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "other")
    assert not (tmp_path / "other" / "seen.json").exists()
    multifocal("ensemble", tmp_path / "masks", tmp_path / "other", "--out", tmp_path / "both")
    ended = multifocal("evaluate", tmp_path / "both", cohort, "--out", tmp_path / "scores")
    assert ended.code == 0 and told in ended.out
    seen = json.loads((tmp_path / "scores" / "summary.json").read_text())["seen"]
    assert seen == {NAMES[0]: "train", NAMES[1]: "train", NAMES[2]: "validation"}
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks", "--overwrite")
    ended = multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "again")
    assert "known from training" not in ended.out and not (tmp_path / "masks" / "seen.json").exists()


def test_an_ensemble_has_seen_what_any_of_its_members_has(multifocal, cohort, finished_run, tmp_path):
    for number, parts in enumerate(
        ({"train": NAMES[:1], "validation": NAMES[1:3]}, {"train": NAMES[1:2], "validation": []})
    ):
        run = Path(shutil.copytree(finished_run, tmp_path / str(number)))
        (run / "run.json").write_text(json.dumps({"parts": {"test": []} | parts, "cohort": {}}))
    members = f"[{{run: {tmp_path / '0'}}}, {{run: {tmp_path / '1'}}}]"
    (tmp_path / "both.yaml").write_text(
        f"{{kind: ensemble, name: both, description: x, source: x, members: {members}}}"
    )
    ended = multifocal("predict", tmp_path / "both.yaml", cohort, "--out", tmp_path / "masks", "--device", "cpu")
    assert ended.code == 0 and ended.err.startswith("3 of 6 cases are known from training (2 trained on, 1 validated")


@pytest.mark.parametrize("below", ["-1.5", "-2.5"])
def test_the_threshold_with_another_value(multifocal, cohort, tmp_path, below):
    ended = multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "out", "--set", f"below={below}")
    assert (ended.code, ended.err, ended.out) == (0, "", f"6 masks in {tmp_path / 'out'}\n")
    for case in open_cohort(cohort):
        expected = (case.images["zadc"].read().array < float(below)) & (case.images["adc"].read().array != 0)
        found = read(tmp_path / "out" / f"{case.name}_lesion.mha")
        np.testing.assert_array_equal(found.array, expected)
        assert found.geometry == case.images["adc"].geometry()


def test_the_parts_of_a_system_are_folders_of_masks_like_any_other(multifocal, cohort, tmp_path):
    members = ", ".join(f"{{recipe: zadc-threshold, set: {{name: z{n}, below: {-n}}}}}" for n in (1, 2))
    says = f"{{kind: ensemble, name: both, members: [{members}], combine: {{rule: vote}}}}"
    (tmp_path / "both.yaml").write_text(says)
    out = tmp_path / "masks"
    ended = multifocal("predict", tmp_path / "both.yaml", cohort, "--out", out, "--parts")
    told = "".join(f"6 masks of part {part} in {out / 'parts' / part}\n" for part in ("0-z1", "1-z2"))
    assert (ended.code, ended.err, ended.out) == (0, "", f"6 masks in {out}\n{told}")
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "one", "--set", "below=-1.0")
    for file in (tmp_path / "one").glob("*.mha"):
        assert file.read_bytes() == (out / "parts" / "0-z1" / file.name).read_bytes()
    for name, folder in (("whole", out), ("z1", out / "parts" / "0-z1"), ("z2", out / "parts" / "1-z2")):
        assert multifocal("evaluate", folder, cohort, "--out", tmp_path / name).code == 0
    assert (
        multifocal("compare", *(tmp_path / name for name in ("whole", "z1", "z2")), "--out", tmp_path / "c").code == 0
    )
    # As the option was called before.
    assert multifocal("predict", tmp_path / "both.yaml", cohort, "--out", out, "--members", "--overwrite").code == 0


def test_what_follows_a_mean_can_be_said(multifocal, cohort, finished_run, tmp_path):
    for name in ("one", "other"):
        multifocal("predict", finished_run, cohort, "--out", tmp_path / name, "--probabilities", "--device", "cpu")
    said = ("--threshold", 0.5, "--hysteresis", 0.4, "--min-size-voxels", 3, "--min-size-dimensions", 2)
    said += ("--min-size-ml", 0.02, "--temperature", 0.9, "--largest-only")
    mean = ("ensemble", tmp_path / "one", tmp_path / "other", "--how", "mean", "--out")
    assert multifocal(*mean, tmp_path / "both", *said).code == 0
    settings = Postprocess(
        threshold=0.5,
        hysteresis=0.4,
        min_size_voxels=3,
        min_size_dimensions=2,
        min_size_ml=0.02,
        temperature=0.9,
        largest_only=True,
    )
    found = 0
    for file in (tmp_path / "one").glob("*_probability.mha"):
        expected, _ = postprocess(read(file), settings)
        both = read(tmp_path / "both" / file.name.replace("_probability", "_lesion")).array
        np.testing.assert_array_equal(both, expected.array)
        found += int(both.sum())
    assert found
    ended = multifocal(*mean, tmp_path / "no", "--hysteresis", 0.8)
    assert ended.code == 2 and "--how mean: hysteresis=0.8 is above threshold=0.5" in ended.err
    ended = multifocal("ensemble", tmp_path / "one", tmp_path / "other", "--out", tmp_path / "no", "--largest-only")
    assert ended.code == 2 and "--largest-only means nothing with --how vote; leave it out" in ended.err


def test_what_a_killed_command_left_half_written_is_cleared_by_the_next(multifocal, cohort, tmp_path):
    one, other, both, scores = (tmp_path / name for name in ("one", "other", "both", "scores"))
    for folder in (one, other, both, scores):
        (folder / ".writing-x").mkdir(parents=True)
        (folder / ".writing-x" / "half").write_text("")
    for folder in (one, other):
        assert multifocal("predict", "zadc-threshold", cohort, "--out", folder).code == 0
    assert multifocal("ensemble", one, other, "--out", both).code == 0
    assert multifocal("evaluate", both, cohort, "--out", scores).code == 0
    assert not list(tmp_path.glob("*/.writing-*"))


def test_existing_masks_and_scores_are_replaced_only_when_told(multifocal, cohort, tmp_path):
    predict = ("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    evaluate = ("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores")
    assert multifocal(*predict).code == multifocal(*evaluate).code == 0
    before = (tmp_path / "scores" / "cases.csv").read_text()
    for command in (predict, evaluate):
        ended = multifocal(*command)
        assert ended.code == 2 and ended.err.count("\n") == 1 and "--overwrite" in ended.err
    assert (
        multifocal(*predict, "--set", "below=-1", "--overwrite").code == multifocal(*evaluate, "--overwrite").code == 0
    )
    assert (tmp_path / "scores" / "cases.csv").read_text() != before


def test_evaluation_writes_every_metric_of_every_case_and_shows_the_means(multifocal, cohort, tmp_path):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    ended = multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores", "--tolerance", 3)
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["cases.csv", "lesions.csv", "summary.json"]
    found = rows(tmp_path / "scores")
    assert [row["case"] for row in found] == NAMES
    assert list(found[0]) == ["case", *METRICS, "stratum", "share_of_brain", "diagonal_mm"]
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    settings = {"tolerance_mm": 3.0, "convention": "surfel", "matching": "overlap", "allow_missing": False}
    assert summary["settings"].items() >= settings.items()
    mean = np.mean([float(row["dice"]) for row in found])
    assert summary["overall"]["metrics"]["dice"]["mean"] == pytest.approx(mean)
    assert f"{mean:.3f}" in ended.out and "no lesion" in ended.out and "MASD (mm)" in ended.out
    assert ended.out.endswith(written(tmp_path / "scores"))


def test_undefined_distances_can_count_as_the_diagonal(multifocal, cohort, tmp_path):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    means = {}
    for rule in ("skip", "diagonal"):
        multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / rule, "--undefined", rule)
        summary = json.loads((tmp_path / rule / "summary.json").read_text())["overall"]["metrics"]["masd"]
        means[rule] = summary["mean"]
        assert summary["undefined"] == 1  # the case without lesion
    assert means["diagonal"] > means["skip"]


def test_missing_predictions_are_named_or_scored_as_empty(multifocal, cohort, tmp_path):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    (tmp_path / "masks" / f"{NAMES[2]}_lesion.mha").unlink()
    evaluate = ("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores")
    ended = multifocal(*evaluate)
    assert ended.code == 2 and ended.err.count("\n") == 1 and f"no prediction for {NAMES[2]}" in ended.err
    assert not (tmp_path / "scores").exists()
    assert multifocal(*evaluate, "--allow-missing").code == 0
    scored = {row["case"]: row for row in rows(tmp_path / "scores")}
    assert len(scored) == 6 and float(scored[NAMES[2]]["dice"]) == 0 and float(scored[NAMES[2]]["predicted_ml"]) == 0


def test_surplus_predictions_are_named(multifocal, cohort, tmp_path):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    (tmp_path / "masks" / f"{NAMES[2]}_lesion.mha").rename(tmp_path / "masks" / "S_77_lesion.mha")
    ended = multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores", "--allow-missing")
    assert ended.code == 2 and ended.err.count("\n") == 1 and "S_77" in ended.err


def test_a_prediction_on_another_grid_is_named(multifocal, cohort, tmp_path):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    path = tmp_path / "masks" / f"{NAMES[4]}_lesion.mha"
    mask = read(path)
    grid = Geometry(mask.geometry.size, (2.0, 2.0, 4.0), mask.geometry.origin, mask.geometry.direction)
    write(path, Volume(mask.array, grid))
    ended = multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores")
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert f"case {NAMES[4]}" in ended.err and "spacing 2×2×4 instead of 2×2×3" in ended.err
    assert not (tmp_path / "scores").exists()


def test_a_prediction_that_is_no_mask_is_named(multifocal, cohort, tmp_path):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    path = tmp_path / "masks" / f"{NAMES[4]}_lesion.mha"
    mask = read(path)
    write(path, Volume(mask.array.astype(np.float32) * 0.5, mask.geometry))
    ended = multifocal("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "scores")
    assert ended.code == 2 and ended.err.count("\n") == 1 and path.name in ended.err
    assert masks(tmp_path / "scores") == ["unfinished.jsonl"]


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
@pytest.mark.parametrize(("option", "value"), [("--folds", "folds.json"), ("--fold", "0")])
def test_fold_and_file_belong_together(multifocal, cohort, finished_run, tmp_path, command, option, value):
    first = {"train": "default", "predict": finished_run, "evaluate": tmp_path}[command]
    ended = multifocal(command, first, cohort, "--out", tmp_path / "out", option, value)
    assert ended.code == 2 and ended.err == "error: --folds FILE and --fold K belong together\n"


def test_folds_of_another_cohort(multifocal, cohort, finished_run, tmp_path):
    multifocal("data", "folds", cohort, "--out", tmp_path / "folds.json", "--k", 2)
    for file in cohort.rglob(f"*{NAMES[0]}*"):
        file.unlink()
    for command, first in (("train", "default"), ("predict", finished_run), ("evaluate", tmp_path)):
        ended = multifocal(
            command, first, cohort, "--out", tmp_path / "o", "--folds", tmp_path / "folds.json", "--fold", 0
        )
        assert ended.code == 2 and ended.err.count("\n") == 1 and f"missing from the cohort: {NAMES[0]}" in ended.err
    assert not (tmp_path / "o").exists()


def test_a_recipe_without_training_is_not_trained(multifocal, cohort, tmp_path):
    ended = multifocal("train", "zadc-threshold", cohort, "--out", tmp_path / "run")
    assert ended.code == 2 and not (tmp_path / "run").exists()
    assert ended.err == (
        "error: recipe zadc-threshold needs no training; run `multifocal predict zadc-threshold COHORT --out DIR`\n"
    )


def test_names_and_paths_may_look_like_markup(multifocal, cohort, tmp_path):
    out = tmp_path / "[bold]masks[/bold]" / "[red]"
    assert multifocal("predict", "zadc-threshold", cohort, "--out", out).out == f"6 masks in {out}\n"
    ended = multifocal("evaluate", out, cohort, "--out", tmp_path / "[b]")
    assert ended.out.endswith(written(tmp_path / "[b]"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.epoch=3", "training: unknown key 'epoch'; did you mean 'epochs'?"),
        ("trainning.epochs=3", "unknown key 'trainning'; did you mean 'training'?"),
        ("loss.name=dice-focall", "unknown loss 'dice-focall'; did you mean 'dice-focal'?"),
        ("network.name=unet3", "unknown network 'unet3'; did you mean 'unet3d'?"),
        ("network.options.feature=[2, 4]", "unknown key 'feature'; did you mean 'features'?"),
        ("preprocessing.channels.0.zscor=brain", "unknown key 'zscor'; did you mean 'zscore'?"),
        ("schedule={name: cosin}", "schedule"),
        ("training.epochs=none", "training.epochs"),
        ("training.epochs", "expected key=value"),
        ("training.epochs=[", "not valid YAML"),
    ],
)
def test_settings_are_checked_before_any_work(multifocal, tmp_path, setting, message):
    """The cohort is not even there."""
    ended = multifocal("train", "hie-small", tmp_path / "nowhere", "--out", tmp_path / "run", "--set", setting)
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert message in ended.err and not (tmp_path / "run").exists()


def test_scans_without_labels_are_predicted_but_neither_trained_on_nor_scored(
    multifocal, cohort, small_recipe, finished_run, tmp_path
):
    for file in (cohort / "3LABEL").iterdir():
        file.unlink()
    (cohort / "3LABEL").rmdir()
    assert multifocal("predict", finished_run, cohort, "--out", tmp_path / "masks", "--device", "cpu").code == 0
    assert len(masks(tmp_path / "masks")) == 6
    for command, first in (("train", small_recipe), ("evaluate", tmp_path / "masks")):
        ended = multifocal(command, first, cohort, "--out", tmp_path / "out")
        assert ended.code == 2 and ended.err.count("\n") == 1 and "label" in ended.err
        assert not (tmp_path / "out").exists()


def test_2d_images_from_training_to_scores(multifocal, tmp_path):
    grid = Geometry((30, 26), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    for number in range(5):
        chance = np.random.default_rng(number)
        nuclei = np.zeros(grid.size, np.uint8)
        for instance in range(1, 5):
            x, y = chance.integers(0, 24), chance.integers(0, 20)
            nuclei[x : x + 5, y : y + 5] = instance
        image = np.where(nuclei > 0, 180, 60) + chance.integers(-20, 20, grid.size)
        write(tmp_path / "cells" / "images" / f"c{number}.png", Volume(image.astype(np.uint8), grid))
        write(tmp_path / "cells" / "masks" / f"c{number}.png", Volume(nuclei, grid))
    (tmp_path / "cells.yaml").write_text("""
name: cells
description: nuclei
source: tests
preprocessing: {kind: resize, size: [null, null], channels: [{map: image, range: [0, 255]}]}
augmentation: {flip: {p: 0.5}}
network: {name: unetpp, options: {encoder: resnet18, depth: 3}}
loss: {name: dice}
optimizer: {lr: 1e-3}
training: {epochs: 2, batch_size: 2, monitor: dice, precision: 32}
""")
    run, out = tmp_path / "run", tmp_path / "masks"
    ended = multifocal("train", tmp_path / "cells.yaml", tmp_path / "cells", "--out", run, "--device", "cpu")
    assert ended.code == 0 and ended.err.count("epoch ") == ended.err.count("\n") == 2
    ended = multifocal("predict", run, tmp_path / "cells", "--out", out, "--device", "cpu", "--probabilities")
    assert ended.code == 0 and ended.err.startswith(
        "5 of 5 cases are known from training (4 trained on, 1 validated on)"
    )
    expected = [f"c{n}_{kind}" for n in range(5) for kind in ("lesion.png", "probability.nrrd")]
    assert masks(out) == sorted([*expected, "seen.json"])
    ended = multifocal("evaluate", out, tmp_path / "cells", "--out", tmp_path / "scores")
    assert (ended.code, ended.err) == (0, "") and len(rows(tmp_path / "scores")) == 5
