"""One process of a training: its loaders, and Lightning's loop without Lightning's manners."""

import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch.utils.data import DataLoader, Dataset

from multifocal.cohorts import Case
from multifocal.device import autocast_type
from multifocal.errors import UserError
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.dataset import EpochBatches, TrainingSet, collate
from multifocal.pipeline.prepare import Prepared
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.training.loggers import Loggers
from multifocal.training.module import SegmentationModule
from multifocal.training.run_checkpoint import RunCheckpoint, SafeCheckpointIO, not_the_state
from multifocal.training.warm_start import read_start

PRECISIONS = {None: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}
_LOADING = "loading state_dict"  # torch's words for weights that do not fit the network
LOGGERS = ("lightning.pytorch", "lightning.fabric", "torch.multiprocessing.spawn")


class ValidationSet(Dataset[Prepared]):
    """Prepared cases, one by one."""

    def __init__(self, cases: list[Case], cache: Cache) -> None:
        self.cases, self.cache = cases, cache
        for case in cases:
            cache.get(case)  # a case that cannot be read says so before training starts

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Prepared:
        """Return a case.

        Args:
            index: from 0, in the order of the cases.

        Returns:
            The case, prepared.
        """
        return self.cache.get(self.cases[index])


@dataclass(frozen=True)
class NetworkTraining:
    """What every process of a training is told.

    Args:
        recipe: what to train.
        training: the samples.
        validation: the cases to score after an epoch.
        out: the run folder.
        state: what to continue from, or None.
        epoch: the first to train.
        processes: how many there are.
        accelerator: Lightning's name of what to compute on: `cpu`, `gpu` or `mps`.
        devices: how many of them, or the numbers of those to use.
        threads: of each process.
        progress: show a progress bar in a terminal, and a line an epoch on stderr elsewhere.
    """

    recipe: NetworkRecipe
    training: TrainingSet
    validation: ValidationSet
    out: Path
    state: Path | None
    epoch: int
    processes: int
    accelerator: str
    devices: int | list[int]
    threads: int
    progress: bool


def train(rank: int, job: NetworkTraining) -> None:
    """Train to the end, as process `rank` of `job.processes`.

    Args:
        rank: the process's number, from 0.
        job: what every process is told.

    Raises:
        UserError: a file cannot be written, a logger cannot begin, or the loss is no longer a finite number.
        KeyboardInterrupt: Ctrl-C.
    """
    with quiet(), _settings_restored():
        torch.set_num_threads(job.threads)
        # Control codes would spoil a file or a pipe, also where FORCE_COLOR lets Rich take it for a terminal.
        has_bar = job.progress and sys.stdout.isatty()
        loggers = Loggers(job.recipe, job.out) if rank == 0 else None
        tell = _say if job.progress and not has_bar else None
        checkpoint = RunCheckpoint(job.out, tell, loggers)
        status = "failed"
        try:
            trainer = _trainer(job, checkpoint, has_bar=has_bar)
            start = read_start(job.recipe) if job.state is None else None
            loaders = _training_loader(job, rank), _validation_loader(job, rank)
            trainer.fit(SegmentationModule(job.recipe, start=start), *loaders, ckpt_path=job.state)
            status = "success"
        except SystemExit as error:  # so Lightning answers Ctrl-C, which it ignores from then on
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from error
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            told = isinstance(error, UserError) or (isinstance(error, RuntimeError) and _LOADING not in str(error))
            if job.state is None or checkpoint.is_restored or told:
                raise
            raise not_the_state(job.state) from error
        finally:
            if loggers is not None:
                loggers.finish(status)


def _training_loader(job: NetworkTraining, rank: int) -> DataLoader:
    """Return this process's batches of augmented samples."""
    settings = job.recipe.training
    batches = EpochBatches(
        job.training.sizes,
        batch_size=settings.batch_size,
        seed=settings.seed,
        weights=job.training.weights,
        together=job.training.together,
        rank=rank,
        world=job.processes,
    )
    batches.set_epoch(job.epoch)  # Lightning does so too late for the workers of a resumed run
    return DataLoader(
        job.training,
        sampler=batches,
        batch_size=None,
        collate_fn=collate,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        multiprocessing_context="spawn" if settings.workers else None,
    )


def _validation_loader(job: NetworkTraining, rank: int) -> DataLoader:
    """Return this process's whole cases."""
    cases, world = len(job.validation), job.processes
    # Every process validates as often as the others, or they would wait for one another for ever.
    share = [(rank + i * world) % cases for i in range(-(-cases // world))]
    return DataLoader(job.validation, sampler=share, batch_size=None, collate_fn=_as_it_is)


def _as_it_is(prepared: Any) -> Any:
    return prepared


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _trainer(job: NetworkTraining, checkpoint: RunCheckpoint, *, has_bar: bool) -> lightning.Trainer:
    settings = job.recipe.training
    dtype = autocast_type(settings.precision, torch.device({"gpu": "cuda"}.get(job.accelerator, job.accelerator)))
    callbacks: list[Callback] = [checkpoint, *([RichProgressBar()] if has_bar else [])]
    return lightning.Trainer(
        accelerator=job.accelerator,
        devices=job.devices,
        strategy="ddp" if job.processes > 1 else "auto",
        precision=PRECISIONS[dtype],  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        check_val_every_n_epoch=settings.validate_every,
        limit_val_batches=1.0 if len(job.validation) and settings.denoise is None else 0,
        num_sanity_val_steps=0,
        logger=False,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO()],
        enable_checkpointing=True,
        enable_progress_bar=has_bar,
        enable_model_summary=False,
        deterministic=settings.deterministic,
        use_distributed_sampler=False,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's and torch's tips out of the terminal; its warnings about loaders do not apply here."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message="Grad strides do not match")  # of 1×1×1 kernels: it means nothing
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning 2.6 on torch 2.13
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _settings_restored() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
