"""The compiled transforms in processes that were forked or started anew, as data loaders do, and without a cache."""

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

from multifocal.kernels.edt import signed_squares


def measure(_):
    mask = np.zeros((1, 300, 200), bool)
    mask[0, 0, 0] = True
    return float(signed_squares(mask, spacing=None, threads=2).max())


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_in_other_processes(how):
    assert measure(0) == 299**2 + 199**2
    with multiprocessing.get_context(how).Pool(2) as pool:
        assert pool.map(measure, range(4)) == [299**2 + 199**2] * 4


def test_where_no_cache_can_be_written(tmp_path):
    """As in a container whose files all belong to somebody else."""
    code = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import numpy as np\n"
        "from multifocal.kernels.edt import signed_squares\n"
        "print(signed_squares(np.eye(3, dtype=bool)[None], spacing=None, threads=1)[0, 0].tolist())\n"
    )
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "[-1.0, 1.0, 2.0]", done.stderr
