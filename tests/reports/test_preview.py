"""The picture of one scan."""

import numpy as np
import pytest
from PIL import Image

from multifocal.cohorts import open_cohort
from multifocal.reports.preview import COLUMNS, ENLARGED, OUTLINE, SLICES, write_preview
from multifocal.systems import load_model, predict_cohort
from multifocal.volumes import orient, read


@pytest.mark.parametrize(("number", "below"), [(1, -2.0), (3, -2.0), (0, -100.0)])
def test_slices_in_rows_with_what_was_found(small_cohort, tmp_path, number, below):
    cohort = open_cohort(small_cohort)
    case = cohort.cases[number]
    model = load_model("zadc-threshold", overrides=(f"below={below}",))
    (mask,) = predict_cohort(model, cohort.subset([case.name]), tmp_path)
    write_preview(tmp_path / "one.png", case, mask)
    pixels = np.asarray(Image.open(tmp_path / "one.png"))
    _, height, width = (side for side in sorted(orient(read(mask)).array.shape))
    assert pixels.shape[1] % COLUMNS == 0 and 0 < pixels.shape[1] // COLUMNS <= ENLARGED * width * 1.2
    assert pixels.shape[0] <= ENLARGED * height * 1.2 * -(-SLICES // COLUMNS)
    assert (pixels == OUTLINE).all(axis=-1).any() == bool(read(mask).array.any())
