"""`multifocal ensemble`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from multifocal.cli.options import ClassValues, Connectivity, meaning
from multifocal.cli.screen import progress, screen


def ensemble(
    predictions: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of `multifocal predict`, one a system.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the masks go.")],
    how: Annotated[
        Literal["vote", "mean", "volume"],
        typer.Option(help="vote of masks, mean of probabilities, or by the volume of the lesions."),
    ] = "vote",
    at_least: Annotated[
        int | None, typer.Option(min=1, help="vote: how many masks must agree (default: more than half).")
    ] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="mean: of a lesion (default: 0.5).")] = None,
    below: Annotated[
        float | None,
        typer.Option(min=0, metavar="ML", help="volume: smaller lesions are DIR 1's, others DIR 2's (default: 0.05)."),
    ] = None,
    connectivity: Annotated[
        Connectivity | None, typer.Option(help="volume: voxels that share a corner, or a face (default: full).")
    ] = None,
    label: ClassValues = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
) -> None:
    """Combine the predictions of several systems, case by case, on the scans' own grids.

    Example: `multifocal ensemble fold0 fold1 fold2 fold3 fold4 --out masks --at-least 3`

    Example: `multifocal ensemble masks/blob-gdf masks/false --out masks/both --how volume --below 0.05`
    """
    from multifocal.cohorts import Labels
    from multifocal.errors import UserError
    from multifocal.systems import combination as floor

    given = {"--at-least": at_least, "--threshold": threshold, "--below": below, "--connectivity": connectivity}
    own = {"vote": ("--at-least",), "mean": ("--threshold",), "volume": ("--below", "--connectivity")}[how]
    if stray := [name for name, value in given.items() if value is not None and name not in own]:
        raise UserError(f"{stray[0]} means nothing with --how {how}; leave it out")
    rule: floor.Rule
    if how == "vote":
        rule = floor.Vote(at_least=at_least)
    elif how == "mean":
        rule = floor.Mean(threshold=0.5 if threshold is None else threshold)
    else:
        below_ml = 0.05 if below is None else below
        rule = floor.ByVolume(below_ml=below_ml, connectivity=connectivity or "full")
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
