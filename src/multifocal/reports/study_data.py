"""What a report shows of a study: its folder, read arm by arm and cell by cell."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multifocal.errors import UserError
from multifocal.evaluation import Results
from multifocal.metrics import ScoringOptions

if TYPE_CHECKING:
    from multifocal.studies import CellResult, StudyFolder

Row = Mapping[str, float]
LOG = "log.csv"


@dataclass(frozen=True)
class CellRecord:
    """One training: its arm, fold and seed, how it ended (None while it has not), and its log, a row an epoch."""

    arm: str
    fold: int
    seed: int
    outcome: "CellResult | None"
    log: tuple[Row, ...] = ()

    @property
    def name(self) -> str:
        """The cell's place within its arm, in words."""
        return f"fold {self.fold}, seed {self.seed}"

    @property
    def state(self) -> str:
        """How it ended, in words."""
        return self.outcome.state if self.outcome else "not finished"


@dataclass(frozen=True)
class Arm:
    """One arm: its number in the study, its pooled masks, and their evaluation, None where there is none."""

    number: int
    name: str
    masks: Path
    results: Results | None

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Scores case by case; none where there is no evaluation."""
        return self.results.rows if self.results else ()

    @property
    def options(self) -> ScoringOptions | None:
        """How its masks were scored; None where there is no evaluation."""
        return ScoringOptions.from_settings(self.results.summary["settings"]) if self.results else None

    @property
    def lesions(self) -> Sequence[Mapping[str, Any]]:
        """True and false lesions; none where there is no evaluation."""
        return self.results.lesions if self.results else ()


@dataclass(frozen=True)
class StudyData:
    """A study as its folder tells it: arms in the study's order, and every cell of the grid.

    `text` is study.yaml as it is.
    """

    study: "StudyFolder"
    text: str
    arms: tuple[Arm, ...]
    cells: tuple[CellRecord, ...]

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study.name

    @property
    def comparison(self) -> Mapping[str, Any] | None:
        """What `comparison.json` holds, None where there is none."""
        return self.study.comparison

    @property
    def scored(self) -> tuple[Arm, ...]:
        """The arms that have an evaluation."""
        return tuple(arm for arm in self.arms if arm.results is not None)

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of all cases that an arm was scored on, in the order of the files."""
        return tuple(dict.fromkeys(str(row["case"]) for arm in self.scored for row in arm.rows))


def read_study_data(folder: str | Path) -> StudyData:
    """Read a study's folder.

    Args:
        folder: of the study.

    Returns:
        What its pages show.

    Raises:
        UserError: it is not a study's, or a file in it cannot be read.
    """
    from multifocal.studies import read_study  # with all of PyTorch, which the processes that draw cases do not need

    study = read_study(folder)
    arms = (Arm(number, name, study.masks(name), study.arms.get(name)) for number, name in enumerate(study.study.arms))
    text = (study.path / "study.yaml").read_text(encoding="utf-8")
    return StudyData(study, text, tuple(arms), tuple(_cells(study)))


def _cells(study: "StudyFolder") -> Iterator[CellRecord]:
    for name, outcome in study.cells.items():
        arm, _, place = name.rpartition("/")
        fold, _, seed = place.removeprefix("fold").partition("-seed")
        yield CellRecord(arm, int(fold), int(seed), outcome, _log(study.cell(name) / LOG))


def _log(path: Path) -> tuple[Row, ...]:
    if not path.exists():
        return ()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return tuple({key: _number(value) for key, value in row.items() if key} for row in csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot read ({error}); run the cell again") from error


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
