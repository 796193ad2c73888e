"""Lesion wherever a map lies below a value: the baseline that needs no training."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from multifocal.cohorts import Case
from multifocal.device import choose_device
from multifocal.pipeline.prepare import prepare
from multifocal.pipeline.settings import BrainBox, Channel
from multifocal.recipes import KINDS, Recipe, once
from multifocal.systems.postprocess import Postprocess, postprocess
from multifocal.systems.system import Prediction, System
from multifocal.volumes import Volume, restore


class ThresholdRecipe(Recipe):
    """A system without training: lesion wherever a map lies below a value, inside the brain.

    Args:
        map: name of the map in the cohort.
        below: the value, in the map's unit.
        brain: the map that is 0 outside the brain; None takes `map` itself.
        min_size_ml: volume in ml; smaller components are dropped.
        min_size_voxels: number of voxels; smaller components are dropped.
        min_size_dimensions: 3 takes the components of the volume, 2 those of each axial slice.
        largest_only: whether only the largest component is kept.

    Example:
        >>> from multifocal import recipes
        >>> recipes.load("zadc-threshold", overrides=["below=-2.5"]).below
        -2.5
    """

    kind: Literal["threshold"] = "threshold"
    map: str
    below: float
    brain: str | None = None
    min_size_ml: float = Field(default=0.0, ge=0)
    min_size_voxels: int = Field(default=0, ge=0)
    min_size_dimensions: Literal[2, 3] = 3
    largest_only: bool = False

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return once(self.brain, self.map)


@KINDS.register("threshold")
class ThresholdSystem(System):
    """Lesion wherever a map lies below a value.

    Args:
        recipe: which map, which value.

    Example:
        >>> from multifocal import recipes
        >>> ThresholdSystem(recipes.load("zadc-threshold")).has_probabilities
        False
    """

    recipe_type = ThresholdRecipe

    def __init__(self, recipe: ThresholdRecipe) -> None:
        super().__init__(recipe)
        self._preprocessing = BrainBox(
            kind="brain-box", brain=recipe.brain or recipe.map, channels=(Channel(map=recipe.map, below=recipe.below),)
        )

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid.

        Args:
            case: with the maps that the recipe names.

        Returns:
            The mask; there is no probability.

        Raises:
            UserError: a map is missing or cannot be read.
        """
        prepared = prepare(case, self._preprocessing, with_label=False)
        below = Volume(prepared.images[0].astype(np.uint8), prepared.geometry)
        found = restore(below, prepared.native, interpolation="nearest")
        shared = Postprocess.model_fields.keys() & ThresholdRecipe.model_fields.keys()
        settings = Postprocess(**{name: getattr(self.recipe, name) for name in shared})
        return Prediction(postprocess(found, settings)[0], None)

    @classmethod
    def load(cls, recipe: ThresholdRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the system of a recipe.

        Args:
            recipe: which map, which value.
            folder: not used: nothing is trained.
            device: not used either, yet a wrong one is a mistake.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: there is no such device.
        """
        del folder
        choose_device(device)
        return cls(recipe)
