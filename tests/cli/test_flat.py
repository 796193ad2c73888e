"""What commands say of 2D images: pixels and images, no millilitres, brains and axes of the body."""

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


def test_an_empty_image(multifocal, flat):
    grid = Geometry((20, 16), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    write(flat / "flat/images/a.png", Volume(np.zeros(grid.size, np.uint8), grid))
    ended = multifocal("data", "check", flat / "flat")
    assert ended.code == 2 and "empty image: every pixel is 0" in ended.out and "brain" not in ended.out
