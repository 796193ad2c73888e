"""The trainers that `nnUNetv2_train -tr` and `nnUNetv2_predict -tr` find here: for each named loss, and of a length.

nnU-Net imports this file by itself, from the folder in its variable `nnUNet_extTrainer`.
"""

import json
import os

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from multifocal import losses
from multifocal.nnunet import TRAINER, MultifocalLoss, trainer_name
from multifocal.systems.nnunet import LENGTH_VARIABLE, TRAINERS


def _trainer(name: str, loss: str | None) -> type[nnUNetTrainer]:
    attributes = {
        "__module__": __name__,
        "__doc__": f"nnU-Net with the loss {loss or 'that MULTIFOCAL_LOSS names'}.",
        "multifocal_loss": None if loss is None else {"name": loss},
    }
    return type(name, (MultifocalLoss, nnUNetTrainer), attributes)


class _Length(nnUNetTrainer):
    """nnU-Net, for as long as a recipe says."""

    # nnU-Net goes by the names of these arguments.
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        length = json.loads(os.environ[LENGTH_VARIABLE])
        self.num_epochs, self.num_iterations_per_epoch = length["epochs"], length["iterations"]
        self.num_val_iterations_per_epoch = length["validation_iterations"]


def _of_recipe(own_loss: bool) -> type[nnUNetTrainer]:
    bases = (MultifocalLoss, _Length) if own_loss else (_Length,)
    return type(TRAINERS[own_loss, True], bases, {"__module__": __name__, "__doc__": _Length.__doc__})


globals().update({made.__name__: made for made in map(_of_recipe, (False, True))})
globals()[TRAINER] = _trainer(TRAINER, None)
globals().update({trainer_name(loss): _trainer(trainer_name(loss), loss) for loss in losses.names()})
