"""What an evaluation found, and the files that hold it: written whole, and checked line by line when read back."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multifocal.cohorts.lesion_burden import STRATA
from multifocal.errors import UserError
from multifocal.evaluation.summary import VOLUME_BINS, summarize
from multifocal.evaluation.wording import VOLUMES, Wording, recorded_wording
from multifocal.files import clear_up, one_form, plain_file, read_json, swapped, write_csv, write_json
from multifocal.metrics import METRICS
from multifocal.metrics.metric import Undefined

ScoreRow = dict[str, Any]
_ABOUT = ("stratum", "share_of_brain", "diagonal_mm")
LESION_COLUMNS = ("case", "label", "kind", "volume_ml", "x_mm", "y_mm", "z_mm", "matched", "dice", "bin")
_CASES, _LESIONS, _SUMMARY = "cases.csv", "lesions.csv", "summary.json"
UNCERTAINTY = ("uncertainty.json", "uncertainty.csv", "uncertainty_lesions.csv")  # beside them, where it was judged


@dataclass(frozen=True)
class Scores:
    """The cases of a cohort and their lesions.

    Attributes:
        rows: one a case, with the columns of `case_columns`: its name, every metric of `METRICS` (NaN: undefined), its
            stratum, the share of the true lesion in the brain, and the image's diagonal. With several classes one a
            case and class, with a column `label` after `case`.
        lesions: one for every true lesion, and every false one (predicted, but matched by no true one), with the
            columns of `LESION_COLUMNS`: `label` is the class, `kind` "true" or "false", `x_mm` to `z_mm` the centre of
            mass in LPS (a 2D image has no z: NaN), `matched` 0 or 1, `dice` that of the best match (0 without one),
            `bin` one of `VOLUME_BINS`.
        settings: how they were scored.
        seen: cases that are known from the training of the system: "train" or "validation" by name.
        words: what sizes and lengths of these cases are called.

    Example:
        >>> Scores([{"case": "a", "dice": 0.5}], []).rows[0]["dice"]
        0.5
    """

    rows: list[dict[str, Any]]
    lesions: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    words: Wording = VOLUMES


@dataclass(frozen=True)
class Results:
    """An evaluation as it is on disk.

    Attributes:
        rows: as in `Scores`.
        lesions: as in `Scores`.
        summary: what `write_results` returns.

    Example:
        >>> Results([{"case": "a", "dice": 0.5}], [], {"undefined": "skip"}).summary["undefined"]
        'skip'
    """

    rows: list[dict[str, Any]]
    lesions: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are told apart; none where there is one."""
        return tuple(self.summary.get("labels", ()))

    def of_class(self, name: str) -> "Results":
        """Return the evaluation of one class, as if there were no other.

        Args:
            name: one of `classes`.

        Returns:
            Its rows, lesions and summary.
        """
        rows, lesions = ([row for row in part if row["label"] == name] for part in (self.rows, self.lesions))
        rows = [{key: value for key, value in row.items() if key != "label"} for row in rows]
        rest = {key: value for key, value in self.summary.items() if key != "labels"}
        return Results(rows, lesions, {**rest, **self.summary["labels"][name]})

    @property
    def words(self) -> Wording:
        """What sizes and lengths of these cases are called."""
        return recorded_wording(self.summary)


def case_columns(*, labelled: bool = False) -> tuple[str, ...]:
    """Return the columns of `cases.csv`, with every metric that is registered.

    Args:
        labelled: whether there is a row for each case and class.

    Returns:
        The names of the columns.

    Example:
        >>> case_columns()[:4], case_columns(labelled=True)[:3]
        (('case', 'dice', 'masd', 'nsd'), ('case', 'label', 'dice'))
    """
    return ("case", *(["label"] if labelled else []), *METRICS, *_ABOUT)


def write_results(
    scores: Scores, out: str | Path, *, undefined: Undefined = "skip", settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write `cases.csv`, `lesions.csv` and `summary.json` into a folder, each whole or not at all.

    An undefined metric reads `nan` in `cases.csv`; a number that no case defines is null in `summary.json`, which also
    holds the settings, and unit, level and best direction of each metric.

    Args:
        scores: what `evaluate_cohort` returns.
        out: the folder, made if need be; files of these names in it are replaced.
        undefined: what stands for an undefined distance in the summary, see `summarize`.
        settings: more to be kept with the settings of the scores.

    Returns:
        What `summarize` returns, the settings, what is `seen` of the cases where any is, and the `size_unit` that
        tables are to show where it is not ml (the numbers of all files are in ml).

    Raises:
        UserError: a file cannot be written.
        ValueError: the rows cannot be summarized.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> about = {"stratum": "<1 %", "share_of_brain": 0.001, "diagonal_mm": 9.0}
        >>> row = {"case": "a", **dict.fromkeys(METRICS, 1.0), **about}
        >>> with TemporaryDirectory() as folder:
        ...     write_results(Scores([row], []), folder)["overall"]["metrics"]["dice"]["mean"]
        1.0
    """
    found = summarize(scores.rows, scores.lesions, undefined=undefined)
    summary = {**found, "settings": {**scores.settings, **(settings or {})}}
    summary |= {"seen": scores.seen} if scores.seen else {}
    summary |= {} if scores.words is VOLUMES else {"size_unit": scores.words.unit}
    facts = {name: {"unit": m.unit, "level": m.level, "best": m.best} for name, m in METRICS.items()}
    columns = case_columns(labelled="label" in scores.rows[0])
    clear_up(out)
    with swapped(out, [_CASES, _LESIONS, _SUMMARY]) as new:  # the three belong together
        write_csv(new / _CASES, scores.rows, columns=columns)
        write_csv(new / _LESIONS, scores.lesions, columns=LESION_COLUMNS)
        write_json(new / _SUMMARY, {**summary, "metrics": facts})
    return summary


def read_results(folder: str | Path) -> Results:
    """Read an evaluation back: numbers as floats, `matched` as 0 or 1, an undefined metric as NaN.

    Args:
        folder: that `write_results` wrote.

    Returns:
        Rows, lesions and summary.

    Raises:
        UserError: no such folder; a file is missing or cannot be read; a column is missing; a number, stratum, kind
            or bin is none; a case comes twice. It names file and line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> about = {"stratum": "<1 %", "share_of_brain": 0.001, "diagonal_mm": 9.0}
        >>> row = {"case": "a", **dict.fromkeys(METRICS, 1.0), **about}
        >>> with TemporaryDirectory() as folder:
        ...     _ = write_results(Scores([row], []), folder)
        ...     read_results(folder).rows == [row]
        True
    """
    folder = Path(folder)
    if not (folder / _CASES).is_file():
        raise UserError(f"{folder}: no {_CASES}; name a folder that `multifocal evaluate` wrote")
    names = dict.fromkeys((*METRICS, "share_of_brain", "diagonal_mm"), _number)
    # Metrics of other packages are read where they are: the folder may be older than the package.
    needed = ("case", *(name for name, metric in METRICS.items() if metric.is_own), *_ABOUT)
    rows = _read_csv(folder / _CASES, needed, {"case": one_form, **names, "stratum": _one_of(STRATA)})
    if not rows:
        raise UserError(f"{folder / _CASES}: no case; evaluate again")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = row["case"], row.get("label", "")
        if key in seen:
            raise UserError(f"{folder / _CASES}: case {' '.join(key).strip()} comes twice; evaluate again")
        seen.add(key)
    numbers = dict.fromkeys(("volume_ml", "x_mm", "y_mm", "z_mm", "dice"), _number)
    others = {"case": one_form, "matched": _flag, "kind": _one_of(("true", "false")), "bin": _one_of(VOLUME_BINS)}
    lesions = _read_csv(folder / _LESIONS, LESION_COLUMNS, {**numbers, **others})
    summary = read_json(folder / _SUMMARY)
    if not isinstance(summary, dict):
        raise UserError(f"{folder / _SUMMARY}: holds no summary; evaluate again")
    return Results(rows, lesions, {key: value for key, value in summary.items() if key != "metrics"})


def read_uncertainty(folder: str | Path) -> dict[str, Any] | None:
    """Return how sure the evaluated system is, and whether it can be believed.

    Args:
        folder: that `multifocal.evaluation.uncertainty.write_uncertainty` wrote.

    Returns:
        What `uncertainty.json` holds; None where it was not judged.

    Raises:
        UserError: the file is not what evaluation writes.

    Example:
        >>> read_uncertainty("scores/none-yet") is None
        True
    """
    file = Path(folder) / UNCERTAINTY[0]
    if not file.exists():
        return None
    found = read_json(file)
    if not (isinstance(found, dict) and {"case", "lesion", "missed", "samples"} <= found.keys()):
        raise UserError(f"{file}: is not what `multifocal evaluate --uncertainty` writes; evaluate again")
    return found


def _read_csv(path: Path, columns: Sequence[str], convert: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    try:
        with plain_file(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: no column {', '.join(missing)}; evaluate again")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(f"{path}: line {reader.line_num}: not as many cells as columns; evaluate again")
                for name, function in convert.items():
                    if name not in row:
                        continue
                    try:
                        row[name] = function(row[name])
                    except ValueError as error:
                        raise UserError(
                            f"{path}: line {reader.line_num}: {name} is {row[name]!r}; evaluate again"
                        ) from error
                rows.append(row)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; evaluate again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file ({error}); evaluate again") from error
    return rows


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def _flag(text: str) -> int:
    return int(_one_of(("0", "1"))(text))


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    return choose
