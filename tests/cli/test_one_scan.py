"""One new scan: a mask, a table, a page."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from multifocal import recipes
from multifocal.cohorts import open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.cohorts.phantom.head import with_head
from multifocal.recipes import loading
from multifocal.volumes import Volume, read, write


@pytest.fixture
def files(small_cohort):
    return {name: image.path for name, image in open_cohort(small_cohort).cases[0].images.items()}


def test_from_files_to_everything(multifocal, finished_run, files, tmp_path):
    maps = [f"{name}={path}" for name, path in files.items()]
    ended = multifocal(
        "predict", finished_run, *maps, "-o", tmp_path / "out", "--name", "new", "--statistics", "--report"
    )
    assert ended.code == 0, ended.err
    own = read(next((tmp_path / "out").glob("new_lesion*")))
    assert not own.geometry.differences(read(files["adc"]).geometry)
    (row,) = csv.DictReader((tmp_path / "out" / "scans.csv").open())
    assert float(row["volume_ml"]) == pytest.approx(np.count_nonzero(own.array) * own.geometry.voxel_ml)
    about = json.loads((tmp_path / "out" / "new_scan.json").read_text())
    assert len(about["model"]["sha256"]) == 64
    assert (tmp_path / "out" / "new_report.html").stat().st_size > 1e5


def test_the_digest_is_of_what_predicts(multifocal, finished_run, files, tmp_path):
    maps, digests = [f"{name}={path}" for name, path in files.items()], []
    for number, changes in enumerate(([], [], ["--set", "inference.threshold=0.9"])):
        out = tmp_path / str(number)
        assert multifocal("predict", finished_run, *maps, "-o", out, "--statistics", *changes).code == 0
        digests.append(json.loads(next(out.glob("*_scan.json")).read_text())["model"]["sha256"])
    assert digests[0] == digests[1] != digests[2]


def test_several_models_are_an_ensemble(multifocal, files, tmp_path):
    maps = [f"{name}={path}" for name, path in files.items()]
    for name, arguments in {
        "two": ["zadc-threshold", *maps, "--also", "zadc-clean", "--set", "combine.at_least=2"],
        "clean": ["zadc-clean", *maps],
    }.items():
        ended = multifocal("predict", *arguments, "-o", tmp_path / name)
        assert ended.code == 0, ended.err
    two, clean = (read(next((tmp_path / name).glob("*_lesion*"))).array for name in ("two", "clean"))
    assert (two == clean).all()  # of which the other holds all


def test_what_is_missing_is_said_in_one_line(multifocal, finished_run, files, tmp_path):
    ended = multifocal("predict", finished_run, f"adc={files['adc']}", "-o", tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "the model reads adc, zadc, and zadc is missing; add zadc=FILE" in ended.err
    assert not (tmp_path / "out").exists()


STANDS_IN = "hie-synthetic reads adc, zadc, and zadc is missing: hie-synthetic-adc, which reads adc, stands in for it"


def test_where_a_map_is_missing_another_model_stands_in_and_it_is_said(multifocal, files, tmp_path):
    out = tmp_path / "out"
    ended = multifocal(
        "predict", "hie-synthetic", f"adc={files['adc']}", "-o", out, "--name", "S", "--statistics", "--report"
    )
    assert (ended.code, ended.err.splitlines()[0]) == (0, STANDS_IN)
    about = json.loads((out / "S_scan.json").read_text())
    assert (about["model"]["name"], about["remarks"]) == ("hie-synthetic-adc", [STANDS_IN])
    assert f"<li>{STANDS_IN}</li>" in (out / "S_report.html").read_text()
    (row,) = csv.DictReader((out / "scans.csv").open())
    assert row["model"] == "hie-synthetic-adc"
    ended = multifocal("predict", "hie-synthetic-adc", f"adc={files['adc']}", "-o", tmp_path / "same", "--name", "S")
    assert ended.code == 0, ended.err
    same, own = (read(next(folder.glob("S_lesion*"))).array for folder in (tmp_path / "same", out))
    assert (same == own).all()


def test_a_run_has_what_the_user_says_in_its_place(multifocal, finished_run, files, tmp_path):
    options = ("--fallback", "hie-synthetic-adc", "-o")
    ended = multifocal("predict", finished_run, f"adc={files['adc']}", *options, tmp_path / "a")
    assert (ended.code, ended.err.startswith("small reads adc, zadc, and zadc is missing: hie-syn")) == (0, True)
    maps = [f"{name}={path}" for name, path in files.items()]
    ended = multifocal("predict", finished_run, *maps, *options, tmp_path / "b")
    assert (ended.code, ended.err) == (0, "")
    for words, arguments in {
        "add zadc=FILE, or --fallback RUN with a model that reads adc alone": [finished_run, f"adc={files['adc']}"],
        "--set combine.threshold=0.4: is for hie-synthetic, and hie-synthetic reads adc, zadc": [
            *("hie-synthetic", f"adc={files['adc']}", "--set", "combine.threshold=0.4")
        ],
    }.items():
        ended = multifocal("predict", *arguments, "-o", tmp_path / "c")
        assert (ended.code, words in ended.err, ended.err.count("\n")) == (2, True, 1), ended.err
        assert not (tmp_path / "c").exists()


@pytest.fixture
def without_zadc(small_cohort, tmp_path):
    rows = [f"{case.name},{case.images['adc'].path},{case.label.path}" for case in open_cohort(small_cohort)]
    (tmp_path / "manifest.csv").write_text("\n".join(("case,adc,label", *rows)))
    return tmp_path / "manifest.csv"


def test_a_cohort_without_the_map_is_predicted_and_trained_on(
    multifocal, without_zadc, small_recipe, tmp_path, monkeypatch
):
    ended = multifocal("predict", "hie-synthetic", without_zadc, "-o", tmp_path / "out")
    assert (ended.code, ended.err) == (0, f"{STANDS_IN}\n")
    other = tmp_path / "other.yaml"
    own = "channels: [{map: adc, zscore: brain}]"
    text = small_recipe.read_text().replace("name: small", "name: small-adc")
    other.write_text(text.replace("channels: [{map: adc, zscore: brain}, {map: zadc, range: [0, 3]}]", own))
    monkeypatch.setitem(loading._FALLBACKS, str(small_recipe), str(other))
    arguments = ("train", small_recipe, without_zadc, "--device", "cpu", "--out", tmp_path / "run")
    ended = multifocal(*arguments, "--set", "training.epochs=1")
    assert (ended.code, "--set training.epochs=1: is for small, and small reads adc, zadc" in ended.err) == (2, True)
    ended = multifocal(*arguments)
    said = "small reads adc, zadc, and zadc is missing: small-adc, which reads adc, stands in for it"
    assert (ended.code, ended.err.splitlines()[0]) == (0, said)
    assert recipes.load(tmp_path / "run" / "recipe.yaml").name == "small-adc"
    assert multifocal(*arguments, "--resume").code == 0


@pytest.fixture
def dicom(files, tmp_path):
    pytest.importorskip("highdicom")
    from multifocal.exporters import write_dicom_series

    write_dicom_series(read(files["adc"]), tmp_path / "dicom")
    return tmp_path / "dicom"


def test_from_dicom_to_dicom(multifocal, dicom, files, tmp_path):
    import highdicom as hd

    out = tmp_path / "out"
    ended = multifocal("predict", "hie-synthetic-adc", dicom, "-o", out, "--statistics", "--report", "--dicom-seg")
    assert ended.code == 0, ended.err
    assert "ADC is series 1 (ADC in its image type)" in ended.err
    own, adc = read(out / "scan_lesion.nii.gz"), read(out / "maps" / "scan_adc.nii.gz")
    assert not own.geometry.differences(adc.geometry)
    assert np.sort(adc.array.ravel()) == pytest.approx(np.sort(read(files["adc"]).array.ravel()), abs=1)
    segments = hd.seg.segread(out / "scan_seg.dcm")
    count = len(list(csv.DictReader((out / "lesions.csv").open())))
    assert segments.number_of_segments == max(count, 1)
    assert segments.pixel_array.astype(bool).sum() == np.count_nonzero(own.array)
    assert (out / "scan_sr.dcm").is_file()


@pytest.mark.parametrize(("segments", "label"), [("one", "Lesions"), ("lesions", "Lesion 1")])
def test_a_segmentation_as_label_map_and_in_one_segment(multifocal, dicom, tmp_path, segments, label):
    import highdicom as hd

    options = ("--dicom-seg", "--encoding", "labelmap", "--segments", segments)
    ended = multifocal("predict", "hie-synthetic-adc", dicom, "-o", tmp_path / "out", *options)
    assert ended.code == 0, ended.err
    found = hd.seg.segread(tmp_path / "out" / "scan_seg.dcm")
    assert found.SegmentationType == "LABELMAP"
    assert [item.SegmentLabel for item in found.SegmentSequence if item.SegmentNumber][0] == label
    assert (found.pixel_array > 0).sum() == np.count_nonzero(read(tmp_path / "out" / "scan_lesion.nii.gz").array)
    assert (tmp_path / "out" / "scan_sr.dcm").is_file()


def test_masks_as_bids_that_evaluate_reads(multifocal, small_cohort, files, tmp_path):
    assert multifocal("predict", "hie-synthetic", small_cohort, "-o", tmp_path / "a", "--bids").code == 0
    own = tmp_path / "a" / "derivatives" / "multifocal"
    scores = []
    for number, masks in enumerate((tmp_path / "a", own)):
        ended = multifocal("evaluate", masks, small_cohort, "--out", tmp_path / str(number))
        assert ended.code == 0, ended.err
        scores.append((tmp_path / str(number) / "cases.csv").read_text())
    assert scores[0] == scores[1]
    maps = [f"{name}={path}" for name, path in files.items()]
    options = ("--bids", "--name", "sub-7_ses-2")
    assert multifocal("predict", "zadc-clean", *maps, "-o", tmp_path / "b", *options).code == 0
    found = [file.name for file in (tmp_path / "b").rglob("sub-7/ses-2/dwi/*.nii.gz")]
    assert found == ["sub-7_ses-2_space-orig_label-lesion_mask.nii.gz"]  # it has no probabilities


def test_a_brain_mask_is_laid_over_all_maps(multifocal, files, tmp_path):
    adc = read(files["adc"])
    half = (adc.array != 0).astype(np.uint8)
    half[: half.shape[0] // 2] = 0
    write(tmp_path / "brain.nii.gz", Volume(half, adc.geometry))
    maps = [f"{name}={path}" for name, path in files.items()]
    ended = multifocal("predict", "zadc-threshold", *maps, "-o", tmp_path / "out", "--brain", tmp_path / "brain.nii.gz")
    assert ended.code == 0, ended.err
    (mask,) = (tmp_path / "out").glob("*_lesion*")
    assert not read(mask).array[half == 0].any()
    assert (read(next((tmp_path / "out" / "maps").glob("*_adc*"))).array == np.where(half, adc.array, 0)).all()


def test_a_brain_is_found_where_none_is_given(multifocal, tmp_path):
    write_phantom(tmp_path / "cohort", cases=1, seed=3)
    case = open_cohort(tmp_path / "cohort").cases[0]
    adc = case.images["adc"].read()
    write(tmp_path / "head.nii.gz", with_head(adc, np.random.default_rng(0), noise=0.0))
    out = tmp_path / "out"
    arguments = ("predict", "hie-synthetic-adc", tmp_path / "head.nii.gz", "-o", out, "--brain", "auto")
    ended = multifocal(*arguments, "--statistics", "--report")
    assert ended.code == 0, ended.err
    said = ended.err.splitlines()[0]
    assert said.startswith("the brain was found by its edge alone (--brain auto): ")
    assert json.loads((out / "head_scan.json").read_text())["remarks"] == [said]
    assert said in (out / "head_report.html").read_text()
    own = read(out / "maps" / "head_adc.nii.gz").array != 0
    assert 2 * (own & (adc.array != 0)).sum() / (own.sum() + (adc.array != 0).sum()) > 0.9
    (row,) = csv.DictReader((out / "scans.csv").open())
    assert float(row["brain_ml"]) == pytest.approx(own.sum() * adc.geometry.voxel_ml)


def test_dicom_that_is_not_enough_writes_nothing(multifocal, dicom, files, tmp_path):
    for words, arguments in {
        "the model reads adc, zadc, and zadc is missing; add zadc=FILE": ["zadc-clean", dicom],
        "is the second DICOM folder": ["zadc-clean", f"adc={dicom}", f"zadc={dicom}"],
        "--dicom-seg: refers to the images of a scan in DICOM": [
            "hie-synthetic-adc",
            f"adc={files['adc']}",
            "--dicom-seg",
        ],
    }.items():
        ended = multifocal("predict", *arguments, "-o", tmp_path / "out")
        assert (ended.code, words in ended.err) == (2, True), ended.err
        assert not (tmp_path / "out").exists()


def test_options_that_would_do_nothing_are_refused(multifocal, small_cohort, files, tmp_path):
    maps = [f"{name}={path}" for name, path in files.items()]
    for words, arguments in {
        "--keep-identity: is for what --dicom-seg writes": [*maps, "--keep-identity"],
        "--encoding labelmap: is for what --dicom-seg writes": [*maps, "--encoding", "labelmap"],
        "--segments one: is for what --dicom-seg writes": [*maps, "--segments", "one"],
        "--brain b.mha: is for one scan": [small_cohort, "--brain", "b.mha"],
        "--brain b.mha: no such file": [*maps, "--brain", "b.mha"],
        "--brain synthstrip: there is no": [*maps, "--brain", "synthstrip:none"],
        "--name x: is for one scan": [small_cohort, "--name", "x"],
    }.items():
        ended = multifocal("predict", "zadc-clean", *arguments, "-o", tmp_path / "out")
        assert (ended.code, words in ended.err) == (2, True), ended.err
        assert not (tmp_path / "out").exists()


def test_a_scan_in_another_unit_or_with_its_skull_is_told(multifocal, files, tmp_path):
    adc, zadc = read(files["adc"]), files["zadc"]
    write(tmp_path / "unit.mha", Volume((adc.array / 1000).astype(np.float32), adc.geometry))
    ended = multifocal("predict", "zadc-clean", f"adc={tmp_path / 'unit.mha'}", f"zadc={zadc}", "-o", tmp_path / "a")
    assert (ended.code, "unit.mha: " in ended.err) == (2, True), ended.err
    assert not (tmp_path / "a").exists()
    brain = ("--brain", tmp_path / "brain.mha")  # what it prepares is looked at before it is written
    write(tmp_path / "brain.mha", Volume((adc.array != 0).astype(np.uint8), adc.geometry))
    maps = (f"adc={tmp_path / 'unit.mha'}", f"zadc={zadc}")
    ended = multifocal("predict", "zadc-clean", *maps, *brain, "-o", tmp_path / "a")
    assert (ended.code, "unit: " in ended.err) == (2, True), ended.err
    assert not (tmp_path / "a").exists()
    for noise, code in ((30, 2), (800, 0)):  # noise around the head hides the unit, tissue around it does not
        head = np.where(adc.array == 0, noise, adc.array).astype(np.float32)
        write(tmp_path / "head.mha", Volume(head, adc.geometry))
        out = tmp_path / str(noise)
        ended = multifocal("predict", "zadc-clean", f"adc={tmp_path / 'head.mha'}", f"zadc={zadc}", "-o", out)
        assert ended.code == code, ended.err
        assert "100 % of its edge is not 0, so it does not look skull-stripped" in ended.err
    ended = multifocal("predict", "zadc-clean", f"adc={files['adc']}", f"zadc={zadc}", "-o", tmp_path / "c")
    assert (ended.code, ended.err) == (0, "")


def test_a_model_that_does_not_say_what_it_was_trained_on_is_told(multifocal, finished_run, files, tmp_path):
    maps = [f"{name}={path}" for name, path in files.items()]
    ended = multifocal("predict", finished_run, *maps, "-o", tmp_path / "out", "--statistics")
    assert ended.code == 0 and "does not say what it was trained on: a scan of another age" in ended.err


def test_a_scan_of_an_adult_is_refused_before_anything_is_written(multifocal, tmp_path):
    """A neonate's brain made three times as large."""
    pytest.importorskip("pydicom")
    from multifocal.exporters import write_dicom_series

    write_phantom(tmp_path / "cohort", cases=1, seed=3)
    adc = open_cohort(tmp_path / "cohort").cases[0].images["adc"].read()
    spacing = tuple(side * 3 ** (1 / 3) for side in adc.geometry.spacing)
    grid = replace(adc.geometry, spacing=spacing)
    write(tmp_path / "adult.nii.gz", Volume(adc.array, grid))
    write(tmp_path / "brain.nii.gz", Volume((adc.array != 0).astype(np.uint8), grid))
    write_dicom_series(Volume(adc.array, grid), tmp_path / "dicom")
    for scan in (["adult.nii.gz"], ["adult.nii.gz", "--brain", tmp_path / "brain.nii.gz"], ["dicom"]):
        ended = multifocal("predict", "hie-synthetic-adc", tmp_path / scan[0], *scan[1:], "-o", tmp_path / "out")
        assert ended.code == 2, ended.err
        assert "ml are not 0, and the largest brain that the model was trained on has 663 ml" in ended.err
        assert not (tmp_path / "out").exists()


def test_a_scan_has_one_mask_whatever_its_format(multifocal, files, tmp_path):
    maps = [f"{name}={path}" for name, path in files.items()]
    adc = read(files["adc"])
    write(tmp_path / "brain.mha", Volume((adc.array != 0).astype(np.uint8), adc.geometry))
    arguments = ("-o", tmp_path / "out", "--name", "S1")
    assert multifocal("predict", "hie-synthetic", *maps, *arguments, "--probabilities", "--bids").code == 0
    brain = ("--brain", tmp_path / "brain.mha")
    ended = multifocal("predict", "hie-synthetic", *maps, *arguments, *brain)
    assert (ended.code, "S1_lesion.mha: exists already" in ended.err) == (2, True), ended.err
    assert not (tmp_path / "out/maps").exists()
    ended = multifocal("predict", "zadc-clean", *maps, *arguments, *brain, "--bids", "--overwrite")
    assert ended.code == 0, ended.err
    assert [file.name for file in (tmp_path / "out").glob("S1_lesion.*")] == ["S1_lesion.nii.gz"]
    derivative = tmp_path / "out/derivatives/multifocal"
    assert list(derivative.rglob("*_mask.nii.gz")) and not list(derivative.rglob("*probseg*"))


def test_a_fallback_that_is_none_is_told(multifocal, files, tmp_path):
    adc, zadc = (f"{name}={files[name]}" for name in ("adc", "zadc"))
    for words, arguments in {
        "unknown": [adc, zadc, "--fallback", "nosuch"],
        "--fallback zadc-clean: reads zadc, too, which is missing": [adc, "--fallback", "zadc-clean"],
    }.items():
        ended = multifocal("predict", "hie-synthetic", *arguments, "-o", tmp_path / "out")
        assert (ended.code, words in ended.err) == (2, True), ended.err
        assert not (tmp_path / "out").exists()


def test_no_name_leads_out_of_the_folder(multifocal, files, tmp_path):
    maps = [f"{name}={path}" for name, path in files.items()]
    write(tmp_path / "brain.mha", Volume(np.ones_like(read(files["adc"]).array, np.uint8), read(files["adc"]).geometry))
    options = ("--brain", tmp_path / "brain.mha", "--name", "../../x")
    ended = multifocal("predict", "zadc-clean", *maps, "-o", tmp_path / "deep" / "out", *options)
    assert (ended.code, "is not a usable name" in ended.err) == (2, True), ended.err
    assert [file.name for file in tmp_path.iterdir() if file.is_dir() and file.name == "deep"] == []
