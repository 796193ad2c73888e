"""From a study's folder to a folder of pages."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from multifocal.cohorts import Cohort, with_labels
from multifocal.cohorts.fingerprint import has_fingerprint
from multifocal.errors import UserError
from multifocal.evaluation.match_files import SUFFIX
from multifocal.evaluation.wording import VOLUMES
from multifocal.files import swapped
from multifocal.parallel import parallel_map
from multifocal.reports.cases.page import CaseJob, Score, Thumbnail, write_case
from multifocal.reports.formatting import file_names, number
from multifocal.reports.index import write_classes, write_index
from multifocal.reports.study_data import Arm, StudyData, read_study_data
from multifocal.volumes import volumes_named

FOLDER = "report"
Progress = Callable[[int, int], None]


def write_report(
    study: str | Path, cohort: Cohort | None = None, *, workers: int = 1, progress: Progress | None = None
) -> Path:
    """Write `STUDY/report/`, pages that open in a browser without a server or a network; return its first page.

    Where the study has several classes, each has a report in a folder of its name, to which the first page leads. An
    older report is replaced when the new one is whole. What failed in the study is shown as failed.

    Args:
        study: a folder that `multifocal study` wrote.
        cohort: the study's, for pages of its cases; without it, the report has tables and charts only.
        workers: processes that draw cases; see `multifocal.evaluation.evaluate_cohort`.
        progress: called with (cases done, cases in all) after each case.

    Returns:
        The path of its first page.

    Raises:
        UserError: no study, a file of it that cannot be read, a cohort that is another one, or a failed write.

    Example:
        >>> write_report("studies/hie", open_cohort("BONBID2023_Train"))  # doctest: +SKIP
    """
    parts = read_study_data(study)
    home = parts[0].study.path
    if cohort is not None:
        cohort = _as_in_the_study(parts[0], cohort)
    with swapped(home, [FOLDER]) as new:
        for number, data in enumerate(parts):
            folder = new / FOLDER / data.label
            (folder / "assets").mkdir(parents=True)
            for origin in ("assets", "vendor"):
                with as_file(files("multifocal.reports") / origin) as path:
                    shutil.copytree(path, folder / "assets", dirs_exist_ok=True)
            told = partial(_told, progress, number, len(parts)) if progress else None
            thumbnails = _write_cases(data, cohort, folder, workers=workers, progress=told) if cohort else {}
            write_index(data, thumbnails, folder)
        if len(parts) > 1:
            write_classes(parts, new / FOLDER)
    return home / FOLDER / "index.html"


def _told(progress: Progress, number: int, parts: int, done: int, total: int) -> None:
    progress(number * total + done, parts * total)


def _as_in_the_study(data: StudyData, cohort: Cohort) -> Cohort:
    """Return the cohort with the labels of the study's recipes, after checking that it is the study's."""
    known = {case.name for case in cohort}
    if unknown := [name for name in data.cases if name not in known]:
        raise UserError(f"{data.study.path}: was run on case {unknown[0]}, which cohort {cohort.name} does not have")
    labelled = cohort.subset([case.name for case in cohort if case.label is not None])
    if not has_fingerprint(labelled, data.study.about["cohort"]["fingerprint"]):
        raise UserError(
            f"{data.study.path}: was run on other data than cohort {cohort.name} holds now (their fingerprints "
            "differ); name the cohort as it was, or leave it out for a report without pictures"
        )
    return with_labels(cohort, data.study.labels)


def _write_cases(
    data: StudyData, cohort: Cohort, out: Path, *, workers: int, progress: Progress | None
) -> Mapping[str, tuple[str, Thumbnail]]:
    """Write the pages of all cases; return their addresses and thumbnails by name."""
    jobs = _jobs(data, cohort, out)
    found: dict[str, tuple[str, Thumbnail]] = {}
    with closing(parallel_map(write_case, jobs, workers=max(1, min(workers, len(jobs))))) as thumbnails:
        for job, thumbnail in zip(jobs, thumbnails, strict=True):
            found[job.case.name] = (f"cases/{job.file}.html", thumbnail)
            if progress:
                progress(len(found), len(jobs))
    return found


def _jobs(data: StudyData, cohort: Cohort, out: Path) -> list[CaseJob]:
    pages = file_names(data.cases)
    order, words = list(pages.items()), data.words
    digits = 2 if words is VOLUMES else 0
    # By the names' one form: what macOS wrote is decomposed.
    masks = {
        arm.masks: volumes_named(arm.masks, SUFFIX) if arm.masks.is_dir() else {}
        for whole in data.arms
        for arm in (whole, *whole.parts)
    }
    jobs = []
    for place, (name, file) in enumerate(order):
        case = cohort.case(name)
        scores = tuple(_score(arm, name, masks) for arm in data.arms)
        row = next(score.row for score in scores if score.row)
        facts = (
            (f"true {words.size}", f"{number(row['true_ml'], digits=digits)} {words.unit}"),
            ("true lesions", number(row["true_lesions"], digits=0)),
            (f"share of {words.whole}", f"{number(100 * row['share_of_brain'], digits=2)} %"),
            ("stratum", str(row["stratum"])),
        )
        around = (order[place - 1] if place else None, order[place + 1] if place + 1 < len(order) else None)
        shown = CaseJob(case, cohort.label_kind, file, scores, facts, data.name, around, out, words)
        jobs.append(replace(shown, labels=cohort.labels, label=data.label))
    return jobs


def _score(arm: Arm, case: str, masks: Mapping[Path, Mapping[str, Path]]) -> Score:
    row = next((row for row in arm.rows if row["case"] == case), None)
    parts = tuple(_score(part, case, masks) for part in arm.parts)
    return Score(arm.number, arm.name, masks[arm.masks].get(case), row, arm.options, parts)
