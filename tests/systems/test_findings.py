"""What was found in a scan, against places and values worked out by hand."""

import csv
import json

import numpy as np
import pytest

from multifocal.cohorts import Case, ImageFile
from multifocal.errors import UserError
from multifocal.systems import Prediction, find, uncertainty, write_findings
from multifocal.systems.flags import Flag
from multifocal.volumes import Geometry, Volume, axis_codes, orient, write

# Axes run to the right, to the front and up, as in most NIfTI files.
RAS = Geometry((9, 8, 6), (2.0, 3.0, 4.0), (8.0, 10.5, -5.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
FLAG = Flag("spacing", "spacing_most_mm", 9.0, 1.0, 6.5, "mm", "32 training cases", raised=True)


def scan(tmp_path, mask, grid=RAS, *, name="S1"):
    """A brain from x = 1 to 7 (so that x = 4 is its plane), whose map is 100 + 10 x + y."""
    x, y, _ = np.indices(grid.size)
    adc = np.where((x >= 1) & (x <= 7), 100 + 10 * x + y, 0).astype(np.float32)
    write(tmp_path / "adc.nii.gz", Volume(adc, grid))
    case = Case(name, name, {"adc": ImageFile(tmp_path / "adc.nii.gz")})
    return case, adc, Prediction(Volume(mask.astype(np.uint8), grid), None)


def test_each_number_by_hand(tmp_path):
    mask = np.zeros(RAS.size, bool)
    mask[6:8, 2, 3] = True  # towards higher x, which is the patient's right
    mask[4, 5:8, 1] = True  # on the plane
    case, adc, prediction = scan(tmp_path, mask)
    found = find(case, prediction)
    voxel = 2 * 3 * 4 / 1000
    assert found.brain_ml == pytest.approx(np.count_nonzero(adc) * voxel)
    assert (found.volume_ml, found.left_ml, found.right_ml) == pytest.approx((5 * voxel, 1.5 * voxel, 3.5 * voxel))
    assert found.share == pytest.approx(5 / np.count_nonzero(adc))
    middle, right = found.lesions
    assert (middle.number, middle.voxels, middle.side) == (1, 3, "both")
    assert (right.number, right.voxels, right.side) == (2, 2, "right")
    # LPS of index (6.5, 2, 3): 8 - 2 * 6.5, 10.5 - 3 * 2, -5 + 4 * 3
    assert right.centre == pytest.approx((-5.0, 4.5, 7.0))
    # x = 6 and 7 lie opposite to 2 and 1.
    assert right.values["adc"].mean == pytest.approx(100 + 65 + 2)
    assert right.values["adc"].least == 100 + 60 + 2
    assert right.values["adc"].mirrored == pytest.approx(100 + 15 + 2)
    assert (found.labels.array == 1).sum() == 3
    assert set(np.argwhere(found.labels.array == 2)[:, 0]) == {6, 7}


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAL", "IPR"])
def test_the_order_of_axes_changes_nothing(tmp_path, axes):
    rng = np.random.default_rng(0)
    case, adc, prediction = scan(tmp_path, rng.random(RAS.size) < 0.05)
    turned_map, turned_mask = (orient(Volume(array, RAS), axes=axes) for array in (adc, prediction.mask.array))
    assert axis_codes(turned_map.geometry) == axes
    write(tmp_path / "turned.nii.gz", turned_map)
    other = Case("S1", "S1", {"adc": ImageFile(tmp_path / "turned.nii.gz")})
    one, two = find(case, prediction), find(other, Prediction(turned_mask, None))
    assert (one.volume_ml, one.left_ml, one.brain_ml) == pytest.approx((two.volume_ml, two.left_ml, two.brain_ml))
    key = lambda lesion: (-lesion.voxels, *np.round(lesion.centre, 3))  # noqa: E731
    for left, right in zip(sorted(one.lesions, key=key), sorted(two.lesions, key=key), strict=True):
        assert left.centre == pytest.approx(right.centre, abs=1e-4)
        assert (left.side, left.voxels) == (right.side, right.voxels)
        assert left.values["adc"].mean == pytest.approx(right.values["adc"].mean)
        assert left.values["adc"].mirrored == pytest.approx(right.values["adc"].mirrored)


def test_where_there_is_nothing_opposite(tmp_path):
    mask = np.zeros(RAS.size, bool)
    mask[8, 1, 1] = True  # outside the brain; its mirror image, x = 0, is too
    (lesion,) = find(*scan(tmp_path, mask)[::2]).lesions
    assert lesion.values["adc"].mirrored is None
    assert lesion.row()["adc_mirrored"] is None


def test_members_say_how_sure_each_lesion_is(tmp_path):
    mask = np.zeros(RAS.size, bool)
    mask[2, 2, 2] = mask[5:7, 5, 4] = True
    case, _, prediction = scan(tmp_path, mask)
    half = prediction.mask.array.copy()
    half[2, 2, 2] = half[6, 5, 4] = 0
    members = {"0-a": prediction, "1-b": Prediction(Volume(half, RAS), None)}
    found = find(case, prediction, uncertainty(prediction, members))
    # The larger one: IoU 1 and 1/2; the smaller: 1 and 0.
    assert [lesion.lsu for lesion in found.lesions] == pytest.approx([0.25, 0.5])
    assert found.summary()["lowest_ml"] == pytest.approx(0.024)


def test_nothing_found(tmp_path):
    case, _, prediction = scan(tmp_path, np.zeros(RAS.size))
    found = find(case, prediction)
    assert (found.lesions, found.volume_ml, found.summary()["largest_ml"]) == ((), 0.0, 0.0)
    assert found.summary()["stratum"] == "no lesion"


def test_several_scans_make_one_table(tmp_path):
    masks = np.zeros((2, *RAS.size), bool)
    masks[1, 3, 3, 3] = True
    for number, mask in enumerate(masks):
        case, _, prediction = scan(tmp_path, mask, name=f"S{number}")
        file = write_findings(tmp_path, find(case, prediction), model="m", digest="0a", flags=[FLAG])
        if number == 0:
            assert list(csv.DictReader((tmp_path / "lesions.csv").open())) == []
    about = json.loads(file.read_text())
    assert about["model"] == {"name": "m", "sha256": "0a"}
    assert about["flags"][0]["name"] == FLAG.name
    assert str(tmp_path) not in file.read_text()
    scans = list(csv.DictReader((tmp_path / "scans.csv").open()))
    assert [(row["case"], row["lesions"]) for row in scans] == [("S0", "0"), ("S1", "1")]
    (lesion,) = csv.DictReader((tmp_path / "lesions.csv").open())
    assert (lesion["case"], lesion["number"], lesion["voxels"]) == ("S1", "1", "1")
    # The same scan again takes the place of its lines.
    write_findings(tmp_path, find(case, scan(tmp_path, masks[0], name="S1")[2]), model="m", digest="0a")
    assert list(csv.DictReader((tmp_path / "lesions.csv").open())) == []


@pytest.mark.parametrize("text", ["[]", '{"scan": 1, "lesions": []}', '{"scan": {}, "lesions": []}'])
def test_a_file_that_is_not_ours(tmp_path, text):
    case, _, prediction = scan(tmp_path, np.zeros(RAS.size))
    (tmp_path / "odd_scan.json").write_text(text)
    with pytest.raises(UserError, match="odd_scan.json: is not what `multifocal predict --statistics` writes"):
        write_findings(tmp_path, find(case, prediction), model="m", digest="0a")


def test_bad_input(tmp_path):
    case, _, prediction = scan(tmp_path, np.zeros(RAS.size))
    several = Prediction(prediction.mask, None, classes={"core": prediction.mask})
    with pytest.raises(UserError, match="case S1: the model predicts several classes"):
        find(case, several)
    moved = Geometry(RAS.size, RAS.spacing, (0.0, 0.0, 0.0), RAS.direction)
    with pytest.raises(UserError, match="lies on another grid than the mask: origin"):
        find(case, Prediction(Volume(prediction.mask.array, moved), None))
    write(tmp_path / "adc.nii.gz", Volume(np.zeros(RAS.size, np.float32), RAS))
    with pytest.raises(UserError, match="there is no brain"):
        find(case, prediction)
