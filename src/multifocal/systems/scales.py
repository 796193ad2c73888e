"""What is around a voxel, at several scales: the features by which boosted trees tell lesion from none."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from multifocal.instances import components
from multifocal.systems.scan import Scan

MEANS_MM = (2.0, 4.0, 8.0, 16.0)  # standard deviations of the Gaussians
SPREAD_MM = MIRRORED_MM = 4.0


def features_at_scales(
    names: Sequence[str], low: str | None, levels: Sequence[float], dimensions: int
) -> tuple[str, ...]:
    """Return what a voxel is judged by.

    Args:
        names: of the images: maps, and the probability.
        low: the map that is low in lesions.
        levels: values of it.
        dimensions: 2 or 3.

    Returns:
        Names, in the order of the columns of `at_scales`.

    Example:
        >>> features_at_scales(["zadc"], "zadc", [-2.0], 3)[-3:]
        ('off_midline', 'ml of zadc < -2', 'share of zadc < -2')
    """
    around = [f"{size:g} mm" for size in MEANS_MM]
    whats = [
        *around,
        f"spread {SPREAD_MM:g} mm",
        "mirrored",
        f"mirrored {MIRRORED_MM:g} mm",
        "brain mean",
        "brain spread",
    ]
    of_images = [one for name in names for one in (name, *(f"{name} {what}" for what in whats))]
    of_levels = [f"{what} of {low} < {level:g}" for level in levels for what in ("ml", "share")]
    return (*of_images, "depth", *(f"place_{axis}" for axis in range(dimensions)), "off_midline", *of_levels)


def at_scales(
    scan: Scan, names: Sequence[str], low: str | None, levels: Sequence[float], flat: np.ndarray
) -> np.ndarray:
    """Return the features of voxels.

    Args:
        scan: the case.
        names: of the images: maps of the scan, or "probability".
        low: the map that is low in lesions.
        levels: values of it.
        flat: which voxels of the brain, as flat indices.

    Returns:
        float32 `(n, features)`.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> flat = np.zeros((2, 2), np.float32)
        >>> scan = Scan("a", {"zadc": flat - 3}, flat, flat == 0, grid)
        >>> at_scales(scan, ["zadc"], "zadc", [-2.0], np.array([0]))[0, -2:].tolist()  # 4 voxels, all of the brain
        [0.004000000189989805, 1.0]
    """
    inside, columns = scan.inside, []
    places = np.stack(np.unravel_index(flat, inside.shape), axis=1)
    other, is_brain = scan.opposite(places)
    opposite = np.ravel_multi_index(tuple(other.T), inside.shape)
    weight = inside.astype(np.float32)
    weights = {size: np.maximum(_blurred(weight, size, scan), 1e-6) for size in MEANS_MM}

    def mirrored(image: np.ndarray) -> np.ndarray:  # what has no brain opposite differs in nothing from it
        return np.where(is_brain, image.ravel()[opposite], image.ravel()[flat])

    for name in names:
        image = (scan.probability if name == "probability" else scan.maps[name]) * weight
        means = {size: _blurred(image, size, scan) / weights[size] for size in MEANS_MM}
        squares = _blurred(image * image, SPREAD_MM, scan) / weights[SPREAD_MM]
        spread = np.sqrt(np.maximum(squares - means[SPREAD_MM] ** 2, 0))
        columns += [each.ravel()[flat] for each in (image, *means.values(), spread)]
        columns += [mirrored(image), mirrored(means[MIRRORED_MM])]
        values = image[inside].astype(np.float64)
        columns += [np.full(len(flat), of_brain) for of_brain in (values.mean(), values.std())]
    columns += [scan.depth.ravel()[flat], *scan.in_box(places).T, scan.off_midline(places)]
    for level in levels:
        below = (scan.maps[str(low)] < level) & inside
        labels, _ = components(below)
        volumes = np.bincount(labels.ravel()) * scan.geometry.voxel_ml
        volumes[0] = 0
        columns += [
            volumes[labels.ravel()[flat]],
            np.full(len(flat), np.count_nonzero(below) / np.count_nonzero(inside)),
        ]
    return np.stack(columns, axis=1).astype(np.float32)


def _blurred(image: np.ndarray, size_mm: float, scan: Scan) -> np.ndarray:
    return ndimage.gaussian_filter(image, size_mm / scan.spacing, mode="constant")
