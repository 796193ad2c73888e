"""Small cohorts on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from multifocal.volumes import Geometry, Volume, write

GRID = Geometry((6, 5, 4), (2.0, 2.0, 3.0), (1.0, -2.0, 3.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@pytest.fixture(scope="session")
def grid() -> Geometry:
    return GRID


@pytest.fixture(scope="session")
def brain() -> Callable[[int], dict[str, np.ndarray]]:
    """Return arrays of a plausible case: 48 voxels of brain, 3 of them lesion (two lesions)."""

    def arrays(seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        inside = np.zeros(GRID.size, bool)
        inside[1:5, 1:4, :] = True
        label = np.zeros(GRID.size, np.float32)
        label[1, 1, 0] = label[2, 2, 1] = label[4, 3, 3] = 1
        return {
            "adc": np.where(inside, rng.uniform(800, 1600, GRID.size), 0).astype(np.float32),
            "zadc": np.where(inside, rng.normal(0, 2, GRID.size).clip(-10, 10), 0).astype(np.float32),
            "label": label,
        }

    return arrays


@pytest.fixture(scope="session")
def make_bonbid(brain: Callable[[int], dict[str, np.ndarray]]) -> Callable[..., Path]:
    """Return a function that writes a BONBID-HIE folder of small cases."""

    def make(folder: Path, names: Sequence[str] = ("A_1-VISIT_01", "A_2-VISIT_01"), *, ext: str = ".mha") -> Path:
        for number, name in enumerate(names):
            arrays = brain(number)
            for key, file in bonbid_files(folder, name, ext).items():
                write(file, Volume(arrays[key], GRID))
        return folder

    return make


@pytest.fixture(scope="session")
def bonbid_paths() -> Callable[..., dict[str, Path]]:
    return bonbid_files


def bonbid_files(folder: Path, name: str, ext: str = ".mha") -> dict[str, Path]:
    return {
        "adc": folder / "1ADC_ss" / f"{name}-ADC_ss{ext}",
        "zadc": folder / "2Z_ADC" / f"Zmap_{name}-ADC_smooth2mm_clipped10{ext}",
        "label": folder / "3LABEL" / f"{name}_lesion{ext}",
    }
