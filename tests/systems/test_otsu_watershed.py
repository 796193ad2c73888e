"""The baseline for instances: from a cohort to label maps, and to their score."""

import numpy as np
import pytest

from multifocal import recipes
from multifocal.cohorts import Case, ImageFile, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.errors import UserError
from multifocal.evaluation import evaluate_cohort
from multifocal.systems import load_model, predict_cohort
from multifocal.volumes import Geometry, Volume, read, write

pytest.importorskip("skimage")


def case(folder, **arrays):
    images = {}
    for name, array in arrays.items():
        eye = tuple(np.eye(array.ndim).ravel())
        write(
            folder / f"{name}.mha", Volume(array, Geometry(array.shape, (1.0,) * array.ndim, (0.0,) * array.ndim, eye))
        )
        images[name] = ImageFile(folder / f"{name}.mha")
    return Case("a", "a", images)


def balls(*centres, shape=(40, 60)):
    grid = np.indices(shape)
    return np.minimum.reduce([np.linalg.norm(grid.T - np.array(c), axis=-1).T for c in centres]) <= 9


def predicted(made, *changes):
    return load_model("nuclei-otsu", overrides=["map=image", *changes]).predict(made).mask.array


def test_nuclei_are_found_and_divided_bright_or_dark(tmp_path):
    two = balls((20, 15), (20, 30))
    for inside, outside, side in ((200, 20, "bright"), (20, 200, "dark")):
        made = case(tmp_path, image=np.where(two, inside, outside).astype(np.uint8))
        for setting in (side, "smaller"):
            found = predicted(made, f"foreground={setting}")
            assert found.dtype == np.uint16 and found.max() == 2
            assert np.mean((found > 0) == two) > 0.98
        assert predicted(made, "min_depth=20").max() == 1
        assert predicted(made, "min_size=1000").max() == 0
        other = {"bright": "dark", "dark": "bright"}[side]
        assert np.mean((predicted(made, f"foreground={other}") == 0) == two) > 0.98


def test_smoothing_keeps_noise_from_being_nuclei(tmp_path):
    noise = np.random.default_rng(0).normal(0, 45, (40, 60))
    made = case(tmp_path, image=(np.where(balls((20, 30)), 200, 60) + noise).astype(np.float32))
    assert predicted(made, "smooth=0", "min_size=0").max() > 10
    assert predicted(made, "smooth=2.5", "min_size=0").max() == 1


def test_scans_are_looked_at_within_the_brain(tmp_path):
    shape = (30, 30, 20)
    brain = balls((15, 15, 10), shape=shape)
    lesion = np.linalg.norm(np.indices(shape).T - np.array((18, 15, 10)), axis=-1).T <= 3
    flair = np.where(lesion, 180, np.where(brain, 100, 0)).astype(np.int16)
    found = predicted(case(tmp_path, image=flair), "brain=image", "smooth=0", "foreground=bright", "min_size=0")
    assert np.array_equal(found > 0, lesion)
    assert np.mean((predicted(case(tmp_path, image=flair), "smooth=0", "foreground=bright") > 0) == brain) > 0.98


def test_an_image_of_one_value_holds_nothing(tmp_path):
    assert not predicted(case(tmp_path, image=np.full((9, 9), 7, np.uint8))).any()
    assert not predicted(case(tmp_path, image=np.zeros((9, 9), np.uint8)), "brain=image").any()


def test_what_is_wrong_with_a_case_is_one_line(tmp_path):
    made = case(tmp_path, image=np.zeros((9, 9), np.uint8), small=np.zeros((5, 5), np.uint8))
    with pytest.raises(UserError, match="no map 'red'.*it has image, small: say --set map=image"):
        load_model("nuclei-otsu").predict(made)
    with pytest.raises(UserError, match="case a: size .*in map 'small' and 'image'"):
        predicted(made, "brain=small")
    with pytest.raises(UserError, match="holds NaN or inf"):
        predicted(case(tmp_path, image=np.full((9, 9), np.nan, np.float32)))


def test_predictions_are_label_maps_that_are_scored_as_such(tmp_path):
    write_phantom(tmp_path / "cells", cases=3, seed=0, kind="nuclei")
    cohort = open_cohort(tmp_path / "cells")
    files = predict_cohort("nuclei-otsu", cohort, tmp_path / "maps")
    assert read(files[0]).array.max() > 1
    scores = evaluate_cohort(tmp_path / "maps", cohort, label_maps="both", matching="iou")
    assert all(row["predicted_lesions"] == read(file).array.max() for row, file in zip(scores.rows, files, strict=True))
    assert np.mean([row["f1"] for row in scores.rows]) > 0.6


def test_the_recipe_says_what_it_does():
    recipe = recipes.load("nuclei-otsu")
    assert not recipe.needs_training and recipe.source
    with pytest.raises(UserError, match="foreground"):
        recipes.load("nuclei-otsu", overrides=["foreground=light"])
