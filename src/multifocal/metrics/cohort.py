"""A folder of predictions against the labels of a cohort."""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from multifocal.cohorts.case import Cohort
from multifocal.errors import UserError
from multifocal.metrics.classes import Labels, chosen_classes
from multifocal.metrics.journal import append_journal, fingerprint, read_journal
from multifocal.metrics.pairs import pair_predictions
from multifocal.metrics.processes import spread
from multifocal.metrics.results import Scores
from multifocal.metrics.rules import Options, Rules
from multifocal.metrics.scoring import Job, Row, score_job


def evaluate_cohort(
    predictions: str | Path,
    cohort: Cohort,
    *,
    allow_missing: bool = False,
    others: Collection[str] = (),
    labels: Labels | None = None,
    workers: int = 1,
    journal: str | Path | None = None,
    resumed: Callable[[int, int], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[Options],
) -> Scores:
    """Score the predictions `<case>_lesion.<ext>` in a folder, in the native space of each case.

    The brain is where the cohort's first map is not 0; in a cohort of instance labels the whole image takes its place,
    and the labels' instances are the true lesions.

    Args:
        predictions: the folder; other files in it are passed over.
        cohort: labelled cases.
        allow_missing: score a case without prediction as an empty mask.
        others: cases whose predictions may be in the folder, too, and are passed over: those of other folds, say.
        labels: for masks of several classes: label values by class name, see `multifocal.metrics.as_classes`; with
            several there is one row a case and class.
        workers: processes, each with one thread and one case at a time in memory. More than one needs the caller's
            module to be importable (a script guards its start with `if __name__ == "__main__"`).
        journal: a file that keeps each case as it is finished. A later call takes from it the cases whose files and
            settings are the same, and goes on with the others; remove it when the results are written.
        resumed: called with (cases taken from the journal, cases in it that are not: of other settings, or of files
            that have changed since or are not asked for), when there are any.
        progress: called with (cases done, cases in all) after each case.
        **options: the fields of `multifocal.metrics.Rules`.

    Returns:
        Rows in the cohort's order, the lesions of all cases, and the settings.

    Raises:
        UserError: see `multifocal.metrics.pairs.pair_predictions`; or a file that cannot be read or is no mask.
        ValueError: an option is not valid.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected 1 or more")
    rules = Rules(**options)
    classes = chosen_classes(labels, rules=rules)
    if cohort.label_kind == "instances":
        if classes:
            raise UserError(f"cohort {cohort.name} has instance labels, which are of one class; leave out labels")
        rules = rules if rules.has_label_maps else replace(rules, label_maps="target")
    pairs = pair_predictions(predictions, cohort, allow_missing=allow_missing, others=others)
    brain = cohort.label_kind == "binary"
    jobs = [Job(case, pairs[case.name], rules, classes, brain) for case in cohort]
    rows, lesions = [], []
    with closing(_scored(jobs, journal, workers, resumed)) as scored:
        for done, (found, theirs) in enumerate(scored, start=1):
            rows += found
            lesions += theirs
            if progress:
                progress(done, len(jobs))
    return Scores(rows, lesions, {**rules.settings, "labels": classes, "allow_missing": allow_missing})


def _scored(
    jobs: Sequence[Job], journal: str | Path | None, workers: int, resumed: Callable[[int, int], None] | None
) -> Generator[tuple[list[Row], list[Row]]]:
    """Yield what comes of each job, in order: from the journal where it has it, and into it where not."""
    if journal is None:
        with closing(spread(score_job, jobs, workers=min(workers, len(jobs)))) as scored:
            yield from scored
        return
    keys = [fingerprint(job) for job in jobs]
    kept, others = read_journal(journal, keys)
    if resumed and (kept or others):
        resumed(len(kept), others)
    missing = [job for job, key in zip(jobs, keys, strict=True) if key not in kept]
    with closing(spread(score_job, missing, workers=min(workers, max(len(missing), 1)))) as scored:
        for key in keys:
            if key in kept:
                yield kept.pop(key)
            else:
                found = next(scored)
                append_journal(journal, key, found)
                yield found
