"""A folder of predictions against the labels of a cohort."""

import warnings
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np

from multifocal.cohorts.case import Case, Cohort
from multifocal.cohorts.label_values import CURE, MASK, check_labels
from multifocal.cohorts.lesion_burden import brain_mask, has_brain, stratum
from multifocal.cohorts.seen import read_seen
from multifocal.errors import UserError
from multifocal.evaluation.match_files import match_files
from multifocal.evaluation.results import ScoreRow, Scores
from multifocal.evaluation.resume import CaseRows, append_journal, fingerprint, read_journal
from multifocal.evaluation.summary import volume_bin
from multifocal.evaluation.wording import VOLUMES, wording
from multifocal.metrics import Lesion, ScoringKwargs, ScoringOptions, burden, score_case
from multifocal.metrics.classes import Classes, Labels, chosen_classes, class_masks, known_values
from multifocal.metrics.validation import as_labels, as_mask
from multifocal.parallel import parallel_map
from multifocal.volumes import Geometry, Volume, read

_CURE = (
    f"{CURE}, or say what the values are: classes (--label NAME=VALUES), what to --ignore, or instances "
    "(--label-maps both)"
)
_ONE_CLASS = "lesion"  # what the only class of a binary mask is called
_ToMasks = Callable[[np.ndarray], dict[str, np.ndarray]]


def evaluate_cohort(
    predictions: str | Path,
    cohort: Cohort,
    *,
    allow_missing: bool = False,
    others: Collection[str] = (),
    labels: Labels | None = None,
    ignore: int | None = None,
    workers: int = 1,
    journal: str | Path | None = None,
    resumed: Callable[[int, int], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[ScoringKwargs],
) -> Scores:
    """Score the predictions `<case>_lesion.<ext>` in a folder, in the native space of each case.

    The brain is where the cohort's first map is not 0; in a cohort of instance labels the whole image takes its place,
    and the labels' instances are the true lesions. Where label maps hold no more than one value each, a `UserWarning`
    says so: they are probably masks, and each counts as one lesion.

    Args:
        predictions: the folder; other files in it are passed over.
        cohort: labelled cases.
        allow_missing: score a case without prediction as an empty mask.
        others: cases whose predictions may be in the folder, too, and are passed over: those of other folds, say.
        labels: for masks of several classes: label values by class name, see `multifocal.metrics.as_classes`; with
            several there is one row a case and class. None takes those of the cohort.
        ignore: the value of true voxels that are not scored; None takes that of the cohort, if it has one.
        workers: processes, each with one thread and one case at a time in memory. More than one needs the caller's
            module to be importable (a script guards its start with `if __name__ == "__main__"`).
        journal: a file that keeps each case as it is finished. A later call takes from it the cases whose files and
            settings are the same, and goes on with the others; remove it when the results are written.
        resumed: called with (cases taken from the journal, cases in it that are not: of other settings, or of files
            that have changed since or are not asked for), when there are any.
        progress: called with (cases done, cases in all) after each case.
        **options: fields of `multifocal.metrics.ScoringOptions`.

    Returns:
        Rows in the cohort's order, the lesions of all cases, and the settings.

    Raises:
        UserError: see `multifocal.evaluation.match_files.match_files`; or a file that cannot be read or is no mask.
        ValueError: an option is not valid.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from multifocal.cohorts import Case, Cohort, ImageFile
        >>> from multifocal.volumes import Geometry, Volume, write
        >>> grid = Geometry((4, 4, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        >>> mask = np.zeros(grid.size, np.uint8)
        >>> mask[1:3, 1:3, 1] = 1
        >>> with TemporaryDirectory() as name:
        ...     folder = Path(name)
        ...     for file, array in (("adc", 1 + mask), ("label", mask), ("a_lesion", mask)):
        ...         write(folder / f"{file}.nii.gz", Volume(array, grid))
        ...     case = Case("a", "a", {"adc": ImageFile(folder / "adc.nii.gz")}, ImageFile(folder / "label.nii.gz"))
        ...     scores = evaluate_cohort(folder, Cohort("demo", folder, "manifest", (case,)))
        >>> scores.rows[0]["dice"], scores.rows[0]["stratum"], len(scores.lesions)
        (1.0, '>5 %', 1)
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected 1 or more")
    scoring = ScoringOptions(**options)
    own = None if scoring.has_label_maps else cohort.labels.classes or None
    classes = chosen_classes(labels or own, options=scoring)
    ignore = cohort.labels.ignore if ignore is None else ignore
    if cohort.label_kind == "instances":
        if classes:
            raise UserError(f"cohort {cohort.name} has instance labels, which are of one class; leave out labels")
        scoring = scoring if scoring.has_label_maps else replace(scoring, label_maps="target")
    files = match_files(predictions, cohort, allow_missing=allow_missing, others=others)
    # Before the first case is scored, which may be hours before the last.
    known = None if scoring.has_label_maps else [*(MASK if classes is None else known_values(classes))]
    if known is not None and ignore is not None:
        if ignore in known:
            raise UserError(f"ignore is {ignore}, which is a class's value, too; leave it out of one of the two")
        known.append(ignore)
    check_labels(cohort, kind="instances" if scoring.has_label_maps else "binary", allowed=known, cure=_CURE)
    tasks = [
        _CaseTask(case, files[case.name], scoring, classes, ignore, is_of_brain=has_brain(cohort.label_kind))
        for case in cohort
    ]
    rows, lesions = [], []
    with closing(_scored(tasks, journal, workers, resumed)) as scored:
        for done, (found, theirs) in enumerate(scored, start=1):
            rows += found
            lesions += theirs
            if progress:
                progress(done, len(tasks))
    if doubt := _doubtful_maps(rows, scoring):
        warnings.warn(f"{predictions}: {doubt}", stacklevel=2)
    seen = {name: part for name, part in read_seen(predictions).items() if name in files}
    settings = {**scoring.settings, "labels": classes, "allow_missing": allow_missing}
    words = next((wording(case.label.geometry()) for case in cohort if case.label), VOLUMES)
    return Scores(rows, lesions, settings | ({} if ignore is None else {"ignore": ignore}), seen, words)


def _doubtful_maps(rows: Sequence[ScoreRow], options: ScoringOptions) -> str:
    """Say which label maps look like masks; nothing where none do, or there are none."""
    counts = {
        "prediction": [row["predicted_lesions"] for row in rows if options.predicts_label_maps],
        "reference": [row["true_lesions"] for row in rows if options.has_label_maps],
    }
    alike = [f"every {side}" for side, found in counts.items() if found and max(found) == 1]
    if not alike:
        return ""
    return (
        f"{' and '.join(alike)} holds at most one value beside 0, and counts as one lesion under "
        f"label_maps={options.label_maps!r}; if these are masks of 0 and 1, leave --label-maps out"
    )


@dataclass(frozen=True)
class _CaseTask:
    """What it takes to score a case, small enough to be sent to another process."""

    case: Case
    prediction: Path | None
    options: ScoringOptions
    classes: Classes | None
    ignore: int | None
    is_of_brain: bool  # whether the share of the lesion is of the brain, or of the whole image

    @property
    def fingerprint(self) -> str:
        return fingerprint(
            self.case,
            self.prediction,
            options=self.options,
            classes=self.classes,
            ignore=self.ignore,
            is_of_brain=self.is_of_brain,
        )


def _scored(
    tasks: Sequence[_CaseTask], journal: str | Path | None, workers: int, resumed: Callable[[int, int], None] | None
) -> Generator[CaseRows]:
    """Yield what comes of each task, in order: from the journal where it has it, and into it where not."""
    if journal is None:
        with closing(parallel_map(_score, tasks, workers=min(workers, len(tasks)))) as scored:
            yield from scored
        return
    keys = [task.fingerprint for task in tasks]
    kept, others = read_journal(journal, keys)
    if resumed and (kept or others):
        resumed(len(kept), others)
    missing = [task for task, key in zip(tasks, keys, strict=True) if key not in kept]
    with closing(parallel_map(_score, missing, workers=min(workers, max(len(missing), 1)))) as scored:
        for key in keys:
            if key in kept:
                yield kept.pop(key)
            else:
                found = next(scored)
                append_journal(journal, key, found)
                yield found


def _score(task: _CaseTask) -> CaseRows:
    """Score one case from its files; a `UserError` says what is wrong with them."""
    case = task.case
    if case.label is None:
        raise UserError(f"case {case.name}: no label; add it or leave the case out")
    label = case.label.read()
    ignored = None if task.ignore is None else label.array == task.ignore
    is_map = task.options.has_label_maps
    target = _opened(_without(ignored, label), case, case.label.path, _reader(task, is_map=is_map))
    if task.prediction is None:
        prediction = {name: np.zeros_like(mask) for name, mask in target.items()}
    else:
        to_masks = _reader(task, is_map=task.options.predicts_label_maps)
        prediction = _opened(_without(ignored, read(task.prediction)), case, task.prediction, to_masks)
    brain = _brain(case, label.geometry) if task.is_of_brain else np.ones(label.array.shape, bool)
    if ignored is not None:
        brain = brain & ~ignored
    diagonal = float(np.linalg.norm(np.multiply(label.geometry.size, label.geometry.spacing)))
    rows, lesions = [], []
    several = len(target) > 1
    for name in target:
        found = score_case(
            prediction[name], target[name], spacing=label.geometry.spacing, options=task.options, ignore=ignored
        )
        share = burden(target[name], brain)
        about = {"stratum": stratum(share), "share_of_brain": share, "diagonal_mm": diagonal}
        rows.append({"case": case.name, **({"label": name} if several else {}), **found.metrics, **about})
        lesions += [_lesion_row(lesion, case.name, name, label.geometry) for lesion in found.lesions]
    return rows, lesions


def _without(ignored: np.ndarray | None, volume: Volume) -> Volume:
    """Return a mask with nothing where it is ignored, whatever value stands there."""
    return volume if ignored is None else Volume(np.where(ignored, 0, volume.array), volume.geometry)


def _reader(task: _CaseTask, *, is_map: bool) -> _ToMasks:
    if task.classes:
        return partial(class_masks, classes=task.classes, name="mask")
    return lambda array: {_ONE_CLASS: (as_labels if is_map else as_mask)(array, name="mask")}


def _opened(volume: Volume, case: Case, path: Path, to_masks: _ToMasks) -> dict[str, np.ndarray]:
    try:
        return to_masks(volume.array)
    except ValueError as error:
        raise UserError(f"case {case.name}: {path}: {error}; {_CURE}") from error


def _lesion_row(lesion: Lesion, case: str, label: str, grid: Geometry) -> ScoreRow:
    centre = grid.affine[:-1] @ (*lesion.centre, 1.0)
    x, y, z = (*centre.tolist(), float("nan"))[:3]
    where = {"volume_ml": lesion.volume_ml, "x_mm": x, "y_mm": y, "z_mm": z}
    quality = {"matched": int(lesion.matched), "dice": lesion.dice, "bin": volume_bin(lesion.volume_ml)}
    return {"case": case, "label": label, "kind": lesion.kind, **where, **quality}


def _brain(case: Case, grid: Geometry) -> np.ndarray:
    first = next(iter(case.images.values()))
    image = first.read()
    if differences := image.geometry.differences(grid):
        raise UserError(
            f"case {case.name}: {first.path}: {', '.join(differences)} in the label; "
            "`multifocal data check` shows every such case"
        )
    brain = brain_mask(image.array)
    if not brain.any():
        raise UserError(f"case {case.name}: {first.path}: every voxel is 0; replace the image")
    return brain
