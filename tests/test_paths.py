"""Paths as text or as paths, everywhere in the public face; and what is said of a run that is not there."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

import multifocal as mf
from multifocal import recipes, weights
from multifocal.cohorts import ImageFile
from multifocal.errors import UserError
from multifocal.systems import system_class
from multifocal.systems.combination import Vote, combine_folders

PACKAGES = (
    "cohorts cohorts.phantom comparison evaluation files metrics pipeline.cache pipeline.prepare recipes reports "
    "studies systems training volumes weights"
)
# What a function of ours makes and hands out, or calls: no user writes these.
MADE_HERE = {"FitJob", "Plan", "Problem", "StudyFolder", "Survey"}
CONVERTED = {("ImageFile", "path"), ("Cohort", "root")}  # dataclasses: an attribute is of one type


def public():
    """Every public function and class, with the methods of classes."""
    for name in PACKAGES.split():
        module = importlib.import_module(f"multifocal.{name}")
        names = getattr(module, "__all__", None) or [
            name for name, what in vars(module).items() if getattr(what, "__module__", "") == module.__name__
        ]
        for thing in (getattr(module, name) for name in names if not name.startswith("_")):
            if inspect.isclass(thing) and thing.__name__ not in MADE_HERE:
                methods = (getattr(thing, name) for name in vars(thing) if not name.startswith("_"))
                yield from (thing, *filter(callable, methods))
            elif inspect.isfunction(thing):
                yield thing


def parameters(thing):
    try:
        return inspect.signature(thing).parameters.values()
    except ValueError:  # of a dict with a name, say
        return ()


def test_every_path_may_be_text():
    found = set()
    for thing in public():
        for parameter in parameters(thing):
            kind = str(parameter.annotation)
            if "Path" in kind and "Callable" not in kind:
                key = thing.__qualname__, parameter.name
                assert "str" in kind or key in CONVERTED, f"{key} takes no text"
                found.add(key)
    assert len(found) > 30 and found >= CONVERTED


def test_a_run_from_training_to_scores_by_text(small_cohort, small_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort, recipe = mf.open_cohort(str(small_cohort)), recipes.load(str(small_recipe), overrides=["training.epochs=1"])
    split = mf.choose_split(cohort, recipe)
    assert mf.fit(recipe, cohort, split=split, out="run", cache="cache", device="cpu", progress=False) == Path(
        "run/weights.safetensors"
    )
    kind = system_class(recipe)
    assert kind.is_fitted(recipe, "run") and kind.facts(recipe, "run")["epochs"] == 1
    assert kind.load(recipe, "run", device="cpu").predict(cohort.cases[0]).mask.array.dtype == np.uint8
    assert mf.training.holds_recipe("run", recipe)
    mf.predict(mf.load_model("run", device="cpu"), cohort, "a")
    mf.predict("zadc-threshold", cohort, "b")
    assert len(combine_folders(["a", "b"], "both", rule=Vote())) == len(cohort)
    mf.write_results(mf.evaluate("both", cohort, journal="journal"), "scores")
    assert len(mf.read_results("scores").rows) == len(cohort)
    mf.make_folds(cohort, mf.cohorts.lesion_shares(cohort), k=2, seed=0).save("folds.json")
    assert len(mf.Folds.load("folds.json")) == 2


def test_weights_and_images_by_text(small_cohort, tmp_path):
    file = str(tmp_path / "weights.safetensors")
    weights.write_weights(file, {"a": torch.ones(2)})
    assert weights.read_weights(file)["a"].sum() == 2
    weights.write_tree(file, {"a": 1})
    assert weights.read_tree(file) == {"a": 1}
    scan = ImageFile(str(next(small_cohort.rglob("*ADC_ss.mha"))))
    assert scan == ImageFile(Path(scan.path)) and scan.read().geometry == scan.geometry()
    cohort = mf.Cohort("demo", str(tmp_path), "manifest", (mf.Case("a", "a", {"zadc": scan, "adc": scan}),))
    assert cohort.root == tmp_path
    assert mf.predict("zadc-threshold", cohort, str(tmp_path / "out")) == [tmp_path / "out" / "a_lesion.mha"]


@pytest.mark.parametrize("name", ["none", "runs/none", "./none", "none/", "none.yaml", "runs/none.yaml"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_run_that_is_not_there(small_cohort, tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    for use in (mf.load_model, lambda run: mf.predict(run, mf.open_cohort(small_cohort), "out")):
        with pytest.raises(UserError, match=f"^{kind(name)}: no such run folder"):
            use(kind(name))


def test_a_members_run_that_is_not_there(small_cohort, small_recipe, tmp_path):
    members = f"[{{recipe: {small_recipe}}}, {{run: {tmp_path / 'none'}}}]"
    (tmp_path / "both.yaml").write_text(
        f"{{kind: ensemble, name: both, description: x, source: x, members: {members}}}"
    )
    cohort, recipe = mf.open_cohort(small_cohort), recipes.load(tmp_path / "both.yaml")
    with pytest.raises(UserError, match="none: no such run folder"):
        mf.fit(
            recipe, cohort, split=mf.choose_split(cohort, recipe), out=tmp_path / "run", device="cpu", progress=False
        )
    assert not (tmp_path / "run").exists() or not (tmp_path / "run" / "members").exists()  # before hours of training
