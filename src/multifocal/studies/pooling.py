"""What came of a study: each arm's masks pooled over folds, scored, compared, and in tables."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from multifocal.cohorts import Labels
from multifocal.cohorts.seen import mark_seen, read_seen, seen_by_any
from multifocal.comparison import compare, write_comparison
from multifocal.errors import UserError
from multifocal.evaluation import Results, evaluate_cohort, read_results, write_results
from multifocal.evaluation.uncertainty import PredictionFiles, evaluate_uncertainty, write_uncertainty
from multifocal.files import atomic, swapped
from multifocal.studies.folder import ARMS, CELL, COMPARISON, MASKS, TABLES, folder_of, part_folder, read_outcome
from multifocal.studies.grid import Cell, Grid
from multifocal.studies.run import Plan, survey
from multifocal.studies.settings import TUNED
from multifocal.studies.tables import Row, by_class, write_tables
from multifocal.studies.tuning import Maps, tune_arm
from multifocal.systems.combination import MASK, PROBABILITY, Vote, combine_files, predictions_by_case

WORTH_A_PROCESS = 20  # cases that take as long to score as a process to start


def conclude(plan: Plan, *, workers: int = 1, progress: Callable[[str], None] | None = None) -> list[Row]:
    """Pool, score and compare what is done, write the tables, and return a row an arm.

    What was concluded before is replaced when all of it is whole.

    Args:
        plan: of `open_study`.
        workers: processes that score.
        progress: called with the name of each arm that is begun.

    Returns:
        A row of the table of arms, for each arm.

    Raises:
        UserError: a mask cannot be read, or a file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.studies import jobs, load, open_study
        >>> from multifocal.studies.cell import run
        >>> study = load("demo", overrides=["arms={z: {recipe: zadc-threshold}}", "folds.number=2"])
        >>> with TemporaryDirectory() as home:
        ...     write_phantom(f"{home}/cohort", cases=2, seed=0)
        ...     with open_study(study, open_cohort(f"{home}/cohort"), Path(home, "study"), engine="local") as plan:
        ...         ended = [run(job) for job in jobs(plan, cohort=Path(home, "cohort"))]
        ...         [row] = conclude(plan)
        >>> row["arm"], row["done"], row["cases"], 0 < row["dice"] < 1
        ('z', 1, 1, True)
    """
    grid = plan.grid
    done = survey(grid, plan.out, known=grid.fingerprint, before=None).done
    outcomes = {cell.name: read_outcome(folder_of(plan.out, cell)) for cell in grid.cells}
    with swapped(plan.out, [ARMS, COMPARISON, TABLES]) as new:
        found, tuned = evaluate_arms(grid, plan.out, done, into=new, workers=workers, progress=progress)
        return write_tables(grid.study, outcomes, found, new, tuned=tuned)


def evaluate_arms(
    grid: Grid,
    out: Path,
    done: Sequence[Cell],
    *,
    into: Path,
    workers: int,
    progress: Callable[[str], None] | None = None,
) -> tuple[dict[str, Results], list[Row]]:
    """Write `arms/` and `comparison/` from the cells that are done, and return each arm's evaluation.

    A case of an arm counts when it has a mask from every seed: several are combined by majority vote. The comparison
    is over the cases that all evaluated arms have. Where the study is tuned, so is each arm that has probabilities and
    two folds, and is evaluated a second time. Where the study asks how sure its arms are, `uncertainty.json` and its
    tables stand beside the evaluation of each that has probabilities or members, those of all seeds. The parts
    of an arm's system are pooled and evaluated like the whole. Combined arms come last: of the masks that the others
    end with.

    Args:
        grid: the study.
        out: its folder.
        done: the cells to draw on.
        into: where `arms/` and `comparison/` go: an empty folder.
        workers: processes that score.
        progress: called with the name of each arm that is begun.

    Returns:
        The evaluations, by arm, none of an arm without a case; and a row for each choice that was made.

    Raises:
        UserError: a mask is missing or cannot be read, or a file cannot be written.
    """
    masks = {arm: _masks(grid, out, arm, done) for arm in grid.study.arms}  # a lost one is missed before hours of work
    maps = {arm: _maps(grid, out, arm, done) for arm in grid.study.arms if grid.is_tuned(arm)}
    parts = {arm: _parts(grid, out, arm, done) for arm in grid.study.arms}
    unsure = {arm: _unsure(grid, out, arm, done) for arm in grid.study.arms}
    found: dict[str, Results] = {}
    rows: list[Row] = []

    def pool(folder: Path, cases: dict[str, list[Path]]) -> None:
        for files in cases.values():
            _pool(files, folder / MASKS / files[0].name, grid.cohort.labels)

    def evaluate(folder: Path, cases: dict[str, list[Path]]) -> Results:
        for case, files in cases.items():
            # No cell trains on its test cases, but a run that is a member of an arm's ensemble may have.
            mark_seen(folder / MASKS, case, seen_by_any(read_seen(file.parent) for file in files).get(case))
        metrics = grid.study.metrics
        several = min(workers, 1 + len(cases) // WORTH_A_PROCESS)
        scores = evaluate_cohort(folder / MASKS, grid.cohort.subset(list(cases)), workers=several, **metrics.rules)
        write_results(scores, folder, undefined=metrics.undefined)
        return read_results(folder)

    for arm, cases in masks.items():
        if not cases:
            continue
        if progress:
            progress(arm)
        pool(into / ARMS / arm, cases)
        found[arm] = evaluate(into / ARMS / arm, cases)
        if unsure[arm].probabilities or unsure[arm].members:
            judged_by = replace(unsure[arm], masks=predictions_by_case(into / ARMS / arm / MASKS, MASK))
            # In the order of the cohort, by which `evaluate --uncertainty` draws its samples, too.
            tested = grid.cohort.subset([case.name for case in grid.cohort if case.name in cases])
            write_uncertainty(evaluate_uncertainty(judged_by, tested), into / ARMS / arm)
        for part, of_part in parts[arm].items():
            home = part_folder(into / ARMS / arm, part)
            pool(home, of_part)
            evaluate(home, of_part)
        if len({fold for fold, _ in maps.get(arm, {})}) < 2:
            continue  # nothing to choose by
        if progress:
            progress(f"{arm}{TUNED}")
        home = into / ARMS / f"{arm}{TUNED}"
        tuned = {case: home / MASKS / files[0].name for case, files in cases.items()}
        rows += tune_arm(grid, arm, maps[arm], tuned, home, workers=workers)
        found[f"{arm}{TUNED}"] = evaluate(home, cases)
    for name, one in grid.study.combined.items():
        made_of = _of_all([into / ARMS / arm / MASKS for arm in one.of if arm in found], many=len(one.of))
        if not made_of:
            continue
        if progress:
            progress(name)
        for files in made_of.values():
            target = into / ARMS / name / MASKS / files[0].name
            combine_files(files, target, rule=one.combine, labels=grid.cohort.labels)
        found[name] = evaluate(into / ARMS / name, made_of)
    _compare(grid, found, into)
    return found, rows


def _maps(grid: Grid, out: Path, arm: str, done: Sequence[Cell]) -> Maps:
    """Return the files of an arm's probabilities by case, by fold and seed, of the folds that are complete."""
    maps: dict[tuple[int, int], dict[str, Path]] = {}
    for fold, seed, folder in _complete(grid, out, arm, done):
        maps[fold, seed] = _by_case(grid, fold, folder, PROBABILITY)
    return maps


def _masks(grid: Grid, out: Path, arm: str, done: Sequence[Cell], part: str = "") -> dict[str, list[Path]]:
    """Return the masks of an arm, or of a part of its system, by case, one a seed, of the folds that are complete."""
    masks: dict[str, list[Path]] = {}
    for fold, _, folder in _complete(grid, out, arm, done):
        for case, file in _by_case(grid, fold, folder, MASK, part).items():
            masks.setdefault(case, []).append(file)
    return masks


def _parts(grid: Grid, out: Path, arm: str, done: Sequence[Cell]) -> dict[str, dict[str, list[Path]]]:
    """Return the masks of each part; of none where a cell has kept none, for it was run before there were any."""
    outcomes = [read_outcome(folder.parent) for _, _, folder in _complete(grid, out, arm, done)]
    names = [ended.parts if ended else () for ended in outcomes]
    return {part: _masks(grid, out, arm, done, part) for part in names[0]} if len(set(names)) == 1 else {}


def _unsure(grid: Grid, out: Path, arm: str, done: Sequence[Cell]) -> PredictionFiles:
    """Return by what, beside its masks, an arm is judged: probabilities, and members, which are those of all seeds."""
    cells = list(_complete(grid, out, arm, done)) if grid.study.uncertainty else []
    ended = [outcome for _, _, folder in cells if (outcome := read_outcome(folder.parent)) is not None]
    endings = (MASK, PROBABILITY) if ended and all(outcome.probabilities for outcome in ended) else (MASK,)

    def files(seed: int, part: str = "") -> PredictionFiles:
        own = [(fold, folder) for fold, other, folder in cells if other == seed]
        masks, *maps = (
            {case: file for fold, folder in own for case, file in _by_case(grid, fold, folder, ending, part).items()}
            for ending in endings
        )
        return PredictionFiles(masks, {case: [file] for each in maps for case, file in each.items()})

    numbers = grid.study.seeds
    if not grid.recipes[arm, numbers[0]].needs_training:
        numbers = numbers[:1]  # others say the same
    names = {outcome.members for outcome in ended}
    own = names.pop() if len(names) == 1 else ()
    members: dict[str, PredictionFiles] = {}
    if len(numbers) == 1:
        members = {part: files(numbers[0], part) for part in own}
    elif cells:
        # What has no members of its own is one, beside the other seeds.
        for seed, part in product(numbers, own or ("",)):
            members[f"{len(members)}-seed{seed}{f'-{part}' if part else ''}"] = files(seed, part)
    seeds = [files(seed).probabilities for seed in numbers]
    return PredictionFiles({}, {case: [of[case][0] for of in seeds] for case in seeds[0]}, members)


def _complete(grid: Grid, out: Path, arm: str, done: Sequence[Cell]) -> Iterator[tuple[int, int, Path]]:
    """Yield fold, seed and folder of an arm's predictions, of the folds whose cells are all done."""
    ended, seeds = {(cell.arm, cell.fold, cell.seed) for cell in done}, grid.study.seeds
    for fold in grid.chosen:
        if all((arm, fold, seed) in ended for seed in seeds):
            for seed in seeds:
                yield fold, seed, folder_of(out, Cell(fold, seed, 0, arm)) / MASKS


def _by_case(grid: Grid, fold: int, folder: Path, ending: str, part: str = "") -> dict[str, Path]:
    home = part_folder(folder, part)
    found = predictions_by_case(home, ending)
    for case in grid.folds.folds[fold].test:
        if case not in found:
            cure = f"remove {folder.parent / CELL} and run again"
            raise UserError(f"{home}: holds no {'mask' if ending == MASK else 'probability'} of case {case}; {cure}")
    return {case: found[case] for case in grid.folds.folds[fold].test}


def _of_all(folders: Sequence[Path], *, many: int) -> dict[str, list[Path]]:
    """Return the masks of the cases that all folders have, by case; none where there are fewer folders than wanted."""
    found = [predictions_by_case(folder, MASK) for folder in folders] if len(folders) == many else []
    first, *others = found or [{}]
    return {case: [each[case] for each in found] for case in first if all(case in other for other in others)}


def _pool(masks: Sequence[Path], target: Path, labels: Labels) -> None:
    """Bring a case's masks to the arm's folder as one."""
    if len(masks) > 1:
        combine_files(masks, target, rule=Vote(), labels=labels)
        return
    with atomic(target) as temporary:
        shutil.copyfile(masks[0], temporary)


def _compare(grid: Grid, found: dict[str, Results], out: Path) -> None:
    """Write the comparison of the arms; where there are several classes, one for each in a folder of its name."""
    for name, results in by_class(found).items():
        _compare_one(grid, results, out / COMPARISON / name)


def _compare_one(grid: Grid, found: Mapping[str, Results], out: Path) -> None:
    if not found:
        return
    common = set.intersection(*({row["case"] for row in results.rows} for results in found.values()))
    if not common:
        return
    methods = {
        arm: replace(results, rows=[row for row in results.rows if row["case"] in common])
        for arm, results in found.items()
    }
    write_comparison(compare(methods, undefined=grid.study.metrics.undefined), out)
