"""`multifocal predict`."""

import glob
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from multifocal.cli.options import Device, Fold, FoldFile, Layout, Overrides, Threads
from multifocal.cli.screen import notice, progress, screen

if TYPE_CHECKING:
    from multifocal.volumes import Volume


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run folder, a name of `multifocal models`, or a recipe that needs no training."
        ),
    ],
    scans: Annotated[
        list[str],
        typer.Argument(
            metavar="SCAN...",
            help="A cohort; or one scan: the file of each map as MAP=FILE, one file, or the DICOM of its ADC.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the masks go.")],
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="RUN", help="Another model: all together are an ensemble; may be given again."),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="What predicts where a map is missing that RUN reads, which is said; hie-synthetic knows one.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the files of one scan are called by.")] = None,
    folds: FoldFile = None,
    fold: Fold = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write probabilities, too.")] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts",
            "--members",
            help="Write what each part finds by itself, too (members, first stage, boxes): DIR/parts/PART.",
        ),
    ] = False,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Write how sure the model is, too: maps of entropy and mutual information, a table of cases, one of "
            "lesions.",
        ),
    ] = False,
    brain: Annotated[
        str | None,
        typer.Option(
            metavar="BRAIN",
            help="Of one scan: what lies outside becomes 0, as models expect it. The file of a mask; auto for a simple "
            "one (neonates); or a tool: synthstrip, hd-bet, synthstrip:PATH.",
        ),
    ] = None,
    statistics: Annotated[
        bool,
        typer.Option("--statistics", help="Write what was found, too: scans.csv, lesions.csv, CASE_scan.json."),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write a page a scan, too: CASE_report.html, one file, printable.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Write a picture a scan, too: CASE_preview.png, the mask over slices.")
    ] = False,
    bids: Annotated[
        bool, typer.Option("--bids", help="Write masks and probabilities as a BIDS derivative, too.")
    ] = False,
    dicom_seg: Annotated[
        bool,
        typer.Option(
            "--dicom-seg",
            help="Of a scan in DICOM: write segmentation and volumes, too: CASE_seg.dcm, CASE_sr.dcm.",
        ),
    ] = False,
    segments: Annotated[
        Literal["lesions", "one"] | None,
        typer.Option(help="Of --dicom-seg: a segment for each of the lesions (the default), or one of all."),
    ] = None,
    encoding: Annotated[
        Literal["binary", "labelmap"] | None,
        typer.Option(help="Of --dicom-seg: binary, which every viewer reads (the default), or DICOM's label maps."),
    ] = None,
    keep_identity: Annotated[
        bool,
        typer.Option("--keep-identity", help="Name the patient in these two, as an archive needs to file them."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
    set_: Overrides = None,
    device: Device = "auto",
    threads: Threads = None,
    layout: Layout = "auto",
) -> None:
    """Write a lesion mask for every case, or for one scan, on the scan's own grid.

    With a fold file, only the test cases of fold K: five runs can fill one folder, each with the cases it never saw.

    Example: `multifocal predict runs/0 adc=scan.nii.gz zadc=z.nii.gz --out found --statistics --report`

    Example: `multifocal predict hie-synthetic-adc dicom-folder --out found --statistics --report --dicom-seg`

    Example: `multifocal predict runs/fold0 BONBID2023_Train --out masks --folds folds.json --fold 0`

    Example: `multifocal predict runs/ensemble BONBID2023_Train --out masks --parts`

    Example: `multifocal predict runs/ensemble BONBID2023_Train --out masks --uncertainty`

    Example: `multifocal predict hie-synthetic BONBID2023_Train --out masks`

    Example: `multifocal predict zadc-threshold BONBID2023_Train --out masks --set below=-2.5`
    """
    from multifocal.cli.predict_outputs import Outputs
    from multifocal.cohorts import Case, ImageFile, read_fold
    from multifocal.cohorts.seen import seen_line
    from multifocal.cohorts.single_scan import (
        LAYOUT,
        dicom_in,
        doubts,
        is_cohort,
        maps_given,
        open_scans,
        read_scan,
        scan_files,
        within_brain,
        write_scan,
    )
    from multifocal.errors import UserError
    from multifocal.systems import join, load_model, model_digest, predict_cohort
    from multifocal.systems.fallback import stand_in
    from multifocal.systems.flags import check_age
    from multifocal.systems.system import PARTS
    from multifocal.systems.uncertainty import CASES, LESIONS, check_masks
    from multifocal.threads import settle_threads
    from multifocal.volumes import strip_extension

    settle_threads(threads)
    overrides, runs = tuple(set_ or ()), [run, *(also or ())]
    model = (
        join(runs, overrides=overrides, device=device) if also else load_model(run, overrides=overrides, device=device)
    )
    remarks: list[str] = []
    given = maps_given(scans, layout=layout)
    if given is not None:
        other = stand_in(model, None if also else run, maps=given, fallback=fallback, device=device)
        if other is not None:
            if overrides:
                raise UserError(f"--set {overrides[0]}: is for {model.recipe.name}, and {other.line}; leave it out")
            remarks.append(other.line)
            notice(other.line)
            model, runs = other.system, [str(other.run)]
    if model.tuned:
        notice(f"tuned: {model.tuned}")
    if statistics or report or dicom_seg or preview or bids:
        check_masks(model)
    source, scan = dicom_in(scans), None
    if dicom_seg and source is None:
        raise UserError("--dicom-seg: refers to the images of a scan in DICOM; give its folder, or leave it out")
    if keep_identity and not dicom_seg:
        raise UserError("--keep-identity: is for what --dicom-seg writes, nothing else names the patient; leave it out")
    for option, value in (("segments", segments), ("encoding", encoding)):
        if value is not None and not dicom_seg:
            raise UserError(f"--{option} {value}: is for what --dicom-seg writes; add that, or leave it out")
    if brain is not None and is_cohort(scans):
        raise UserError(f"--brain {brain}: is for one scan, and {scans[0]} is a cohort; give the file of each map")
    find_brain = None
    if brain is not None:
        from multifocal.pipeline.skull_strip import AUTO, brain_finder

        find_brain = brain_finder(brain)
    if source is not None:
        from multifocal.volumes.dicom import read_dicom

        scan, name = read_dicom(source), name or "scan"
        notice(f"ADC is {scan.series} ({scan.reason}), in {scan.unit}")
        for remark in scan.remarks:
            notice(remark)
        remarks.extend(scan.remarks)  # of the images, nothing of the patient

    def look(volumes: Mapping[str, "Volume"], where: Mapping[str, object]) -> None:
        """Say what is odd about one scan, before anything is written."""
        for doubt in doubts(volumes, where=where):
            notice(doubt)
        first = next(iter(volumes))
        check_age(volumes[first], model.ranges, where=where[first])

    outputs = Outputs(
        out,
        statistics=statistics,
        report=report,
        preview=preview,
        bids=bids,
        dicom=scan if dicom_seg else None,
        segments=segments or "lesions",
        encoding=encoding or "binary",
        keep_identity=keep_identity,
        remarks=remarks,
    )
    is_prepared = source is not None or brain is not None
    if is_prepared:
        name = name or strip_extension(Path(scans[0].partition("=")[2] or scans[0]).name)
        volumes = read_scan(scans, maps=model.maps, scan=None if scan is None else scan.volume)
        planned = scan_files(out / "maps", name, volumes, overwrite=overwrite)
        if not overwrite and (there := sorted(out.glob(f"{glob.escape(name)}_lesion.*"))):
            raise UserError(f"{there[0]}: exists already; choose another folder, or --overwrite to replace it")
        case = Case(name, name, {map_: ImageFile(file) for map_, file in planned.items()})
        outputs.check(model, [case], overwrite=overwrite)
        if find_brain is not None:
            if brain == AUTO and "adc" not in volumes:
                raise UserError("--brain auto: finds the brain in ADC, which is not there; give the file of a mask")
            found_brain = find_brain(volumes.get("adc") or next(iter(volumes.values())))
            if found_brain.remark is not None:
                remarks.append(found_brain.remark)
                notice(found_brain.remark)
            volumes = within_brain(volumes, found_brain.mask)
        look(volumes, dict.fromkeys(volumes, name))
        scans = write_scan(planned, volumes)
    cases = open_scans(scans, maps=model.maps, name=name, layout=layout)
    if cases.layout == LAYOUT and not is_prepared:
        images = cases.cases[0].images
        look({map_: image.read() for map_, image in images.items()}, {map_: file.path for map_, file in images.items()})
    if chosen := read_fold(cases, folds=folds, fold=fold):
        cases = cases.subset(chosen.test)
    if not is_prepared:
        outputs.check(model, cases, overwrite=overwrite)
    if seen := model.seen.among(cases):
        notice(seen_line(seen, len(cases)))
    digests = [model_digest(each, overrides=() if len(runs) > 1 else overrides) for each in runs]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest() if len(runs) > 1 else digests[0]

    with progress() as bar:
        task = bar.add_task("predicting", total=len(cases))
        written = predict_cohort(
            model,
            cases,
            out,
            probabilities=probabilities,
            parts=parts,
            uncertainty=uncertainty,
            overwrite=overwrite,
            record=partial(outputs.write, model, digest) if outputs.any else None,
            progress=lambda case: bar.update(task, advance=1, description=case.name),
        )
    screen().print(f"{len(written)} masks in {out}", soft_wrap=True)
    if uncertainty:
        screen().print(f"how sure: {out / CASES}, {out / LESIONS}", soft_wrap=True)
    for name in {**dict.fromkeys(model.member_names if uncertainty else ()), **model.parts} if parts else ():
        screen().print(f"{len(written)} masks of part {name} in {out / PARTS / name}", soft_wrap=True)
