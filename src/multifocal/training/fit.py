"""Train a recipe on a cohort, into a run folder."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from multifocal import networks
from multifocal.cohorts import Case, Cohort
from multifocal.errors import UserError
from multifocal.inference import autocast_type
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.dataset import EpochBatches, TrainingSet, collate
from multifocal.pipeline.prepare import Prepared
from multifocal.recipes import Recipe
from multifocal.training.keeper import BEST, RESUME, Keeper, SafeCheckpointIO
from multifocal.training.module import SegmentationModule
from multifocal.training.run import WEIGHTS, Parts, open_run
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
) -> Path:
    """Train until done and return the path of the weights.

    Args:
        recipe: what to train.
        cohort: where its cases are.
        parts: which of them train and validate.
        out: the run folder.
        cache: where prepared cases are kept (default: `cache` in the run folder); runs may share it.
        resume: continue the run in `out` when there is one.
        processes: data-parallel processes (DDP): GPUs, or processes on the CPU.
        device: `auto`, `cpu` or `cuda`.
        progress: show a progress bar.

    Raises:
        UserError: a case cannot be trained on, the recipe monitors a metric and there are no validation cases, the
            folder holds another run, or the loss is no longer a finite number.
    """
    _check(recipe, cohort, parts)
    resuming = open_run(out, recipe=recipe, cohort=cohort, parts=parts, resume=resume)
    prepared = Cache(cache or out / "cache", recipe.preprocessing)
    training = TrainingSet(
        [cohort.case(name) for name in parts.train],
        prepared,
        augmentation=recipe.augmentation,
        dimensions=networks.dimensions(recipe.network.name),
        seed=recipe.training.seed,
    )
    validation = ValidationSet([cohort.case(name) for name in parts.validation], prepared)
    module, keeper = SegmentationModule(recipe), Keeper(out)
    state = out / RESUME
    if not (resuming and state.is_file() and _is_done(keeper, state, recipe)):
        # One thread for each loader worker, the rest shared among the processes: more threads than cores crawl.
        threads = max(1, torch.get_num_threads() // processes - recipe.training.workers)
        with _quiet(), _restored_threads():
            trainer = _trainer(
                recipe,
                keeper,
                out,
                processes=processes,
                device=device,
                progress=progress,
                validate=len(validation) > 0,
            )
            data = Data(training, validation, recipe, threads=threads)
            trainer.fit(module, datamodule=data, ckpt_path=state if resuming and state.is_file() else None)
            if trainer.interrupted:
                raise KeyboardInterrupt
    best = recipe.training.monitor is not None
    weights = read_weights(out / BEST) if best else _network_state(read_tree(state))
    write_weights(out / WEIGHTS, weights)
    return out / WEIGHTS


class ValidationSet(Dataset[Prepared]):
    """Prepared cases, one by one."""

    def __init__(self, cases: list[Case], cache: Cache) -> None:
        self.cases, self.cache = cases, cache
        for case in cases:
            cache.get(case)  # a case that cannot be read says so before training starts

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Prepared:
        """Return a case."""
        return self.cache.get(self.cases[index])


class Data(lightning.LightningDataModule):
    """The loaders, each process's share decided by its rank."""

    def __init__(self, training: TrainingSet, validation: ValidationSet, recipe: Recipe, *, threads: int) -> None:
        super().__init__()
        self.training, self.validation, self.recipe, self.threads = training, validation, recipe, threads

    def setup(self, stage: str) -> None:
        """Take this process's share of the threads."""
        torch.set_num_threads(self.threads)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave prepared cases where they are: prediction moves what it needs."""
        if isinstance(batch, Prepared):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def train_dataloader(self) -> DataLoader:
        """Return batches of augmented samples."""
        settings, trainer = self.recipe.training, self.trainer
        batches = EpochBatches(
            self.training.sizes,
            batch_size=settings.batch_size,
            seed=settings.seed,
            rank=trainer.global_rank,  # type: ignore[union-attr]
            world=trainer.world_size,  # type: ignore[union-attr]
        )
        return DataLoader(
            self.training,
            sampler=batches,
            batch_size=None,
            collate_fn=collate,
            num_workers=settings.workers,
            persistent_workers=settings.workers > 0,
            multiprocessing_context="spawn" if settings.workers else None,
        )

    def val_dataloader(self) -> DataLoader | list:
        """Return whole cases."""
        if not len(self.validation):
            return []
        rank, world = self.trainer.global_rank, self.trainer.world_size  # type: ignore[union-attr]
        # Every process validates as often as the others, or they would wait for one another for ever.
        share = [(rank + i * world) % len(self.validation) for i in range(-(-len(self.validation) // world))]
        return DataLoader(self.validation, sampler=share, batch_size=None, collate_fn=_as_it_is)


def _as_it_is(prepared: Prepared) -> Prepared:
    return prepared


def _trainer(
    recipe: Recipe, keeper: Keeper, out: Path, *, processes: int, device: str, progress: bool, validate: bool
) -> lightning.Trainer:
    settings = recipe.training
    accelerator = {"auto": "gpu" if torch.cuda.is_available() else "cpu", "cuda": "gpu", "cpu": "cpu"}.get(device)
    if accelerator is None:
        raise UserError(f"device '{device}': choose from auto, cpu, cuda")
    if accelerator == "gpu" and torch.cuda.device_count() < processes:
        raise UserError(f"{processes} processes need as many GPUs, found {torch.cuda.device_count()}")
    kind = torch.device("cuda" if accelerator == "gpu" else "cpu")
    dtype = autocast_type(settings.precision, kind)
    precision = {None: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}[dtype]
    callbacks: list[Callback] = [keeper, *([RichProgressBar()] if progress else [])]
    return lightning.Trainer(
        accelerator=accelerator,
        devices=processes,
        strategy="ddp_spawn" if processes > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=recipe.optimizer.clip,
        check_val_every_n_epoch=settings.validate_every,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if validate else 0,  # without validation cases Lightning would warn of an empty loader
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        log_every_n_steps=1,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO()],
        enable_checkpointing=True,
        enable_progress_bar=progress,
        enable_model_summary=False,
        deterministic=settings.deterministic,
        use_distributed_sampler=False,
    )


def _check(recipe: Recipe, cohort: Cohort, parts: Parts) -> None:
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


def _is_done(keeper: Keeper, state: Path, recipe: Recipe) -> bool:
    """Whether a killed run had finished its last epoch and only its weights were not written."""
    saved = read_tree(state)
    keeper.load_state_dict(saved["callbacks"][keeper.state_key])
    return keeper.is_done(int(keeper.rows[-1]["epoch"]), recipe.training.epochs, recipe.training.patience)


def _network_state(checkpoint: dict) -> dict[str, torch.Tensor]:
    prefix = "network."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}


@contextmanager
def _restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's tips out of the terminal; its warnings about loaders do not apply to in-line loading."""
    loggers = [
        logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning 2.6 on torch 2.13
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
