"""`multifocal zadc` and `multifocal atlas build`."""

from pathlib import Path
from typing import Annotated

import typer

from multifocal.cli.options import CohortPath, Fold, FoldFile, Layout
from multifocal.cli.screen import notice, progress, screen

app = typer.Typer(
    no_args_is_help=True,
    help="Make a normative atlas of ADC.\n\nExample: `multifocal atlas build COHORT -o atlas`",
)
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]


def zadc(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="An ADC image, or a cohort with maps of ADC.")],
    atlas: Annotated[Path, typer.Option(metavar="MEAN", help="Mean ADC of normal brains, 0 outside the brain.")],
    atlas_sd: Annotated[Path, typer.Option("--atlas-sd", metavar="SD", help="Its standard deviation.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="The image to write; of a cohort the folder.")
    ],
    overwrite: Overwrite = False,
    layout: Layout = "auto",
) -> None:
    """Make Z-ADC from ADC: how far each voxel lies from normal brains, in standard deviations.

    ADC is expected in 1e-6 mm²/s, 0 outside the brain; what is in another unit is refused. The map is on the scan's own
    grid, clipped to ±10 and 0 outside the brain. Of a cohort it is DIR/CASE_zadc. A JSON file of the same name says how
    well the scan fits the atlas, and a line for each number that is odd.

    Example: `multifocal zadc adc.nii.gz --atlas atlas/mean.nii.gz --atlas-sd atlas/sd.nii.gz -o zadc.nii.gz`
    """
    from multifocal.cohorts import open_cohort
    from multifocal.errors import UserError
    from multifocal.files import write_json
    from multifocal.normative import Atlas, z_map
    from multifocal.volumes import extension_of, read, strip_extension, write

    normal = Atlas.load(atlas, atlas_sd)
    if scan.is_file() and extension_of(scan.name):
        if not extension_of(out.name):
            raise UserError(f"{out}: is no image to write; give -o a name such as zadc.nii.gz")
        todo, own = [(scan, out)], {scan.resolve()}
    else:
        cases = open_cohort(scan, layout=layout)
        if "adc" not in cases.maps:
            raise UserError(f"{scan}: the cases have no map adc, but {', '.join(cases.maps)}; name it so in a manifest")
        files = [(case.name, case.images["adc"].path) for case in cases]
        todo = [(path, out / f"{name}_zadc{_written(extension_of(path.name))}") for name, path in files]
        own = {image.path.resolve() for case in cases for image in (*case.images.values(), case.label) if image}
    if lost := [after for _, after in todo if after.resolve() in own]:
        raise UserError(f"{lost[0]}: is the scan itself, or a file of the cohort; choose another name for the map")
    if lost := [after for _, after in todo if after.resolve() in {atlas.resolve(), atlas_sd.resolve()}]:
        raise UserError(f"{lost[0]}: is a part of the atlas; choose another name for the map")
    beside = {after: after.with_name(f"{strip_extension(after.name)}_fit.json") for _, after in todo}
    if not overwrite and (there := [path for pair in beside.items() for path in pair if path.exists()]):
        raise UserError(f"{there[0]}: exists already; choose another name, or --overwrite to replace it")
    odd = 0
    with progress() as bar:
        task = bar.add_task("registering", total=len(todo))
        for before, after in todo:
            found, fit = z_map(read(before), normal, where=str(before))
            after.parent.mkdir(parents=True, exist_ok=True)
            write(after, found)
            write_json(beside[after], fit.as_json())
            for doubt in fit.doubts:
                notice(f"{before}: {doubt}")
            odd += bool(fit.doubts)
            bar.advance(task)
    if len(todo) == 1:
        screen().print(f"written: {out}; {fit.line}", soft_wrap=True)
    else:
        screen().print(f"{len(todo)} maps in {out}; {odd} of the scans fit the atlas poorly", soft_wrap=True)


@app.command()
def build(
    cohort: CohortPath,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where mean, sd and atlas.json go.")],
    normal: Annotated[
        bool, typer.Option("--normal", help="Of normal scans: the cases without a lesion, or without a label.")
    ] = False,
    folds: FoldFile = None,
    fold: Fold = None,
    overwrite: Overwrite = False,
    layout: Layout = "auto",
) -> None:
    """Make an atlas: from cases with ADC and Z-ADC, whose own atlas is recovered, or with --normal from normal scans.

    With a fold file, only the training cases of fold K: maps of its test cases are then made by an atlas that has not
    seen them.

    Example: `multifocal atlas build BONBID2023_Train -o atlas`

    Example: `multifocal atlas build healthy --normal -o atlas`
    """
    import numpy as np

    from multifocal.cohorts import open_cohort, read_fold
    from multifocal.errors import UserError
    from multifocal.normative import from_normals, from_pairs
    from multifocal.normative.atlas import ABOUT, MEAN, SD

    cases = open_cohort(cohort, layout=layout)
    if chosen := read_fold(cases, folds=folds, fold=fold):
        cases = cases.subset(chosen.train)
    needed = ("adc",) if normal else ("adc", "zadc")
    if missing := [name for name in needed if name not in cases.maps]:
        hint = "" if normal else "; without it an atlas is made of normal scans (--normal)"
        raise UserError(f"{cohort}: the cases have no map {missing[0]}, but {', '.join(cases.maps)}{hint}")
    if not overwrite and (there := [out / name for name in (MEAN, SD, ABOUT) if (out / name).exists()]):
        raise UserError(f"{there[0]}: exists already; choose another folder, or --overwrite to replace it")

    def tell(line: str) -> None:
        screen().print(line, soft_wrap=True)

    if normal:
        healthy = [case for case in cases if case.label is None or not np.any(case.label.read().array)]
        tell(f"{len(healthy)} of {len(cases)} cases have no lesion")
        atlas, about = from_normals([(case.name, case.images["adc"].read()) for case in healthy], progress=tell)
    else:
        pairs = [(case.name, case.images["adc"].read(), case.images["zadc"].read()) for case in cases]
        atlas, about = from_pairs(pairs, progress=tell)
    atlas.save(out, about)
    tell(f"written: {out}, of {len(about['cases'])} cases")


def _written(extension: str) -> str:
    return ".mha" if extension == ".mhd" else extension  # one file a map
