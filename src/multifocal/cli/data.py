"""`multifocal data`: look at a cohort, deal its folds, fetch the public one, make a synthetic one."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from multifocal.cli.options import ClassValues, CohortPath, Ignore, Layout, meaning
from multifocal.cli.screen import progress, screen
from multifocal.errors import UserError, unknown_name
from multifocal.files import write_csv

if TYPE_CHECKING:
    from multifocal.cohorts import CaseReport, Problem, Survey

app = typer.Typer(
    no_args_is_help=True,
    help="Check cohorts, deal folds, fetch or make data.\n\nExample: `multifocal data check BONBID2023_Train`",
)

_SCHEMES = ("kfold", "nested", "dataset")
_PARTS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


@app.command()
def check(
    cohort: CohortPath,
    layout: Layout = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Threads that read.")] = 2,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the table to this file.")] = None,
    label: ClassValues = None,
    ignore: Ignore = None,
) -> None:
    """Read and measure every case and name every problem; exit code 2 if the cohort is unusable.

    Example: multifocal data check BONBID2023_Train --csv check.csv
    """
    from multifocal import cohorts

    found = cohorts.survey(cohort, layout=layout)
    found = replace(found, labels=meaning(label, ignore) or found.labels)
    with progress() as bar:
        task = bar.add_task("Reading", total=len(found.cases))
        reports = cohorts.check_cohort(found, workers=workers, done=lambda _: bar.advance(task))
    problems = [*found.problems, *(problem for report in reports for problem in report.problems)]
    counts = Counter(problem.case for problem in problems)
    console = screen()
    is_flat = any(report.size for report in reports) and all(len(report.size or (1, 1)) == 2 for report in reports)
    rows = [(_flat_row if is_flat else _row)(report, counts[report.name]) for report in reports]
    if rows:
        _print_table(console, f"{found.name} ({found.layout})", rows)
    for problem in problems:
        console.print(f"{problem.severity}: {' '.join(str(problem).splitlines())}", soft_wrap=True)
    console.print(_summary(found, reports))
    errors = sum(problem.severity == "error" for problem in problems)
    verdict = "unusable" if errors else "usable"
    console.print(f"{verdict}: {errors} errors, {len(problems) - errors} warnings")
    if csv:
        write_csv(csv, [_record(report, problems) for report in reports], columns=_RECORD)
    if errors:
        raise typer.Exit(2)


@app.command()
def folds(
    cohort: CohortPath,
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    scheme: Annotated[str, typer.Option(help=f"One of {', '.join(_SCHEMES)}.")] = "kfold",
    k: Annotated[int | None, typer.Option(help="How many folds (default 5).")] = None,
    seed: Annotated[int | None, typer.Option(help="What they are drawn with (default 0).")] = None,
    layout: Layout = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file with other folds.")] = False,
    label: ClassValues = None,
    ignore: Ignore = None,
) -> None:
    """Deal the subjects into folds balanced by lesion share, and write them down for every run to share.

    kfold: each fold is tested once, the rest trains. nested: the next fold validates. dataset: the dataset's own
    train, val and test.

    Example: multifocal data folds BONBID2023_Train --out folds.json --k 5 --scheme nested --seed 0
    """
    from multifocal import cohorts

    if scheme not in _SCHEMES:
        raise unknown_name("scheme", scheme, _SCHEMES)
    opened = cohorts.open_cohort(cohort, layout=layout)
    opened = replace(opened, labels=meaning(label, ignore) or opened.labels)
    shares: dict[str, float] = {}
    if scheme == "dataset":
        if k is not None or seed is not None:
            raise UserError("--k and --seed mean nothing with --scheme dataset; leave them out")
        made = cohorts.dataset_folds(opened)
        cohorts.check_labels(opened)
    else:
        shares = cohorts.lesion_shares(opened)
        options = {"k": 5 if k is None else k, "seed": 0 if seed is None else seed}
        made = cohorts.make_folds(opened, shares, scheme=scheme, **options)  # type: ignore[arg-type]
    if out.exists() and not overwrite and cohorts.Folds.load(out) != made:
        raise UserError(f"{out}: holds other folds; choose another file or add --overwrite")
    made.save(out)
    console = screen()
    rows = []
    for number, fold in enumerate(made.folds):
        strata = Counter(cohorts.stratum(shares[name]) for name in fold.test) if shares else Counter()
        row = {"Fold": number, "Train": len(fold.train), "Validation": len(fold.validation), "Test": len(fold.test)}
        rows.append(row | ({f"Test {name}": strata[name] for name in cohorts.STRATA} if shares else {}))
    _print_table(console, f"{scheme} folds of {made.cohort}", rows)
    console.print(f"written: {out}", soft_wrap=True)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write; new or empty.")],
    cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    kind: Annotated[
        str,
        typer.Option(help="hie (neonates: ADC, Z-ADC), wmh (adults: FLAIR) or nuclei (microscopy, instances)."),
    ] = "hie",
    domain: Annotated[
        str | None,
        typer.Option(help="Of hie: neat (the default: scans that are alike) or random (for training networks)."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that write.")] = 1,
) -> None:
    """Write a synthetic cohort: images, and labels of lesions (or nuclei).

    hie: neonates in the layout of BONBID-HIE. wmh: white-matter hyperintensities, an nnU-Net dataset. nuclei: 2D images
    with label maps.

    Example: multifocal data phantom phantoms --cases 40 --seed 0

    Example: multifocal data phantom flair --kind wmh --cases 20

    Example: multifocal data phantom training --domain random --cases 200 --workers 4
    """
    from multifocal.cohorts.phantom import write_phantom

    options = {} if domain is None else {"domain": domain}
    with progress() as bar:
        task = bar.add_task("Writing", total=cases)
        show = lambda done, _: bar.update(task, completed=done)  # noqa: E731
        write_phantom(out, kind=kind, cases=cases, seed=seed, workers=workers, progress=show, **options)
    screen().print(f"written: {cases} cases in {out}", soft_wrap=True)


@app.command()
def fetch(
    dataset: Annotated[str, typer.Argument(help="What to fetch: bonbid-hie.")],
    out: Annotated[Path, typer.Option(help="Folder that gets BONBID2023_Train, _Val and _Test.")],
    part: Annotated[list[str] | None, typer.Option(help="train, val or test; may be repeated (default: all).")] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", "--accept-license", help="Accept the licence without being asked.")
    ] = False,
    base_url: Annotated[str | None, typer.Option(help="Where the archives lie (default: Zenodo).")] = None,
) -> None:
    """Download a public dataset, check its hashes and unpack it; what is there already is not fetched again.

    Example: multifocal data fetch bonbid-hie --out data --part train --accept-licence
    """
    from multifocal.cohorts import fetch as source

    if dataset != "bonbid-hie":
        raise unknown_name("dataset", dataset, ("bonbid-hie",))
    parts = part or list(_PARTS)
    for name in parts:
        if name not in _PARTS:
            raise unknown_name("part", name, _PARTS)
    console = screen()
    console.print(source.LICENCE, source.CITATION, sep="\n", soft_wrap=True)
    if not accept_licence:
        _ask()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with progress(*columns) as bar:

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)

        folders = source.fetch_bonbid(
            out,
            parts=parts,  # type: ignore[arg-type]
            base_url=base_url or source.ZENODO,
            progress=show,
        )
    for folder in folders:
        console.print(f"ready: {folder}", soft_wrap=True)


def _ask() -> None:
    try:
        accepted = typer.confirm("Do you accept the licence?")
    except typer.Abort:
        accepted = False
    if not accepted:
        raise UserError("the licence was not accepted, nothing was downloaded; answer y or add --accept-licence")


def _print_table(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


def _row(report: "CaseReport", problems: int) -> dict[str, str]:
    """Return a case as it is shown, with "-" for what could not be measured."""

    def show(value: Any, text: str) -> str:
        return "-" if value is None else text.format(value)

    return {
        "Case": report.name,
        "Size": "×".join(map(str, report.size or "-")),
        "Spacing mm": "×".join(f"{value:.4g}" for value in report.spacing) if report.spacing else "-",
        "Axes": report.orientation or "-",
        "Tilt": show(report.tilt, "{:.1f}°"),
        "Lesion ml": show(report.lesion_ml, "{:.2f}"),
        "Share": show(report.share, "{:.2%}"),
        "Lesions": show(report.components, "{}"),
        "Stratum": report.stratum or "-",
        "Problems": str(problems or ""),
    }


def _flat_row(report: "CaseReport", problems: int) -> dict[str, str]:
    """Return a 2D image as it is shown: pixels have no place in the body."""
    row = _row(report, problems)
    spacing = {} if set(report.spacing or (1.0,)) == {1.0} else {"Spacing mm": row["Spacing mm"]}
    lesion = "-" if report.lesion_voxels is None else str(report.lesion_voxels)
    rest = {name: row[name] for name in ("Share", "Lesions", "Stratum", "Problems")}
    return {"Image": report.name, "Size": row["Size"], **spacing, "Lesion pixels": lesion, **rest}


_RECORD = (
    *("case", "size", "spacing", "orientation", "tilt", "lesion_ml", "lesion_voxels", "share", "components"),
    *("stratum", "problems"),
)


def _record(report: "CaseReport", problems: list["Problem"]) -> dict[str, Any]:
    """Return a case as it is written to CSV, unrounded."""
    row = {name: getattr(report, name) for name in _RECORD[1:-1]}
    for name in ("size", "spacing"):
        row[name] = " ".join(map(str, row[name] or ()))
    told = (f"{problem.severity}: {problem.text}" for problem in problems if problem.case == report.name)
    return {"case": report.name, **row, "problems": "; ".join(told)}


def _summary(found: "Survey", reports: list["CaseReport"]) -> str:
    from multifocal.cohorts import STRATA

    parts = [f"{len(found.cases)} cases of {len({case.subject for case in found.cases})} subjects"]
    strata = Counter(report.stratum for report in reports if report.stratum)
    splits = Counter(case.split for case in found.cases if case.split)
    parts += [", ".join(f"{name}: {strata[name]}" for name in STRATA)] if strata else []
    parts += [", ".join(f"{name}: {splits[name]}" for name in _PARTS if splits[name])] if splits else []
    return "; ".join(parts)
