"""Train a recipe on a cohort, into a run folder."""

from contextlib import nullcontext
from pathlib import Path

import torch

from multifocal import networks
from multifocal.cohorts import Cohort
from multifocal.device import check_device
from multifocal.errors import UserError
from multifocal.files import locked
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.dataset import TrainingSet
from multifocal.recipes import Recipe
from multifocal.training.keeper import BEST, RESUME, Keeper
from multifocal.training.loop import Job, ValidationSet, quiet, train
from multifocal.training.module import SegmentationModule
from multifocal.training.processes import run_in_processes
from multifocal.training.run import CACHE, WEIGHTS, Parts, begin_run, check_run, clear_up, describe
from multifocal.weights import read_tree, read_weights, write_weights


def fit(
    recipe: Recipe,
    cohort: Cohort,
    *,
    parts: Parts,
    out: Path,
    cache: Path | None = None,
    resume: bool = False,
    processes: int = 1,
    device: str = "auto",
    progress: bool = True,
    held: bool = False,
) -> Path:
    """Train until done and return the path of the weights.

    Args:
        recipe: what to train.
        cohort: where its cases are.
        parts: which of them train and validate.
        out: the run folder.
        cache: where prepared cases are kept (default: `cache` in the run folder); runs may share it.
        resume: continue the run in `out` when there is one.
        processes: data-parallel processes (DDP): GPUs, or processes on the CPU. More than one needs the caller's
            module to be importable (a script guards its start with `if __name__ == "__main__"`).
        device: `auto`, `cpu` or `cuda`.
        progress: show a progress bar.
        held: the caller holds `out` already (`multifocal.files.locked`), for longer than the training.

    Raises:
        UserError: a case cannot be trained on, the recipe monitors a metric and there are no validation cases, the
            folder holds another run, another training is at work there, the device is not there, or the loss is no
            longer a finite number.
        KeyboardInterrupt: Ctrl-C; `resume` continues.
    """
    _check_parts(recipe, cohort, parts)
    accelerator = _accelerator(recipe, device, processes)
    about = describe(recipe, cohort, parts, processes=processes)
    SegmentationModule(recipe)  # options that no network can have should fail before cases are prepared
    busy = f"{out}: another training is at work there; wait for it, or choose another folder"
    with nullcontext() if held else locked(out, busy=busy):
        resuming = check_run(out, about=about, recipe=recipe, resume=resume)
        clear_up(out, *([] if cache else [out / CACHE]))
        prepared = Cache(cache or out / CACHE, recipe.preprocessing)
        training = TrainingSet(
            [cohort.case(name) for name in parts.train],
            prepared,
            augmentation=recipe.augmentation,
            dimensions=networks.dimensions(recipe.network.name),
            seed=recipe.training.seed,
        )
        validation = ValidationSet([cohort.case(name) for name in parts.validation], prepared)
        begin_run(out, about=about, recipe=recipe)
        state, keeper = out / RESUME, Keeper(out)
        resuming = resuming and state.is_file()
        if resuming:
            keeper.load_state_dict(read_tree(state)["callbacks"][keeper.state_key])
        if not (resuming and keeper.is_done(recipe.training)):
            job = Job(
                recipe,
                training,
                validation,
                out,
                state=state if resuming else None,
                epoch=len(keeper.rows),
                processes=processes,
                accelerator=accelerator,
                # One thread for each loader worker, the rest shared among the processes: more threads than cores crawl.
                threads=max(1, torch.get_num_threads() // processes - recipe.training.workers),
                progress=progress,
            )
            with quiet():
                if processes > 1:
                    run_in_processes(train, job, processes=processes)
                else:
                    train(0, job)
        monitored = recipe.training.monitor is not None
        write_weights(out / WEIGHTS, read_weights(out / BEST) if monitored else _network_state(read_tree(state)))
        return out / WEIGHTS


def _check_parts(recipe: Recipe, cohort: Cohort, parts: Parts) -> None:
    if not parts.train:
        raise UserError(f"cohort {cohort.name}: no case to train on")
    for name in (*parts.train, *parts.validation):
        if cohort.case(name).label is None:
            raise UserError(f"case {name}: has no label; leave it out of training and validation")
    if recipe.training.monitor and not parts.validation:
        raise UserError(
            f"recipe {recipe.name} keeps the best epoch by {recipe.training.monitor}, which needs validation cases: "
            "use a nested fold file, or --set training.monitor=null --set training.patience=null to keep the last epoch"
        )


def _accelerator(recipe: Recipe, device: str, processes: int) -> str:
    """Return Lightning's name for the device, after checking that it is there and can do what the recipe asks for."""
    check_device(device)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    accelerator = {"auto": "gpu" if gpus else "cpu", "cuda": "gpu", "cpu": "cpu"}[device]
    if accelerator == "gpu" and gpus < processes:
        raise UserError(f"device {device}: {processes} processes need as many GPUs, found {gpus}; use --device cpu")
    if accelerator == "cpu" and recipe.training.precision == "16":
        raise UserError("training.precision=16 trains on GPUs only; use bf16 or 32 on the CPU")
    return accelerator


def _network_state(checkpoint: dict) -> dict[str, torch.Tensor]:
    prefix = "network."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
