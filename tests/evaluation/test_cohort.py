"""A folder of predictions against a cohort: numbers, pairing, and everything that is refused."""

import multiprocessing

import numpy as np
import pytest
import SimpleITK as sitk

from multifocal.cohorts import Case, Cohort, ImageFile
from multifocal.errors import UserError
from multifocal.evaluation import LESION_COLUMNS, evaluate_cohort, read_results, write_results
from multifocal.metrics import evaluate_case
from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((12, 10, 8), (1.0, 2.0, 4.0), (5.0, -3.0, 2.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
BRAIN = np.zeros(GRID.size, np.int16)
BRAIN[1:11, 1:9, 1:7] = 900
LESION_SIZES = {"none": 0, "tiny": 1, "some": 3, "much": 6}


def lesion(size):
    mask = np.zeros(GRID.size, np.float32)
    mask[2 : 2 + size, 2 : 2 + size, 2 : 2 + min(size, 4)] = 1
    return mask


def rows_of(*arguments, **options):
    return evaluate_cohort(*arguments, **options).rows


@pytest.fixture
def cohort(tmp_path):
    """Four cases on one grid, float32 labels as published, and perfect predictions of an other file type."""
    cases = []
    for name, size in LESION_SIZES.items():
        write(tmp_path / f"{name}_adc.mha", Volume(BRAIN, GRID))
        write(tmp_path / f"{name}_label.mha", Volume(lesion(size), GRID))
        write(tmp_path / "out" / f"{name}_lesion.nii.gz", Volume(lesion(size).astype(np.uint8), GRID))
        images = {"adc": ImageFile(tmp_path / f"{name}_adc.mha")}
        cases.append(Case(name, name, images, ImageFile(tmp_path / f"{name}_label.mha")))
    return Cohort("demo", tmp_path, "manifest", tuple(cases))


def test_rows_are_those_of_the_cases(cohort, tmp_path):
    shifted = np.roll(lesion(3), 1, axis=2)
    write(tmp_path / "out" / "some_lesion.nii.gz", Volume(shifted.astype(np.uint8), GRID))
    done = []
    rows = rows_of(tmp_path / "out", cohort, tolerance=3.0, progress=lambda *state: done.append(state))
    assert [row["case"] for row in rows] == list(LESION_SIZES)
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    expected = evaluate_case(shifted, lesion(3), spacing=GRID.spacing, tolerance=3.0)
    assert {name: rows[2][name] for name in expected} == expected
    assert rows[2]["nsd"] < 1 and rows[3]["dice"] == 1.0


def test_rows_carry_share_stratum_and_diagonal(cohort, tmp_path):
    rows = rows_of(tmp_path / "out", cohort)
    assert [row["share_of_brain"] for row in rows] == [0.0, 1 / 480, 27 / 480, 144 / 480]
    assert [row["stratum"] for row in rows] == ["no lesion", "<1 %", ">5 %", ">5 %"]
    assert {row["diagonal_mm"] for row in rows} == {float(np.linalg.norm((12, 20, 32)))}


def test_convention_reaches_the_cases(cohort, tmp_path):
    write(tmp_path / "out" / "some_lesion.nii.gz", Volume(np.roll(lesion(3), 1, axis=0), GRID))
    rows = rows_of(tmp_path / "out", cohort, convention="voxel")
    expected = evaluate_case(np.roll(lesion(3), 1, axis=0), lesion(3), spacing=GRID.spacing, convention="voxel")
    assert rows[2]["masd"] == expected["masd"]


def test_processes_give_the_same_rows_and_leave_when_interrupted(cohort, tmp_path):
    assert rows_of(tmp_path / "out", cohort, workers=2) == rows_of(tmp_path / "out", cohort)
    assert not multiprocessing.active_children()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_cohort(tmp_path / "out", cohort, workers=2, progress=interrupt)
    assert not multiprocessing.active_children()


def test_errors_come_back_from_processes_as_they_are(cohort, tmp_path):
    write(tmp_path / "out" / "much_lesion.nii.gz", Volume(lesion(6) * 7, GRID))
    with pytest.raises(UserError, match="case much: .*much_lesion.nii.gz: mask holds 7"):
        evaluate_cohort(tmp_path / "out", cohort, workers=2)
    assert not multiprocessing.active_children()


def test_other_files_are_passed_over(cohort, tmp_path):
    (tmp_path / "out" / "cases.csv").write_text("case\n")
    write(tmp_path / "out" / "some_probability.nii.gz", Volume(lesion(3), GRID))
    assert len(rows_of(tmp_path / "out", cohort)) == 4


def test_missing_predictions_are_named(cohort, tmp_path):
    for name in ("tiny", "much"):
        (tmp_path / "out" / f"{name}_lesion.nii.gz").unlink()
    with pytest.raises(UserError, match="no prediction for tiny, much"):
        evaluate_cohort(tmp_path / "out", cohort)


def test_missing_predictions_score_as_empty_when_allowed(cohort, tmp_path):
    for name in ("none", "much"):
        (tmp_path / "out" / f"{name}_lesion.nii.gz").unlink()
    rows = rows_of(tmp_path / "out", cohort, allow_missing=True)
    assert [row["dice"] for row in rows] == [1.0, 1.0, 1.0, 0.0]
    assert np.isnan(rows[3]["masd"]) and rows[3]["predicted_ml"] == 0.0


@pytest.mark.parametrize("allow_missing", [True, False])
def test_a_folder_without_any_prediction_is_refused(cohort, tmp_path, allow_missing):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no prediction for any case; expected .*none_lesion.nii.gz"):
        evaluate_cohort(tmp_path / "empty", cohort, allow_missing=allow_missing)


@pytest.mark.parametrize("allow_missing", [True, False])
def test_surplus_predictions_are_named(cohort, tmp_path, allow_missing):
    for name in ("x1", "x2"):
        write(tmp_path / "out" / f"{name}_lesion.mha", Volume(lesion(1), GRID))
    with pytest.raises(UserError, match="predictions of no case of cohort demo: x1, x2"):
        evaluate_cohort(tmp_path / "out", cohort, allow_missing=allow_missing)


def test_missing_and_surplus_are_named_at_once(cohort, tmp_path):
    (tmp_path / "out" / "tiny_lesion.nii.gz").rename(tmp_path / "out" / "tiyn_lesion.nii.gz")
    with pytest.raises(UserError, match="no prediction for tiny .*no case of cohort demo: tiyn"):
        evaluate_cohort(tmp_path / "out", cohort)


def test_two_predictions_of_a_case_are_refused(cohort, tmp_path):
    write(tmp_path / "out" / "tiny_lesion.mha", Volume(lesion(1), GRID))
    with pytest.raises(UserError, match="tiny_lesion.mha and tiny_lesion.nii.gz; keep one"):
        evaluate_cohort(tmp_path / "out", cohort)


def test_predictions_on_another_grid_are_refused_before_any_scoring(cohort, tmp_path):
    moved = Geometry(GRID.size, (1.0, 2.0, 4.5), GRID.origin, GRID.direction)
    short = Geometry((12, 10, 7), GRID.spacing, GRID.origin, GRID.direction)
    write(tmp_path / "out" / "some_lesion.nii.gz", Volume(lesion(3), moved))
    write(tmp_path / "out" / "much_lesion.nii.gz", Volume(lesion(6)[:, :, :7], short))
    with pytest.raises(UserError) as error:
        evaluate_cohort(tmp_path / "out", cohort, progress=lambda *_: pytest.fail("scored a case"))
    assert "case some: some_lesion.nii.gz: spacing 1×2×4.5 instead of 1×2×4" in str(error.value)
    assert "case much: much_lesion.nii.gz: size 12×10×7 instead of 12×10×8" in str(error.value)
    assert "multifocal.volumes.restore" in str(error.value)


def test_prediction_that_cannot_be_read_is_named(cohort, tmp_path):
    (tmp_path / "out" / "some_lesion.nii.gz").write_bytes(b"not an image")
    with pytest.raises(UserError, match="some_lesion.nii.gz"):
        evaluate_cohort(tmp_path / "out", cohort)


@pytest.mark.parametrize("value", [0.5, np.nan, 2.0])
def test_masks_that_are_not_binary_are_named(cohort, tmp_path, value):
    bad = lesion(3)
    bad[3, 3, 3] = value
    write(tmp_path / "some_label.mha", Volume(bad, GRID))
    with pytest.raises(UserError, match=rf"case some: .*some_label.mha: mask holds {value} at \(3, 3, 3\)"):
        evaluate_cohort(tmp_path / "out", cohort)


def test_cases_without_label_are_named(cohort, tmp_path):
    cases = [Case(case.name, case.name, case.images) if case.name != "some" else case for case in cohort]
    with pytest.raises(UserError, match="no label for none, tiny, much"):
        evaluate_cohort(tmp_path / "out", Cohort("demo", tmp_path, "manifest", tuple(cases)))


@pytest.mark.parametrize(
    ("image", "grid", "message"),
    [
        (np.zeros_like(BRAIN), GRID, "case none: .*none_adc.mha: every voxel is 0"),
        (BRAIN[:6], Geometry((6, 10, 8), *list(GRID.__dict__.values())[1:]), "none_adc.mha: size 6×10×8 instead of"),
    ],
)
def test_brain_that_gives_no_share_is_refused(cohort, tmp_path, image, grid, message):
    write(tmp_path / "none_adc.mha", Volume(image, grid))
    with pytest.raises(UserError, match=message):
        evaluate_cohort(tmp_path / "out", cohort)


def test_instance_labels_in_2d(tmp_path):
    grid = Geometry((20, 20), (1.0, 1.0), (0.0, 0.0), (1, 0, 0, 1))
    labels = np.zeros(grid.size, np.uint8)
    labels[2:4, 2:4], labels[8:10, 8:10] = 1, 2
    write(tmp_path / "image.png", Volume(np.full(grid.size, 7, np.uint8), grid))
    write(tmp_path / "label.png", Volume(labels, grid))
    write(tmp_path / "out" / "slide_lesion.png", Volume((labels == 1).astype(np.uint8), grid))
    case = Case("slide", "slide", {"image": ImageFile(tmp_path / "image.png")}, ImageFile(tmp_path / "label.png"))
    (row,) = rows_of(tmp_path / "out", Cohort("demo", tmp_path, "images2d", (case,), "instances"))
    assert row["dice"] == pytest.approx(2 * 4 / (4 + 8))
    assert row["share_of_brain"] == 8 / 400 and row["stratum"] == "1-5 %"


@pytest.mark.parametrize(("options", "message"), [({"workers": 0}, "workers is 0"), ({"tolerance": -1}, "tolerance")])
def test_bad_options_are_named(cohort, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_cohort(tmp_path / "out", cohort, **options)


def test_no_folder_and_no_case(cohort, tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        evaluate_cohort(tmp_path / "nowhere", cohort)
    with pytest.raises(UserError, match="no cases"):
        evaluate_cohort(tmp_path / "out", cohort.subset([]))


def test_lesions_are_placed_in_the_patient(cohort, tmp_path):
    """On an oblique grid, with SimpleITK as the reference for where an index lies."""
    turned = Geometry(GRID.size, GRID.spacing, GRID.origin, (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, -1))
    for name, size in LESION_SIZES.items():
        write(tmp_path / f"{name}_adc.mha", Volume(BRAIN, turned))
        write(tmp_path / f"{name}_label.mha", Volume(lesion(size), turned))
        prediction = lesion(size).astype(np.uint8)
        prediction[10, 7:9, 6] = 1
        write(tmp_path / "out" / f"{name}_lesion.nii.gz", Volume(prediction, turned))
    found = evaluate_cohort(tmp_path / "out", cohort).lesions
    image = sitk.ReadImage(str(tmp_path / "some_label.mha"))
    assert [(row["case"], row["kind"]) for row in found[:3]] == [("none", "false"), ("tiny", "true"), ("tiny", "false")]
    (some,) = [row for row in found if row["case"] == "some" and row["kind"] == "true"]
    assert (some["x_mm"], some["y_mm"], some["z_mm"]) == pytest.approx(
        image.TransformContinuousIndexToPhysicalPoint((3.0, 3.0, 3.0))
    )
    (false,) = [row for row in found if row["case"] == "some" and row["kind"] == "false"]
    assert (false["x_mm"], false["y_mm"], false["z_mm"]) == pytest.approx(
        image.TransformContinuousIndexToPhysicalPoint((10.0, 7.5, 6.0))
    )
    facts = {
        "label": "lesion",
        "matched": 1,
        "dice": 1.0,
        "volume_ml": pytest.approx(27 * 8 / 1000),
        "bin": "0.20-0.25",
    }
    assert {name: some[name] for name in facts} == facts
    assert tuple(some) == LESION_COLUMNS


def test_several_classes_have_a_row_each(cohort, tmp_path):
    labels = {"core": 4, "whole": (1, 4)}
    for name, size in LESION_SIZES.items():
        both = lesion(size) + 3 * (lesion(size // 2) > 0)
        write(tmp_path / f"{name}_label.mha", Volume(both, GRID))
        write(tmp_path / "out" / f"{name}_lesion.nii.gz", Volume(np.roll(both, 1, axis=0).astype(np.uint8), GRID))
    (tmp_path / "out" / "tiny_lesion.nii.gz").unlink()
    found = evaluate_cohort(tmp_path / "out", cohort, labels=labels, allow_missing=True)
    assert [(row["case"], row["label"]) for row in found.rows[:3]] == [
        ("none", "core"), ("none", "whole"), ("tiny", "core"),
    ]  # fmt: skip
    core = [row for row in found.rows if row["label"] == "core"]
    expected = evaluate_case(np.roll(lesion(3), 1, axis=0), lesion(3), spacing=GRID.spacing)
    assert {name: core[3][name] for name in expected} == expected
    assert [row["stratum"] for row in core] == ["no lesion", "no lesion", "<1 %", ">5 %"]
    assert {row["label"] for row in found.lesions} == {"core", "whole"}
    assert found.settings["labels"] == {"core": (4,), "whole": (1, 4)}
    summary = write_results(found, tmp_path / "scores")
    assert summary["labels"]["core"]["overall"]["cases"] == 4
    assert read_results(tmp_path / "scores").rows[5]["label"] == "whole"


def test_a_value_that_no_class_has_is_named(cohort, tmp_path):
    write(tmp_path / "out" / "much_lesion.nii.gz", Volume(lesion(6) * 7, GRID))
    with pytest.raises(UserError, match="case much: .*much_lesion.nii.gz: mask holds 7.*; expected only 0, 1; write"):
        evaluate_cohort(tmp_path / "out", cohort, labels=[1])


def test_predicted_label_maps_in_2d(tmp_path):
    """Touching nuclei: the label's instances are always given, the prediction's when it is said."""
    grid = Geometry((12, 10), (1.0, 1.0), (0.0, 0.0), (1, 0, 0, 1))
    labels = np.zeros(grid.size, np.uint8)
    labels[1:5, 2:8], labels[5:10, 2:8] = 1, 2
    write(tmp_path / "image.png", Volume(np.ones(grid.size, np.uint8), grid))
    write(tmp_path / "label.png", Volume(labels, grid))
    case = Case("c", "c", {"image": ImageFile(tmp_path / "image.png")}, ImageFile(tmp_path / "label.png"))
    cells = Cohort("demo", tmp_path, "images2d", (case,), "instances")
    write(tmp_path / "out" / "c_lesion.png", Volume((labels > 0).astype(np.uint8), grid))
    (row,) = rows_of(tmp_path / "out", cells, matching="iou")
    assert (row["true_lesions"], row["predicted_lesions"], row["tp"], row["dice"]) == (2, 1, 1, 1.0)
    write(tmp_path / "out" / "c_lesion.png", Volume(labels, grid))
    with pytest.raises(UserError, match="case c: .*mask holds 2 .*or instances \\(--label-maps both\\)"):
        evaluate_cohort(tmp_path / "out", cells)
    found = evaluate_cohort(tmp_path / "out", cells, label_maps="both", matching="iou")
    assert (found.rows[0]["tp"], found.rows[0]["pq"]) == (2, 1.0)
    assert [row["x_mm"] for row in found.lesions] == [2.5, 7.0] and np.isnan(found.lesions[0]["z_mm"])
    with pytest.raises(UserError, match="cohort demo has instance labels, which are of one class"):
        evaluate_cohort(tmp_path / "out", cells, labels=[1, 2])


@pytest.mark.parametrize(
    ("of_prediction", "of_reference", "maps", "told"),
    [
        ((1, 1, 1), (1, 1, 1), "both", "every prediction and every reference holds at most one value"),
        ((1, 1, 1), (1, 2, 3), "both", "every prediction holds at most one value"),
        ((1, 2, 3), (1, 1, 1), "both", "every reference holds at most one value"),
        ((1, 1, 1), (1, 1, 1), "target", "every reference holds at most one value"),
        ((1, 2, 3), (1, 2, 3), "both", None),
        ((1, 1, 1), (1, 2, 3), "target", None),
        ((1, 1, 1), (1, 1, 1), "neither", None),
        ((0, 0, 0), (1, 2, 3), "both", None),
    ],
)
def test_masks_that_are_taken_for_label_maps_are_told(tmp_path, recwarn, of_prediction, of_reference, maps, told):
    """Three blobs on each side, of which two match: F1 is 2/3, and 1 where a mask counts as one instance."""
    grid = Geometry((20, 4), (1.0, 1.0), (0.0, 0.0), (1, 0, 0, 1))
    images = {"image": np.ones(grid.size, np.uint8)}
    for name, values, shift in (("a_lesion", of_prediction, 3), ("label", of_reference, 0)):
        images[name] = np.zeros(grid.size, np.uint8)
        for place, value in zip((0, 6, 12 + shift), values, strict=True):
            images[name][place : place + 2, 1:3] = value
    for name, array in images.items():
        write(tmp_path / f"{name}.png", Volume(array, grid))
    case = Case("a", "a", {"image": ImageFile(tmp_path / "image.png")}, ImageFile(tmp_path / "label.png"))
    (row,) = rows_of(tmp_path, Cohort("demo", tmp_path, "manifest", (case,)), label_maps=maps)
    said = [str(warning.message) for warning in recwarn if warning.category is UserWarning]
    if told is None:
        assert said == []
    else:
        assert len(said) == 1 and told in said[0] and "leave --label-maps out" in said[0]
    if of_prediction == of_reference == (1, 1, 1):
        assert row["f1"] == pytest.approx(1.0 if maps == "both" else 2 / 3 if maps == "neither" else row["f1"])


def test_settings_are_those_that_were_used(cohort, tmp_path):
    found = evaluate_cohort(tmp_path / "out", cohort, matching="iou", min_size=0.1, allow_missing=True).settings
    assert (found["matching"], found["score"], found["min_size_ml"], found["allow_missing"]) == (
        "iou",
        "iou",
        0.1,
        True,
    )
