"""What makes any nnU-Net trainer train with a loss of ours."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from multifocal.nnunet.adapter import NnUNetLoss, build_loss
from multifocal.nnunet.choice import Choice, choose, record

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Trainer
else:
    Trainer = object


class MultifocalLoss(Trainer):
    """Put before an nnU-Net trainer among a class's bases: the trainer is as it was, but for its loss.

    Deep supervision keeps nnU-Net's weights, schedules of weights go by the epoch, and the log shows each term.

    Example:
        >>> class nnUNetTrainerMine(MultifocalLoss):  # and nnUNetTrainerNoMirroring, or another of nnU-Net's
        ...     multifocal_loss = {"name": "tversky", "options": {"alpha": 0.2, "beta": 0.8}}
        >>> choose(nnUNetTrainerMine.multifocal_loss, None).options
        {'alpha': 0.2, 'beta': 0.8}
    """

    multifocal_loss: ClassVar[Mapping[str, Any] | None] = None
    """name, options, distances ("voxels" or "mm"); None takes the environment's `MULTIFOCAL_LOSS`."""

    _chosen: Choice

    def _build_loss(self) -> NnUNetLoss:
        """Return the loss for the outputs of this trainer's network."""
        # nnU-Net's own loss knows the weights, which differ between versions, and with several processes.
        theirs = super()._build_loss()
        weights: tuple[float, ...] = (1.0,)
        factors = None
        if self.enable_deep_supervision:
            weights = tuple(float(weight) for weight in theirs.weight_factors)
            factors = [[1 / scale for scale in scales] for scales in self._get_deep_supervision_scales()]
        self._chosen = choose(self.multifocal_loss, self.output_folder)
        options = dict(self._chosen.options)
        if self._chosen.distances == "mm":
            options["spacing"] = tuple(float(step) for step in self.configuration_manager.spacing)
        return build_loss(
            self._chosen.name,
            weights=weights,
            factors=factors,
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            **options,
        )

    def on_train_start(self) -> None:
        """Write down the loss beside the weights."""
        super().on_train_start()
        if self.local_rank == 0:
            record(self._chosen, self.output_folder)
        self.print_to_log_file(f"multifocal loss: {self._chosen.name} = {self.loss.levels[0]}")
        weights = ", ".join(f"{weight:.3g}" for weight in self.loss.weights)
        self.print_to_log_file(f"deep supervision: weights {weights}")

    def on_train_epoch_start(self) -> None:
        """Tell the loss how far training has come."""
        super().on_train_epoch_start()
        self.loss.set_progress(self.current_epoch / max(1, self.num_epochs - 1))

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log the terms.

        Args:
            train_outputs: what nnU-Net's steps returned.
        """
        super().on_train_epoch_end(train_outputs)
        if self.local_rank == 0:
            terms = {name: np.round(value, 4) for name, value in self.loss.take_terms().items()}
            self.print_to_log_file("terms", ", ".join(f"{name} {value}" for name, value in terms.items()))
