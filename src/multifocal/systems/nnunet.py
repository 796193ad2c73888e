"""nnU-Net v2, in an environment of its own: its commands plan, train and predict inside the run folder."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import numpy as np
import yaml
from pydantic import Field, model_validator

from multifocal.cohorts import Case, ImageFile
from multifocal.device import check_device, choose_device
from multifocal.errors import UserError
from multifocal.files import locked, read_json, write_json, write_text
from multifocal.recipes import KINDS, Recipe
from multifocal.systems.network_recipe import LossSettings
from multifocal.systems.system import FitJob, Prediction, System
from multifocal.volumes import Volume, extension_of, read, write

ENVIRONMENT = "MULTIFOCAL_NNUNET"
"""The variable that names the environment: its folder, that of its programs, or its Python."""

LOSS_VARIABLE = "MULTIFOCAL_LOSS"
"""The variable by which our trainers know their loss."""

LENGTH_VARIABLE = "MULTIFOCAL_LENGTH"
"""The variable by which they know how long to train: JSON of `epochs`, `iterations` and `validation_iterations`."""

TRAINERS = {(False, False): "nnUNetTrainer", (True, False): "nnUNetTrainerMultifocal"} | {
    (False, True): "nnUNetTrainerMultifocalLength", (True, True): "nnUNetTrainerMultifocalLossLength"
}  # fmt: skip
"""The trainer by whether it has a loss of ours, and a length of its own."""

HOME, FITTED = "nnunet", "nnunet.json"
_DATASET, _PLANS = "Dataset001_multifocal", "nnUNetPlans"
_PLANNED = "planned.json"
_ENDINGS = (".nii.gz", ".nrrd", ".mha")  # that both read alike
_LENGTH = ("epochs", "iterations", "validation_iterations")
_INSTALL = (
    "`python -m venv nnunet-env` and `nnunet-env/bin/pip install 'multifocal[nnunet]'` make one, and "
    f"`export {ENVIRONMENT}=nnunet-env` names it"
)


class Choice(LossSettings):
    """A loss and its options; `distances: mm` measures them by the plan's spacing instead of in voxels.

    Args:
        name: a name that `multifocal.losses.build` takes.
        options: of the loss, by name, without `activation` and `include_background`.
        distances: "voxels" or "mm".

    Raises:
        ValueError: the loss or an option is unknown, or a value cannot be.

    Example:
        >>> Choice(name="blob-gdf").distances
        'voxels'
    """

    distances: Literal["voxels", "mm"] = "voxels"


class NnUNetRecipe(Recipe):
    """What nnU-Net v2 is told; all else is its own choice. It draws by chance, and knows no seed.

    Args:
        channels: names of the maps, in order. nnU-Net goes by the names: one called "ct" is normalised as such.
        configuration: "3d_fullres" or "2d".
        planner: nnU-Net's class of planners, such as "nnUNetPlannerResEncM".
        gpu_memory_gb: what the plan may take of a GPU's memory; None is the planner's own (8).
        spacing: of the plan for "3d_fullres", in mm, in nnU-Net's order: that of the files' axes backwards; None leaves
            it to nnU-Net.
        loss: one of ours; None is nnU-Net's own, Dice + cross-entropy.
        epochs: of training.
        iterations: steps of an epoch.
        validation_iterations: batches that an epoch is validated on, in nnU-Net's own log.
        mirroring: whether predictions are averaged over mirrored axes.
        step_size: of the sliding window, as a share of the patch.
        workers: processes that plan, and that load beside training.

    Raises:
        ValueError: a map is named twice, or a spacing is given for "2d".

    Example:
        >>> from multifocal import recipes
        >>> recipe = recipes.load("hie-nnunet-2023", overrides=["loss={name: blob-gdf}", "epochs=50"])
        >>> recipe.trainer, recipe.needs_training
        ('nnUNetTrainerMultifocalLossLength', True)
    """

    kind: Literal["nnunet"] = "nnunet"
    channels: tuple[str, ...] = Field(min_length=1)
    configuration: Literal["3d_fullres", "2d"] = "3d_fullres"
    planner: str = "ExperimentPlanner"
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    spacing: tuple[float, float, float] | None = None
    loss: Choice | None = None
    epochs: int = Field(default=1000, ge=1)
    iterations: int = Field(default=250, ge=1)
    validation_iterations: int = Field(default=50, ge=1)
    mirroring: bool = True
    step_size: float = Field(default=0.5, gt=0, le=1)
    workers: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "NnUNetRecipe":
        if len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels {', '.join(self.channels)} name a map twice; give each once")
        if self.spacing is not None and self.configuration == "2d":
            raise ValueError("spacing is for 3d_fullres: nnU-Net takes none for 2d; leave it out")
        if self.spacing is not None and min(self.spacing) <= 0:
            raise ValueError("spacing must be above 0 along each axis")
        return self

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return self.channels

    @property
    def needs_training(self) -> bool:
        """Whether `fit` comes before `predict`, which it does."""
        return True

    @property
    def fixed_steps(self) -> int:
        """Steps of the training."""
        return self.epochs * self.iterations

    @property
    def trainer(self) -> str:
        """nnU-Net's name of the trainer: its own, as far as loss and length are."""
        fields = type(self).model_fields
        own_length = any(getattr(self, name) != fields[name].default for name in _LENGTH)
        return TRAINERS[self.loss is not None, own_length]


@KINDS.register("nnunet")
class NnUNetSystem(System):
    """An nnU-Net that was planned and trained in a run folder.

    Args:
        recipe: what it was told.
        folder: the run folder.
        device: what it computes on: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        UserError: the run folder lacks what nnU-Net left there.

    Source:
        Isensee et al., Nature Methods 18:203 (2021), doi:10.1038/s41592-020-01008-z.

    Example:
        >>> from multifocal import recipes
        >>> NnUNetSystem.is_fitted(recipes.load("hie-nnunet-2023"), "runs/none-yet")
        False
    """

    recipe_type = NnUNetRecipe
    has_probabilities = True

    def __init__(self, recipe: NnUNetRecipe, folder: str | Path, *, device: str) -> None:
        super().__init__(recipe)
        self.folder, self.device = Path(folder), device
        results = self.folder / HOME / "results" / _DATASET / f"{recipe.trainer}__{_PLANS}__{recipe.configuration}"
        self.model = results.absolute()
        folds = [path.name.removeprefix("fold_") for path in results.glob("fold_*")]
        if len(folds) != 1:
            raise UserError(
                f"{results}: holds {len(folds)} folds of nnU-Net, expected 1; copy the run again, or train anew"
            )
        (self.fold,) = folds
        self.ending = str(read_json(results / "dataset.json")["file_ending"])

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid; nnU-Net is started for it.

        Args:
            case: with the maps that the recipe names.

        Returns:
            The mask and the probability.

        Raises:
            UserError: a map is missing or cannot be read, the environment is not there, or nnU-Net fails.
        """
        recipe = self.recipe
        with TemporaryDirectory() as temporary:
            images, out = Path(temporary) / "images", Path(temporary) / "out"
            for number, file in enumerate(_files(case, recipe.channels)):
                _place(file, images / f"case_{number:04d}{self.ending}", ending=self.ending)
            arguments = ["-i", images, "-o", out, "-m", self.model, "-f", self.fold, "-step_size", recipe.step_size]
            arguments += ["-npp", 1, "-nps", 1, "--save_probabilities", "--disable_progress_bar"]
            arguments += [] if recipe.mirroring else ["--disable_tta"]
            _run(
                "predict_from_modelfolder",
                arguments,
                recipe=recipe,
                home=self.folder / HOME,
                device=self.device,
                log=Path(temporary) / "predict.log",
            )
            mask = read(out / f"case{self.ending}")
            with np.load(out / "case.npz", allow_pickle=False) as file:
                found = file["probabilities"]
        grid = case.images[recipe.channels[0]].geometry()
        # nnU-Net counts the axes backwards, as SimpleITK's arrays do.
        probability = np.ascontiguousarray(found[1].T, np.float32)
        if mask.array.shape != grid.size or probability.shape != grid.size:
            raise UserError(
                f"case {case.name}: nnU-Net answers on a grid of {mask.array.shape}, and the case has {grid.size}; "
                "check the installed nnU-Net"
            )
        return Prediction(Volume((mask.array > 0).astype(np.uint8), grid), Volume(probability.clip(0, 1), grid))

    @classmethod
    def load(cls, recipe: NnUNetRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the nnU-Net of a run folder.

        Args:
            recipe: the run's.
            folder: the run folder.
            device: what to compute on.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: there is no environment with nnU-Net, or no such device.
        """
        if folder is None:
            raise UserError(f"recipe {recipe.name} needs training; `multifocal train` comes first")
        _programs(recipe)
        return cls(recipe, folder, device=device)

    @classmethod
    def fit(cls, recipe: NnUNetRecipe, job: FitJob) -> None:
        """Plan and train, or go on where it was stopped: with the plan, or the last checkpoint of nnU-Net.

        Args:
            recipe: what nnU-Net is told.
            job: on what and where.

        Raises:
            UserError: there is no environment with nnU-Net, a case cannot be used, or nnU-Net fails.
        """
        _programs(recipe)
        check_device(job.device)
        job.begin()
        busy = f"{job.out}: an nnU-Net is still at work there (its Python was killed?); wait for it, or stop it"
        with locked(job.out / HOME, busy=busy) as held:
            _plan_and_train(recipe, job, held=held)
        home = job.out / HOME
        epochs = _epoch_seconds(home / "results")
        job.validate(cls.load(recipe, job.out, device=job.device))
        step_ms = 1000 * statistics.median(epochs) / recipe.iterations if epochs else 0.0
        seconds = float(read_json(home / _PLANNED)["seconds"]) + sum(epochs)
        write_json(job.out / FITTED, {"seconds": seconds, "epochs": recipe.epochs, "step_ms": step_ms})
        for folder in ("raw", "preprocessed"):  # the results hold plan and labels, too
            shutil.rmtree(home / folder, ignore_errors=True)

    @classmethod
    def is_fitted(cls, recipe: NnUNetRecipe, folder: str | Path) -> bool:
        """Return whether a run has ended.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            Whether it has.
        """
        del recipe
        return (Path(folder) / FITTED).is_file()

    @classmethod
    def facts(cls, recipe: NnUNetRecipe, folder: str | Path) -> Mapping[str, Any]:
        """Return what planning and training took, by nnU-Net's log.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            `seconds`, `epochs`, and `step_ms`: an epoch's time over its steps, with its validation.
        """
        del recipe
        return dict(read_json(Path(folder) / FITTED))

    @classmethod
    def check_installed(cls, recipe: NnUNetRecipe) -> None:
        """Raise `UserError` where there is no environment with nnU-Net.

        Args:
            recipe: what is to be fitted.

        Raises:
            UserError: there is none.
        """
        _programs(recipe)


def _programs(recipe: NnUNetRecipe) -> Path:
    """Return the folder of nnU-Net's programs: that of the variable, else of this Python's own environment."""
    said = os.environ.get(ENVIRONMENT, "").strip()
    given = Path(said).expanduser().absolute()
    folders = [given, given / "bin", given / "Scripts", given.parent] if said else [Path(sys.executable).parent]
    for folder in folders:
        if shutil.which("nnUNetv2_train", path=str(folder)):
            return folder
    where = f"{said}: has no nnUNetv2_train" if said else f"recipe {recipe.name} needs an environment with nnU-Net v2"
    raise UserError(f"{where}; {_INSTALL}")


def _plan_and_train(recipe: NnUNetRecipe, job: FitJob, *, held: int) -> None:
    """Plan, unless that is done, and train, or go on; nnU-Net holds the folder, too, lest another starts beside it."""
    home = job.out / HOME
    common: dict[str, Any] = {"recipe": recipe, "home": home, "device": job.device, "held": (held,)}
    if not (home / _PLANNED).is_file():
        started = time.monotonic()
        _write_dataset(recipe, job, home)
        arguments = ["-d", 1, "-c", recipe.configuration, "-pl", recipe.planner, "--clean"]
        arguments += ["-overwrite_plans_name", _PLANS, "-npfp", recipe.workers, "-np", recipe.workers]
        arguments += [] if recipe.gpu_memory_gb is None else ["-gpu_memory_target", recipe.gpu_memory_gb]
        arguments += [] if recipe.spacing is None else ["-overwrite_target_spacing", *recipe.spacing]
        _run("plan_and_preprocess", arguments, log=home / "plan.log", **common)
        # Folds of nnU-Net: ours is its first; without validation cases, it trains on all that there are.
        parts = [{"train": list(job.split.train), "val": list(job.split.validation)}]
        write_json(home / "preprocessed" / _DATASET / "splits_final.json", parts)
        write_json(home / _PLANNED, {"seconds": time.monotonic() - started})
    if recipe.loss is not None:
        write_text(home / "loss.yaml", yaml.safe_dump(recipe.loss.model_dump(mode="json")))
    fold = "0" if job.split.validation else "all"
    # Where there is no checkpoint yet, --c begins anew.
    arguments = ["1", recipe.configuration, fold, "-tr", recipe.trainer, "-p", _PLANS, "--c"]
    _run("train", arguments, log=home / "train.log", **common)


def _run(
    command: str,
    arguments: Sequence[Any],
    *,
    recipe: NnUNetRecipe,
    home: Path,
    device: str,
    log: Path,
    held: tuple[int, ...] = (),
) -> None:
    """Run one of nnU-Net's commands inside a run folder; what it prints goes to a log."""
    programs = _programs(recipe)
    folders = {f"nnUNet_{name}": str((home / name).absolute()) for name in ("raw", "preprocessed", "results")}
    count = {name: str(recipe.workers) for name in ("nnUNet_def_n_proc", "nnUNet_n_proc_DA")}
    environment = {**os.environ, **folders, **count}
    if recipe.trainer != "nnUNetTrainer":
        environment["nnUNet_extTrainer"] = _trainers(programs)
        environment[LENGTH_VARIABLE] = json.dumps({name: getattr(recipe, name) for name in _LENGTH})
        environment[LOSS_VARIABLE] = str((home / "loss.yaml").absolute())
    kind, _, number = (choose_device("auto").type if device == "auto" else device).partition(":")
    if number:
        seen = [one for one in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        environment["CUDA_VISIBLE_DEVICES"] = seen[int(number)] if int(number) < len(seen) else number
    program = str(shutil.which(f"nnUNetv2_{command}", path=str(programs)))
    on = [] if command == "plan_and_preprocess" else ["-device", kind]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        ended = subprocess.run(
            [program, *map(str, [*arguments, *on])],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
            pass_fds=held,
        )
    if ended.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(
            f"nnUNetv2_{command} ended with exit code {ended.returncode} ({lines[-1].strip() if lines else 'silent'}); "
            + (f"see {log}" if log.parent == home else "predict again, or train anew")
        )


@cache
def _trainers(programs: Path) -> str:
    """Return the folder of our trainers in nnU-Net's environment."""
    python = shutil.which("python", path=str(programs)) or shutil.which("python3", path=str(programs))
    command = [str(python), "-m", "multifocal.nnunet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False) if python else None
    if ended is None or ended.returncode:
        raise UserError(
            f"{programs}: has nnU-Net, but not multifocal, which a loss or a length of the recipe's own needs; "
            f"{programs / 'pip'} install multifocal"
        )
    return ended.stdout.strip().splitlines()[-1]


def _write_dataset(recipe: NnUNetRecipe, job: FitJob, home: Path) -> None:
    """Write nnU-Net's dataset: images stay where they are if it can read them there, labels become 0 and 1."""
    cases = [job.cohort.case(name) for name in (*job.split.train, *job.split.validation)]
    endings = {extension_of(file.path.name) for case in cases for file in case.images.values()}
    ending = endings.pop() if len(endings) == 1 and endings <= set(_ENDINGS) else _ENDINGS[0]
    folder, listed = home / "raw" / _DATASET, {}
    for case in cases:
        if case.label is None:
            raise UserError(f"case {case.name}: has no label; leave it out of training and validation")
        images = []
        for number, file in enumerate(_files(case, recipe.channels)):
            images.append(folder / "imagesTr" / f"{case.name}_{number:04d}{ending}")
            if file.component is None and extension_of(file.path.name) == ending:
                images[-1] = file.path
            else:
                write(images[-1], file.read())
        first, label = case.images[recipe.channels[0]].geometry(), case.label.read()
        if differences := label.geometry.differences(first):
            raise UserError(f"{case.label.path}: lies on another grid than the images: {'; '.join(differences)}")
        target = folder / "labelsTr" / f"{case.name}{ending}"
        write(target, Volume(job.cohort.labels.encode(label.array), first))
        listed[case.name] = {"images": [str(path.absolute()) for path in images], "label": str(target.absolute())}
    description = {
        "channel_names": {str(number): name for number, name in enumerate(recipe.channels)},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(cases),
        "file_ending": ending,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "dataset": listed,
    }
    write_json(folder / "dataset.json", description)


def _files(case: Case, channels: Sequence[str]) -> list[ImageFile]:
    """Return a case's files in nnU-Net's order, after checking that they can be its channels."""
    for name in channels:
        if name not in case.images:
            raise UserError(
                f"case {case.name}: has no map '{name}', which the recipe needs; it has {', '.join(case.images)}"
            )
    files = [case.images[name] for name in channels]
    first = files[0].geometry()
    if first.ndim != 3:
        raise UserError(f"case {case.name}: is {first.ndim}D, and this kind of recipe is for volumes")
    for file in files[1:]:
        if differences := file.geometry().differences(first):
            raise UserError(
                f"{file.path}: lies on another grid than {files[0].path.name}: {'; '.join(differences)}; "
                "resample one onto the other"
            )
    return files


def _place(file: ImageFile, target: Path, *, ending: str) -> None:
    """Put an image where nnU-Net looks for it: a link to it, or a copy in the form that it reads."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.component is None and extension_of(file.path.name) == ending:
        try:
            target.symlink_to(file.path.absolute())
        except OSError:  # file systems, and Windows, that have no links
            shutil.copyfile(file.path, target)
    else:
        write(target, file.read())


def _epoch_seconds(results: Path) -> list[float]:
    """Return the time of each epoch, in s, by the logs of all sessions."""
    logs = sorted(results.glob("*/*/fold_*/training_log_*.txt"))
    return [float(took) for log in logs for took in re.findall(r"Epoch time: ([\d.]+) s", log.read_text())]
