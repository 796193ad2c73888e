"""Another system in the place of one whose maps are not all there, which is said."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from multifocal import models, recipes
from multifocal.errors import UserError
from multifocal.systems.loading import load_model
from multifocal.systems.system import System


class StandIn(NamedTuple):
    """What predicts in the place of another system.

    Args:
        system: ready to predict.
        run: what it was loaded from.
        line: who stands in for whom, and why, in one line for people.
    """

    system: System
    run: str | Path
    line: str


def stand_in(
    model: System,
    run: str | Path | None,
    *,
    maps: Sequence[str],
    fallback: str | Path | None = None,
    device: str = "auto",
) -> StandIn | None:
    """Return what predicts where a scan lacks a map that a system reads.

    Args:
        model: the system.
        run: what it was loaded from; where that is a model of the package, another one may be known to stand in.
            None where it was made of several.
        maps: the names of those that there are.
        fallback: the run, model or recipe without training that is to stand in; None takes the one that is known.
        device: what to compute on.

    Returns:
        What stands in; None where nothing is missing, nothing is known to stand in, or what is known lacks a map, too.

    Raises:
        UserError: whatever loading the fallback raises; the one that was named lacks a map, too.

    Example:
        >>> model = load_model("hie-synthetic")
        >>> stand_in(model, "hie-synthetic", maps=["adc"]).line
        'hie-synthetic reads adc, zadc, and zadc is missing: hie-synthetic-adc, which reads adc, stands in for it'
        >>> stand_in(model, "hie-synthetic", maps=["adc", "zadc"])
    """
    missing, is_named = missing_maps(model.maps, maps), fallback is not None
    if missing and fallback is None and run is not None and models.is_model(run):
        fallback = recipes.fallback(run)
    if fallback is None:
        return None
    other = load_model(fallback, device=device)  # where nothing is missing, too: a name that is none is told at once
    lacking = missing_maps(other.maps, maps)
    if missing and lacking and is_named:
        raise UserError(f"--fallback {fallback}: reads {lacking[0]}, too, which is missing; name one that does not")
    if not missing or lacking:
        return None
    return StandIn(other, fallback, stands_in_line(model.recipe, other.recipe, maps=maps))


def missing_maps(wanted: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return the maps that are wanted and not given.

    Args:
        wanted: names of maps.
        given: those that there are.

    Returns:
        In the order in which they are wanted.

    Example:
        >>> missing_maps(["adc", "zadc"], ["adc"])
        ['zadc']
    """
    return [name for name in wanted if name not in given]


def stands_in_line(recipe: recipes.Recipe, other: recipes.Recipe, *, maps: Sequence[str]) -> str:
    """Return in one line which recipe stands in for which, and why.

    Args:
        recipe: the one that reads a map that is not there.
        other: the one in its place.
        maps: the names of those that there are.

    Returns:
        The line.

    Example:
        >>> stands_in_line(recipes.load("default"), recipes.load("default-adc"), maps=["adc"])
        'default reads adc, zadc, and zadc is missing: default-adc, which reads adc, stands in for it'
    """
    missing = ", ".join(missing_maps(recipe.maps, maps))
    return (
        f"{recipe.name} reads {', '.join(recipe.maps)}, and {missing} is missing: {other.name}, which reads "
        f"{', '.join(other.maps)}, stands in for it"
    )
