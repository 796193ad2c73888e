"""Cases that a system knows: by what their images hold, whatever they are called; by name where there is no more."""

import json
import shutil

import numpy as np
import pytest

from multifocal.cohorts import Cohort, open_cohort
from multifocal.cohorts.seen import Seen, SeenCase
from multifocal.systems.loading import seen_in
from multifocal.training.run_folder import describe
from multifocal.volumes import Volume


@pytest.fixture
def run(small_cohort, small_recipe, tmp_path):
    """What a run folder says that was trained on the first two cases of the small cohort and validated on the third."""
    from multifocal import recipes
    from multifocal.cohorts import Fold

    cohort = open_cohort(small_cohort)
    names = [case.name for case in cohort]
    split = Fold(train=tuple(names[:2]), validation=tuple(names[2:3]), test=tuple(names[3:]))
    about = describe(recipes.load(small_recipe), cohort, split, processes=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(about))
    return tmp_path / "run"


def listed(root, images, name="other"):
    """Return a cohort of its own folder: images of another one, by new names."""
    lines = [f"{case},{adc},{zadc}" for case, (adc, zadc) in images.items()]
    (root / name).mkdir()
    (root / name / "manifest.csv").write_text("\n".join(["case,adc,zadc", *lines]) + "\n")
    return open_cohort(root / name)


def files(case):
    return [case.images[name].path for name in ("adc", "zadc")]


def test_a_renamed_copy_is_known_and_a_namesake_is_not(run, small_cohort, tmp_path):
    cohort = open_cohort(small_cohort)
    first, _, third, fourth = cohort.cases[:4]
    copies = [shutil.copy(file, tmp_path / f"copy-{file.name}") for file in files(third)]
    other = listed(tmp_path, {"renamed": copies, first.name: files(fourth), "new": files(fourth)})
    assert seen_in(run).among(other) == {"renamed": "validation"}


def test_all_of_its_own_cohort_are_known_though_saved_anew(run, small_cohort, tmp_path):
    from multifocal.volumes import read, write

    cohort = open_cohort(small_cohort)
    names = [case.name for case in cohort]
    known = dict.fromkeys(names[:2], "train") | {names[2]: "validation"}
    assert seen_in(run).among(cohort) == known
    again = open_cohort(shutil.copytree(small_cohort, tmp_path / small_cohort.name))
    volume = read(again.cases[0].images["adc"].path)
    write(again.cases[0].images["adc"].path, Volume(np.where(volume.array, volume.array + 1, 0), volume.geometry))
    assert again.name == cohort.name and seen_in(run).among(again) == known


def test_a_run_without_fingerprints_goes_by_names(run, small_cohort, tmp_path):
    cohort = open_cohort(small_cohort)
    about = json.loads((run / "run.json").read_text())
    del about["images"]
    (run / "run.json").write_text(json.dumps(about))
    other = listed(tmp_path, {cohort.cases[0].name: files(cohort.cases[3]), "renamed": files(cohort.cases[0])})
    assert seen_in(run).among(other) == {cohort.cases[0].name: "train"}


def test_the_graver_part_counts_and_what_is_written_down_comes_back(small_cohort):
    case = open_cohort(small_cohort).cases[0]
    seen = Seen.of_all([Seen((SeenCase(case.name, "validation"),)), Seen((SeenCase(case.name, "train"),))])
    assert seen.part(case, cohort="any") == "train"
    assert Seen.from_json(json.loads(json.dumps(seen.to_json()))) == seen
    assert Seen.from_json({case.name: "train", "b": "test"}) == Seen((SeenCase(case.name, "train"),))  # older runs
    for forged in (None, 3, [[]], [{"name": "a"}], [{"name": "a", "part": "x"}], [{"name": 1, "part": "train"}]):
        assert Seen.from_json(forged) == Seen()


def test_images_that_cannot_be_read_are_for_others_to_tell(run, small_cohort):
    cohort = open_cohort(small_cohort)
    gone = {name: type(image)(image.path.with_name("none.mha")) for name, image in cohort.cases[0].images.items()}
    case = type(cohort.cases[0])("gone", "gone", gone)
    assert seen_in(run).among(Cohort("other", small_cohort, "manifest", (case,))) == {}
