"""Several masks as one: votes, means, lesions by volume; and folders that do not fit together."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage, stats

from multifocal.errors import UserError
from multifocal.systems.combination import ByVolume, GeometricMean, Mean, Vote, combine_files, combine_folders
from multifocal.volumes import Geometry, Volume, read, write

MASKS = st.lists(hnp.arrays(np.uint8, (4, 5, 3), elements=st.integers(0, 1)), min_size=1, max_size=5)


def grid(size, spacing=(1.0, 1.0, 2.0), origin=(3.0, -4.0, 5.0)):
    n = len(size)
    return Geometry(tuple(size), spacing[:n], origin[:n], tuple(np.eye(n).ravel()))


@given(MASKS, st.data())
@settings(max_examples=30)
def test_a_vote_counts(masks, data):
    needed = data.draw(st.integers(1, len(masks)))
    expected = np.array(
        [sum(int(mask[index]) for mask in masks) >= needed for index in np.ndindex(masks[0].shape)]
    ).reshape(masks[0].shape)
    np.testing.assert_array_equal(Vote(at_least=needed)(masks, 1.0), expected)
    half = np.array([2 * sum(int(mask[i]) for mask in masks) > len(masks) for i in np.ndindex(masks[0].shape)])
    np.testing.assert_array_equal(Vote()(masks, 1.0).ravel(), half)


def test_two_masks_vote_where_they_agree():
    assert Vote()([np.array([[1, 1, 0]]), np.array([[1, 0, 0]])], 1.0).tolist() == [[1, 0, 0]]


def test_probabilities_are_averaged_before_the_threshold():
    first, second = np.array([0.9, 0.2, 0.5], np.float32), np.array([0.2, 0.9, 0.5], np.float32)
    assert Mean()([first, second], 1.0).tolist() == [1, 1, 1]
    assert Mean(threshold=0.6)([first, second], 1.0).tolist() == [0, 0, 0]


def test_a_geometric_mean_wants_all_to_agree():
    members = [np.array([0.9, 0.8, 0.5, 1.0]), np.array([0.9, 0.2, 0.5, 0.0]), np.array([0.8, 0.4, 0.5, 1.0])]
    assert np.allclose(GeometricMean().mean(members), stats.gmean(members))
    assert GeometricMean()(members, 1.0).tolist() == [1, 0, 1, 0]
    assert GeometricMean(threshold=0.41)(members, 1.0).tolist() == [1, 0, 1, 0]
    assert GeometricMean(threshold=0.39)(members, 1.0).tolist() == [1, 1, 1, 0]
    faint = [np.array([0.2, 0.02]), np.array([0.2, 0.02])]
    assert [rule(threshold="dice")(faint, 1.0).tolist() for rule in (Mean, GeometricMean)] == [[1, 0], [1, 0]]


def test_what_follows_the_mean_is_what_follows_a_probability():
    first, second = np.array([[0.9, 0.4, 0.1, 0.9]], np.float32), np.array([[0.7, 0.2, 0.1, 0.5]], np.float32)
    assert Mean(hysteresis=0.3)([first, second], 1.0).tolist() == [[1, 1, 0, 1]]
    assert Mean(hysteresis=0.3, min_size_voxels=2)([first, second], 1.0).tolist() == [[1, 1, 0, 0]]
    assert Mean(largest_only=True)([first, second], 1.0).tolist() == [[1, 0, 0, 0]]
    assert Mean(threshold=0.75, temperature=0.5)([first, second], 1.0).tolist() == [[1, 0, 0, 1]]
    stack = np.stack([first, first])
    assert Mean(min_size_voxels=2, min_size_dimensions=2)([stack, stack], 1.0, 0).sum() == 0
    assert Mean(min_size_voxels=2, min_size_dimensions=3)([stack, stack], 1.0, 0).sum() == 4


@given(MASKS.filter(lambda masks: len(masks) >= 2), st.integers(0, 20), st.sampled_from(["full", "face"]))
@settings(max_examples=40)
def test_lesions_are_shared_out_by_volume(masks, below, connectivity):
    small, large = masks[:2]
    structure = np.ones((3, 3, 3)) if connectivity == "full" else ndimage.generate_binary_structure(3, 1)
    expected = np.zeros(small.shape, bool)
    for mask, wanted in ((small, lambda n: n < below), (large, lambda n: n >= below)):
        labels, count = ndimage.label(mask, structure)
        for lesion in range(1, count + 1):
            if wanted(int((labels == lesion).sum())):
                expected |= labels == lesion
    found = ByVolume(below_ml=below * 0.008, connectivity=connectivity)([small, large], 0.008)
    np.testing.assert_array_equal(found, expected)


def test_a_lesion_of_the_very_volume_is_not_below_it():
    line = np.zeros((1, 6), np.uint8)
    line[0, :5] = 1  # 5 voxels of 0.01 ml; 5 * 0.01 is 0.05 in floats, 3 * 0.05 is not 0.15
    nothing = np.zeros_like(line)
    assert ByVolume(below_ml=0.05)([line, nothing], 0.01).sum() == 0
    assert ByVolume(below_ml=0.05)([nothing, line], 0.01).sum() == 5
    assert ByVolume(below_ml=0.15)([line[:, 2:], nothing[:, 2:]], 0.05).sum() == 0


def test_empty_masks_stay_empty():
    empty = np.zeros((3, 3, 3), np.uint8)
    for rule in (Vote(), ByVolume(), ByVolume(below_ml=0.0)):
        assert rule([empty, empty], 1.0).sum() == 0


@pytest.fixture
def folders(tmp_path):
    """Three folders of two cases, one of them 2D."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(3):
        folder = tmp_path / str(number)
        for case, size, ending in (("a", (5, 6, 4), ".nii.gz"), ("b_lesion", (7, 8), ".png")):
            mask = rng.integers(0, 2, size).astype(np.uint8)
            geometry = grid(size) if ending != ".png" else Geometry(size, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
            write(folder / f"{case}_lesion{ending}", Volume(mask, geometry))
        made.append(folder)
    return made


def test_folders_are_combined_on_their_own_grids(folders, tmp_path):
    done = []
    written = combine_folders(folders, tmp_path / "out", rule=Vote(), progress=lambda *how: done.append(how))
    assert sorted(path.name for path in written) == ["a_lesion.nii.gz", "b_lesion_lesion.png"] and done == [
        (1, 2),
        (2, 2),
    ]
    for path in written:
        parts = [read(folder / path.name) for folder in folders]
        whole = read(path)
        assert not whole.geometry.differences(parts[0].geometry)
        np.testing.assert_array_equal(whole.array > 0, np.sum([part.array > 0 for part in parts], 0) >= 2)


def test_probabilities_make_masks_under_the_masks_name(tmp_path):
    for number, value in enumerate((0.2, 0.9)):
        volume = Volume(np.full((3, 4, 5), value, np.float32), grid((3, 4, 5)))
        write(tmp_path / str(number) / "a_probability.mha", volume)
    (path,) = combine_folders([tmp_path / "0", tmp_path / "1"], tmp_path / "out", rule=Mean())
    assert path.name == "a_lesion.mha" and read(path).array.min() == 1


def test_probabilities_that_are_nan_are_refused(tmp_path):
    for number, value in enumerate((0.9, np.nan)):
        volume = Volume(np.full((3, 4, 5), value, np.float32), grid((3, 4, 5)))
        write(tmp_path / str(number) / "a_probability.nrrd", volume)
    with pytest.raises(UserError, match=r"1/a_probability.nrrd: .*NaN|1/a_probability.nrrd: holds something else"):
        combine_folders([tmp_path / "0", tmp_path / "1"], tmp_path / "out", rule=Mean())


def test_folders_that_do_not_fit_are_refused(folders, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="at least 2 folders"):
        combine_folders(folders[:1], out, rule=Vote())
    with pytest.raises(UserError, match="at least 4 of 3 cannot agree; choose 1 to 3"):
        combine_folders(folders, out, rule=Vote(at_least=4))
    with pytest.raises(UserError, match="between 2 systems, not 3"):
        combine_folders(folders, out, rule=ByVolume())
    with pytest.raises(UserError, match="holds no <case>_probability.<ext>; multifocal predict --probabilities"):
        combine_folders(folders, out, rule=Mean())
    with pytest.raises(UserError, match=r"missing: no such folder"):
        combine_folders([*folders, tmp_path / "missing"], out, rule=Vote())
    with pytest.raises(UserError, match="already holds predictions"):
        combine_folders(folders, folders[0], rule=Vote(), overwrite=True)
    again = folders[1] / "a_lesion.mha"
    write(again, read(folders[1] / "a_lesion.nii.gz"))
    with pytest.raises(UserError, match=r"1: more than one prediction for a case: a_lesion.mha and a_lesion.nii.gz;"):
        combine_folders(folders, out, rule=Vote())
    again.unlink()
    (folders[1] / "a_lesion.nii.gz").unlink()
    with pytest.raises(UserError, match=r"1: holds no a_lesion.…, which another folder has; predict it"):
        combine_folders(folders, out, rule=Vote())
    assert not out.exists()


def test_other_grids_are_refused(folders, tmp_path):
    write(
        folders[2] / "a_lesion.nii.gz", Volume(np.zeros((5, 6, 4), np.uint8), grid((5, 6, 4), origin=(0.0, 0.0, 0.0)))
    )
    with pytest.raises(UserError, match=r"2/a_lesion.nii.gz: lies on another grid than .*0/a_lesion.nii.gz: origin"):
        combine_folders(folders, tmp_path / "out", rule=Vote())


def test_masks_are_replaced_only_when_told(folders, tmp_path):
    combine_folders(folders, tmp_path / "out", rule=Vote(at_least=3))
    with pytest.raises(UserError, match="already holds predictions"):
        combine_folders(folders, tmp_path / "out", rule=Vote(at_least=1))
    combine_folders(folders, tmp_path / "out", rule=Vote(at_least=1), overwrite=True)
    combine_files([folder / "a_lesion.nii.gz" for folder in folders], Path(tmp_path / "b.mha"), rule=Vote(at_least=1))
    np.testing.assert_array_equal(read(tmp_path / "b.mha").array, read(tmp_path / "out" / "a_lesion.nii.gz").array)


@pytest.mark.parametrize(("value", "rule"), [(np.nan, Vote()), (0.7, ByVolume()), (np.nan, Mean()), (1.5, Mean())])
def test_what_is_no_mask_is_refused(tmp_path, value, rule):
    files = [tmp_path / f"{name}.nrrd" for name in "ab"]
    for file, held in zip(files, (1.0, value), strict=True):
        array = np.zeros((3, 4, 2), np.float32)
        array[1, 1, 1] = held
        write(file, Volume(array, grid(array.shape)))
    with pytest.raises(UserError, match=r"b\.nrrd: holds something else than"):
        combine_files(files, tmp_path / "out.nrrd", rule=rule)
    assert not (tmp_path / "out.nrrd").exists()
