"""A study's tables speak of a 2D cohort in pixels; the numbers in files of CSV stay in ml."""

import csv

from multifocal import studies
from multifocal.evaluation import Results, summarize
from multifocal.metrics import METRICS
from multifocal.studies.tables import write_tables

ROWS = [{"case": "a", **dict.fromkeys(METRICS, 0.5), "stratum": "<1 %", "share_of_brain": 0.001, "diagonal_mm": 9.0}]
LESIONS = [{"case": "a", "label": "lesion", "kind": "true", "matched": 1, "dice": 0.5, "bin": "0.05-0.10"}]


def tables(tmp_path, units):
    study = studies.load("demo", overrides=["arms={z: {recipe: zadc-threshold}}"])
    found = {"z": Results(ROWS, LESIONS, summarize(ROWS, LESIONS) | units)}
    write_tables(study, {}, found, tmp_path)
    with (tmp_path / "tables/sizes.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["size_ml"] == "0.05-0.10"
    return (tmp_path / "tables/tables.md").read_text()


def test_images_have_pixels(tmp_path):
    text = tables(tmp_path, {"size_unit": "pixels"})
    assert "## By share of the image" in text and "| arm | area (pixels) |" in text and "| z | 50-100 |" in text
    assert "ml" not in text and "brain" not in text


def test_volumes_have_millilitres(tmp_path):
    text = tables(tmp_path, {})
    assert "## By share of the brain" in text and "| arm | size_ml |" in text and "| z | 0.05-0.10 |" in text
