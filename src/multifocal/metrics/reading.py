"""An evaluation read back from its files, which are checked line by line."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multifocal.cohorts.lesion_burden import STRATA
from multifocal.errors import UserError
from multifocal.files import read_json
from multifocal.metrics.bins import VOLUME_BINS
from multifocal.metrics.catalogue import METRICS
from multifocal.metrics.results import CASES, COLUMNS, LESION_COLUMNS, LESIONS, SUMMARY, Results


def read_results(folder: str | Path) -> Results:
    """Read an evaluation back: numbers as floats, `matched` as 0 or 1, an undefined metric as NaN.

    Raises:
        UserError: no such folder; a file is missing or cannot be read; a column is missing; a number, stratum, kind
            or bin is none; a case comes twice. It names file and line.
    """
    folder = Path(folder)
    if not (folder / CASES).is_file():
        raise UserError(f"{folder}: no {CASES}; name a folder that `multifocal evaluate` wrote")
    names = dict.fromkeys((*METRICS, "share_of_brain", "diagonal_mm"), _number)
    rows = _read(folder / CASES, COLUMNS, {**names, "stratum": _one_of(STRATA)})
    if not rows:
        raise UserError(f"{folder / CASES}: no case; evaluate again")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = row["case"], row.get("label", "")
        if key in seen:
            raise UserError(f"{folder / CASES}: case {' '.join(key).strip()} comes twice; evaluate again")
        seen.add(key)
    numbers = dict.fromkeys(("volume_ml", "x_mm", "y_mm", "z_mm", "dice"), _number)
    others = {"matched": _flag, "kind": _one_of(("true", "false")), "bin": _one_of(VOLUME_BINS)}
    lesions = _read(folder / LESIONS, LESION_COLUMNS, {**numbers, **others})
    summary = read_json(folder / SUMMARY)
    if not isinstance(summary, dict):
        raise UserError(f"{folder / SUMMARY}: holds no summary; evaluate again")
    return Results(rows, lesions, {key: value for key, value in summary.items() if key != "metrics"})


def _read(path: Path, columns: Sequence[str], convert: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: no column {', '.join(missing)}; evaluate again")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(f"{path}: line {reader.line_num}: not as many cells as columns; evaluate again")
                for name, function in convert.items():
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
