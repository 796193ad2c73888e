"""A run's rows at Weights & Biases and MLflow, beside log.csv and TensorBoard (`training.loggers`)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from multifocal.errors import UserError
from multifocal.files import read_json, write_json
from multifocal.systems.network_recipe import NetworkRecipe

IDS = "loggers.json"  # by which a resumed run goes on under the name it has there
DATABASE = "mlflow.db"  # MLflow without a server: its folders of files are refused from 3.17 on
PROJECT = "multifocal"


class Loggers:
    """The loggers of a run, open until `finish`. What they are told by their own environment variables holds.

    Args:
        recipe: says which, and is logged as the run's settings.
        run: the run folder, whose name is the run's there; what is logged offline lies in it.

    Raises:
        UserError: one cannot begin: there is no server, or nobody has logged in.
    """

    def __init__(self, recipe: NetworkRecipe, run: Path) -> None:
        self._loggers: dict[str, Logger] = {}
        if not recipe.training.loggers:
            return
        ids = read_json(run / IDS) if (run / IDS).exists() else {}
        for name in recipe.training.loggers:
            begin = _wandb if name == "wandb" else _mlflow
            try:
                self._loggers[name] = begin(run, ids.get(name))
                self._loggers[name].log_hyperparams(recipe.model_dump(mode="json"))
                ids[name] = _identity(self._loggers[name])
            except Exception as error:  # noqa: BLE001  # theirs have no class in common
                self.finish("failed")
                said = " ".join(str(error).split())
                raise UserError(
                    f"training.loggers: {name} cannot begin ({said}); log in, set WANDB_MODE=offline or "
                    "MLFLOW_TRACKING_URI, or leave it out"
                ) from error
        write_json(run / IDS, ids)

    def append(self, row: Mapping[str, float]) -> None:
        """Log the values of `row["epoch"]`.

        Args:
            row: values by name, `epoch` among them.
        """
        for logger in self._loggers.values():
            logger.log_metrics(dict(row), step=int(row["epoch"]))

    def finish(self, status: str) -> None:
        """Send what is left, and close them: another training of this process begins its own.

        Args:
            status: `success` or `failed`.
        """
        for logger in self._loggers.values():
            logger.finalize(status)
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=int(status != "success"))
        self._loggers = {}


def _wandb(run: Path, identity: str | None) -> Logger:
    import wandb

    settings = wandb.Settings(console="off", silent=True)
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    return WandbLogger(project=project, name=run.name, save_dir=run, version=identity, settings=settings)


def _mlflow(run: Path, identity: str | None) -> Logger:
    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
        run_name=run.name,
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run / DATABASE).absolute()}",
        run_id=identity,
    )


def _identity(logger: Any) -> str:
    return str(logger.experiment.id if isinstance(logger, WandbLogger) else logger.run_id)
