"""A thousand damaged images of each format: each is read, or refused in one line; nothing crashes or chatters."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fuzz import damage

from multifocal.volumes import Geometry, Volume, write

COUNT = 1000
CHECKED = (".nii.gz", ".png")  # formats with a checksum over all there is


def image(extension):
    rng = np.random.default_rng(0)
    if extension in (".png", ".tif"):
        return Volume(rng.integers(0, 255, (24, 20)).astype(np.uint8), Geometry((24, 20), (1, 1), (0, 0), (1, 0, 0, 1)))
    grid = Geometry((12, 10, 8), (1.0, 1.5, 3.0), (-10.0, 20.0, 5.0), (1, 0, 0, 0, 0.8, -0.6, 0, 0.6, 0.8))
    return Volume(rng.normal(1000, 300, grid.size).astype(np.float32), grid)


@pytest.mark.slow
@pytest.mark.parametrize("extension", [".mha", ".mhd", ".nii", ".nii.gz", ".nrrd", ".png", ".tif"])
def test_a_thousand_damaged_images(tmp_path, processes, extension, record_property):
    source, copies, report = tmp_path / "source" / f"a{extension}", tmp_path / "copies", tmp_path / "report.json"
    write(source, image(extension))
    copies.mkdir()
    process = processes.Process(target=damage.read_many, args=(str(source), str(copies), COUNT, str(report)))
    process.start()
    process.join()
    assert process.exitcode == 0, Path(f"{report}.screen").read_text()[-2000:]
    assert Path(f"{report}.screen").read_bytes() == b""
    found = json.loads(report.read_text())
    for one in found:
        if "error" in one:
            assert "\n" not in one["error"] and str(copies) in one["error"], one
        else:
            assert one["fits"], one
            assert one["same"] or extension not in CHECKED, one
    counts = Counter("refused" if "error" in one else "the same" if one["same"] else "read" for one in found)
    record_property("counts", dict(counts))
    print(extension, dict(counts))
    assert sum(counts.values()) == COUNT
