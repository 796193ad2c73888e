import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.volumes.dicom.units import factor_of, settle


@pytest.mark.parametrize(
    ("code", "factor"),
    [
        *(("um2/s", 1e-6), ("um2/ms", 1e-3), ("mm2/s", 1.0), ("mm²/s", 1.0), ("10*-6.mm2/s", 1e-6)),
        *(("10^-3 mm^2/s", 1e-3), ("1E-3 mm2/s", 1e-3), ("10-6 mm²/s", 1e-6), ("1e-06mm2/s", 1e-6), ("cm2/s", 100.0)),
        *(("µm²/ms", 1e-3), ("x10^-6 mm2/s", None), ("1", None), ("", None), ("US", None), ("s/mm2", None)),
        *(("mm/s", None), ("{ratio}", None), ("mm2", None)),
    ],
)
def test_factors(code, factor):
    assert factor_of(code) == (None if factor is None else pytest.approx(factor, rel=1e-12))


@pytest.mark.parametrize(("scale", "unit"), [(1.0, 1e-6), (1e-3, 1e-3), (1e-6, 1.0)])
@pytest.mark.parametrize("tissue", [350.0, 800.0, 1200.0, 3200.0])
def test_values_tell_the_unit(scale, unit, tissue):
    values = np.zeros((16, 16, 8))
    values[4:12, 4:12, 2:6] = tissue * scale
    values[0, 0, 0] = 1e9  # air
    assert settle(values, "", None, mapped=True, where="x")[0] == unit


def test_what_is_in_between_is_refused():
    for tissue in (0.05, 30.0, 50_000.0, 1e-5):
        with pytest.raises(UserError, match="no unit in its header"):
            settle(np.full((8, 8, 8), tissue), "", None, mapped=True, where="x")
