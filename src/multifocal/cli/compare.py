"""`multifocal compare`."""

from pathlib import Path
from typing import Annotated

import typer

from multifocal.cli.options import Undefined
from multifocal.cli.screen import screen

_ROWS_ON_SCREEN = 30


def compare(
    evaluations: Annotated[
        list[str], typer.Argument(metavar="[NAME=]DIR...", help="Folders of `multifocal evaluate`, one a method.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where comparison.json and the tables go.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="A metric to compare, in place of the usual ones; may be given again.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The class to compare, where several were evaluated.")] = None,
    undefined: Undefined = "skip",
    samples: Annotated[int, typer.Option(min=1, help="Bootstrap samples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a comparison in DIR.")] = False,
) -> None:
    """Compare methods that were evaluated on the same cases: ranks, intervals, tests, and how stable the ranking is.

    A method is called as its folder, or NAME.

    Example: `multifocal compare scores/a scores/b baseline=scores/z2 --out comparison`
    """
    from multifocal.comparison import compare as compare_methods
    from multifocal.comparison import write_comparison
    from multifocal.comparison.tables import on_screen, pairs_table, ranking_table
    from multifocal.errors import UserError
    from multifocal.evaluation import read_results

    if (out / "comparison.json").exists() and not overwrite:
        raise UserError(f"{out}: already holds a comparison; choose another folder, or --overwrite to replace it")
    methods = {name: read_results(folder) for name, folder in _named(evaluations).items()}
    comparison = compare_methods(methods, metrics=metric, label=label, undefined=undefined, samples=samples, seed=seed)
    write_comparison(comparison, out)
    console = screen()
    console.print(on_screen(ranking_table(comparison, with_ranks=False)))
    pairs = pairs_table(comparison)
    if 0 < len(pairs.rows) <= _ROWS_ON_SCREEN:
        console.print(on_screen(pairs))
    console.print(f"written: comparison.json, table.csv, table.md and table.tex in {out}", soft_wrap=True)


def _named(evaluations: list[str]) -> dict[str, Path]:
    from multifocal.errors import UserError

    found: dict[str, Path] = {}
    for text in evaluations:
        name, sign, folder = text.partition("=")
        path = Path(folder) if sign and not Path(text).exists() else Path(text)
        name = name if path != Path(text) else path.resolve().name
        if not name:
            raise UserError(f"{text}: no name; write NAME=DIR")
        if name in found:
            raise UserError(f"{path}: a second method called {name}; tell them apart with NAME=DIR")
        found[name] = path
    return found
