"""Fit a recipe's system on a cohort, into a run folder."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from multifocal import networks
from multifocal.cohorts import Cohort, Fold, check_labels, with_labels
from multifocal.device import check_device
from multifocal.errors import LESS_MEMORY, UserError, within_memory
from multifocal.files import clear_up, locked, write_csv
from multifocal.parallel import check_main
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.dataset import TrainingSet
from multifocal.recipes import Recipe
from multifocal.systems import FitJob, System, system_class
from multifocal.systems.forward import window_of
from multifocal.systems.loading import ABOUT, is_finished, read_about
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.systems.packages import check_packages
from multifocal.systems.ranges import RANGES, training_ranges, write_ranges
from multifocal.systems.system import START, WEIGHTS
from multifocal.training.ddp import run_in_processes
from multifocal.training.loop import NetworkTraining, ValidationSet, quiet, train
from multifocal.training.members import failed, train_members
from multifocal.training.module import validation_scores
from multifocal.training.run_checkpoint import BEST, RESUME, RunCheckpoint, read_state
from multifocal.training.run_folder import CACHE, begin_run, check_run, describe
from multifocal.training.tune import tune_run
from multifocal.training.warm_start import check_same_start, check_start, record_start, start_record, starting_at
from multifocal.weights import read_weights, write_weights

VALIDATION = "validation.csv"


def fit(
    recipe: Recipe,
    cohort: Cohort,
    *,
    split: Fold,
    out: str | Path,
    cache: str | Path | None = None,
    resume: bool = False,
    processes: int = 1,
    members: int = 1,
    device: str = "auto",
    progress: bool = True,
    held: bool = False,
    rehearsal: bool = False,
    start: str | Path | None = None,
    ranges: bool = True,
) -> Path:
    """Fit until done.

    Args:
        recipe: what to fit.
        cohort: where its cases are.
        split: which of them train and validate.
        out: the run folder.
        cache: where prepared cases are kept (default: `cache` in the run folder); runs may share it.
        resume: continue the run in `out` when there is one; one that is finished is left as it is.
        processes: data-parallel processes (DDP): GPUs, or processes on the CPU. More than one needs the caller's
            module to be importable (a script guards its start with `if __name__ == "__main__"`).
        members: how many members of an ensemble are trained at a time, each by a process of its own that has its share
            of the threads; the same is true of the caller's module.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        progress: show a progress bar in a terminal, and a line an epoch on stderr elsewhere.
        held: the caller holds `out` already (`multifocal.files.locked`), for longer than the training, and has checked
            the labels (`multifocal.cohorts.check_labels`).
        rehearsal: a few cases are fitted to see what that costs; they need not hold what training looks for.
        start: the run folder of the recipe that a network's training starts from, or where that is to be trained
            (default: `start` in the run folder).
        ranges: whether what the training scans are is written down, see `multifocal.systems.ranges`, as a run wants it,
            and what is fitted within one does not.

    Returns:
        The path of the weights; of a system that has none of its own, the run folder.

    Raises:
        UserError: the recipe needs no training, the weights that it starts from do not fit, a case cannot be trained
            on, the recipe monitors a metric and there are no validation cases, the folder holds another run, another
            training is at work there, the device is not there, there is not enough memory, or the loss is no longer a
            finite number.
        KeyboardInterrupt: Ctrl-C; `resume` continues.

    Example:
        >>> from multifocal import recipes
        >>> from multifocal.cohorts import open_cohort
        >>> cohort = open_cohort("BONBID2023_Train")  # doctest: +SKIP
        >>> recipe = recipes.load("hie-small")
        >>> fit(recipe, cohort, split=choose_split(cohort, recipe), out="runs/0")  # doctest: +SKIP
        PosixPath('runs/0/weights.safetensors')
    """
    out, cache = Path(out), None if cache is None else Path(cache)
    if not recipe.needs_training:
        raise UserError(f"recipe {recipe.name} needs no training; predict with it")
    _check_split(recipe, cohort, split)
    cohort = with_labels(cohort, recipe.target_labels)
    if not held:
        check_labels(cohort, names=(*split.train, *split.validation))
    if members > 1 and processes > 1:
        raise UserError("--members and --processes do not go together: choose one of the two")
    if members > 1 or processes > 1 or any(training.training.workers for training in recipe.trainings):
        check_main()
    check_packages(recipe)
    for training in recipe.trainings:
        _accelerator(training, device, processes)
        # Options that no network can have, and weights that do not fit, should fail before cases are prepared.
        networks.check_options(training.network.name, training.network.options)
        if not (out / ABOUT).exists():
            check_start(training)
    about = describe(recipe, cohort, split, processes=processes)
    busy = f"{out}: another training is at work there; wait for it, or choose another folder"
    with nullcontext() if held else locked(out, busy=busy):
        standing = check_run(out, about=about, recipe=recipe, cohort=cohort, resume=resume)
        if standing == "finished":
            return out / WEIGHTS if (out / WEIGHTS).is_file() else out
        if standing == "new" and isinstance(recipe, NetworkRecipe):  # what has members leaves it to their own runs
            about |= start_record(recipe)
        clear_up(out, *([] if cache else [out / CACHE]))

        def begin() -> None:
            begin_run(out, about=about, recipe=recipe)
            if ranges and not rehearsal and not (out / RANGES).exists():
                found = training_ranges(cohort.subset(split.train))
                if found is not None:
                    write_ranges(out, found)

        cached = cache or out / CACHE

        # Of what is fitted into folders within this run.
        inner: dict[str, Any] = {"cache": cached, "processes": processes, "device": device, "progress": progress}
        inner |= {"resume": True, "held": True, "rehearsal": rehearsal, "ranges": False}

        def train_network(own: NetworkRecipe) -> None:
            home = out / START if start is None else Path(start)

            def begin_network() -> NetworkRecipe:
                begin()
                if own.start is None:
                    return own
                begun = starting_at(own, home)
                if not (out / RESUME).is_file():  # what goes on from there does not look at the start again
                    fit(own.start, cohort, split=split, out=home, **inner)
                    record_start(out, begun)
                return begun

            _train_network(own, job, cached, processes=processes, progress=progress, begin=begin_network)

        def fit_members(
            parts: Sequence[tuple[Recipe, Path, Fold]], starts: Mapping[Path, Path] = MappingProxyType({})
        ) -> None:
            begin()
            works = {
                f"member {folder.name} ({own.name})": partial(
                    fit, own, cohort, split=part, out=folder, start=starts.get(folder), **inner
                )
                for own, folder, part in parts
                if not is_finished(own, folder)
            }
            if members > 1 and len(works) > 1:
                train_members(works, at_once=members)
                return
            for name, work in works.items():
                try:
                    work()
                except UserError as error:
                    raise failed(name, error) from error

        validate = partial(_validate, cohort, split, out)
        job = FitJob(cohort, split, out, device, train_network, fit_members, validate, begin, rehearsal)
        with within_memory(LESS_MEMORY):
            system_class(recipe).fit(recipe, job)
            if recipe.tune is not None:
                tune_run(out, recipe, cohort.subset(split.validation), recipe.tune, device=device)
    return out / WEIGHTS if (out / WEIGHTS).is_file() else out


def _threads(run: Path) -> int:
    """Return how many threads a run began with: other numbers add up in another order, and end in other weights."""
    recorded = read_about(run).get("threads")
    return recorded if isinstance(recorded, int) and recorded > 0 else torch.get_num_threads()


def _train_network(
    recipe: NetworkRecipe,
    job: FitJob,
    cache: Path,
    *,
    processes: int,
    progress: bool,
    begin: Callable[[], NetworkRecipe],
) -> None:
    """Train a network by gradient descent, from where its run folder is; `begin` tells what is trained in the end."""
    accelerator, devices = _accelerator(recipe, job.device, processes)
    resuming = (job.out / ABOUT).exists()
    cases = [job.cohort.case(name) for name in job.split.train]
    prepared = Cache.for_training(cache, recipe.preprocessing, cases, labels=recipe.labels)
    training = TrainingSet(
        cases,
        prepared,
        augmentation=recipe.augmentation,
        dimensions=networks.dimensions(recipe.network.name),
        seed=recipe.training.seed,
        sampling=recipe.sampling,
    )
    validation = ValidationSet([job.cohort.case(name) for name in job.split.validation], prepared)
    _check_window(recipe, validation)
    recipe = begin()
    if prepared.frequency is not None:
        prepared.frequency.save(job.out)
    state, checkpoint = job.out / RESUME, RunCheckpoint(job.out)
    resuming = resuming and state.is_file()
    if not resuming:
        check_same_start(job.out, recipe)
    else:
        checkpoint.load_state_dict(read_state(state)["callbacks"][checkpoint.state_key])
    if not (resuming and checkpoint.is_done(recipe.training)):
        work = NetworkTraining(
            recipe,
            training,
            validation,
            job.out,
            state=state if resuming else None,
            epoch=len(checkpoint.rows),
            processes=processes,
            accelerator=accelerator,
            devices=devices,
            # One thread for each loader worker, the rest shared among the processes: more threads than cores crawl.
            threads=max(1, _threads(job.out) // processes - recipe.training.workers),
            progress=progress,
        )
        with quiet():
            if processes > 1:
                run_in_processes(train, work, processes=processes)
            else:
                train(0, work)
    monitored = recipe.training.monitor is not None
    outcome = read_weights(job.out / BEST) if monitored else _outcome(recipe, read_state(state))
    write_weights(job.out / WEIGHTS, outcome, checksum=True)


def _validate(cohort: Cohort, split: Fold, out: Path, system: System) -> None:
    """Score a fitted system on the validation cases, each on its own grid."""
    rows: list[dict[str, Any]] = []
    labels = system.recipe.target_labels
    for case in map(cohort.case, split.validation):
        label = labels.encode(case.label.read().array)  # type: ignore[union-attr]  # _check_split saw that it is there
        mask = system.predict(case).mask
        scores = validation_scores(mask.array, label, labels, spacing=mask.geometry.spacing)
        rows += [{"case": case.name, **row} for row in scores]
    if rows:
        write_csv(out / VALIDATION, rows)


def _check_split(recipe: Recipe, cohort: Cohort, split: Fold) -> None:
    if not split.train:
        raise UserError(f"cohort {cohort.name}: no case to train on")
    for name in (*split.train, *split.validation):
        if cohort.case(name).label is None:
            raise UserError(f"case {name}: has no label; leave it out of training and validation")
    if not split.validation and recipe.is_tuned:
        raise UserError(
            f"recipe {recipe.name} is tuned on validation cases, and there are none: use a nested fold file, or leave "
            "tune out"
        )
    if recipe.monitor and not split.validation:
        raise UserError(
            f"recipe {recipe.name} keeps the best epoch by {recipe.monitor}, which needs validation cases: "
            "use a nested fold file, or --set training.monitor=null --set training.patience=null to keep the last epoch"
        )


def _check_window(recipe: NetworkRecipe, validation: ValidationSet) -> None:
    """Raise `UserError` now, not after the first epoch, for a window that validation could not use."""
    if recipe.inference.window is None:
        return
    dimensions = networks.dimensions(recipe.network.name)
    multiple = recipe.build_network(for_training=False).multiple
    for number in range(len(validation)):
        window_of(recipe.inference, validation[number].inside.shape[:dimensions], multiple=multiple)


def _accelerator(recipe: NetworkRecipe, device: str, processes: int) -> tuple[str, int | list[int]]:
    """Return Lightning's name and numbers of the device, after checking that it is there and can do what is asked."""
    check_device(device)
    kind, _, number = device.partition(":")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    apple = "mps" if torch.backends.mps.is_available() else "cpu"
    accelerator = {"auto": "gpu" if gpus else apple, "cuda": "gpu"}.get(kind, kind)
    if number and processes > 1:
        raise UserError(f"device {device}: {processes} processes need as many GPUs; use --device cuda for all of them")
    if accelerator == "gpu" and gpus < max(processes, int(number or 0) + 1):
        needs = f"{processes} processes need as many GPUs" if not number else "there is no such GPU"
        raise UserError(f"device {device}: {needs}, found {gpus}; use --device cpu")
    if accelerator != "gpu" and recipe.training.precision == "16":
        raise UserError("training.precision=16 trains on GPUs only; use bf16 or 32 on the CPU")
    return accelerator, [int(number)] if number else processes


def _outcome(recipe: NetworkRecipe, checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the weights of `SegmentationModule.outcome`."""
    prefix = "network." if recipe.training.ema is None else "averaged.module."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
