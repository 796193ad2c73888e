"""What every recipe says, whatever kind of system it describes, and the kinds there are."""

from collections.abc import Mapping
from typing import Any, ClassVar

from multifocal.cohorts import Labels
from multifocal.config import Config
from multifocal.registry import Registry

KINDS: Registry[Any] = Registry("kind", package="multifocal.systems", group="multifocal.systems")
"""The classes of systems by the `kind` of their recipes; see `multifocal.systems.System`."""


class Recipe(Config):
    """A system as data: a published one, or one of your own. Each kind of system adds what it needs to know.

    Args:
        kind: of the system, one of `KINDS`.
        name: of the recipe.
        description: one line.
        source: where it comes from.

    Example:
        >>> from multifocal import recipes
        >>> recipe = recipes.load("zadc-threshold")
        >>> recipe.kind, recipe.needs_training, recipe.monitor
        ('threshold', False, None)
    """

    nested: ClassVar[tuple[str, ...]] = ("members",)  # keys that hold other systems: one of them, or a list

    kind: str
    name: str
    description: str = ""
    source: str = ""

    @property
    def trainings(self) -> "tuple[Any, ...]":
        """The recipes of the networks that are trained by gradient descent: itself and its start, those of members."""
        return ()

    @property
    def target_labels(self) -> Labels:
        """What the values of label images mean to it, and of the masks that it predicts."""
        return next((recipe.labels for recipe in self.trainings), Labels())

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads, each once, that of the brain first; none where it does not say."""
        return ()

    @property
    def predicts_instances(self) -> bool:
        """Whether its masks are label maps, in which every value but 0 is one lesion."""
        return False

    @property
    def needs_training(self) -> bool:
        """Whether `fit` comes before `predict`."""
        return bool(self.trainings)

    @property
    def is_tuned(self) -> bool:
        """Whether it, or anything that is fitted with it, is tuned on the validation cases."""
        return self.tune is not None

    @property
    def monitor(self) -> str | None:
        """The metric of validation cases by which an epoch is chosen; None where no validation case is needed."""
        return next((recipe.training.monitor for recipe in self.trainings if recipe.training.monitor), None)

    @property
    def fixed_steps(self) -> int:
        """Steps of a training other than ours, whatever the number of cases; a study reckons its time by them."""
        return 0

    @property
    def is_pretraining(self) -> bool:
        """Whether what it trains is for others to start from, and finds no lesions."""
        return False

    @property
    def start(self) -> "Recipe | None":
        """What is trained first, for its own training to start from; None where nothing is."""
        return None

    @property
    def mask_section(self) -> str | None:
        """The section that says how a probability becomes a mask, with `tune` in it; None where there is none."""
        return None

    @property
    def postprocess(self) -> Any:
        """What stands between probability and mask, of `multifocal.systems`; None where nothing can be tuned."""
        return None

    @property
    def tune(self) -> Any:
        """What of it is chosen on the validation cases, of `multifocal.systems`; None where nothing is."""
        return None

    @classmethod
    def completed(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a recipe's data with what follows from the rest of them where it is not said.

        Args:
            data: as a file has them, not validated yet.

        Returns:
            New data.
        """
        return dict(data)

    @classmethod
    def changed(cls, data: Mapping[str, Any], changes: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
        """Return what a study makes of a recipe's data: its common changes, and the seed.

        Args:
            data: of the recipe, not validated yet.
            changes: what the study sets in every arm; a system without training keeps to what it says itself.
            seed: of weights and training.

        Returns:
            New data.
        """
        del changes, seed
        return dict(data)


def once(*names: str | None) -> tuple[str, ...]:
    """Return names without those that are None or stand before.

    Args:
        *names: in order.

    Returns:
        Each once.

    Example:
        >>> once(None, "adc", "zadc", "adc")
        ('adc', 'zadc')
    """
    return tuple(dict.fromkeys(name for name in names if name is not None))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with some of them replaced, section by section.

    A section that says which kind of thing it is (`name`, or `kind`) replaces the whole section: the options of one
    loss mean nothing to another.

    Args:
        base: nested settings.
        changes: nested settings that replace those of the base.

    Returns:
        New settings; neither argument is changed.

    Example:
        >>> base = {"loss": {"name": "tversky", "options": {"beta": 0.7}}, "training": {"epochs": 9, "seed": 0}}
        >>> merged(base, {"loss": {"name": "dice"}, "training": {"epochs": 2}})
        {'loss': {'name': 'dice'}, 'training': {'epochs': 2, 'seed': 0}}
    """
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        within = isinstance(value, Mapping) and isinstance(old, Mapping) and not {"name", "kind"} & value.keys()
        result[key] = merged(old, value) if within else value  # type: ignore[arg-type]
    return result
