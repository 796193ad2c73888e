"""`multifocal convert-sam2`."""

from pathlib import Path
from typing import Annotated

import typer


def convert_sam2(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .pt or .safetensors as the authors of SAM-2 or MedSAM2 publish it."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to write.")],
    size: Annotated[
        int,
        typer.Option(min=32, metavar="PX", help="Side of the images that it was trained on; MedSAM2's have 512."),
    ] = 1024,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that exists.")] = False,
) -> None:
    """Make a folder that the recipe `hie-sam2-zeroshot` takes as weights of a checkpoint of SAM-2.

    Of a pickle (.pt) tensors alone are read; a file that asks for more is refused, and nothing in it is run.

    Example: `multifocal convert-sam2 MedSAM2_latest.pt --size 512 -o weights/medsam2`
    """
    from multifocal.cli.screen import screen
    from multifocal.systems.sam2_checkpoint import convert_checkpoint

    said = convert_checkpoint(checkpoint, out, size=size, overwrite=overwrite)
    screen().print(f"{out}: {said}")
