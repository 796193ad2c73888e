"""The packages of extras that a recipe's training needs: missed before any work, in a study before the first cell."""

from multifocal import networks
from multifocal.recipes import KINDS, Recipe
from multifocal.versions import TRAINING, check_installed


def check_packages(recipe: Recipe) -> None:
    """Raise `UserError` where a package that a recipe is trained with is not installed; none is imported.

    Args:
        recipe: of any kind; one without training needs nothing.

    Raises:
        UserError: the first that is missing: of its kind, of training itself, of a network, or of a logger.

    Example:
        >>> from multifocal import recipes
        >>> check_packages(recipes.load("zadc-threshold"))
    """
    KINDS[recipe.kind].check_installed(recipe)
    for own in recipe.trainings:
        for module in TRAINING:
            check_installed(module, what="training")
        if package := networks.package(own.network.name):
            check_installed(package, what=f"network {own.network.name}")
        for logger in own.training.loggers:
            check_installed(logger, what="training.loggers")
