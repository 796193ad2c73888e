"""A study's folder, read back for reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multifocal.cohorts import Folds
from multifocal.errors import UserError
from multifocal.evaluation import Results, read_results
from multifocal.files import read_json
from multifocal.studies import loading
from multifocal.studies.job import FOLDS, MASKS, STUDY
from multifocal.studies.pooling import ARMS, COMPARISON
from multifocal.studies.settings import Study
from multifocal.studies.state import CELLS, CellResult, read_outcome

ABOUT = "study.json"


@dataclass(frozen=True)
class StudyFolder:
    """What a study's folder holds.

    Args:
        path: the folder.
        study: what was asked.
        about: `study.json`: cohort, fingerprint, versions, engine, when it was started.
        folds: how the cases were dealt.
        cells: every cell of the study by its folder's name, `<arm>/fold<k>-seed<s>`: how it ended, or None.
        arms: the evaluation of each arm that has one.
        comparison: `comparison/comparison.json`, or None.
    """

    path: Path
    study: Study
    about: Mapping[str, Any]
    folds: Folds
    cells: Mapping[str, CellResult | None]
    arms: Mapping[str, Results]
    comparison: Mapping[str, Any] | None

    def cell(self, name: str) -> Path:
        """Return the run folder of a cell."""
        return self.path / CELLS / name

    def masks(self, arm: str) -> Path:
        """Return the folder of an arm's pooled masks."""
        return self.path / ARMS / arm / MASKS


def read_study(path: str | Path) -> StudyFolder:
    """Return what a study's folder holds; cells that failed or are missing, and arms without any result, are no error.

    Raises:
        UserError: it is not a study's folder, or a file in it cannot be understood.
    """
    folder = Path(path)
    if not (folder / STUDY).is_file():
        raise UserError(f"{path}: is not a study's folder (no {STUDY}); give the DIR of `multifocal study … --out DIR`")
    study = loading.load(folder / STUDY)
    folds = Folds.load(folder / FOLDS)
    numbers = getattr(study.folds, "run", None) or range(len(folds))
    cells = {
        f"{arm}/fold{fold}-seed{seed}": read_outcome(folder / CELLS / arm / f"fold{fold}-seed{seed}")
        for arm in study.arms
        for fold in numbers
        for seed in study.seeds
    }
    evaluated = [arm for arm in study.arms if (folder / ARMS / arm / "cases.csv").is_file()]
    comparison = folder / COMPARISON / "comparison.json"
    return StudyFolder(
        path=folder,
        study=study,
        about=read_json(folder / ABOUT),
        folds=folds,
        cells=cells,
        arms={arm: read_results(folder / ARMS / arm) for arm in evaluated},
        comparison=read_json(comparison) if comparison.is_file() else None,
    )
