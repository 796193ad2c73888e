"""The commands. Heavy imports wait inside them, so that `--help` is quick."""

from typing import Annotated

import typer

import multifocal
from multifocal.cli import (
    compare,
    convert_sam2,
    data,
    demo,
    ensemble,
    evaluate,
    lists,
    predict,
    report,
    study,
    train,
    tune,
    zadc,
)

app = typer.Typer(
    name="multifocal",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(multifocal.__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Segment small, scattered brain lesions, and find out which loss does it best.

    Example: `multifocal demo` does the whole job on synthetic scans; `multifocal train --help` tells of your own.
    """


app.add_typer(data.app, name="data")
app.add_typer(zadc.app, name="atlas")
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("predict")(predict.predict)
app.command("zadc")(zadc.zadc)
app.command("evaluate")(evaluate.evaluate)
app.command("ensemble")(ensemble.ensemble)
app.command("compare")(compare.compare)
app.command("study")(study.study)
app.command("report")(report.report)
app.command("models")(lists.models)
app.command("convert-sam2")(convert_sam2.convert_sam2)
app.command("recipes")(lists.recipes)
app.command("studies")(study.studies)
app.command("networks")(lists.networks)
app.command("losses")(lists.losses)
