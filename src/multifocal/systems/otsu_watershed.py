"""Otsu's threshold, then watershed: the baseline for instances that needs no training."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field
from scipy import ndimage

from multifocal.cohorts import Case, brain_mask
from multifocal.device import choose_device
from multifocal.errors import UserError
from multifocal.recipes import KINDS, Recipe, once
from multifocal.systems.instances import Watershed, label_map
from multifocal.systems.system import Prediction, System
from multifocal.volumes import Volume


class OtsuWatershedRecipe(Recipe):
    """A system without training: label maps of what one map, 2D or 3D, shows brighter or darker than the rest.

    Args:
        map: name of the map in the cohort.
        foreground: the side of the threshold where the instances are: "bright", "dark", or the "smaller" side, which is
            the right one of images that show the same things in both ways.
        brain: the map that is 0 outside the brain, for scans; None takes the whole image.
        smooth: standard deviation of the Gaussian before the threshold, in mm (pixels in 2D images).
        min_depth: how deep the neck between two parts must be for them to be two, in the same unit.
        min_size: instances of fewer voxels are dropped.

    Source:
        Otsu, IEEE Trans Syst Man Cybern 9:62 (1979), doi:10.1109/TSMC.1979.4310076.

    Example:
        >>> from multifocal import recipes
        >>> recipes.load("nuclei-otsu", overrides=["map=image"]).map
        'image'
    """

    kind: Literal["otsu-watershed"] = "otsu-watershed"
    map: str
    foreground: Literal["bright", "dark", "smaller"] = "smaller"
    brain: str | None = None
    smooth: float = Field(default=1.0, ge=0)
    min_depth: float = Field(default=1.0, gt=0)
    min_size: int = Field(default=0, ge=0)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return once(self.brain, self.map)

    @property
    def predicts_instances(self) -> bool:
        """Whether its masks are label maps, which they are."""
        return True


@KINDS.register("otsu-watershed")
class OtsuWatershedSystem(System):
    """Instances by Otsu's threshold and watershed.

    Args:
        recipe: which map, and how.

    Example:
        >>> from multifocal import recipes
        >>> OtsuWatershedSystem(recipes.load("nuclei-otsu")).has_probabilities
        False
    """

    recipe_type = OtsuWatershedRecipe

    def predict(self, case: Case) -> Prediction:
        """Return the label map of a case on its own grid.

        Args:
            case: with the maps that the recipe names.

        Returns:
            The label map; there is no probability.

        Raises:
            UserError: a map is missing, cannot be read, holds NaN, or does not fit the other.
            ModuleNotFoundError: the extra `instances` is not installed.
        """
        from skimage.filters import threshold_otsu

        recipe = self.recipe
        image = _read(case, recipe.map)
        brain = np.ones(image.array.shape, bool)
        if recipe.brain is not None:
            outline = _read(case, recipe.brain)
            if differences := outline.geometry.differences(image.geometry):
                raise UserError(
                    f"case {case.name}: {', '.join(differences)} in map '{recipe.brain}' and '{recipe.map}'; "
                    "`multifocal data check` shows every such case"
                )
            brain = brain_mask(outline.array)
        # Along an axis of one voxel a Gaussian changes nothing.
        sigma = [recipe.smooth / spacing for spacing in image.geometry.spacing]
        values = ndimage.gaussian_filter(image.array.astype(np.float32), sigma)
        found = np.zeros_like(brain)
        if brain.any() and np.ptp(values[brain]) > 0:
            bright = values > threshold_otsu(values[brain])
            most = 2 * np.count_nonzero(bright & brain) > np.count_nonzero(brain)
            is_dark = recipe.foreground == "dark" or (recipe.foreground == "smaller" and most)
            found = (bright != is_dark) & brain
        settings = Watershed(min_depth=recipe.min_depth, min_size=recipe.min_size)
        return Prediction(label_map(Volume(found.astype(np.float32), image.geometry), settings), None)

    @classmethod
    def load(cls, recipe: OtsuWatershedRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the system of a recipe.

        Args:
            recipe: which map, and how.
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


def _read(case: Case, name: str) -> Volume:
    if name not in case.images:
        raise UserError(
            f"case {case.name}: has no map '{name}', which the recipe needs; it has {', '.join(case.images)}: "
            f"say --set map={next(iter(case.images))}"
        )
    volume = case.images[name].read()
    if not np.isfinite(volume.array).all():
        raise UserError(
            f"{case.images[name].path}: holds NaN or inf; repair the file (`multifocal data check` shows more)"
        )
    return volume
