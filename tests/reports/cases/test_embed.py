import base64
import gzip
import json

import nibabel
import numpy as np
import pytest

from multifocal.reports.cases.embed import nifti, script
from multifocal.volumes import Geometry


@pytest.fixture
def oblique() -> Geometry:
    cos, sin = np.cos(0.4), np.sin(0.4)
    direction = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ np.diag([-1.0, 1.0, 1.0])
    return Geometry((4, 5, 6), (1.5, 2.0, 4.8), (10.0, -20.0, 30.0), tuple(direction.ravel()))


def load(data: bytes) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def test_every_voxel_lies_where_it_lay(oblique):
    image = load(nifti(np.zeros(oblique.size, bool), oblique)[0])
    physical = oblique.affine @ [1, 2, 3, 1]
    np.testing.assert_allclose(image.affine @ [1, 2, 3, 1], physical * [-1, -1, 1, 1], atol=1e-4)
    assert image.header.get_zooms() == pytest.approx(oblique.spacing)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_masks_and_whole_numbers_are_exact(oblique):
    rng = np.random.default_rng(0)
    mask = rng.random(oblique.size) < 0.5
    stored = load(nifti(mask, oblique)[0])
    assert stored.get_data_dtype() == np.uint8
    assert (np.asarray(stored.dataobj) == mask).all()
    whole = rng.integers(-300, 4479, oblique.size).astype(np.float32)
    data, step = nifti(whole, oblique)
    assert (load(data).get_fdata() == whole).all()
    assert step == 1


def test_other_numbers_are_off_by_half_a_step_at_most(oblique):
    values = np.random.default_rng(0).normal(0, 3, oblique.size)
    data, step = nifti(values, oblique)
    assert step == pytest.approx(np.ptp(values) / 4095)
    assert np.abs(load(data).get_fdata() - values).max() <= 0.51 * step


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_one_value_everywhere(oblique, value):
    stored = load(nifti(np.full(oblique.size, value), oblique)[0]).get_fdata()
    assert (stored == (value if np.isfinite(value) else 0)).all()


def test_the_same_array_gives_the_same_bytes(oblique):
    values = np.random.default_rng(0).normal(size=oblique.size)
    assert nifti(values, oblique) == nifti(values.copy(), oblique)


def test_a_script_holds_its_data_and_cannot_be_ended_by_them():
    text = script("case", {"name": "</script><!--", "data": b"\x00\xff", "none": None})
    assert "<" not in text
    name, _, value = text.removesuffix(";\n").partition(" = ")
    assert name == "window.case"
    assert json.loads(value) == {"name": "</script><!--", "data": base64.b64encode(b"\x00\xff").decode(), "none": None}
