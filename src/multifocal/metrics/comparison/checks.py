"""Whether evaluations can be compared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from multifocal.errors import UserError
from multifocal.metrics.summary import Row

_OF_THE_CASE = ("stratum", "true_ml")
_FREE = {"allow_missing"}  # settings that change no score of a prediction


def by_case(method: str, rows: Sequence[Row], *, label: str | None) -> dict[str, Row]:
    """Return the rows of one class (None: rows that tell no classes apart) by the name of their case.

    Raises:
        UserError: no such class, no cases, or a case that comes twice; it names the method.
    """
    labels = sorted({row["label"] for row in rows if "label" in row})
    if labels or label is not None:
        if label not in labels:
            chosen = "choose one with --label" if label is None else f"{label!r} is not among them"
            raise UserError(f"method {method}: the classes are {', '.join(labels) or 'not told apart'}; {chosen}")
        rows = [row for row in rows if row["label"] == label]
    if not rows:
        raise UserError(f"method {method}: no cases; evaluate some first")
    found = {row["case"]: row for row in rows}
    if len(found) < len(rows):
        doubled = sorted(name for name, count in Counter(row["case"] for row in rows).items() if count > 1)
        raise UserError(f"method {method}: more than one row for {', '.join(doubled)}; keep one of each")
    return found


def check_cases(rows: Mapping[str, Mapping[str, Row]]) -> None:
    """Raise `UserError` unless all methods have the same cases, with the same true lesion."""
    name, reference = next(iter(rows.items()))
    for other, found in rows.items():
        missing, surplus = sorted(reference.keys() - found.keys()), sorted(found.keys() - reference.keys())
        if missing or surplus:
            lacks = [f"{other} lacks {', '.join(missing)}"] if missing else []
            lacks += [f"{name} lacks {', '.join(surplus)}"] if surplus else []
            raise UserError(
                f"methods need the same cases, but {'; '.join(lacks)}; evaluate all methods on the same cases"
            )
        for case, row in found.items():
            for column in _OF_THE_CASE:
                ours, theirs = reference[case].get(column), row.get(column)
                if ours != theirs:
                    raise UserError(
                        f"case {case}: {column} is {ours} for method {name} and {theirs} for {other}; "
                        "evaluate both against the same labels"
                    )


def check_settings(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `UserError` unless all methods were scored by the same rules."""
    (name, reference), *others = found.items()
    for other, settings in others:
        for key in sorted((reference.keys() & settings.keys()) - _FREE):
            if reference[key] != settings[key]:
                raise UserError(
                    f"methods were scored differently: {key} is {reference[key]} for {name} "
                    f"and {settings[key]} for {other}; evaluate both alike"
                )
