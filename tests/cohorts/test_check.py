import shutil
from dataclasses import replace

import numpy as np
import pytest

from multifocal.cohorts import ImageFile, check_case, check_cohort, open_cohort, survey
from multifocal.cohorts.check import image_complaints, label_complaints
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, write
from multifocal.volumes.nifti_forms import forms_of

RNG = np.random.default_rng(3)
ADC = np.where(np.arange(600) < 200, RNG.uniform(700, 1800, 600), 0).reshape(10, 10, 6)
ZADC = np.where(np.arange(600) < 200, RNG.normal(0, 2, 600).clip(-10, 10), 0).reshape(10, 10, 6)


@pytest.fixture
def case(tmp_path, make_bonbid):
    return open_cohort(make_bonbid(tmp_path / "cohort", ("a",))).cases[0]


def texts(report):
    return [f"{problem.severity}: {problem.text}" for problem in report.problems]


def test_a_good_case_is_measured(case):
    report = check_case(case)
    assert (report.name, report.size, report.spacing) == ("a", (6, 5, 4), (2.0, 2.0, 3.0))
    # Two of the three lesion voxels touch at a corner: they are one lesion.
    assert (report.orientation, report.tilt, report.components, report.stratum) == ("LPS", 0.0, 2, ">5 %")
    assert report.lesion_ml == pytest.approx(3 * 12 / 1000) and report.share == pytest.approx(3 / 48)
    assert report.problems == ()


@pytest.mark.parametrize("angle", [0, 12, 40])
def test_orientation_and_tilt(tmp_path, case, brain, angle):
    turn, cos, sin = np.zeros((3, 3)), np.cos(np.radians(angle)), np.sin(np.radians(angle))
    # Array axes along right, superior and anterior, turned about the right-left axis.
    turn[:, 0], turn[:, 1], turn[:, 2] = (-1, 0, 0), (0, sin, cos), (0, -cos, sin)
    geometry = Geometry((6, 5, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(turn.ravel()))
    for image, array in zip([*case.images.values(), case.label], brain(0).values(), strict=True):
        write(image.path, Volume(array, geometry))
    report = check_case(case)
    assert (report.orientation, report.problems) == ("RSA", ())
    assert report.tilt == pytest.approx(angle, abs=1e-4)


@pytest.mark.parametrize("key", ["zadc", "label"])
def test_another_grid_is_named_in_full(case, brain, grid, key):
    other = replace(grid, spacing=(2.0, 2.0, 2.5), origin=(0.0, -2.0, 3.0))
    image = case.label if key == "label" else case.images[key]
    write(image.path, Volume(brain(0)[key], other))
    name = "the label" if key == "label" else key
    assert texts(check_case(case)) == [
        f"error: {name} is not on the grid of adc: spacing 2×2×2.5 instead of 2×2×3; resample it onto that grid",
        f"error: {name} is not on the grid of adc: origin (0, -2, 3) instead of (1, -2, 3); resample it onto that grid",
    ]


def test_a_header_that_contradicts_itself_is_told(tmp_path, case, brain, grid):
    zooms, apart = tmp_path / "zooms.nii.gz", tmp_path / "apart.nii.gz"
    forms = forms_of(grid.affine)
    write(zooms, Volume(brain(0)["adc"], replace(grid, nifti=replace(forms, pixdim=(1, 1, 1, 1)))))
    moved = (*forms.quaternion[:3], *(forms.quaternion[3:] + np.array([0, 27.5, 0])))
    write(apart, Volume(brain(0)["zadc"], replace(grid, nifti=replace(forms, quaternion=moved))))
    report = check_case(replace(case, images={"adc": ImageFile(zooms), "zadc": ImageFile(apart)}, label=None))
    sizes = "×".join(f"{side:g}" for side in grid.spacing)
    assert texts(report) == [
        f"warning: adc: pixdim's 1×1×1 mm are not the sform's {sizes} mm, which are used",
        "warning: zadc: its qform places it up to 27.5 mm from its sform, which is used",
    ]


def test_a_label_of_another_size_has_no_share(case, brain, grid):
    write(case.label.path, Volume(brain(0)["label"][:, :, :2], replace(grid, size=(6, 5, 2))))
    report = check_case(case)
    assert "size 6×5×2 instead of 6×5×4" in texts(report)[0]
    assert (report.share, report.stratum, report.components) == (None, None, 1)


def test_a_label_that_is_not_binary_is_not_measured(case, brain, grid):
    write(case.label.path, Volume(brain(0)["label"] * 255, grid))
    report = check_case(case)
    assert texts(report) == ["error: the label holds 255; expected only 0 and 1 (a binary label)"]
    assert (report.lesion_ml, report.components, report.share) == (None, None, None)


def test_no_lesion_and_no_label(case, grid):
    assert check_case(replace(case, label=None)).lesion_ml is None
    write(case.label.path, Volume(np.zeros(grid.size, np.float32), grid))
    report = check_case(case)
    assert (report.lesion_ml, report.share, report.components, report.stratum) == (0.0, 0.0, 0, "no lesion")
    assert not report.problems


def test_lesion_outside_the_brain_is_a_warning(case, brain, grid):
    label = brain(0)["label"].copy()
    label[0, 0, 0] = label[0, 0, 1] = 1
    write(case.label.path, Volume(label, grid))
    assert texts(check_case(case)) == ["warning: 2 of 5 lesion voxels lie outside the brain"]


def test_values_are_checked_by_map(case, brain, grid):
    arrays = brain(0)
    write(case.images["adc"].path, Volume(arrays["adc"] / 1e6, grid))
    write(case.images["zadc"].path, Volume(np.where(arrays["zadc"] != 0, np.nan, 0).astype(np.float32), grid))
    told = texts(check_case(case))
    assert len(told) == 3 and "adc: brain median" in told[0] and "zadc: 48 voxels are NaN" in told[1]
    assert told[2].startswith("error: zadc: empty brain")


@pytest.mark.parametrize("damage", ["truncated", "empty", "gone", "text"])
def test_files_that_cannot_be_read_do_not_stop_it(case, damage):
    path = case.images["adc"].path
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes({"truncated": content[:-40], "empty": b"", "text": b"hello\n"}[damage])
    report = check_case(case)
    (problem,) = report.problems
    assert problem.severity == "error" and path.name in problem.text and problem.case == "a"
    # The grid comes from what can be read; the brain does not.
    assert (report.size, report.components, report.share) == ((6, 5, 4), 2, None)


def test_nothing_readable_is_a_report_all_the_same(case):
    shutil.rmtree(case.label.path.parents[1])
    report = check_case(case)
    assert len(report.problems) == 3 and report == replace(report, size=None, tilt=None, components=None, share=None)


def test_instances_are_counted_by_number_and_2d_has_no_volume(tmp_path, case):
    flat = Geometry((4, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    label = np.array([[1, 1, 0, 0], [2, 2, 0, 0], [0, 0, 0, 9], [0, 0, 0, 0]], np.uint16)
    write(tmp_path / "image.png", Volume(np.arange(1, 17, dtype=np.uint8).reshape(4, 4), flat))
    write(tmp_path / "label.png", Volume(label, flat))
    flat_case = replace(
        case, images={"image": ImageFile(tmp_path / "image.png")}, label=ImageFile(tmp_path / "label.png")
    )
    report = check_case(flat_case, label_kind="instances")
    assert (report.components, report.share, report.lesion_ml) == (3, 5 / 16, None)
    assert (report.orientation, report.problems) == ("LP", ())


@pytest.mark.parametrize("workers", [1, 3])
def test_copies_are_found_whatever_their_format(tmp_path, make_bonbid, bonbid_paths, brain, grid, workers):
    make_bonbid(tmp_path, ("a", "b", "c"))
    files = bonbid_paths(tmp_path, "c")
    files["adc"].unlink()
    write(bonbid_paths(tmp_path, "c", ".nrrd")["adc"], Volume(brain(0)["adc"], grid))
    seen = []
    reports = check_cohort(open_cohort(tmp_path), workers=workers, done=lambda report: seen.append(report.name))
    assert seen == ["a", "b", "c"] == [report.name for report in reports]
    assert [texts(report) for report in reports] == [
        ["warning: adc: the same voxels as case c (adc); remove the copy"],
        [],
        ["warning: adc: the same voxels as case a (adc); remove the copy"],
    ]


def test_one_image_as_two_maps(case):
    shutil.copy(case.images["zadc"].path, case.images["adc"].path)
    told = texts(check_case(case))
    assert told[-1] == "warning: zadc: the same voxels as adc; give each map its own file"
    same = replace(case, images={"red": case.images["zadc"], "green": case.images["zadc"]})
    assert not check_case(same).problems


def test_a_survey_with_missing_files_is_checked_as_far_as_it_goes(tmp_path, make_bonbid, bonbid_paths):
    make_bonbid(tmp_path, ("a", "b"))
    bonbid_paths(tmp_path, "a")["adc"].unlink()
    found = survey(tmp_path)
    first, second = check_cohort(found)
    assert len(found.problems) == 1 and first.size == (6, 5, 4) and second.share == 3 / 48


def test_a_worker_at_least(tmp_path, make_bonbid):
    with pytest.raises(UserError, match="workers is 0"):
        check_cohort(open_cohort(make_bonbid(tmp_path)), workers=0)


def test_the_real_cases_are_usable(bonbid):
    reports = check_cohort(open_cohort(bonbid))
    problems = [problem for report in reports for problem in report.problems]
    assert len(reports) == 40 and {problem.severity for problem in problems} == {"warning"}

    def warned(text):
        return [problem.case[8:11] for problem in problems if text in problem.text]

    assert warned("are negative") == ["010", "014", "028", "405"]
    assert warned("outside the brain") == ["010", "306"]
    assert len(problems) == 6
    shares = sorted(report.share for report in reports)
    assert shares[:3] == [0, 0, 0] < shares[3:4] and 0.65 < shares[-1] < 0.67
    assert 0.001 < np.median(shares) < 0.004 and sum(share < 0.01 for share in shares) > 20
    counts = sorted(report.components for report in reports)
    assert (counts[0], np.median(counts), counts[-1]) == (0, 3, 72)


def test_the_real_nuclei_are_usable(shared_data):
    cohort = open_cohort(shared_data / "nuclei")
    names = [line.split(",")[0] for line in (shared_data / "nuclei" / "cases.csv").read_text().splitlines()[1::10]]
    counts = {
        line.split(",")[0]: int(line.split(",")[5])
        for line in (shared_data / "nuclei" / "cases.csv").read_text().splitlines()[1:]
    }
    reports = check_cohort(cohort.subset(names))
    assert [report.components for report in reports] == [counts[name] for name in names]
    assert not any(report.problems for report in reports)


def told(complaints):
    return [f"{severity}: {text}" for severity, text in complaints]


def test_good_maps_have_no_complaint():
    assert not told(image_complaints("adc", ADC)) and not told(image_complaints("zadc", ZADC))
    # The units of other maps are not known.
    assert not told(image_complaints("flair", ADC / 1e6)) and not told(image_complaints("t1", abs(ZADC) * 100))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1e-6, "it looks like mm²/s: multiply it by 1e+06"),
        (1e-3, "it looks like 1e-3 mm²/s: multiply it by 1000"),
        (0.1, "; convert it"),
        (100, "; convert it"),
    ],
)
def test_adc_in_another_unit(factor, expected):
    (complaint,) = told(image_complaints("adc", (ADC * factor).astype(np.float32)))
    assert complaint.startswith("error: brain median") and expected in complaint


def test_negative_noise_is_a_warning():
    noisy = ADC.copy()
    noisy.flat[:2] = (-5, -7.5)
    assert told(image_complaints("adc", noisy)) == [
        "warning: 2 voxels are negative (down to -7.5): noise, or a wrong sign"
    ]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (ZADC * 10, "warning: values from"),
        (abs(ZADC), "warning: no voxel is negative"),
        (-abs(ZADC), "warning: no voxel is positive"),
    ],
)
def test_zadc_that_is_no_clipped_score(array, expected):
    (complaint,) = told(image_complaints("zadc", array))
    assert complaint.startswith(expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_voxels_are_counted(value):
    array = ADC.astype(np.float32)
    array[:3, 0, 0] = value
    assert told(image_complaints("adc", array)) == ["error: 3 voxels are NaN or infinite; replace the image"]


@pytest.mark.parametrize("name", ["adc", "zadc", "t1"])
def test_empty_and_constant_images(name):
    assert told(image_complaints(name, np.zeros((3, 3), np.int16))) == [
        "error: empty brain: every voxel is 0; replace the image"
    ]
    assert told(image_complaints(name, np.full((3, 3), 7))) == [
        "error: constant image: every voxel that is not 0 is 7; replace the image"
    ]
    assert "constant image" in told(image_complaints(name, (ADC > 0) * 900.0))[0]
    nothing = told(image_complaints(name, np.full((3, 3), np.nan)))
    assert len(nothing) == 2 and "9 voxels are NaN" in nothing[0] and "empty brain" in nothing[1]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_])
def test_good_labels(dtype):
    for array in (np.zeros((4, 4)), np.eye(4), np.ones((4, 4))):
        assert not told(label_complaints(array.astype(dtype), instances=False))
    assert not told(label_complaints(np.arange(16, dtype=np.uint16).reshape(4, 4), instances=True))


def test_bad_labels_list_their_values():
    (complaint,) = told(label_complaints(np.arange(16.0).reshape(4, 4), instances=False))
    assert complaint == "error: the label holds 2, 3, 4, 5, 6, ...; expected only 0 and 1 (a binary label)"
    (complaint,) = told(label_complaints(np.array([[0, 0.5], [255, 1]]), instances=False))
    assert "the label holds 0.5, 255; expected" in complaint
    (complaint,) = told(label_complaints(np.array([[0, -1], [2.5, 1]]), instances=True))
    assert complaint == "error: the label holds -1, 2.5; expected whole numbers from 0"
    (complaint,) = told(label_complaints(np.array([[0, np.nan]]), instances=False))
    assert "NaN" in complaint
