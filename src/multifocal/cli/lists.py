"""What there is to choose from: recipes, networks, losses."""

from collections.abc import Callable, Iterable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from multifocal.cli.screen import screen


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe as YAML, every default spelled out.")] = None,
) -> None:
    """List the recipes, or print one.

    Example: `multifocal recipes default > mine.yaml`
    """
    from multifocal import recipes as floor

    if name is not None:
        typer.echo(floor.dump(floor.load(name)), nl=False)
        return
    loaded = [floor.load(each) for each in floor.names()]
    show("recipe", "what it is", ((recipe.name, f"{recipe.description} ({recipe.source})") for recipe in loaded))


def networks() -> None:
    """List the networks.

    Example: `multifocal networks`
    """
    from multifocal import networks as floor

    _list("network", floor.names(), floor.describe)


def losses() -> None:
    """List the losses with their definitions.

    Example: `multifocal losses`
    """
    from multifocal import losses as floor

    _list("loss", floor.names(), floor.describe)


def _list(kind: str, names: Iterable[str], describe: Callable[[str], str]) -> None:
    show(kind, "definition", ((name, describe(name)) for name in names))


def show(left: str, right: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print a table of names and what they are."""
    table = Table(left, right, box=None, pad_edge=False)
    for name, text in rows:
        table.add_row(Text(name, "bold"), text)
    screen().print(table)
