"""`multifocal ensemble`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from multifocal.cli.options import ClassValues, Connectivity, meaning
from multifocal.cli.screen import progress, screen

AFTER = "mean: from the probability to the mask, in this order"


def ensemble(
    predictions: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of `multifocal predict`, one a system.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the masks go.")],
    how: Annotated[
        Literal["vote", "mean", "geometric-mean", "volume"],
        typer.Option(help="vote of masks, a mean of probabilities, or by the volume of the lesions."),
    ] = "vote",
    at_least: Annotated[
        int | None, typer.Option(min=1, help="vote: how many masks must agree (default: more than half).")
    ] = None,
    below: Annotated[
        float | None,
        typer.Option(min=0, metavar="ML", help="volume: smaller lesions are DIR 1's, others DIR 2's (default: 0.05)."),
    ] = None,
    connectivity: Annotated[
        Connectivity | None, typer.Option(help="volume: voxels that share a corner, or a face (default: full).")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="What the log-odds are divided by (default: 1).", rich_help_panel=AFTER),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(metavar="P", help="From which on is lesion (default: 0.5), or dice.", rich_help_panel=AFTER),
    ] = None,
    hysteresis: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Down to which a lesion grows (default: not).", rich_help_panel=AFTER),
    ] = None,
    min_size_ml: Annotated[
        float | None,
        typer.Option(min=0, metavar="ML", help="Smaller components are dropped.", rich_help_panel=AFTER),
    ] = None,
    min_size_voxels: Annotated[
        int | None, typer.Option(min=0, help="Smaller components are dropped.", rich_help_panel=AFTER)
    ] = None,
    min_size_dimensions: Annotated[
        int | None,
        typer.Option(min=2, max=3, help="Components of the volume, 3, or of axial slices, 2.", rich_help_panel=AFTER),
    ] = None,
    largest_only: Annotated[
        bool, typer.Option("--largest-only", help="Keep only the largest component.", rich_help_panel=AFTER)
    ] = False,
    label: ClassValues = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
) -> None:
    """Combine the predictions of several systems, case by case, on the scans' own grids.

    Example: `multifocal ensemble fold0 fold1 fold2 fold3 fold4 --out masks --at-least 3`

    Example: `multifocal ensemble fold0 fold1 --out masks --how mean --hysteresis 0.3 --min-size-ml 0.05`

    Example: `multifocal ensemble masks/blob-gdf masks/false --out masks/both --how volume --below 0.05`
    """
    from multifocal.cohorts import Labels
    from multifocal.config import parse_yaml, validate
    from multifocal.errors import UserError
    from multifocal.systems import combination as floor

    mean = {
        "temperature": temperature,
        "threshold": None if threshold is None else parse_yaml(threshold, where="--threshold"),
        "hysteresis": hysteresis,
        "min_size_ml": min_size_ml,
        "min_size_voxels": min_size_voxels,
        "min_size_dimensions": min_size_dimensions,
        "largest_only": largest_only or None,
    }
    options: dict[str, dict[str, Any]] = {
        "vote": {"at_least": at_least},
        "mean": mean if how == "mean" else {},
        "geometric-mean": mean if how != "mean" else {},
        "volume": {"below": below, "connectivity": connectivity},
    }
    said = {kind: {key: value for key, value in of.items() if value is not None} for kind, of in options.items()}
    if stray := [key for kind, of in said.items() for key in of if kind != how]:
        raise UserError(f"--{stray[0].replace('_', '-')} means nothing with --how {how}; leave it out")
    kinds: dict[str, type[floor.Rule]] = {
        "vote": floor.Vote,
        "mean": floor.Mean,
        "geometric-mean": floor.GeometricMean,
        "volume": floor.ByVolume,
    }
    data = {"below_ml" if key == "below" else key: value for key, value in said[how].items()}
    rule = validate(kinds[how], data, where=f"--how {how}")
    with progress() as bar:
        task = bar.add_task("combining", total=None)
        written = floor.combine_folders(
            predictions,
            out,
            rule=rule,
            labels=meaning(label, None) or Labels(),
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    screen().print(f"{len(written)} masks in {out}", soft_wrap=True)
