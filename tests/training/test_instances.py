"""Instances that touch: a network of insides and borders, its label maps, and who refuses them."""

import numpy as np
import pytest
import yaml

from multifocal import recipes, studies
from multifocal.cohorts import Fold, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.errors import UserError
from multifocal.evaluation import evaluate_cohort
from multifocal.systems import load_model, predict_cohort
from multifocal.training import fit
from multifocal.volumes import read

pytest.importorskip("skimage")
SMALL = (
    "network.options={channels: [4, 8], strides: [2], num_res_units: 0}",
    "sampling={crop: [32, 32], per_case: 1}",
    "training.epochs=1",
    "training.batch_size=2",
    "inference.flips=[]",
)


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei") / "cohort"
    write_phantom(folder, cases=4, seed=0, kind="nuclei")
    return open_cohort(folder)


@pytest.fixture(scope="module")
def run(nuclei, tmp_path_factory):
    out = tmp_path_factory.mktemp("instances") / "run"
    names = tuple(case.name for case in nuclei)
    recipe = recipes.load("nuclei-default", overrides=SMALL)
    fit(recipe, nuclei, split=Fold(train=names[:3], validation=(), test=names[3:]), out=out, progress=False)
    return out


def test_label_maps_come_out_and_are_scored_instance_by_instance(run, nuclei, tmp_path):
    model, tested = load_model(run), nuclei.subset([nuclei.cases[3].name])
    files = predict_cohort(model, tested, tmp_path / "maps", probabilities=True)
    found = read(files[0])
    assert found.array.dtype == np.uint16 and set(model.predict(tested.cases[0]).classes) == {"inside", "border"}
    scores = evaluate_cohort(tmp_path / "maps", tested, label_maps="both", matching="iou")
    assert scores.rows[0]["predicted_lesions"] == len(np.unique(found.array)) - 1
    assert scores.rows[0]["true_lesions"] == len(np.unique(tested.cases[0].label.read().array)) - 1


def test_validation_scores_insides_and_borders(nuclei, tmp_path, log):
    names = tuple(case.name for case in nuclei)
    recipe = recipes.load("nuclei-default", overrides=[*SMALL, "training.monitor=dice"])
    split = Fold(train=names[:3], validation=names[3:], test=())
    fit(recipe, nuclei, split=split, out=tmp_path / "run", progress=False)
    (row,) = log(tmp_path / "run")
    parts = [float(row[f"val/dice/{name}"]) for name in ("inside", "border")]
    assert float(row["val/dice"]) == pytest.approx(np.mean(parts), abs=1e-6)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["inference.instances=null"], r"labels.border finds borders .*set that to {kind: watershed, border: border}"),
        (["inference.instances.border=null"], "labels.border finds borders"),
        (["inference.instances.border=edge"], "border=edge is no class of labels"),
        (["labels.border=null"], "border=border is no class of labels"),
        (["labels.border=0.5"], "labels.border"),
        (["labels={classes: {a: 1, b: 2}}", "inference.instances={kind: watershed}"], "divides one class"),
        (["inference.hysteresis=0.3"], "instances has its own threshold and min_size"),
        (["inference.tune={threshold: [0.3, 0.5]}"], "instances has its own threshold"),
    ],
)
def test_what_does_not_go_together(overrides, expected):
    with pytest.raises(UserError, match=expected):
        recipes.load("nuclei-default", overrides=overrides)


def test_masks_are_not_instances(small_cohort, tmp_path):
    recipe = recipes.load("nuclei-default")
    cohort = open_cohort(small_cohort)
    split = Fold(train=(cohort.cases[0].name,), validation=(), test=())
    with pytest.raises(UserError, match="its labels are masks, not numbered instances; leave labels.border out"):
        fit(recipe, cohort, split=split, out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metrics": {}}, "set metrics.rules.label_maps to both"),
        ({"seeds": [0, 1]}, "of which several seeds do not vote; use one seed"),
    ],
)
def test_label_maps_are_scored_as_such_and_not_pooled(nuclei, tmp_path, changes, expected):
    rules = {"metrics": {"rules": {"label_maps": "both"}}}
    said = {"name": "n", "recipe": "nuclei-default", "arms": {"a": {}}, **rules, **changes}
    (tmp_path / "n.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(UserError, match=expected):
        studies.make_grid(studies.load(tmp_path / "n.yaml"), nuclei)


def test_label_maps_are_not_combined(run, tmp_path):
    members = [{"recipe": "nuclei-otsu"}, {"recipe": "nuclei-otsu", "set": {"smooth": 2.0}}]
    says = {"kind": "ensemble", "name": "two", "members": members, "combine": {"rule": "vote"}}
    with pytest.raises(UserError, match="predicts label maps of instances, which are not combined"):
        recipes.parse(says, where="two.yaml")
