"""A study of several classes: each is scored, compared and reported as if there were no other."""

import csv

import numpy as np
import pytest
import yaml

from multifocal import studies
from multifocal.errors import UserError
from multifocal.evaluation import evaluate_cohort
from multifocal.files import read_json
from multifocal.reports import write_report
from multifocal.studies.cell import run as run_cell
from multifocal.volumes import Volume, read, write

VALUES = {"low": (4,), "high": (2,)}
LABELS = {"classes": {"low": 4, "high": 2}}


@pytest.fixture
def concluded(two_classes, small_recipe, tmp_path):
    """Conclude cells whose masks are the labels with mistakes; return the rows of the arms and the folder."""
    arms = {"dice": {"loss": {"name": "dice"}}, "ce": {"loss": {"name": "dice-ce"}}}
    common = {"labels": LABELS, "training": {"monitor": None}}
    said = {"name": "two", "recipe": str(small_recipe), "set": common, "arms": arms, "seeds": [0, 1, 2]}
    said["uncertainty"] = True
    (tmp_path / "two.yaml").write_text(
        yaml.safe_dump(said | {"folds": {"scheme": "kfold", "number": 2}}, sort_keys=False)
    )
    study, out = studies.load(tmp_path / "two.yaml"), tmp_path / "study"
    with studies.open_study(study, two_classes, out, engine="local") as plan:
        for job in studies.jobs(plan, cohort=two_classes.root):
            rng = np.random.default_rng([job.fold, job.seed, len(job.arm)])
            for name in plan.grid.fold(job.cell).test:
                label = two_classes.case(name).label.read()
                drawn = rng.choice([0, 2, 4], size=label.array.shape)
                mask = np.where(rng.uniform(size=label.array.shape) < 0.1, drawn, label.array)
                write(job.folder / "masks" / f"{name}_lesion.mha", Volume(mask.astype(np.uint8), label.geometry))
            studies.folder.write_outcome(
                job.folder, job.ended(state="done", seconds=1.0, epochs=1, step_ms=1.0, uncertainty=True)
            )
        return studies.conclude(plan), out


def test_each_class_is_scored_compared_and_reported(concluded, two_classes):
    rows, out = concluded
    assert [(row["arm"], row["class"]) for row in rows] == [(a, c) for c in VALUES for a in ("dice", "ce")]
    for name in VALUES:
        scores = evaluate_cohort(out / "arms/ce/masks", two_classes, labels=VALUES)
        own = [row["dice"] for row in scores.rows if row["label"] == name]
        (row,) = [row for row in rows if (row["arm"], row["class"]) == ("ce", name)]
        assert row["dice"] == pytest.approx(np.mean(own))
        comparison = read_json(out / "comparison" / name / "comparison.json")
        assert comparison["overall"]["methods"]["ce"]["metrics"]["dice"]["mean"] == pytest.approx(np.mean(own))
    with (out / "tables/sizes.csv").open() as file:
        assert {row["class"] for row in csv.DictReader(file)} == set(VALUES)
    page = write_report(out, two_classes)
    text = page.read_text()
    for name in VALUES:
        assert f'href="{name}/index.html"' in text
        own = (page.parent / name / "index.html").read_text()
        assert f"<h1>two: {name}</h1>" in own and "for lesions of any class" in own
        assert len(list((page.parent / name / "cases").glob("*.html"))) == len(two_classes)
    row = studies.read_study(out).of_class("low").arms["ce"].rows[1]
    label = read(two_classes.case(row["case"]).label.path)
    assert row["true_ml"] == pytest.approx((label.array == 4).sum() * label.geometry.voxel_ml) and row["true_ml"] > 0


def test_uncertainty_is_of_any_lesion(concluded, two_classes):
    _, out = concluded
    found = studies.read_study(out).of_class("low").uncertainty
    assert list(found) == ["dice", "ce"] and found["ce"]["members"] == ["0-seed0", "1-seed1", "2-seed2"]
    dice = []
    for case in two_classes:
        mask, label = (
            read(path).array > 0 for path in (out / f"arms/ce/masks/{case.name}_lesion.mha", case.label.path)
        )
        dice.append(2 * (mask & label).sum() / (mask.sum() + label.sum()))
    assert found["ce"]["case"]["chance"]["aurc"]["value"] == pytest.approx(1 - np.mean(dice))


def test_a_network_of_several_classes_is_judged(two_classes, small_recipe, tmp_path):
    common = {"labels": LABELS, "training": {"monitor": None, "epochs": 1}}
    said = {"name": "one", "recipe": str(small_recipe), "set": common, "arms": {"dice": {}}, "uncertainty": True}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(said | {"folds": {"scheme": "kfold", "number": 2, "run": [0]}}))
    with studies.open_study(
        studies.load(tmp_path / "one.yaml"), two_classes, tmp_path / "study", engine="local"
    ) as plan:
        for job in studies.jobs(plan, cohort=two_classes.root, device="cpu"):
            run_cell(job)
        studies.conclude(plan)
    found = studies.read_study(tmp_path / "study").uncertainty["dice"]
    assert found["members"] == ["0-as-is", "1-flip-0"] and found["voxel"]["before"]


def test_seeds_vote_on_the_class(concluded):
    _, out = concluded
    path = sorted((out / "arms/dice/masks").iterdir())[0]
    fold = next(out.glob(f"cells/dice/*/masks/{path.name}")).parents[1].name.partition("-")[0]
    masks = np.array([read(out / f"cells/dice/{fold}-seed{seed}/masks" / path.name).array for seed in range(3)])
    pooled = read(path).array
    for place in np.argwhere((masks != masks[0]).any(0))[:200]:
        votes = masks[(slice(None), *place)].tolist()
        lesion = [value for value in votes if value]
        expected = 0 if len(lesion) < 2 else max(sorted(set(lesion)), key=lesion.count)
        assert pooled[tuple(place)] == expected


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (
            {"a": {}, "b": {"labels": {"classes": {"low": 2, "high": 4}}}},
            "arm b predicts low, high, and arm a low, high",
        ),
        ({"a": {}, "b": {"labels": {"ignore": 7}}, "c": {"labels": {"ignore": 8}}}, "ignore the values 7 and 8"),
    ],
)
def test_arms_of_other_classes_do_not_compare(two_classes, small_recipe, tmp_path, arms, expected):
    said = {"name": "two", "recipe": str(small_recipe), "set": {"labels": LABELS}, "arms": arms}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(said, sort_keys=False))
    with pytest.raises(UserError, match=expected):
        studies.make_grid(studies.load(tmp_path / "two.yaml"), two_classes)
