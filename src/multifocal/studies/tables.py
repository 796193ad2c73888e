"""The numbers of a study beside those of the comparison: what each arm costs, how it does by size of lesion."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multifocal.evaluation import Results
from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.files import write_csv, write_text
from multifocal.metrics import METRICS
from multifocal.studies.folder import TABLES, CellResult
from multifocal.studies.settings import Study

SHOWN = ("dice", "masd", "nsd", "pq", "f1")
Row = dict[str, Any]


def write_tables(
    study: Study,
    outcomes: Mapping[str, CellResult | None],
    found: Mapping[str, Results],
    out: Path,
    *,
    tuned: Sequence[Row] = (),
) -> list[Row]:
    """Write `tables/` (CSV, and all of it in `tables.md`), and return the rows of the arms.

    Sizes of lesions are in ml in the CSV, and in `tables.md` in pixels or mm² where the cohort is 2D.

    Args:
        study: the study.
        outcomes: how each cell ended, by name.
        found: the evaluation of each arm that has one.
        out: where `tables/` goes.
        tuned: a row for each choice that was made.

    Returns:
        The rows of the table of arms.

    Raises:
        UserError: a file cannot be written.
    """
    classes = by_class(found)
    arms = [row for name, part in classes.items() for row in _named(arms_table(study, outcomes, part), name)]
    strata = [row for name, part in classes.items() for row in _named(strata_table(part), name)]
    sizes = [row for name, part in classes.items() for row in _named(sizes_table(part), name)]
    published = [] if len(classes) > 1 else published_table(study, arms)  # a paper's numbers are of one class
    words = next((results.words for results in found.values()), VOLUMES)
    shares = f"By share of the {words.whole}"
    titles = {"arms": "Arms", "strata": shares, "sizes": "By size of lesion"}
    titles |= {"tuned": "Tuned, on the cases of the other folds", "published": "Published"}
    tables = dict(zip(titles, (arms, strata, sizes, tuned, published), strict=True))
    text = [f"# {study.name}"]
    for name, rows in tables.items():
        if rows:
            write_csv(out / TABLES / f"{name}.csv", rows)
            text += [f"## {titles[name]}", *_source(study, name), _markdown([_in_words(row, words) for row in rows])]
    write_text(out / TABLES / "tables.md", "\n\n".join(text) + "\n")
    return arms


def by_class(found: Mapping[str, Results]) -> dict[str, Mapping[str, Results]]:
    """Return the evaluations class by class; under "" where there is one class.

    Args:
        found: the evaluation of each arm that has one.

    Returns:
        Evaluations of one class each, by class and arm.
    """
    classes = next((results.classes for results in found.values()), ())
    if not classes:
        return {"": found}
    return {name: {arm: results.of_class(name) for arm, results in found.items()} for name in classes}


def _named(rows: Sequence[Row], label: str) -> list[Row]:
    """Return the rows with their class after the arm, where there are several."""
    return [{"arm": row["arm"], "class": label, **row} for row in rows] if label else list(rows)


def arms_table(study: Study, outcomes: Mapping[str, CellResult | None], found: Mapping[str, Results]) -> list[Row]:
    """Return a row an arm: cells, cases, mean metrics, epochs, the best epoch, time of a step, memory, time in all.

    Tuned and combined arms are told beside the others, with the costs of the cells that they are made of. Epochs, steps
    and memory are medians over the cells that are done; epochs to converge are counted to the best one (where the
    recipe keeps the last, there is none).
    """
    rows = []
    for arm, trained in study.scored.items():
        if arm not in study.arms and arm not in found:
            continue
        all_ = [outcome for name, outcome in outcomes.items() if name.partition("/")[0] in trained]
        done = [outcome for outcome in all_ if outcome is not None and outcome.state == "done"]
        metrics = found[arm].summary["overall"]["metrics"] if arm in found else {}
        medians = cell_medians(done)
        rows.append(
            {
                "arm": arm,
                "cells": len(all_),
                "done": len(done),
                "failed": sum(outcome is not None and outcome.state == "failed" for outcome in all_),
                "cases": len(found[arm].rows) if arm in found else 0,
                **{name: metrics[name]["mean"] if metrics else None for name in SHOWN},
                "epochs": medians["epochs"],
                "epochs_to_best": medians["epochs_to_best"],
                "step_ms": medians["step_ms"],
                "peak_mib": medians["peak_mib"],
                "hours": sum(outcome.seconds or 0 for outcome in done) / 3600,
            }
        )
    return rows


def cell_medians(done: Sequence[CellResult]) -> dict[str, float | None]:
    """Return what the cells of an arm took, as the tables and the report show it.

    Args:
        done: the cells that are done.

    Returns:
        The medians of `epochs`, `epochs_to_best` (counted with it), `seconds`, `step_ms` and `peak_mib` over the cells
        that have them; None where none has.

    Example:
        >>> cell = {"arm": "a", "fold": 0, "seed": 0, "state": "done", "fingerprint": ""}
        >>> done = [CellResult(**cell, seconds=seconds) for seconds in (1.0, 2.0, 9.0)]
        >>> cell_medians(done)["seconds"], cell_medians(done)["epochs"]
        (2.0, None)
    """
    facts = {name: [getattr(result, name) for result in done] for name in ("epochs", "seconds", "step_ms", "peak_mib")}
    facts["epochs_to_best"] = [None if result.best_epoch is None else result.best_epoch + 1 for result in done]
    known = {name: [value for value in values if value is not None] for name, values in facts.items()}
    return {name: statistics.median(values) if values else None for name, values in known.items()}


def strata_table(found: Mapping[str, Results]) -> list[Row]:
    """Return a row an arm and stratum that has cases: mean metrics."""
    return [
        {
            "arm": arm,
            "stratum": stratum,
            "cases": group["cases"],
            **{name: group["metrics"][name]["mean"] for name in SHOWN},
            **{f"{name}_undefined": group["metrics"][name]["undefined"] for name in SHOWN if METRICS[name].is_distance},
        }
        for arm, results in found.items()
        for stratum, group in results.summary["strata"].items()
        if group["cases"]
    ]


def sizes_table(found: Mapping[str, Results]) -> list[Row]:
    """Return a row an arm and size of lesion: true lesions, those found, their rate and mean Dice, false ones."""
    return [
        {"arm": arm, "size_ml": size, **counts}
        for arm, results in found.items()
        for size, counts in results.summary["lesions"].items()
    ]


def published_table(study: Study, rows: Sequence[Row]) -> list[Row]:
    """Return a row an arm: the study's own means, then the paper's numbers, marked as theirs."""
    if study.published is None:
        return []
    names = list(dict.fromkeys(name for values in study.published.values.values() for name in values))
    own = {row["arm"]: {f"ours: {name}": row[name] for name in (*SHOWN, "epochs", "step_ms")} for row in rows}
    return [
        {"arm": arm, **own[arm], **{f"theirs: {name}": values.get(name) for name in names}}
        for arm, values in study.published.values.items()
        if arm in own
    ]


def _in_words(row: Row, words: Wording) -> Row:
    """Return a row with the sizes of its lesions in the unit that is shown; others are as they are."""
    if words is VOLUMES or "size_ml" not in row:
        return row
    changed = {"size_ml": (f"{words.size} ({words.unit})", words.bin(row["size_ml"]))}
    return dict(changed.get(name, (name, value)) for name, value in row.items())


def _source(study: Study, table: str) -> list[str]:
    if table != "published" or study.published is None:
        return []
    return [f"Theirs: {study.published.source}; {study.published.data}. Not our data: the columns do not compare."]


def _markdown(rows: Sequence[Row]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([shown(value) for value in row.values()] for row in rows)]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def shown(value: Any) -> str:
    """Return a value as a table shows it.

    Args:
        value: a number, or None.

    Returns:
        The text.

    Example:
        >>> shown(0.51234), shown(1234.6), shown(None), shown("dice")
        ('0.512', '1235', '–', 'dice')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}"
    return str(value)
