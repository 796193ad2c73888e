"""A manifest: a CSV file that says where the files of each case are."""

import csv
from pathlib import Path

from multifocal.cohorts.case import SPLITS, ImageFile
from multifocal.cohorts.layouts.layout_result import LayoutResult
from multifocal.cohorts.layouts.registry import register
from multifocal.errors import UserError
from multifocal.files import on_disk, one_form, plain_file

_FIXED = ("case", "subject", "split", "label")


def _file(root: Path) -> Path:
    return root / "manifest.csv" if root.is_dir() else root


def _matches(root: Path) -> bool:
    return _file(root).suffix.lower() == ".csv" and _file(root).is_file()


@register(
    "manifest",
    needs="manifest.csv (or give the CSV file itself) with columns case, one per map, and optionally "
    "subject, split, label",
    matches=_matches,
)
def read(found: LayoutResult) -> None:
    """Find the cases of a manifest, in its order.

    Relative paths start at the manifest's folder. The manifest is its author's own statement of where the files are, so
    absolute paths and paths with `..` are followed too. `split` is train, val, test or empty; within one split either
    all cases have a label or none.

    Args:
        found: has the folder, gets the cases and problems.
    """
    path = _file(found.root)
    columns, rows = _rows(path)
    maps = [column for column in columns if column not in _FIXED]
    if "case" not in columns or not maps:
        raise UserError(
            f"{path}: its columns are {', '.join(columns) or 'missing'}; expected 'case' and one column per map, "
            "separated by commas"
        )
    for number, row in rows:
        _read_row(found, path, number, row, maps)
    for split in (None, *SPLITS):
        cases = [case for case in found.cases.values() if case.split == split]
        if any(case.label for case in cases):
            for case in cases:
                if case.label is None:
                    found.problem("no label, while others of its split have one; add it", case=case.name)


def _read_row(found: LayoutResult, path: Path, number: int, cells: dict[str, str], maps: list[str]) -> None:
    where = f"{path.name} row {number}"
    name = one_form(cells.get("case", ""))
    if not name:
        found.problem(f"{where}, column case: empty; name the case")
        return
    files = {}
    for column in (*maps, "label"):
        value = cells.get(column, "")
        if value:
            files[column] = ImageFile(on_disk(path.parent, value))
            if not files[column].path.is_file():
                missing = files[column].path
                found.problem(f"{where}, column {column}: no such file: {value}", case=name, missing=missing)
        elif column != "label":
            found.problem(f"{where}, column {column}: empty; give the path of the file", case=name)
    split = cells.get("split", "").lower() or None
    if split not in (None, *SPLITS):
        found.problem(f"{where}, column split: '{split}'; expected {', '.join(SPLITS)} or nothing", case=name)
        split = None
    label = files.pop("label", None)
    if files:
        found.add(name, subject=cells.get("subject"), images=files, label=label, split=split)  # type: ignore[arg-type]


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns, and each row that is not blank with its line number."""
    try:
        with plain_file(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            columns = [one_form(column.strip()) for column in next(reader, [])]
            if len(set(columns)) < len(columns) or "" in columns:
                raise UserError(f"{path}: its columns are {', '.join(columns)}; give every column its own name")
            rows = []
            for cells in reader:
                if len(cells) > len(columns):
                    raise UserError(
                        f"{path}: row {reader.line_num} has {len(cells)} cells for {len(columns)} columns; "
                        "put a path that holds a comma in double quotes"
                    )
                row = {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}
                if any(row.values()):
                    rows.append((reader.line_num, row))
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error}); save it as one") from error
    return columns, rows
