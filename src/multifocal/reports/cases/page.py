"""The page of one case, its pictures and its volumes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from multifocal.cohorts import Case, Labels
from multifocal.cohorts.case import LabelKind
from multifocal.errors import UserError
from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.metrics import ScoringOptions
from multifocal.reports.cases.case_images import read_case_images
from multifocal.reports.cases.embed import embedded, script
from multifocal.reports.cases.parts import METRICS, PartLine, part_key, part_lines, part_tiles
from multifocal.reports.cases.pictures import Slice, Tile, is_coloured, projections, slices
from multifocal.reports.templating import render

FOLDER = "cases"
SCORES = ("dice", "nsd", "masd")


@dataclass(frozen=True)
class Score:
    """One arm on one case: its number, mask, row of `cases.csv` and how it was scored, None where there is none; and
    the same of each part of its system.
    """

    number: int
    arm: str
    mask: Path | None
    row: Mapping[str, Any] | None
    options: ScoringOptions | None
    parts: tuple["Score", ...] = ()


@dataclass(frozen=True)
class CaseJob:
    """What is needed to write the page of a case.

    Attributes:
        case: with a label.
        label_kind: of the cohort.
        file: the name of its page, without ending.
        scores: of every arm, in the study's order.
        facts: lines of (what, value) about the case.
        study: the study's name.
        neighbours: (name, file) of the cases before and after, None at the ends.
        out: the report's folder.
        words: what sizes and lengths are called.
        labels: what the values of masks mean.
        label: the class that is shown, where there are several.
    """

    case: Case
    label_kind: LabelKind
    file: str
    scores: tuple[Score, ...]
    facts: tuple[tuple[str, str], ...]
    study: str
    neighbours: tuple[tuple[str, str] | None, tuple[str, str] | None]
    out: Path
    words: Wording = VOLUMES
    labels: Labels = Labels()
    label: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """What the report's first page shows of a case: a tile of the truth, and one of each arm's mask."""

    truth: Tile
    arms: Mapping[str, Tile | None]


def write_case(job: CaseJob) -> Thumbnail:
    """Write `cases/<file>.html` and the folder of pictures and volumes beside it.

    Args:
        job: the case, its masks and scores, and where the page goes.

    Returns:
        What the first page shows of the case.

    Raises:
        UserError: the case has no label, see `read_case_images`, or a file cannot be written.
    """
    masks: dict[str, Path | None] = {}
    for score in job.scores:
        masks |= {score.arm: score.mask} | {part_key(score.arm, part.arm): part.mask for part in score.parts}
    if job.case.label is None:
        raise UserError(f"case {job.case.name}: no label; a report compares masks with labels")
    case = read_case_images(job.case, masks, label_kind=job.label_kind, labels=job.labels, label=job.label)
    folder = job.out / FOLDER / job.file
    folder.mkdir(parents=True)
    prefix = f"{FOLDER}/{job.file}"
    options = {score.arm: score.options for score in job.scores if score.options}
    drawn = slices(case, folder, prefix=prefix)
    is_volume = case.geometry.ndim == 3
    if is_volume:
        (folder / "volumes.js").write_text(
            script("multifocalCase", embedded(case, start=case.lesions)), encoding="utf-8"
        )
    page = render(
        "case.html.j2",
        job=job,
        root="../",
        slices=drawn,
        planes=projections(case, folder, prefix=prefix, options=options),
        is_volume=is_volume,
        maps=list(case.images),
        background="the image" if is_coloured(case) else next(iter(case.images)),
        words=job.words,
        metrics=SCORES,
        counts=_counts,
        slice_count=case.truth.shape[2],
        shown=[(name, mask is not None) for name, mask in masks.items()],
        parts=[Parts.of(score, drawn) for score in job.scores if score.parts],
        part_metrics=METRICS,
    )
    (job.out / FOLDER / f"{job.file}.html").write_text(page, encoding="utf-8")
    return _thumbnail(drawn, [score.arm for score in job.scores])


class Parts(NamedTuple):
    """An arm of several parts: lines of the table, and rows of slices: all outlines, then each part."""

    score: Score
    lines: list[PartLine]
    slices: list[tuple[Tile | None, ...]]

    @classmethod
    def of(cls, score: Score, shown: list[Slice]) -> Self:
        """Return what the page shows of the parts of an arm.

        Args:
            score: the arm's, with parts.
            shown: the slices, drawn for the arm and its parts.

        Returns:
            Lines and rows.
        """

        def rows(one: Score) -> list[Mapping[str, Any]]:
            return [one.row] if one.row else []

        names = [part.arm for part in score.parts]
        lines = part_lines(score.arm, rows(score), {part.arm: rows(part) for part in score.parts})
        columns = [part_tiles(one, score.arm, names) for one in shown]
        return cls(score, list(lines), list(zip(*columns, strict=True)))


def _counts(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return how many lesions are found, missed and false."""
    return int(row["true_lesions"] - row["missed"]), int(row["missed"]), int(row["false"])


def _thumbnail(shown: list[Slice], arms: list[str]) -> Thumbnail:
    def widest(arm: str) -> Slice:
        return max(shown, key=lambda one: one.areas[arm])

    best = max(shown, key=lambda one: sum(one.areas[arm] for arm in arms))
    return Thumbnail(best.truth, {arm: widest(arm).arms[arm] for arm in arms})
