"""A format that somebody adds: read, written and named in errors like those of the package."""

import numpy as np
import pytest

from multifocal import volumes
from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, extension_of, read, read_geometry, strip_extension, write
from multifocal.volumes.formats import FORMATS, ImageFormat
from multifocal.volumes.headers import Stored

GRID = Geometry((2, 3), (1.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


class Renamed(ImageFormat):
    """MetaImage under another name, for odd sizes only."""

    endings = (".odd", ".nii.odd")

    def read_header(self, path):
        """Everything after the header is voxels."""
        return Stored(path, 0, path.stat().st_size, 1)

    def check_writable(self, path, volume):
        """Odd sizes only."""
        if volume.geometry.size[1] % 2 == 0:
            raise UserError(f"{path}: an even size")

    def write(self, path, volume):
        """Write a MetaImage and rename it."""
        meta = path.with_suffix(".mha")
        super().write(meta, volume)
        meta.rename(path)

    def open(self, path):
        """Open a copy of the right name."""
        meta = path.with_suffix(".mha")
        meta.write_bytes(path.read_bytes())
        return super().open(meta)


@pytest.fixture
def renamed():
    FORMATS.register("renamed", Renamed())
    yield
    del FORMATS._things["renamed"]


def test_a_new_format_is_one_class(renamed, tmp_path):
    path = tmp_path / "scan.nii.odd"
    volume = Volume(np.arange(6, dtype=np.uint8).reshape(2, 3), GRID)
    write(path, volume)
    assert np.array_equal(read(path).array, volume.array) and read_geometry(path) == GRID
    assert extension_of(path.name) == ".nii.odd" and strip_extension("a.odd") == "a"
    assert volumes.extensions()[-2:] == volumes.EXTENSIONS[-2:] == (".odd", ".nii.odd")
    with pytest.raises(UserError, match="an even size"):
        write(path, Volume(np.zeros((2, 2), np.uint8), Geometry((2, 2), *((1, 1), (0, 0), (1, 0, 0, 1)))))
    with pytest.raises(UserError, match=r"\.tiff, \.odd, \.nii\.odd$"):
        read(__file__)


def test_without_it_nothing_is_left():
    assert volumes.EXTENSIONS == (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd", ".png", ".tif", ".tiff")
    with pytest.raises(AttributeError, match="no attribute 'EXTENSION'"):
        volumes.EXTENSION  # noqa: B018
