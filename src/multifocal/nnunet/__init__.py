"""nnU-Net v2 with our losses: `nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerMultifocal_blob_gdf`."""

from pathlib import Path

from multifocal.nnunet.adapter import NnUNetLoss, build_loss
from multifocal.nnunet.choice import Choice, choose
from multifocal.nnunet.trainer import MultifocalLoss

TRAINERS = Path(__file__).parent / "trainers"
"""The folder that nnU-Net must be told of: `export nnUNet_extTrainer="$(python -m multifocal.nnunet)"`."""

TRAINER = "nnUNetTrainerMultifocal"
"""The trainer whose loss is `MULTIFOCAL_LOSS`."""


def trainer_name(loss: str) -> str:
    """Return the trainer of a named loss.

    Args:
        loss: a name that `multifocal.losses.build` takes.

    Returns:
        The name of the trainer's class.

    Example:
        >>> trainer_name("cc-dice-ce")
        'nnUNetTrainerMultifocal_cc_dice_ce'
    """
    return f"{TRAINER}_{loss.replace('-', '_')}"


__all__ = [
    "TRAINER",
    "TRAINERS",
    "Choice",
    "MultifocalLoss",
    "NnUNetLoss",
    "build_loss",
    "choose",
    "trainer_name",
]
