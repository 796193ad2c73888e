"""What a report shows of a study: its folder, read arm by arm and cell by cell."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multifocal.cohorts.seen import seen_line
from multifocal.errors import UserError
from multifocal.evaluation import Results
from multifocal.evaluation.match_files import SUFFIX
from multifocal.evaluation.wording import VOLUMES, Wording, wording
from multifocal.metrics import METRICS, ScoringOptions
from multifocal.volumes import read_geometry, volumes_named

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
    """One arm: its number in the study, its pooled masks, their evaluation (None where there is none), the arms whose
    cells they come from (none names it itself, what is tuned or combined comes from others), the parts of its system,
    arms of their own, and what `uncertainty.json` says of it (None where the study does not ask).
    """

    number: int
    name: str
    masks: Path
    results: Results | None
    trained: tuple[str, ...] = ()
    parts: tuple["Arm", ...] = ()
    uncertainty: Mapping[str, Any] | None = None

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Scores case by case; none where there is no evaluation."""
        return self.results.rows if self.results else ()

    @property
    def seen(self) -> str | None:
        """How many of its cases it knows from training, in words; None where there is none."""
        seen = self.results.summary.get("seen") if self.results else None
        return seen_line(seen, len({row["case"] for row in self.rows})) if seen else None

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

    `text` is study.yaml as it is, `words` say what sizes are called, and `compared` is `comparison.json`. Sizes are in
    the unit of the words here and in the results of the arms, where the study's files have millilitres. `label` is the
    class, where there are several.
    """

    study: "StudyFolder"
    text: str
    arms: tuple[Arm, ...]
    cells: tuple[CellRecord, ...]
    words: Wording = VOLUMES
    compared: Mapping[str, Any] | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """The study's name, and where it has several classes the one that is shown."""
        name = self.study.study.name
        return f"{name}: {self.label}" if self.label else name

    @property
    def comparison_folder(self) -> Path:
        """The folder of the comparison."""
        return self.study.comparison_folder(self.label)

    @property
    def comparison(self) -> Mapping[str, Any] | None:
        """What `comparison.json` holds, None where there is none."""
        return self.compared

    @property
    def scored(self) -> tuple[Arm, ...]:
        """The arms that have an evaluation."""
        return tuple(arm for arm in self.arms if arm.results is not None)

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of all cases that an arm was scored on, in the order of the files."""
        return tuple(dict.fromkeys(str(row["case"]) for arm in self.scored for row in arm.rows))


def read_study_data(folder: str | Path) -> list[StudyData]:
    """Read a study's folder.

    Args:
        folder: of the study.

    Returns:
        What its pages show; where it has several classes, of each of them.

    Raises:
        UserError: it is not a study's, or a file in it cannot be read.
    """
    from multifocal.studies import read_study  # with all of PyTorch, which the processes that draw cases do not need

    whole = read_study(folder)
    classes = {name: whole.of_class(name) for name in whole.classes}
    return [_study_data(study, name) for name, study in (classes or {"": whole}).items()]


def _study_data(study: "StudyFolder", label: str) -> StudyData:
    scored = {name: of for name, of in study.study.scored.items() if name in study.study.arms or name in study.arms}
    words = _words([study.masks(name) for name in scored])
    arms = (
        Arm(
            number,
            name,
            study.masks(name),
            _in_unit(study.arms.get(name), words),
            () if name in study.study.arms else of,
            tuple(
                Arm(place, part, study.masks(name, part), _in_unit(results, words))
                for place, (part, results) in enumerate(study.parts.get(name, {}).items())
            ),
            study.uncertainty.get(name),
        )
        for number, (name, of) in enumerate(scored.items())
    )
    text = (study.path / "study.yaml").read_text(encoding="utf-8")
    compared = _compared_in_unit(study.comparison, words)
    return StudyData(study, text, tuple(arms), tuple(_cells(study)), words, compared, label)


def _words(folders: Sequence[Path]) -> Wording:
    """Return the words for the first mask that can be read."""
    for folder in folders:
        for file in volumes_named(folder, SUFFIX).values() if folder.is_dir() else ():
            try:
                return wording(read_geometry(file))
            except UserError:  # which whoever needs that mask will tell
                continue
    return VOLUMES


def _in_unit(results: Results | None, words: Wording) -> Results | None:
    if results is None or words.per_ml == 1:
        return results
    sizes = [name for name, metric in METRICS.items() if metric.unit == "ml"]
    rows = [row | {name: row[name] * words.per_ml for name in sizes if name in row} for row in results.rows]
    return replace(results, rows=rows)


def _compared_in_unit(value: Any, words: Wording) -> Any:
    """Return what a comparison holds with the numbers of metrics in ml in the unit of the words."""
    if words.per_ml == 1 or not isinstance(value, Mapping | list):
        return value
    if isinstance(value, list):
        return [_compared_in_unit(each, words) for each in value]
    numbers = ("mean", "low", "high", "signed_mean")
    return {
        key: {name: of * words.per_ml if name in numbers and of is not None else of for name, of in inner.items()}
        if key in METRICS and METRICS[key].unit == "ml" and isinstance(inner, Mapping)
        else _compared_in_unit(inner, words)
        for key, inner in value.items()
    }


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
