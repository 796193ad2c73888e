"""Published systems, and the one we recommend, as data: every number with its source."""

from multifocal.recipes.loading import dump, load, names, parse, replace
from multifocal.recipes.schema import AnyRecipe, InferenceSettings, Recipe, ThresholdRecipe

__all__ = ["AnyRecipe", "InferenceSettings", "Recipe", "ThresholdRecipe", "dump", "load", "names", "parse", "replace"]
