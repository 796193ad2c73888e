"""What commands say of 2D images: pixels and images, no millilitres, brains and axes of the body."""

import csv

import numpy as np
import pytest

from multifocal.volumes import Geometry, Volume, write

MEDICAL = ("brain", " ml", "(ml)", "voxel", "axial", "Tilt", "Axes", "mm)")


@pytest.fixture
def flat(tmp_path):
    """Two grey images with two lesions each, of 12 and 60 pixels, and masks that find the larger one."""
    rng, grid = np.random.default_rng(0), Geometry((20, 16), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    for name in "ab":
        labels = np.zeros(grid.size, np.uint8)
        labels[1:5, 1:4], labels[8:14, 4:14] = 1, 2
        write(tmp_path / f"flat/images/{name}.png", Volume(rng.integers(1, 99, grid.size).astype(np.uint8), grid))
        write(tmp_path / f"flat/masks/{name}.png", Volume(labels, grid))
        write(tmp_path / f"out/{name}_lesion.png", Volume((labels == 2).astype(np.uint8), grid))
    return tmp_path


def test_check_and_evaluate(multifocal, flat):
    ended = multifocal("data", "check", flat / "flat")
    assert ended.code == 0 and not any(word in ended.out for word in MEDICAL)
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["Image", "Size", "Lesion", "pixels", "Share", "Lesions", "Stratum", "Problems"] in lines
    assert any(line[:3] == ["a", "20×16", "72"] for line in lines)

    arguments = ("--label-maps", "target", "--out", flat / "scores")
    ended = multifocal("evaluate", flat / "out", flat / "flat", *arguments)
    assert ended.code == 0 and not any(word in ended.out for word in MEDICAL)
    assert "share of image" in ended.out and "Lesions by area" in ended.out and "area (pixels)" in ended.out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ended.out.splitlines()]
    assert ["<50", "2", "0", "0.000", "0.000", "0"] in rows and ["50-100", "2", "2", "1.000", "1.000", "0"] in rows
    assert any(row[:1] == ["all"] and "12.000" in row for row in rows)  # pixels that are missing


def test_compare_and_the_table_of_a_check(multifocal, flat):
    """Files of numbers stay in ml, whose columns say so; what is read speaks of pixels."""
    assert multifocal("data", "check", flat / "flat", "--csv", flat / "check.csv").code == 0
    with (flat / "check.csv").open(newline="") as file:
        assert [row["lesion_voxels"] for row in csv.DictReader(file)] == ["72", "72"]
    for name in ("first", "second"):
        arguments = ("--label-maps", "target", "--out", flat / name)
        assert multifocal("evaluate", flat / "out", flat / "flat", *arguments).code == 0
    chosen = ("--metric", "dice", "--metric", "masd", "--metric", "volume_difference")
    ended = multifocal("compare", flat / "first", flat / "second", *chosen, "--samples", 10, "--out", flat / "compared")
    shown = ended.out + (flat / "compared/table.md").read_text() + (flat / "compared/table.tex").read_text()
    assert ended.code == 0 and not any(word in shown for word in (*MEDICAL, "volume"))
    assert "MASD (pixels)" in shown and "By the lesion's share of the image" in shown
    row = next(line for line in (flat / "compared/table.md").read_text().splitlines() if line.startswith("| first"))
    assert "12.0000" in row  # pixels that are missing
    with (flat / "compared/table.csv").open(newline="") as file:
        means = {row["metric"]: row["mean"] for row in csv.DictReader(file) if row["group"] == "all"}
    assert float(means["volume_difference"]) == pytest.approx(0.012)


def test_an_empty_image(multifocal, flat):
    grid = Geometry((20, 16), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    write(flat / "flat/images/a.png", Volume(np.zeros(grid.size, np.uint8), grid))
    ended = multifocal("data", "check", flat / "flat")
    assert ended.code == 2 and "empty image: every pixel is 0" in ended.out and "brain" not in ended.out
