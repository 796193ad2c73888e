from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from multifocal.cohorts import Case, ImageFile, open_cohort
from multifocal.cohorts.case import COLOURS
from multifocal.errors import UserError
from multifocal.metrics import ScoringOptions
from multifocal.reports.cases.case_images import MARGIN, read_case_images
from multifocal.reports.cases.page import CaseJob, write_case
from multifocal.reports.cases.pictures import chosen_slices, projections, slices, window
from multifocal.volumes import Geometry, Volume, axis_codes, read, write


@pytest.fixture
def small(small_cohort):
    return open_cohort(small_cohort)


def masked(case, tmp_path, change=lambda array: array):
    label = case.label.read()
    file = tmp_path / f"{case.name}.nii.gz"
    write(file, Volume(change(label.array).astype(np.uint8), label.geometry))
    return file


@pytest.mark.parametrize("number", range(6))
def test_a_case_is_turned_and_cut_but_keeps_its_voxels(small, number, tmp_path):
    case = small.cases[number]
    scene = read_case_images(case, {"same": masked(case, tmp_path), "none": None}, label_kind="binary")
    label = case.label.read()
    assert axis_codes(scene.geometry) == "LPS"
    assert scene.truth.sum() == label.array.sum()
    assert (scene.masks["same"] == scene.truth).all()
    assert scene.masks["none"] is None
    assert set(scene.images) == {"adc", "zadc"}
    adc = case.images["adc"].read()
    assert np.sort(scene.images["adc"][scene.brain]) == pytest.approx(np.sort(adc.array[adc.array != 0]))
    # The brain is framed: a margin, where the image has room for one.
    assert all(n <= m for n, m in zip(sorted(scene.truth.shape), sorted(label.geometry.size), strict=True))
    place = np.argwhere(scene.brain)[0]
    physical = scene.geometry.affine @ [*place, 1]
    index = np.rint(np.linalg.solve(adc.geometry.affine, physical)).astype(int)[:3]
    assert adc.array[tuple(index)] == scene.images["adc"][tuple(place)]


def test_the_frame_has_a_margin(phantom):
    case = open_cohort(phantom).cases[0]
    scene = read_case_images(case, {}, label_kind="binary")
    inside = np.argwhere(scene.brain | scene.truth)[:, :2]  # upwards, the image ends with the brain
    assert (inside.min(axis=0) == MARGIN).all()
    assert (np.array(scene.brain.shape[:2]) - inside.max(axis=0) - 1 == MARGIN).all()


def test_a_mask_on_another_grid_is_refused(small, tmp_path):
    case = small.cases[1]
    label = case.label.read()
    moved = replace(label.geometry, origin=tuple(np.add(label.geometry.origin, 3.0)))
    write(tmp_path / "moved.nii.gz", Volume(label.array.astype(np.uint8), moved))
    with pytest.raises(UserError, match=f"case {case.name}: .*moved.nii.gz: origin"):
        read_case_images(case, {"a": tmp_path / "moved.nii.gz"}, label_kind="binary")


def test_a_case_without_a_label_shows_its_masks_alone(small, tmp_path):
    case = next(case for case in small if case.label.read().array.any())
    masks = {"same": masked(case, tmp_path)}
    known, alone = (read_case_images(one, masks, label_kind="binary") for one in (case, replace(case, label=None)))
    assert known.truth.any()
    assert not alone.truth.any()
    assert (alone.masks["same"] == known.truth).all()
    assert alone.geometry == known.geometry


def test_a_report_needs_labels(small, tmp_path):
    case = replace(small.cases[0], label=None)
    with pytest.raises(UserError, match=f"case {case.name}: no label; a report compares masks with labels"):
        write_case(CaseJob(case, "binary", "page", (), (), "study", (None, None), tmp_path))
    assert not any(tmp_path.iterdir())


def test_slices_are_few_and_lie_where_the_lesion_is(phantom):
    for case in open_cohort(phantom):
        scene = read_case_images(case, {}, label_kind="binary")
        chosen = chosen_slices(scene)
        assert 1 <= len(chosen) <= 6
        assert chosen == sorted(set(chosen))
        if scene.truth.any():
            assert scene.truth[:, :, chosen].any()
        assert scene.brain[:, :, chosen].any(axis=(0, 1)).all()


def test_an_empty_truth_shows_what_is_predicted(small, tmp_path):
    case = small.cases[0]

    def one_voxel(array):
        array = np.zeros_like(array)
        array[tuple(n // 2 for n in array.shape)] = 1
        return array

    scene = read_case_images(case, {"a": masked(case, tmp_path, one_voxel)}, label_kind="binary")
    assert scene.masks["a"][:, :, chosen_slices(scene)].any()


def test_pictures_are_written_and_outlined(small, tmp_path):
    case = small.cases[1]
    scene = read_case_images(case, {"same": masked(case, tmp_path), "none": None}, label_kind="binary")
    folder = tmp_path / "pictures"
    folder.mkdir()
    shown = slices(scene, folder, prefix="p")
    planes = projections(scene, folder, prefix="p", options=dict.fromkeys(scene.masks, ScoringOptions()))
    assert list(planes) == ["axial", "coronal", "sagittal"]
    for one in shown:
        assert one.arms["none"] is None
        assert (folder / f"slice{one.index:03d}.png").exists()
        paths = {kind: path for kind, path, _ in one.arms["same"].paths}
        assert paths.get("truth") == paths.get("prediction")
    for plane, arms in planes.items():
        assert [kind for kind, _, _ in arms["same"].paths] == ["found"]
        picture = read(folder / f"{plane}.png").array
        assert picture.shape == arms["same"].size
        assert np.ptp(picture) > 100


def test_a_flat_image_has_a_window():
    low, high = window(np.full((3, 3), 7.0), np.ones((3, 3), bool))
    assert (low, high) == (7.0, 8.0)
    assert window(np.full((3, 3), np.nan), np.ones((3, 3), bool)) == (0.0, 1.0)


@pytest.mark.parametrize("top", [250, 40, 65535])
def test_a_colour_image_is_shown_in_its_colours(tmp_path, top):
    grid = Geometry((6, 5), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    pixels = np.random.default_rng(0).integers(0, top, (*grid.size, 3)).astype(np.uint16)
    pixels[0, 0] = top, 0, 0
    for number, colour in enumerate(COLOURS):
        write(tmp_path / f"{colour}.png", Volume(pixels[..., number].copy(), grid))
    write(tmp_path / "label.png", Volume(np.eye(6, 5, dtype=np.uint8), grid))
    images = {colour: ImageFile(tmp_path / f"{colour}.png") for colour in COLOURS}
    case = Case("a", "a", images, ImageFile(tmp_path / "label.png"))
    scene = read_case_images(case, {}, label_kind="instances")
    (shown,) = slices(scene, tmp_path, prefix=".")
    projections(scene, tmp_path, prefix=".", options={})
    for file in (shown.truth.image, "axial.png"):
        drawn = np.asarray(Image.open(tmp_path / file))
        expected = np.rint(pixels * min(1, 255 / top)).transpose(1, 0, 2)
        np.testing.assert_array_equal(drawn, expected)
