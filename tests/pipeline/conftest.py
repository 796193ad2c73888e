"""Cases of one or two lesions in a ball of a brain, on any grid."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from multifocal.cohorts import Case, ImageFile
from multifocal.volumes import Geometry, Volume, write


def tilted(
    *, axes: tuple[int, ...] = (0, 1, 2), signs: tuple[int, ...] = (1, 1, 1), degrees: float = 0.0
) -> np.ndarray:
    """Return a direction matrix: axes permuted and reversed, then turned about two of them."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return turn @ np.eye(3)[:, list(axes)] * np.array(signs)


DIRECTIONS = {
    "plain": tilted(),
    "oblique": tilted(degrees=12),
    "flipped": tilted(signs=(-1, 1, -1), degrees=5),
    "coronal": tilted(axes=(0, 2, 1), signs=(1, -1, 1), degrees=20),
    "permuted": tilted(axes=(2, 0, 1), signs=(-1, -1, 1), degrees=30),
}


@pytest.fixture(params=DIRECTIONS)
def grid(request) -> Geometry:
    """An anisotropic grid in several orientations."""
    return make_grid(DIRECTIONS[request.param])


def make_grid(direction: np.ndarray = DIRECTIONS["plain"]) -> Geometry:
    return Geometry((13, 16, 9), (2.0, 1.5, 4.0), (-31.0, 12.5, 7.0), tuple(direction.ravel()))


def make_arrays(size: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Return ADC, Z-ADC and label; Z-ADC is 0 at some voxels of the brain, and noise outside of it."""
    rng = np.random.default_rng(seed)
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij"))
    brain = (axes**2).sum(0) < 0.55
    label = brain & (((axes - 0.2) ** 2).sum(0) < 0.06)
    adc = np.where(brain, rng.normal(1200, 80, size) - 500 * label, 0)
    zadc = rng.normal(0, 1.5, size) - 3 * label
    zadc[brain & (rng.random(size) < 0.2)] = 0
    return {name: a.astype(np.float32) for name, a in (("adc", adc), ("zadc", zadc), ("label", label))}


@pytest.fixture(scope="session")
def case_in() -> Callable[..., Case]:
    """Return a function that writes a case into a folder: `make_arrays`, with some of them replaced, or left out."""

    def write_case(
        folder: Path,
        grid: Geometry | None = None,
        *,
        name: str = "S_1",
        seed: int = 0,
        replace: Mapping[str, Volume | np.ndarray | None] = {},  # noqa: B006
    ) -> Case:
        grid = grid or make_grid()
        images, label = {}, None
        for key, content in {**make_arrays(grid.size, seed), **replace}.items():
            if content is None:
                continue
            file = ImageFile(folder / f"{name}-{key}.mha")
            write(file.path, content if isinstance(content, Volume) else Volume(content, grid))
            images[key], label = file, file if key == "label" else label
        images.pop("label", None)
        return Case(name, name.split("-")[0], images, label)

    return write_case
