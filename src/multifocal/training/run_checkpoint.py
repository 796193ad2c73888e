"""What a run keeps after every epoch: its log, its curves, its best weights, and the state to continue from."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from multifocal.errors import UserError
from multifocal.files import write_csv, write_error
from multifocal.systems.network import LOG
from multifocal.systems.network_recipe import TrainingSettings
from multifocal.training.loggers import Loggers
from multifocal.training.module import SegmentationModule
from multifocal.weights import read_tree, write_tree, write_weights

RESUME, BEST, CURVES = "resume.safetensors", "best.safetensors", "tensorboard"
STATE_KEY = "Keeper"


class SafeCheckpointIO(CheckpointIO):
    """Lightning's checkpoints as safetensors and JSON, written whole or not at all; nothing is ever unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: nested dicts, lists and tuples of tensors and plain values.
            path: the file.
            storage_options: Lightning's; not looked at.
        """
        write_tree(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint.

        Args:
            path: the file.
            map_location: Lightning's; not looked at.
            weights_only: Lightning's; not looked at.

        Returns:
            The checkpoint, with its tensors on the CPU.
        """
        return read_tree(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint.

        Args:
            path: the file; there may be none.
        """
        Path(path).unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of a run that is to be continued.

    Args:
        path: `resume.safetensors`.

    Returns:
        Lightning's checkpoint, with the rows of the log in it.

    Raises:
        UserError: it is damaged, or not the state of a run.
    """
    state = read_tree(path)
    try:
        kept = state["callbacks"][STATE_KEY]
        epochs = [row["epoch"] for row in kept["rows"]]
        whole = epochs == list(range(state["epoch"] + 1)) and isinstance(state["state_dict"], dict)
        whole = whole and type(kept["best"]) is float and type(kept["best_epoch"]) is int
        # Lightning would go on without these, from somewhere else.
        whole = (
            whole and len(state["optimizer_states"]) == 1 and "fit_loop" in state["loops"] and "global_step" in state
        )
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise not_the_state(path)
    return state


def not_the_state(path: Path) -> UserError:
    """Return the error for a file that is whole, but not the state of the run that it lies in.

    Args:
        path: the file.

    Returns:
        The error, to be raised.
    """
    return UserError(
        f"{path}: does not hold the state of a training run as it should; copy it again, or train into another folder"
    )


class RunCheckpoint(Checkpoint):
    """Write log, best weights and state after every epoch, and stop when the monitored metric no longer improves.

    One callback does all three because they must agree: a run killed anywhere finds log, best and state of the same
    epoch, or does that epoch again to the same end.

    Args:
        folder: the run's.
        tell: called with a line about each epoch that is kept; None tells nobody.
        loggers: told of each epoch that is kept, too.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None] | None = None, loggers: Loggers | None = None) -> None:
        self.folder, self._tell, self._loggers = folder, tell, loggers
        self.rows: list[dict[str, float]] = []
        self.best = -math.inf
        self.best_epoch = -1
        self.is_restored = False
        self._started = self._stepped = time.monotonic()
        self._steps: list[float] = []
        self._events = _EventLog(folder)

    @property
    def state_key(self) -> str:
        """What its state is called in `resume.safetensors`, whatever this class is called: older runs go on."""
        return STATE_KEY

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Note that all that a resumed run goes on from is in its place, if it fits there.

        Args:
            trainer: with the optimizer.
            module: not looked at.
        """
        for weight, state in trainer.optimizers[0].state.items():
            moments = [value for value in state.values() if isinstance(value, torch.Tensor) and value.ndim]
            if any(value.shape != weight.shape for value in moments):
                raise not_the_state(self.folder / RESUME)
        self.is_restored = True

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the epoch's clock.

        Args:
            trainer: not looked at.
            module: not looked at.
        """
        self._started = self._stepped = time.monotonic()
        self._steps = []

    def on_train_batch_end(self, *arguments: Any, **options: Any) -> None:
        """Stop the step's clock, and start the next one's: loading is part of a step."""
        now = time.monotonic()
        self._steps.append(now - self._stepped)
        self._stepped = now

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Keep everything.

        Args:
            trainer: Lightning's, whose metrics are kept.
            module: what is trained, a `SegmentationModule`.
        """
        if not isinstance(module, SegmentationModule):
            raise TypeError(f"RunCheckpoint works with SegmentationModule, not {type(module).__name__}")
        epoch, training = trainer.current_epoch, module.recipe.training
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        # Lightning still holds the last validation's values in an epoch without one; they are not this epoch's.
        validated = (epoch + 1) % training.validate_every == 0
        values = {name: value for name, value in values.items() if validated or not name.startswith("val/")}
        if diverged := _diverged(epoch, values["train/loss"], module):
            raise UserError(
                f"{self.folder}: {diverged}; "
                "train into another folder with a lower optimizer.lr, or training.precision=32"
            )
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        times = {"seconds": time.monotonic() - self._started, "step_ms": 1000 * statistics.median(self._steps)}
        self.rows.append({"epoch": epoch, "lr": rate, **times, **values})
        if training.monitor and validated and module.scores[-1] > self.best:
            self.best, self.best_epoch = module.scores[-1], epoch
            if trainer.is_global_zero:
                write_weights(self.folder / BEST, module.outcome.state_dict(), checksum=True)
        if trainer.is_global_zero:
            names = dict.fromkeys(name for row in self.rows for name in row)
            write_csv(self.folder / LOG, self.rows, columns=list(names))
            self._events.append(self.rows[-1])
        trainer.should_stop = trainer.should_stop or self.is_done(training)
        trainer.save_checkpoint(self.folder / RESUME)
        if self._loggers is not None:
            self._loggers.append(self.rows[-1])
        if self._tell and trainer.is_global_zero:
            self._tell(epoch_line(self.rows, training))

    def is_done(self, training: TrainingSettings) -> bool:
        """Whether nothing is left to train after the epochs kept so far.

        Args:
            training: settings with the most epochs there may be, and the patience in epochs.

        Returns:
            Whether it is so.
        """
        epochs, patience = len(self.rows), training.patience
        out_of_patience = patience is not None and self.best_epoch >= 0 and epochs - 1 - self.best_epoch >= patience
        return epochs >= training.epochs or out_of_patience

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs.

        Returns:
            The log's rows, the best score and its epoch.
        """
        return {"rows": self.rows, "best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back.

        Args:
            state: what `state_dict` returned.
        """
        self.rows, self.best, self.best_epoch = list(state["rows"]), state["best"], state["best_epoch"]


def epoch_line(rows: Sequence[Mapping[str, float]], training: TrainingSettings) -> str:
    """Return a line about the last epoch: its loss, its validation, its time, and the time left if none stops early.

    Args:
        rows: of the log so far.
        training: settings with the number of epochs and the metric to go by.

    Returns:
        The line.

    Example:
        >>> rows = [{"train/loss": 0.5, "val/dice": 0.25, "seconds": 30.0}]
        >>> epoch_line(rows, TrainingSettings(epochs=5, batch_size=1))
        'epoch 1 of 5: loss 0.5000, dice 0.2500, 30.0 s, at most 2 min left'
    """
    last, left = rows[-1], training.epochs - len(rows)
    seconds = left * sum(row["seconds"] for row in rows) / len(rows)
    time_left = f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
    time_left = time_left if seconds < 7200 else f"{seconds / 3600:.1f} h"
    score = last.get(f"val/{training.monitor}")
    parts = [f"loss {last['train/loss']:.4f}", *([] if score is None else [f"{training.monitor} {score:.4f}"])]
    return (
        f"epoch {len(rows)} of {training.epochs}: {', '.join(parts)}, {last['seconds']:.1f} s, at most {time_left} left"
    )


def _diverged(epoch: int, loss: float, module: SegmentationModule) -> str | None:
    """Return what of an epoch is no longer a finite number, or None."""
    if not math.isfinite(loss):
        return f"the loss of epoch {epoch} is {loss}"
    if module.diverged_in is not None:
        return f"the network of epoch {epoch} answers validation case {module.diverged_in} with NaN or infinity"
    if not all(weight.isfinite().all() for weight in module.network.parameters()):  # since the last step
        return f"the weights of epoch {epoch} hold NaN or infinity"
    return None


class _EventLog:
    """A file of scalars that grows by one row an epoch.

    TensorBoard's own writer is a thread, which Ctrl-C at the wrong moment leaves waiting for ever. A resumed run begins
    another file, because the one before may end in the middle of a record.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / CURVES
        self._path: Path | None = None

    def append(self, row: Mapping[str, float]) -> None:
        """Write the values of `row["epoch"]`.

        Args:
            row: values by name, `epoch` among them.

        Raises:
            UserError: the file cannot be written.
        """
        step, now = int(row["epoch"]), time.time()
        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "epoch"]
        events = [Event(wall_time=now, step=step, summary=Summary(value=values))]
        path = self._path or self.folder / f"events.out.tfevents.{step:06d}"
        if self._path is None:
            events.insert(0, Event(wall_time=now, file_version="brain.Event:2"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab" if self._path else "wb") as file:
                writer = RecordWriter(file)
                for event in events:
                    writer.write(event.SerializeToString())
        except OSError as error:
            raise write_error(path, error) from error
        self._path = path
