"""A recipe as a Lightning module: steps, optimizer, learning rate, validation in native space."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, cast

import lightning
import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from multifocal import losses, networks
from multifocal.cohorts import Labels, stratum
from multifocal.cohorts.labels import IGNORED, lesion_in
from multifocal.evaluation import summarize
from multifocal.metrics import METRICS, burden, evaluate_case
from multifocal.networks import Padded
from multifocal.pipeline.dataset import as_target, mix
from multifocal.pipeline.prepare import Prepared
from multifocal.systems.forward import MEMORY_FORMATS, NotFiniteError
from multifocal.systems.network import NetworkSystem
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.training.denoising import TERM, add_noise, noise_error
from multifocal.training.schedule import factor

LOGGED = ("dice", "masd", "nsd")


class SegmentationModule(lightning.LightningModule):
    """Train the recipe's network with its loss; the state of the optimizer is the only one that is not in the logs.

    Args:
        recipe: everything there is to say.
        start: weights to begin with, which fit the network; what they leave out is drawn. None draws them all.
    """

    def __init__(self, recipe: NetworkRecipe, *, start: Mapping[str, torch.Tensor] | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        torch.manual_seed(mix("weights", recipe.training.seed))
        network = recipe.build_network()
        if recipe.network.init == "xavier":
            network.apply(_xavier)
        if start is not None:
            network.load_state_dict({**network.state_dict(), **start})  # a head that is not to start from it is drawn
        self.supervision = _supervision(recipe, network)
        dimensions = networks.dimensions(recipe.network.name)
        self.layout = MEMORY_FORMATS[dimensions]
        self.network = network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.averaged: AveragedModel | None = None
        if (decay := recipe.training.ema) is not None:
            # The first update copies the weights, the others average. Lightning keeps it with the run's state.
            self.averaged = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(decay))
            self.averaged.requires_grad_(False)  # or processes would wait for its gradients
        self.loss = _loss(recipe)
        strides = () if self.supervision is None else self.supervision.strides
        self.coarser_losses = [_loss(recipe, stride) for stride in strides]
        self.scores: list[float] = []
        self.diverged_in: str | None = None  # a validation case that the network answered with NaN or infinity
        self._rows: list[dict[str, Any]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam, AdamW or SGD.

        Returns:
            The optimizer of all the network's weights, and of those of its heads of deep supervision.
        """
        settings, weights = self.recipe.optimizer, list(self.network.parameters())
        if self.supervision is not None:
            weights += self.supervision.parameters()
        options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
        if settings.name == "sgd":
            return torch.optim.SGD(weights, momentum=settings.momentum, nesterov=settings.nesterov, **options)
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        return kind(weights, **options)

    @property
    def outcome(self) -> Padded:
        """The network that is validated and kept: the average of its weights where there is one, else itself."""
        return cast(Padded, self.network if self.averaged is None else self.averaged.module)

    def configure_gradient_clipping(self, optimizer: Any, *arguments: Any, **options: Any) -> None:
        """Bound each value of the gradients, and then their norm, as far as the recipe says so.

        Args:
            optimizer: of the weights.
            *arguments: Lightning's.
            **options: Lightning's.
        """
        del arguments, options  # the trainer was told of no limits
        settings = self.recipe.optimizer
        for most, how in ((settings.clip_value, "value"), (settings.clip, settings.clip_by)):
            if most is not None:
                self.clip_gradients(optimizer, gradient_clip_val=most, gradient_clip_algorithm=how)

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take a step, and let the average of the weights follow.

        Args:
            *arguments: Lightning's.
            **options: Lightning's.
        """
        super().optimizer_step(*arguments, **options)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Begin an epoch: all chance and every rate follow from its number, so that a resumed run is the same.

        Args:
            batch: not looked at.
            batch_idx: the batch's number in its epoch, from 0.
        """
        if batch_idx:
            return
        training = self.recipe.training
        torch.manual_seed(mix("dropout", training.seed, self.current_epoch, self.global_rank))
        for loss in (self.loss, *self.coarser_losses):
            loss.progress = self.current_epoch / max(1, training.epochs - 1)
        change = factor(self.recipe.schedule, epoch=self.current_epoch, epochs=training.epochs, scores=self.scores)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = self.recipe.optimizer.lr * change

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch, and log its terms.

        Args:
            batch: images (B, C, *spatial) and the codes of the target, uint8 (B, 1, *spatial).
            batch_idx: not looked at.

        Returns:
            What Lightning divides by `accumulate` and differentiates, 0-dimensional.
        """
        images, target = batch
        if (denoising := self.recipe.training.denoise) is not None:
            images, target = add_noise(images, target * (target != IGNORED), denoising)
        outputs = self.outputs(images.contiguous(memory_format=self.layout))
        with torch.autocast(self.device.type, enabled=False):  # sums over a volume need 32 bits
            total, terms = self.combined([logits.float() for logits in outputs], target)
            for name, value in terms.items():
                self._log(f"train/{name}", value, len(images))
            if self.recipe.optimizer.l1:
                weights = torch.stack([weight.abs().sum() for weight in self.network.parameters()]).sum()
                total = total + self.recipe.optimizer.l1 * weights
        self._log("train/loss", total, len(images), progress=True)
        training = self.recipe.training
        return total * training.accumulate if training.accumulation == "sum" else total

    def outputs(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the network's logits, and with deep supervision those of coarser features.

        Args:
            images: (B, C, *spatial).

        Returns:
            (B, K, *spatial), full size first.
        """
        return [self.network(images)] if self.supervision is None else self.supervision(self.network, images)

    def combined(
        self, outputs: Sequence[torch.Tensor], target: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the loss of a batch, of all outputs together, and its terms at full size.

        Args:
            outputs: what `outputs` returned, in 32 bits.
            target: codes, uint8 (B, 1, *spatial) of full size; of a denoising, the noise.

        Returns:
            `Σ w_i L_i` of the outputs, which is L of a single one, and the terms of the first.
        """
        if self.recipe.training.denoise is not None:
            error = noise_error(outputs[0], target)
            return error, {TERM: error}
        terms = self._terms(outputs[0], target, self.loss)
        full = self.loss.combine(terms)
        if self.supervision is None:
            return full, terms
        weights = self.recipe.training.deep_supervision
        values = [weights[0] * full]
        coarser = zip(weights[1:], outputs[1:], self.supervision.strides, self.coarser_losses, strict=True)
        for weight, logits, stride, loss in coarser:
            there = self._terms(logits, networks.downsample_target(target, stride), loss)
            values.append(weight * loss.combine(there))
        return torch.stack(values).sum(), terms

    def _terms(self, logits: torch.Tensor, codes: torch.Tensor, loss: losses.CompoundLoss) -> dict[str, torch.Tensor]:
        if not logits.isfinite().all():  # which losses refuse; the epoch's end says what to do about it
            return {name: logits.sum() for name in loss.weights}
        target, ignored = as_target(codes, self.recipe.labels)
        return loss.terms(logits, target, **({} if ignored is None else {"ignore": ignored}))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave prepared cases where they are: prediction moves what it needs.

        Args:
            batch: a prepared case, or a batch of samples.
            device: where samples go.
            dataloader_idx: the loader's number.

        Returns:
            The batch.
        """
        if isinstance(batch, Prepared):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_validation_epoch_start(self) -> None:
        """Make the model that predicts as users will."""
        self._rows = []
        self._model = NetworkSystem(self.recipe, self.outcome)

    def validation_step(self, batch: Prepared, batch_idx: int) -> None:
        """Predict one case and score it on its own grid.

        Args:
            batch: a prepared case with its label.
            batch_idx: not looked at.
        """
        try:
            mask = self._model.predict_prepared(batch).mask
        except NotFiniteError:  # the epoch's end says what to do about it, in all processes at once
            self._rows.append({"case": batch.name, "diverged": True})
            return
        if batch.label is None:
            raise ValueError(f"validation case {batch.name} has no label")
        scores = validation_scores(mask.array, batch.label, self.recipe.labels, spacing=batch.native.spacing)
        diagonal = math.hypot(*(n * s for n, s in zip(batch.native.size, batch.native.spacing, strict=True)))
        share = burden(lesion_in(batch.label), batch.native_brain)
        about = {"stratum": stratum(share), "diagonal_mm": diagonal}
        self._rows += [{"case": batch.name, **row, **about} for row in scores]

    def on_validation_epoch_end(self) -> None:
        """Average over all cases of all processes; where a distance is undefined, the image's diagonal stands in."""
        self.network.train()
        rows = self._rows
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, rows)
            # Processes share out the cases; with fewer cases than processes some come twice.
            rows = list({(row["case"], row.get("label")): row for part in gathered for row in part}.values())
        if diverged := [row["case"] for row in rows if "diverged" in row]:
            self.diverged_in = diverged[0]
            return
        found = summarize(rows, undefined="diagonal")
        classes = {name: part["overall"]["metrics"] for name, part in found.get("labels", {"": found}).items()}
        means = {name: statistics.fmean(part[name]["mean"] for part in classes.values()) for name in LOGGED}
        for name, mean in means.items():
            self.log(f"val/{name}", mean, prog_bar=name == "dice", sync_dist=self.trainer.world_size > 1)
            for label, part in classes.items() if self.recipe.labels.several else ():
                self.log(f"val/{name}/{label}", part[name]["mean"], sync_dist=self.trainer.world_size > 1)
        monitor = self.recipe.training.monitor
        if monitor:
            self.scores.append(means[monitor] * (1 if METRICS[monitor].best == "highest" else -1))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the scores, which the plateau schedule goes by.

        Args:
            checkpoint: what Lightning stores; gains `scores`.
        """
        checkpoint["scores"] = list(self.scores)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the scores back.

        Args:
            checkpoint: what Lightning stored.
        """
        self.scores = list(checkpoint["scores"])

    def _log(self, name: str, value: torch.Tensor, size: int, *, progress: bool = False) -> None:
        self.log(
            name,
            value.detach(),
            on_step=False,
            on_epoch=True,
            batch_size=size,
            prog_bar=progress,
            sync_dist=self.trainer.world_size > 1,
        )


def validation_scores(
    mask: np.ndarray, label: np.ndarray, labels: Labels, *, spacing: Sequence[float]
) -> list[dict[str, Any]]:
    """Return what of a predicted case is logged, for each class.

    Args:
        mask: the label image that was predicted, `(*spatial)`.
        label: the codes of the true one, uint8 of the same shape.
        labels: what the values mean.
        spacing: mm per voxel along each axis.

    Returns:
        The metrics of `LOGGED` by name, a row a class; where there are several, its name as "label".
    """
    predicted, true = labels.members[labels.encode(mask)], labels.members[label]
    ignored = None if labels.ignore is None else label == IGNORED
    rows = []
    for number, name in enumerate(labels.names):
        scores = evaluate_case(predicted[..., number], true[..., number], spacing=spacing, ignore=ignored)
        about = {"label": name} if labels.several else {}
        rows.append({**about, **{metric: scores[metric] for metric in LOGGED}})
    return rows


def _supervision(recipe: NetworkRecipe, network: Padded) -> networks.DeepSupervision | None:
    """Return the heads on the network's coarser features, which are no part of what is kept."""
    if not (weights := recipe.training.deep_supervision):
        return None
    prior, softmax = recipe.network.options.get("prior"), recipe.labels.activation == "softmax"
    heads = networks.DeepSupervision(network, outputs=len(weights), prior=prior, softmax=softmax)
    if recipe.network.init == "xavier":
        heads.apply(_xavier)
    return heads


def _loss(recipe: NetworkRecipe, stride: Sequence[int] | None = None) -> losses.CompoundLoss:
    """Return the recipe's loss; of an output that is coarser by a stride, for voxels that are as much larger."""
    options = dict(recipe.loss.options)
    if stride is not None and options.get("spacing") is not None:
        options["spacing"] = tuple(side * step for side, step in zip(options["spacing"], stride, strict=True))
    # The sigmoid is what losses have anyway, also those of a plugin that knows of no other activation.
    if recipe.labels.activation == "softmax":
        options["activation"] = "softmax"
    return losses.build(recipe.loss.name, **options)


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)  # biases stay: the head's may hold the network's prior
