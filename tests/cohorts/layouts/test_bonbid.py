import shutil

import pytest

from multifocal.cohorts import open_cohort, survey
from multifocal.errors import UserError


def test_names_subjects_maps_and_labels(tmp_path, make_bonbid, bonbid_paths):
    names = ("MGHNICU_010-VISIT_01", "MGHNICU_010-VISIT_02", "MGHNICU_014-VISIT_01")
    cohort = open_cohort(make_bonbid(tmp_path, names))
    assert [case.name for case in cohort] == list(names)
    assert [case.subject for case in cohort] == ["MGHNICU_010", "MGHNICU_010", "MGHNICU_014"]
    assert cohort.maps == ("adc", "zadc") and cohort.label_kind == "binary" and cohort.layout == "bonbid-hie"
    files = bonbid_paths(tmp_path, names[1])
    case = cohort.case(names[1])
    assert case.split is None and case.label.path == files["label"]
    assert {name: image.path for name, image in case.images.items()} == {"adc": files["adc"], "zadc": files["zadc"]}


@pytest.mark.parametrize("ext", [".nii.gz", ".nrrd", ".mhd"])
def test_other_formats_of_the_same_stems(tmp_path, make_bonbid, ext):
    cohort = open_cohort(make_bonbid(tmp_path, ext=ext))
    assert [case.name for case in cohort] == ["A_1-VISIT_01", "A_2-VISIT_01"]
    assert cohort.cases[0].images["zadc"].read().array.any()


@pytest.mark.parametrize(
    ("folder", "split"), [("BONBID2023_Train", "train"), ("my_VAL", "val"), ("x-test", "test"), ("testing", None)]
)
def test_the_folders_own_name_gives_the_split(tmp_path, make_bonbid, folder, split):
    assert {case.split for case in open_cohort(make_bonbid(tmp_path / folder))} == {split}


def test_a_parent_of_train_val_and_test(tmp_path, make_bonbid):
    make_bonbid(tmp_path / "BONBID2023_Train", ("a", "b"))
    make_bonbid(tmp_path / "BONBID2023_Val", ("c",))
    make_bonbid(tmp_path / "BONBID2023_Test", ("d",))
    shutil.rmtree(tmp_path / "BONBID2023_Test" / "3LABEL")
    (tmp_path / ".fetch" / "1ADC_ss").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    cohort = open_cohort(tmp_path)
    assert {case.name: case.split for case in cohort} == {"a": "train", "b": "train", "c": "val", "d": "test"}
    assert [case.name for case in cohort if case.label is None] == ["d"]


def test_one_case_in_two_parts_is_an_error(tmp_path, make_bonbid):
    make_bonbid(tmp_path / "Train", ("a", "b"))
    make_bonbid(tmp_path / "Val", ("b",))
    with pytest.raises(UserError, match=r"case b: there is a second case of this name \(Val/1ADC_ss/b-ADC_ss.mha\)"):
        open_cohort(tmp_path)


def test_without_a_label_folder_it_is_to_be_predicted(tmp_path, make_bonbid):
    shutil.rmtree(make_bonbid(tmp_path) / "3LABEL")
    assert [case.label for case in open_cohort(tmp_path)] == [None, None]


def test_hidden_files_notes_and_readmes_are_passed_over(tmp_path, make_bonbid):
    make_bonbid(tmp_path)
    for name in (".DS_Store", "._a-ADC_ss.mha", "README", "README.md", "LICENSE", "notes.txt", "Thumbs.db"):
        (tmp_path / "1ADC_ss" / name).touch()
    assert len(open_cohort(tmp_path)) == 2


def damage_zadc(files, root):
    files["zadc"].unlink()
    return "1ADC_ss/a-ADC_ss.mha has no Z-ADC in 2Z_ADC"


def damage_adc(files, root):
    files["adc"].unlink()
    return "2Z_ADC/Zmap_a-ADC_smooth2mm_clipped10.mha has no ADC in 1ADC_ss"


def damage_both(files, root):
    files["adc"].unlink()
    files["zadc"].unlink()
    return "3LABEL/a_lesion.mha is a label without an image"


def damage_label(files, root):
    files["label"].unlink()
    return "1ADC_ss/a-ADC_ss.mha has no label in 3LABEL"


def second_file(files, root):
    shutil.copy(files["adc"], root / "1ADC_ss" / "a-ADC_ss.nrrd")
    return "1ADC_ss/a-ADC_ss.nrrd: a second file for 1ADC_ss/a-ADC_ss.mha"


def strange_name(files, root):
    files["adc"].rename(root / "1ADC_ss" / "a-adc.mha")
    return "1ADC_ss/a-adc.mha: unexpected name; expected CASE-ADC_ss"


def strange_format(files, root):
    (root / "1ADC_ss" / "c-ADC_ss.dcm").touch()
    return "1ADC_ss/c-ADC_ss.dcm: not an image format read here"


def folder_inside(files, root):
    (root / "1ADC_ss" / "more").mkdir()
    return "1ADC_ss/more: a folder among the images"


def no_zadc_folder(files, root):
    shutil.rmtree(root / "2Z_ADC")
    return "2Z_ADC: no such folder"


def no_adc_folder(files, root):
    shutil.rmtree(root / "1ADC_ss")
    return "1ADC_ss: no such folder"


def empty_label_folder(files, root):
    for file in (root / "3LABEL").iterdir():
        file.unlink()
    return "1ADC_ss/b-ADC_ss.mha has no label"


def stray_voxels(files, root):
    (root / "1ADC_ss" / "c-ADC_ss.raw").touch()
    return "1ADC_ss/c-ADC_ss.raw: not an image format"


@pytest.mark.parametrize(
    "damage",
    [
        damage_zadc,
        damage_adc,
        damage_both,
        damage_label,
        second_file,
        strange_name,
        strange_format,
        folder_inside,
        no_zadc_folder,
        no_adc_folder,
        empty_label_folder,
        stray_voxels,
    ],
)
def test_nothing_is_dropped_in_silence(tmp_path, make_bonbid, bonbid_paths, damage):
    make_bonbid(tmp_path, ("a", "b"))
    expected = damage(bonbid_paths(tmp_path, "a"), tmp_path)
    with pytest.raises(UserError) as caught:
        open_cohort(tmp_path)
    assert expected in str(caught.value)


def test_empty_folders_hold_no_case(tmp_path):
    (tmp_path / "1ADC_ss").mkdir()
    (tmp_path / "2Z_ADC").mkdir()
    with pytest.raises(UserError, match="no case found; bonbid-hie needs"):
        open_cohort(tmp_path)


def test_the_real_cases(bonbid):
    for path in (bonbid, bonbid.parent):
        found = survey(path)
        assert len(found.cases) == 40 and not found.problems
        assert {case.split for case in found.cases} == {"train"}
        assert all(case.label and case.name == f"{case.subject}-VISIT_01" for case in found.cases)
