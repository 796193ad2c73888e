"""A study's folder: what its files are called, how a cell of it ended, and all of it read back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from multifocal.cohorts import Folds, Labels
from multifocal.config import Config, validate
from multifocal.errors import UserError
from multifocal.evaluation import Results, read_results, read_uncertainty
from multifocal.files import read_json, write_json
from multifocal.studies import loading
from multifocal.studies.grid import Cell, common_labels
from multifocal.studies.settings import Study
from multifocal.systems.system import PARTS

STUDY, FOLDS, ABOUT = "study.yaml", "folds.json", "study.json"
CELLS, REPLACED, CACHE = "cells", "replaced", "cache"
CELL, LOG, MASKS = "cell.json", "cell.log", "masks"  # of one cell
ARMS, COMPARISON, TABLES = "arms", "comparison", "tables"


class CellResult(Config):
    """How a cell ended.

    Args:
        arm: the cell's.
        fold: the cell's.
        seed: the cell's.
        state: done, or failed.
        seconds: of its epochs and its predictions.
        epochs: how many it was trained.
        best_epoch: which of them counts, from 0; None where the last one does.
        step_ms: median time of a training step, loading included.
        peak_mib: most memory that the process held (on a GPU: of the GPU).
        fingerprint: of all that decides its masks, but for the package.
        version: the version of multifocal that made them; None in files of before it was written down.
        probabilities: whether it kept those of its cases, too.
        parts: names of the parts of its system, in order; their masks lie beside the cell's.
        uncertainty: whether it wrote how sure it is.
        members: where it did, names of those whose disagreement says so, whose predictions lie like those of parts.
        error: why it failed.

    Example:
        >>> ended = CellResult(arm="dice", fold=0, seed=0, state="failed", fingerprint="", error="no memory left")
        >>> ended.state, ended.epochs
        ('failed', None)
    """

    arm: str
    fold: int
    seed: int
    state: Literal["done", "failed"]
    seconds: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    step_ms: float | None = None
    peak_mib: float | None = None
    fingerprint: str
    version: str | None = None
    probabilities: bool = False
    parts: tuple[str, ...] = ()
    uncertainty: bool = False
    members: tuple[str, ...] = ()
    error: str | None = None


def folder_of(study: Path, cell: Cell) -> Path:
    """Return a cell's folder."""
    return study / CELLS / cell.name


def part_folder(folder: Path, part: str) -> Path:
    """Return where a part's files lie: within the arm's folder, or the cell's folder of masks, that has the whole's."""
    return folder / PARTS / part if part else folder


def read_outcome(folder: Path) -> CellResult | None:
    """Return how the cell in a folder ended, or None while it has not."""
    path = folder / CELL
    return validate(CellResult, read_json(path), where=str(path)) if path.exists() else None


def write_outcome(folder: Path, outcome: CellResult) -> None:
    """Write how a cell ended: the last file of its folder."""
    write_json(folder / CELL, outcome.model_dump(mode="json"))


@dataclass(frozen=True)
class StudyFolder:
    """What a study's folder holds.

    Args:
        path: the folder.
        study: what was asked.
        about: `study.json`: cohort, fingerprint, versions, engine, when it was started.
        folds: how the cases were dealt.
        cells: every cell of the study by its folder's name, `<arm>/fold<k>-seed<s>`: how it ended, or None.
        arms: the evaluation of each arm that has one; of tuned arms, too, whose names end in "+tuned".
        comparison: `comparison/comparison.json`, or None; with several classes see `of_class`.
        parts: of each arm whose system has several parts, the evaluation of each.
        uncertainty: of each arm that was judged by it, what `uncertainty.json` says; of several classes that of any.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.studies import load, open_study
        >>> study = load("demo", overrides=["folds.number=2"])
        >>> with TemporaryDirectory() as home:
        ...     write_phantom(f"{home}/cohort", cases=2, seed=0)
        ...     with open_study(study, open_cohort(f"{home}/cohort"), Path(home, "study"), engine="local"):
        ...         found = read_study(f"{home}/study")
        >>> found.study.name, found.about["cohort"]["cases"], found.masks("z-adc").relative_to(found.path).as_posix()
        ('demo', 2, 'arms/z-adc/masks')
    """

    path: Path
    study: Study
    about: Mapping[str, Any]
    folds: Folds
    cells: Mapping[str, CellResult | None]
    arms: Mapping[str, Results]
    comparison: Mapping[str, Any] | None
    parts: Mapping[str, Mapping[str, Results]] = field(default_factory=dict)
    uncertainty: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are told apart; none where there is one."""
        return next((results.classes for results in self.arms.values()), ())

    @property
    def labels(self) -> Labels:
        """What the values of label images mean to all arms."""
        seed = self.study.seeds[0]
        return common_labels({arm: loading.resolve(self.study, arm, seed=seed) for arm in self.study.arms})

    def comparison_folder(self, label: str = "") -> Path:
        """Return the folder of a comparison.

        Args:
            label: the class, where there are several.

        Returns:
            The path, whether it exists or not.
        """
        return self.path / COMPARISON / label

    def of_class(self, label: str) -> "StudyFolder":
        """Return the study as if there were no other class.

        Args:
            label: one of `classes`.

        Returns:
            The same study, with the evaluations and the comparison of the class.

        Raises:
            UserError: a file cannot be read.
        """
        arms = {arm: results.of_class(label) for arm, results in self.arms.items()}
        parts = {arm: {part: of.of_class(label) for part, of in found.items()} for arm, found in self.parts.items()}
        return replace(self, arms=arms, parts=parts, comparison=_comparison(self.comparison_folder(label)))

    def cell(self, name: str) -> Path:
        """Return the run folder of a cell.

        Args:
            name: of the cell, a key of `cells`.

        Returns:
            The path, whether it exists or not.
        """
        return self.path / CELLS / name

    def masks(self, arm: str, part: str = "") -> Path:
        """Return the folder of an arm's pooled masks, or of those of one of its parts.

        Args:
            arm: its name.
            part: the part's, one of `parts[arm]`; "" for the whole.

        Returns:
            The path, whether it exists or not.
        """
        return part_folder(self.path / ARMS / arm, part) / MASKS


def read_study(path: str | Path) -> StudyFolder:
    """Return what a study's folder holds; cells that failed or are missing, and arms without any result, are no error.

    Args:
        path: the study's folder.

    Returns:
        What it holds.

    Raises:
        UserError: it is not a study's folder, or a file in it cannot be understood.

    Example:
        >>> read_study("nowhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        multifocal.errors.UserError: nowhere: is not a study's folder (no study.yaml); give the DIR of ...
    """
    folder = Path(path)
    if not (folder / STUDY).is_file():
        raise UserError(f"{path}: is not a study's folder (no {STUDY}); give the DIR of `multifocal study … --out DIR`")
    study = loading.load(folder / STUDY)
    folds = Folds.load(folder / FOLDS)
    numbers = getattr(study.folds, "run", None) or range(len(folds))
    cells = {
        cell.name: read_outcome(folder_of(folder, cell))
        for arm in study.arms
        for fold in numbers
        for cell in (Cell(fold, seed, 0, arm) for seed in study.seeds)
    }
    evaluated = [arm for arm in study.scored if (folder / ARMS / arm / "cases.csv").is_file()]
    parts: dict[str, dict[str, Results]] = {}
    for arm in evaluated:
        names = dict.fromkeys(part for ended in cells.values() if ended and ended.arm == arm for part in ended.parts)
        homes = {part: part_folder(folder / ARMS / arm, part) for part in names}
        parts[arm] = {part: read_results(home) for part, home in homes.items() if (home / "cases.csv").is_file()}
    return StudyFolder(
        path=folder,
        study=study,
        about=read_json(folder / ABOUT),
        folds=folds,
        cells=cells,
        arms={arm: read_results(folder / ARMS / arm) for arm in evaluated},
        comparison=_comparison(folder / COMPARISON),
        parts=parts,
        uncertainty={arm: found for arm in evaluated if (found := read_uncertainty(folder / ARMS / arm)) is not None},
    )


def _comparison(folder: Path) -> Mapping[str, Any] | None:
    file = folder / "comparison.json"
    return read_json(file) if file.is_file() else None
