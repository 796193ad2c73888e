"""The trainers that `nnUNetv2_train -tr` and `nnUNetv2_predict -tr` find here: one for each named loss.

nnU-Net imports this file by itself, from the folder in its variable `nnUNet_extTrainer`.
"""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from multifocal import losses
from multifocal.nnunet import TRAINER, MultifocalLoss, trainer_name


def _trainer(name: str, loss: str | None) -> type[nnUNetTrainer]:
    attributes = {
        "__module__": __name__,
        "__doc__": f"nnU-Net with the loss {loss or 'that MULTIFOCAL_LOSS names'}.",
        "multifocal_loss": None if loss is None else {"name": loss},
    }
    return type(name, (MultifocalLoss, nnUNetTrainer), attributes)


globals()[TRAINER] = _trainer(TRAINER, None)
globals().update({trainer_name(loss): _trainer(trainer_name(loss), loss) for loss in losses.names()})
