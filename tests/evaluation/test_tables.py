"""What the screen shows of an evaluation."""

import io
import math

from rich.console import Console

from multifocal.evaluation import summarize, summary_tables
from multifocal.metrics import METRICS


def shown(tables):
    console = Console(file=io.StringIO(), width=200)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def row(name, **changes):
    return {"case": name, "stratum": "<1 %", "diagonal_mm": 100.0, **dict.fromkeys(METRICS, 0.25)} | changes


LESIONS = [
    {"case": "a", "label": "lesion", "kind": "true", "bin": ">=1", "matched": 1, "dice": 0.8},
    {"case": "a", "label": "lesion", "kind": "true", "bin": ">=1", "matched": 0, "dice": 0.0},
    {"case": "a", "label": "lesion", "kind": "false", "bin": "<0.05", "matched": 0, "dice": 0.0},
]


def test_every_mean_stands_beside_its_undefined_cases():
    rows = [row("a"), row("b", masd=math.nan, fdr=math.nan, sen=math.nan), row("c", sen=math.nan)]
    text = shown(summary_tables(summarize(rows, LESIONS)))
    first, second = (line for line in text.splitlines() if line.startswith("│ all"))
    assert "0.250 (1)" in first and first.count("(") == 2  # MASD and HD95, of which one is undefined once
    assert [cell.strip() for cell in second.split("│")][3:-1] == [
        "0.250 (1)", "0.250 (0)", "0.250 (0)", "0.250 (2)", "0.250", "0.250", "0.250",
    ]  # fmt: skip
    for name in ("Dice", "MASD (mm)", "FDR", "PQ", "CC-Dice"):
        assert name in text


def test_lesions_by_volume():
    text = shown(summary_tables(summarize([row("a")], LESIONS)))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert ["<0.05", "0", "0", "-", "-", "1"] in lines
    assert [">=1", "2", "1", "0.500", "0.400", "0"] in lines


def test_only_what_is_there_is_shown():
    rows = [{"case": "a", "stratum": "<1 %", "dice": 0.5}]
    assert [table.title for table in summary_tables(summarize(rows))] == ["Cases"]
    both = [row("a", label=label) for label in ("core", "edema")]
    titles = [table.title for table in summary_tables(summarize(both, [{**LESIONS[0], "label": "edema"}]))]
    assert titles == ["Cases (core)", "Lesions (core)", "Cases (edema)", "Lesions (edema)", "Lesions by volume (edema)"]
