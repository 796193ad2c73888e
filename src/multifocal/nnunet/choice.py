"""Which loss a trainer takes: its own, the environment's, or that which its folder holds already."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multifocal import losses
from multifocal.config import is_yaml, read_yaml, validate
from multifocal.errors import UserError
from multifocal.files import read_json, write_json
from multifocal.systems.nnunet import LOSS_VARIABLE, Choice

VARIABLE = LOSS_VARIABLE
RECORD = "multifocal.json"


def choose(own: Mapping[str, Any] | None, folder: str | Path | None) -> Choice:
    """Return the loss of a trainer.

    Args:
        own: the trainer's own; None leaves it to the variable `MULTIFOCAL_LOSS`, a name or a YAML file of name, options
            and distances.
        folder: where the trainer writes. What was trained there before must have been trained with the same loss.

    Returns:
        The loss, its options, and what distances are measured in.

    Raises:
        UserError: no loss was chosen, it is unknown, or another one was trained in this folder.

    Example:
        >>> choose({"name": "blob-gdf"}, None).name
        'blob-gdf'
    """
    file = None if folder is None else Path(folder) / RECORD
    before = validate(Choice, read_json(file), where=str(file)) if file is not None and file.exists() else None
    if own is not None:
        wanted: Choice | None = validate(Choice, own, where="loss of the trainer")
    else:
        wanted = _environment()
    if wanted is None and before is None:
        example = f"{VARIABLE}=blob-gdf, or a YAML file"
        raise UserError(f"{VARIABLE} is not set; set it to a loss ({example}): {', '.join(losses.names())}")
    if wanted is not None and before is not None and wanted != before:
        raise UserError(
            f"{file}: {_short(before)} was trained here, not {_short(wanted)}; choose that loss, a trainer of the "
            "loss's own name, or another nnUNet_results, or remove the folder"
        )
    return before or wanted  # type: ignore[return-value]


def record(choice: Choice, folder: str | Path) -> None:
    """Write the loss into the folder of a training.

    Args:
        choice: the loss.
        folder: where the trainer writes.
    """
    write_json(Path(folder) / RECORD, choice.model_dump(mode="json"))


def _environment() -> Choice | None:
    value = os.environ.get(VARIABLE, "").strip()
    if not value:
        return None
    if is_yaml(value):
        return validate(Choice, read_yaml(value), where=value)
    return validate(Choice, {"name": value}, where=VARIABLE)


def _short(choice: Choice) -> str:
    options = f" with {choice.options}" if choice.options else ""
    return f"{choice.name}{options} ({choice.distances})"
