"""Bad input: one line that names the file and the cure, exit code 2, nothing half-written, nothing lost."""

import errno
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import children
import numpy as np
import pytest
import torch

from multifocal.cohorts import open_cohort
from multifocal.volumes import Geometry, Volume, read, write
from multifocal.weights import read_weights, write_weights

BROKEN = "S_3-VISIT_01"


def adc(root: Path) -> Path:
    return root / "1ADC_ss" / f"{BROKEN}-ADC_ss.mha"


def zadc(root: Path) -> Path:
    return root / "2Z_ADC" / f"Zmap_{BROKEN}-ADC_smooth2mm_clipped10.mha"


def label(root: Path) -> Path:
    return root / "3LABEL" / f"{BROKEN}_lesion.mha"


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[-400:-300] = bytes(100)
    path.write_bytes(content)


def boast(path):
    """A header that asks for more memory than the file could hold."""
    head, _, tail = path.read_bytes().partition(b"DimSize = ")
    path.write_bytes(head + b"DimSize = 90000 90000 90000\n" + tail.partition(b"\n")[2])


def shift(path):
    volume, grid = read(path), read(path).geometry
    moved = Geometry(grid.size, grid.spacing, tuple(x + 5 for x in grid.origin), grid.direction)
    write(path, Volume(volume.array, moved))


def fill(value):
    def change(path):
        volume = read(path)
        write(path, Volume(np.full_like(volume.array, value), volume.geometry))

    return change


def spoil(path):
    volume = read(path)
    volume.array[10, 4:6, 4:6] = np.nan
    write(path, volume)


def halve(path):
    volume = read(path)
    write(path, Volume(volume.array * 0.5, volume.geometry))


# What is done to which file, and which commands must refuse it.
MISTAKES = {
    "truncated image": (zadc, truncate, "train predict threshold"),
    "truncated label": (label, truncate, "train evaluate"),
    "corrupt image": (adc, corrupt, "train predict threshold evaluate"),
    "boasting header": (zadc, boast, "train predict threshold"),
    "empty file": (adc, lambda path: path.write_bytes(b""), "train predict threshold evaluate"),
    "not an image": (adc, lambda path: path.write_text("hello"), "train predict threshold evaluate"),
    "images on two grids": (zadc, shift, "train predict threshold"),
    "label on another grid": (label, shift, "train evaluate"),
    "no Z-ADC": (zadc, Path.unlink, "train predict threshold evaluate"),
    "no brain": (adc, fill(0), "train predict threshold evaluate"),
    "constant image": (adc, fill(800), "train predict"),
    "NaN": (zadc, spoil, "train predict threshold"),
    "label that is no mask": (label, halve, "train evaluate"),
}
AT_ONCE = (
    "no Z-ADC",
    "truncated label",
    "label on another grid",
    "label that is no mask",
)  # before anything is predicted or scored
CASES = [(mistake, command) for mistake, (*_, commands) in MISTAKES.items() for command in commands.split()]


@pytest.fixture
def arguments(cohort, small_recipe, finished_run, tmp_path, multifocal):
    """Arguments of each command, with `tmp_path / "out"` for what it writes."""
    rest = [cohort, "--out", tmp_path / "out"]
    masks = tmp_path / "masks"
    multifocal("predict", "zadc-threshold", cohort, "--out", masks)
    return {
        "train": ["train", small_recipe, *rest, "--device", "cpu"],
        "predict": ["predict", finished_run, *rest, "--device", "cpu"],
        "threshold": ["predict", "zadc-threshold", *rest],
        "evaluate": ["evaluate", masks, *rest],
    }


@pytest.mark.parametrize("command", ["train", "evaluate", "folds", "dataset folds", "study", "dry run"])
def test_label_values_that_nobody_named_are_refused_before_any_work(
    multifocal, cohort, arguments, listing, tmp_path, command
):
    """255 for "ignore" and a 2 are not lesion: every command that reads labels says so alike, and writes nothing."""
    place, volume = label(cohort), read(label(cohort))
    array = volume.array.astype(np.int16)
    array[1, 2, 3], array[4, 5, 6] = 255, 2
    write(place, Volume(array, volume.geometry))
    says = "name: s\nrecipe: zadc-threshold\narms: {a: {}}\nfolds: {scheme: kfold, number: 2}\n"
    (tmp_path / "study.yaml").write_text(says)
    rows = [f"{case.name},{case.images['adc'].path},{case.label.path},train" for case in open_cohort(cohort)]
    (tmp_path / "all.csv").write_text("\n".join(["case,adc,label,split", *rows]))
    out = ["--out", tmp_path / "out"]
    commands = {
        **arguments,
        "folds": ["data", "folds", cohort, *out, "--k", 2],
        "dataset folds": ["data", "folds", tmp_path / "all.csv", "--scheme", "dataset", *out],
        "study": ["study", tmp_path / "study.yaml", cohort, *out],
        "dry run": ["study", tmp_path / "study.yaml", cohort, *out, "--dry-run"],
    }
    ended = multifocal(*commands[command])
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert ended.err.startswith(f"error: case {BROKEN}: ")
    assert "mask holds 255 at (1, 2, 3), and 2; expected only 0 and 1; write masks with 0 outside" in ended.err
    assert not (tmp_path / "out").exists() or listing(tmp_path / "out") == []


@pytest.mark.parametrize(("mistake", "command"), CASES)
def test_mistakes_in_the_cohort(multifocal, cohort, arguments, listing, tmp_path, mistake, command):
    file, change, _ = MISTAKES[mistake]
    change(file(cohort))
    ended = multifocal(*arguments[command])
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert BROKEN in ended.err and ";" in ended.err  # which case, and the cure
    left = listing(tmp_path / "out")
    if command == "train":  # prepared cases may stay, whole ones
        assert all(name.startswith("cache/") for name in left)
    elif mistake in AT_ONCE:
        assert left == []
    elif command == "evaluate":  # the rows before the broken case are kept
        assert left == ["unfinished.jsonl"]
    else:  # so are the masks
        assert left == [f"S_{number}-VISIT_01_lesion.mha" for number in range(3)]
    assert not any(".writing" in name or ".making" in name for name in left)


@pytest.mark.parametrize("command", ["train", "predict", "threshold", "evaluate"])
@pytest.mark.parametrize("kind", ["empty", "missing", "file"])
def test_no_cohort(multifocal, arguments, tmp_path, command, kind):
    path = tmp_path / "elsewhere"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("hello")
    ended = multifocal(*arguments[command][:2], path, *arguments[command][3:])
    assert ended.code == 2 and ended.err.startswith(f"error: {path}: ") and ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "predict", "threshold", "evaluate"])
def test_a_file_where_the_folder_should_be(multifocal, arguments, tmp_path, command):
    (tmp_path / "out").write_text("mine")
    ended = multifocal(*arguments[command])
    assert ended.code == 2 and ended.err.startswith(f"error: {tmp_path / 'out'}") and ended.err.count("\n") == 1
    assert "choose another folder" in ended.err and (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("command", ["train", "predict", "threshold", "evaluate"])
@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "no permission to write there"), (errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only")],
)
def test_a_folder_that_cannot_be_written(multifocal, arguments, listing, tmp_path, monkeypatch, command, number, words):
    def refuse(*positions, **options):
        raise OSError(number, "refused")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    ended = multifocal(*arguments[command])
    assert ended.code == 2 and ended.err.startswith(f"error: {tmp_path / 'out'}") and ended.err.count("\n") == 1
    kept = ["unfinished.jsonl"] if command == "evaluate" else []  # with which a second call goes on
    assert words in ended.err and (not (tmp_path / "out").exists() or listing(tmp_path / "out") == kept)


@pytest.mark.parametrize(
    ("command", "largest", "file"),
    [
        ("train", 2000, "out/cache"),
        ("train --cache", 2000, "ranges.json"),
        ("train --cache", 20000, "resume.safetensors"),
        ("train --cache --set network.options.features=[8,16]", 20000, "best.safetensors"),
        ("predict", 400, "S_0-VISIT_01_lesion.mha"),
        ("evaluate", 400, "unfinished.jsonl"),
    ],
)
def test_a_disk_that_fills_up(multifocal, processes, arguments, listing, tmp_path, command, largest, file):
    command, *more = command.split()
    given = [*map(str, arguments[command]), *more[1:]]
    if more:
        given += ["--cache", str(tmp_path / "cache")]
        assert multifocal(*given[:4], tmp_path / "other", *given[5:], "--set", "training.epochs=1").code == 0
    process = processes.Process(target=children.command, args=(given, tmp_path / "screen", None, largest))
    process.start()
    process.join()
    told = (tmp_path / "screen.err").read_text()
    assert process.exitcode == 2 and told.startswith("error: ") and told.count("\n") == 1
    assert file in told and "cannot write" in told
    left = listing(tmp_path / "out")
    assert not any(".writing" in name or ".making" in name for name in left)
    assert not any(name.endswith(("_lesion.mha", "weights.safetensors", "summary.json", "cases.csv")) for name in left)


def test_a_folder_that_holds_a_run(multifocal, arguments, tmp_path):
    assert multifocal(*arguments["train"], "--set", "training.epochs=1").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for more, words in (([], "already holds a run; --resume continues it"), (["--resume"], "other settings")):
        ended = multifocal(*arguments["train"], *more)
        assert ended.code == 2 and ended.err.count("\n") == 1 and words in ended.err
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_weights_that_are_nan(multifocal, finished_run, cohort, listing, tmp_path):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    state = read_weights(run / "weights.safetensors")
    write_weights(
        run / "weights.safetensors",
        {
            name: torch.full_like(value, torch.nan) if value.is_floating_point() else value
            for name, value in state.items()
        },
    )
    ended = multifocal("predict", run, cohort, "--out", tmp_path / "out", "--device", "cpu")
    assert ended.code == 2 and ended.err.count("\n") == 1 and listing(tmp_path / "out") == []
    assert ended.err.startswith("error: case S_0-VISIT_01: the network answers with NaN or infinity; copy its weights")


@pytest.mark.parametrize("command", ["train", "predict", "threshold", "evaluate"])
def test_want_of_memory(multifocal, arguments, monkeypatch, command):
    name = {
        "train": "training.module.SegmentationModule.training_step",
        "predict": "systems.network.probabilities",
        "threshold": "systems.threshold.prepare",
        "evaluate": "evaluation.cohort.score_case",
    }[command]
    monkeypatch.setattr(f"multifocal.{name}", lambda *positions, **options: np.zeros((10**7, 10**7)))
    ended = multifocal(*arguments[command])
    assert ended.code == 2 and ended.err.count("\n") == 1
    where = "case S_0-VISIT_01: " if command == "predict" else ""
    assert ended.err.startswith(f"error: {where}out of memory: 728 TiB more were asked for than there is; ")
    assert ("--workers" if command == "evaluate" else "training.batch_size, or predict") in ended.err


def test_a_checkpoint_that_is_a_pickle(multifocal, arguments, tmp_path, cohort):
    (tmp_path / "model.ckpt").write_bytes(pickle.dumps({"weights": [1.0]}))
    ended = multifocal("predict", tmp_path / "model.ckpt", cohort, "--out", tmp_path / "out")
    assert ended.code == 2 and ended.err.count("\n") == 1 and not (tmp_path / "out").exists()
    assert (
        ended.err.startswith(f"error: {tmp_path / 'model.ckpt'}: is not a run folder")
        and "can run any code" in ended.err
    )


def test_probabilities_of_a_threshold(multifocal, arguments, tmp_path):
    ended = multifocal(*arguments["threshold"], "--probabilities")
    assert ended.code == 2 and ended.err.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "predict"])
def test_an_unknown_device(multifocal, arguments, tmp_path, command):
    ended = multifocal(*arguments[command][:-1], "quantum")
    assert ended.code == 2 and ended.err.startswith("error: device 'quantum'") and ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["pipe", "/dev/zero"])
def test_folds_that_never_end_are_refused(multifocal, cohort, finished_run, tmp_path, what):
    os.mkfifo(tmp_path / "pipe")
    file = tmp_path / what
    ended = multifocal("predict", finished_run, cohort, "--out", tmp_path / "out", "--folds", file, "--fold", 0)
    assert ended.code == 2 and ended.err.startswith(f"error: {file}: is a pipe or a device; ")
    assert ended.err.count("\n") == 1
