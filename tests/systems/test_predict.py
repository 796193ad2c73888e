"""Which files a prediction writes, and which it does not touch."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from multifocal.cohorts import open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.errors import UserError
from multifocal.evaluation import evaluate_cohort
from multifocal.systems import load_model, predict, predict_cohort
from multifocal.volumes import Geometry, Volume, read, write


def listing(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def volumes(root, extension, *, names=("a", "b"), label=False):
    """A cohort of two cases in one format, by a manifest."""
    grid = Geometry((5, 6, 4), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), (0, 1.0, 0, 1.0, 0, 0, 0, 0, -1.0))
    for number, name in enumerate(names):
        values = np.random.default_rng(number).normal(0, 3, grid.size).astype(np.float32)
        write(root / f"{name}_zadc{extension}", Volume(values, grid))
        write(root / f"{name}_adc{extension}", Volume(np.full(grid.size, 900, np.float32), grid))
        write(root / f"{name}_lesion.mha", Volume((values < -2).astype(np.uint8), grid))
    lines = ["case,adc,zadc" + ",label" * label]
    lines += [f"{n},{n}_adc{extension},{n}_zadc{extension}" + f",{n}_lesion.mha" * label for n in names]
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return open_cohort(root)


@pytest.mark.parametrize(
    ("extension", "written"),
    [(".mha", ".mha"), (".mhd", ".mha"), (".nii.gz", ".nii.gz"), (".nii", ".nii"), (".nrrd", ".nrrd")],
)
def test_masks_have_the_name_and_format_of_their_case(model, tmp_path, extension, written, below):
    cohort = volumes(tmp_path / "cohort", extension)
    paths = predict_cohort(model(), cohort, tmp_path / "out")
    assert paths == [tmp_path / "out" / f"{name}_lesion{written}" for name in "ab"]
    assert listing(tmp_path / "out") == [path.name for path in paths]
    for case, path in zip(cohort, paths, strict=True):
        mask = read(path)
        assert mask.array.dtype == np.uint8 and not mask.geometry.differences(case.images["adc"].geometry())
        np.testing.assert_array_equal(mask.array, below(case))


def test_png_images_get_png_masks_and_probabilities_in_a_format_that_holds_them(model, recipe, tmp_path):
    grid = Geometry((9, 7), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 255, (9, 7)).astype(np.uint8)
        write(tmp_path / "cohort" / "images" / f"{name}.png", Volume(pixels, grid))
    cohort = open_cohort(tmp_path / "cohort")
    flat = "preprocessing={kind: resize, size: [null, null], channels: [{map: image}]}"
    predictor = model(flat, dimensions=2, answer=lambda images: (images - 99.5) / 9)
    predict_cohort(predictor, cohort, tmp_path / "out", probabilities=True)
    assert listing(tmp_path / "out") == [
        "a_lesion.png", "a_probability.nrrd", "b_lesion.png", "b_probability.nrrd",
    ]  # fmt: skip
    for case in cohort:
        image = case.images["image"].read().array
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{case.name}_lesion.png").array, image >= 100)
        probability = read(tmp_path / "out" / f"{case.name}_probability.nrrd").array
        np.testing.assert_allclose(probability, 1 / (1 + np.exp(-(image - 99.5) / 9)), atol=1e-5)


def test_probabilities_lie_beside_the_masks(model, cohort, tmp_path):
    predictor = model(answer=lambda images: images[:, 1:2])
    predict_cohort(predictor, cohort, tmp_path, probabilities=True)
    for case in cohort:
        probability, mask = (read(tmp_path / f"{case.name}_{kind}.mha") for kind in ("probability", "lesion"))
        assert probability.array.dtype == np.float32 and probability.geometry == mask.geometry
        np.testing.assert_array_equal(mask.array, probability.array >= 0.5)
        np.testing.assert_array_equal(probability.array, predictor.predict(case).probability.array)


def test_every_case_is_reported(model, cohort, tmp_path):
    told = []
    predict_cohort(model(), cohort, tmp_path, progress=told.append)
    assert told == list(cohort)


def test_the_threshold_recipe_has_no_probabilities(cohort, tmp_path):
    with pytest.raises(UserError, match="recipe zadc-threshold has no probabilities; leave out --probabilities"):
        predict_cohort(load_model("zadc-threshold"), cohort, tmp_path / "out", probabilities=True)
    assert not (tmp_path / "out").exists()


def test_existing_files_are_refused_and_named(model, cohort, tmp_path):
    predict_cohort(model(), cohort.subset(["S_2-VISIT_01"]), tmp_path)
    before = (tmp_path / "S_2-VISIT_01_lesion.mha").read_bytes()
    with pytest.raises(
        UserError, match=r"already holds 1 of the 6 files \(S_2-VISIT_01_lesion.mha, …\); .*--overwrite"
    ):
        predict_cohort(model(answer=lambda images: images[:, :1]), cohort, tmp_path)
    assert listing(tmp_path) == ["S_2-VISIT_01_lesion.mha"]
    assert (tmp_path / "S_2-VISIT_01_lesion.mha").read_bytes() == before
    predict_cohort(model(answer=lambda images: images[:, :1]), cohort, tmp_path, overwrite=True)
    assert len(listing(tmp_path)) == 6 and (tmp_path / "S_2-VISIT_01_lesion.mha").read_bytes() != before


def test_existing_probabilities_are_refused_too(model, cohort, tmp_path):
    (tmp_path / "S_2-VISIT_01_probability.mha").write_text("mine")
    with pytest.raises(UserError, match=r"already holds 1 of the 12 files \(S_2-VISIT_01_probability.mha, …\)"):
        predict_cohort(model(), cohort, tmp_path, probabilities=True)
    predict_cohort(model(), cohort, tmp_path)
    assert (tmp_path / "S_2-VISIT_01_probability.mha").read_text() == "mine"


def test_folds_fill_one_folder(model, cohort, tmp_path):
    names = [case.name for case in cohort]
    for part in (names[:3], names[3:]):
        predict_cohort(model(), cohort.subset(part), tmp_path)
    assert len(listing(tmp_path)) == 6


@pytest.mark.parametrize("extension", [".mha", ".nii.gz"])  # a mask of the label's format, and of another
def test_a_cohort_never_loses_its_own_files(model, tmp_path, extension):
    cohort = volumes(tmp_path, extension, label=True)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="a_lesion.mha: is a file of the cohort itself; choose another folder"):
        predict_cohort(model(), cohort, tmp_path, overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_one_scan_in_python_is_looked_at_as_by_the_command(tmp_path):
    """Nobody has checked it: another unit and another age are refused, a head is told."""
    write_phantom(tmp_path / "cohort", cases=1, seed=3)
    adc = open_cohort(tmp_path / "cohort").cases[0].images["adc"].read()
    file, grid = tmp_path / "adc.mha", adc.geometry
    write(file, Volume((adc.array / 1000).astype(np.float32), grid))
    with pytest.raises(UserError, match="adc.mha: "):
        predict("hie-synthetic-adc", adc=file)
    write(file, Volume(adc.array, replace(grid, spacing=tuple(1.45 * side for side in grid.spacing))))
    with pytest.raises(UserError, match="adc.mha: .* the largest brain that the model was trained on has 663 ml"):
        predict("hie-synthetic-adc", adc=file)
    middle = tuple(slice(side // 4, -(side // 4)) for side in adc.array.shape)  # all of it brain, up to the edge
    head = np.where(adc.array[middle] == 0, 900, adc.array[middle])
    write(file, Volume(head, replace(grid, size=head.shape)))
    with pytest.warns(UserWarning, match="100 % of its edge is not 0, so it does not look skull-stripped"):
        predict("hie-synthetic-adc", adc=file)


def test_what_is_finished_stays_when_a_case_fails(model, cohort, tmp_path, monkeypatch):
    predictor, count = model(), itertools.count()

    def predict(case):
        if next(count) == 2:
            raise UserError(f"case {case.name}: broken")
        return type(predictor).predict(predictor, case)

    monkeypatch.setattr(predictor, "predict", predict)
    with pytest.raises(UserError, match="case S_2-VISIT_01: broken"):
        predict_cohort(predictor, cohort, tmp_path)
    assert listing(tmp_path) == ["S_0-VISIT_01_lesion.mha", "S_1-VISIT_01_lesion.mha"]
    assert read(tmp_path / "S_1-VISIT_01_lesion.mha").array.any()


def test_evaluation_finds_the_predictions(model, cohort, tmp_path):
    predict_cohort(model(), cohort, tmp_path)
    assert [row["case"] for row in evaluate_cohort(tmp_path, cohort).rows] == [case.name for case in cohort]


def test_want_of_memory_is_one_line_for_callers_in_python_too(model, cohort, tmp_path):
    predictor = model(answer=lambda images: torch.zeros(10**14))
    with pytest.raises(UserError, match=r"case \S+: out of memory: 3.73e.05 GiB more .*; lower training"):
        predict_cohort(predictor, cohort, tmp_path)
