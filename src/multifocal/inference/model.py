"""A system ready to predict: a trained run, or a recipe that needs no training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multifocal import networks, recipes
from multifocal.cohorts import Case
from multifocal.device import autocast_type, choose_device
from multifocal.errors import UserError
from multifocal.inference.forward import MEMORY_FORMATS, probabilities
from multifocal.networks import Padded
from multifocal.pipeline.prepare import Prepared, prepare
from multifocal.pipeline.settings import BrainBox, Channel
from multifocal.recipes import Recipe, ThresholdRecipe
from multifocal.volumes import Volume, restore
from multifocal.weights import read_weights


@dataclass(frozen=True)
class Prediction:
    """Mask (uint8) and probability (float32; None where the system has none) on the source's own grid."""

    mask: Volume
    probability: Volume | None


class NetworkModel:
    """A trained network with its recipe.

    Args:
        recipe: what it was trained by.
        network: with its weights.
    """

    def __init__(self, recipe: Recipe, network: Padded) -> None:
        self.recipe, self.settings = recipe, recipe.inference
        self.dimensions = networks.dimensions(recipe.network.name)
        self.network = network.to(memory_format=MEMORY_FORMATS[self.dimensions]).eval()  # type: ignore[call-overload]

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid."""
        return self.predict_prepared(prepare(case, self.recipe.preprocessing, with_label=False))

    def predict_prepared(self, prepared: Prepared) -> Prediction:
        """Return the mask of a prepared case on its source's own grid."""
        if prepared.inside.ndim < self.dimensions:
            raise UserError(
                f"case {prepared.name}: is {prepared.inside.ndim}D, but the network {self.recipe.network.name} "
                f"is {self.dimensions}D"
            )
        device = next(self.network.parameters()).device
        found = probabilities(
            self.network,
            prepared,
            dimensions=self.dimensions,
            settings=self.settings,
            autocast=autocast_type(self.recipe.training.precision, device),
        )
        probability = restore(Volume(found, prepared.geometry), prepared.native, interpolation="linear")
        if self.settings.within_brain:
            probability = Volume(probability.array * prepared.native_brain, prepared.native)
        mask = (probability.array >= self.settings.threshold).astype(np.uint8)
        return Prediction(Volume(mask, prepared.native), probability)


class ThresholdModel:
    """Lesion wherever a map lies below a value."""

    def __init__(self, recipe: ThresholdRecipe) -> None:
        self.recipe = recipe
        self._settings = BrainBox(
            kind="brain-box", brain=recipe.brain or recipe.map, channels=(Channel(map=recipe.map, below=recipe.below),)
        )

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid."""
        prepared = prepare(case, self._settings, with_label=False)
        prior = Volume(prepared.images[0].astype(np.uint8), prepared.geometry)
        return Prediction(restore(prior, prepared.native, interpolation="nearest"), None)


Model = NetworkModel | ThresholdModel


def load_model(run: str | Path, *, overrides: tuple[str, ...] = (), device: str = "auto") -> Model:
    """Return the model of a finished run folder, or of a recipe without training such as `zadc-threshold`.

    Args:
        run: the folder, or the recipe's name.
        overrides: `inference.…=value` pairs for a run, `key=value` for a recipe without training.
        device: `auto` takes the GPU where there is one.

    Raises:
        UserError: no such run, one that is not finished, a weights file that is not safetensors or does not fit.
    """
    folder = Path(run)
    if not folder.exists():
        recipe = recipes.load(str(run), overrides=overrides)
        if isinstance(recipe, ThresholdRecipe):
            choose_device(device)  # which it has no use for, yet a wrong one is a mistake
            return ThresholdModel(recipe)
        raise UserError(
            f"{run}: is a recipe that needs training; `multifocal train {run} COHORT --out RUN` comes first"
        )
    if not (folder / "recipe.yaml").is_file():
        raise UserError(
            f"{run}: is not a run folder (no recipe.yaml); give the folder that `multifocal train` wrote. "
            "Pickled checkpoints are not opened: they can run any code"
        )
    for override in overrides:
        if not override.startswith("inference."):
            raise UserError(f"--set {override}: only inference.… can change after training")
    recipe = recipes.load(folder / "recipe.yaml", overrides=overrides)
    if not isinstance(recipe, Recipe):
        raise UserError(f"{folder / 'recipe.yaml'}: is a recipe without training; predict with its name instead")
    if not (folder / "weights.safetensors").is_file():
        raise UserError(f"{run}: training is not finished; continue it with `multifocal train … --out {run} --resume`")
    network = networks.build(
        recipe.network.name, in_channels=len(recipe.preprocessing.channels), **recipe.network.options
    )
    state = read_weights(folder / "weights.safetensors")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{folder / 'weights.safetensors'}: does not fit the network of recipe.yaml") from error
    return NetworkModel(recipe, network.to(choose_device(device)))
