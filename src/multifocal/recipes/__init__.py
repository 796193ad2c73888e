"""Published systems, and the one we recommend, as data: every number with its source."""

from multifocal.recipes.loading import (
    describe,
    dump,
    fallback,
    load,
    names,
    parse,
    recipe_class,
    replace,
    rooted,
    with_members,
)
from multifocal.recipes.recipe import KINDS, Recipe, merged, once

__all__ = [
    "KINDS",
    "Recipe",
    "describe",
    "dump",
    "fallback",
    "load",
    "merged",
    "names",
    "once",
    "parse",
    "recipe_class",
    "replace",
    "rooted",
    "with_members",
]
