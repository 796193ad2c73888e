"""The brain in a scan that is not skull-stripped: a mask of the user's, of an installed tool, or a simple one."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from scipy import ndimage, spatial

from multifocal.errors import UserError
from multifocal.instances import components
from multifocal.pipeline.channels import sagittal_plane
from multifocal.volumes import Volume, axis_codes, orient, read, write

AUTO = "auto"
SMALLEST_ML, LARGEST_ML = 150.0, 700.0  # of a neonate's brain, with a margin on either side
LEAST_FOUND = 0.45  # of the surface has an edge
LEAST_SYMMETRY = 0.85
_TISSUE = (300.0, 3600.0)  # ADC in 1e-6 mm²/s, from infarct to cerebrospinal fluid
_FLUID = 1800.0  # what lies above counts alike, or the edges of ventricles look like noise
_ROUGH = 300.0  # deviation of a voxel's smoothest neighbourhood, above which it is noise
_DIRECTIONS = 1200
_RADII = np.arange(0.0, 100.0)  # mm from the middle
_BACK, _AHEAD = 8, 3  # mm of tissue before an edge, and of none behind it: a skull is thin
_SHRINK, _GROW, _STEPS = 8.0, 3.0, 40  # mm that the surface may move in a step
_NEARER = 0.08  # what an edge a mm further away is worth less
_CLEAR = 0.4  # the least edge that counts, of 1
_STIFF = np.radians(10.0)
_RIM = 2.0  # mm on either side of the surface where the voxels decide
_SKULL = 8.0  # mm from the edge of the mask in which skull may lie


class Brain(NamedTuple):
    """Where the brain is, and how that was found.

    Args:
        mask: on the scan's grid, not 0 in the brain.
        remark: in one line for people, and how good it is; None for a mask of the user's own.
    """

    mask: Volume
    remark: str | None


def brain_finder(told: str) -> Callable[[Volume], Brain]:
    """Return what finds the brain in an ADC map, as `--brain` says.

    Args:
        told: "auto"; the name of a tool, "synthstrip" or "hd-bet", with its path after a colon where it has another
            name or is not on the PATH; or the file of a mask.

    Returns:
        A function from the map to the brain. It raises `UserError` where the mask lies on another grid or is empty, no
        brain is found, or the tool fails.

    Raises:
        UserError: there is no such file, or the tool is not installed.

    Example:
        >>> brain_finder("synthstrip:/no/such/tool")
        Traceback (most recent call last):
        multifocal.errors.UserError: --brain synthstrip: there is no /no/such/tool to run; install the tool, or ...
    """
    if told == AUTO:
        return find_brain
    name, _, where = told.partition(":")
    if name in _TOOLS and not Path(told).exists():
        tried = [where] if where else list(_TOOLS[name].programs)
        program = next(filter(None, map(shutil.which, tried)), None)
        if program is None:
            raise UserError(
                f"--brain {name}: there is no {' or '.join(tried)} to run; install the tool, or say where it is with "
                f"--brain {name}:PATH"
            )
        return partial(_by_tool, name, program)
    if not Path(told).is_file():
        raise UserError(f"--brain {told}: no such file; give a mask, or one of {', '.join((AUTO, *_TOOLS))}")
    return partial(_by_file, told)


def find_brain(adc: Volume) -> Brain:
    """Find a neonate's brain in an ADC map by its edge, without anything trained.

    A surface around the deepest tissue moves outwards along 1200 directions, a little in each step and kept smooth by
    its neighbours, to the first place where smooth tissue ends: at skull, noise or 0. Where there is no edge, as at a
    fontanelle, it goes with its neighbours. Within 2 mm of it tissue is told from what is none.

    Args:
        adc: in 1e-6 mm²/s, 3D.

    Returns:
        The brain, and how good the mask seems.

    Raises:
        UserError: it is 2D, or what is found cannot be a neonate's brain by its volume, its symmetry, or the share of
            its surface where there is an edge.

    Source:
        The moving surface is that of Smith 2002, doi:10.1002/hbm.10062 (BET), its forces are not.

    Example:
        >>> import numpy as np
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((60, 60, 50), (2.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
        >>> away = np.linalg.norm((np.indices(grid.size).T - (30, 30, 25)).T * 2.0, axis=0)
        >>> adc = np.where((away < 44) | ((away > 48) & (away < 54)), 1200.0, 0.0)  # brain, skull and scalp
        >>> brain = find_brain(Volume(adc, grid))
        >>> bool((brain.mask.array == (away < 44)).mean() > 0.99)
        True
    """
    grid = adc.geometry
    if grid.ndim != 3:
        raise UserError("--brain auto: the scan is 2D; give the file of a mask")
    spacing = np.array(grid.spacing)
    tissue = _tissue(adc.array, spacing)
    depth = ndimage.distance_transform_edt(np.pad(tissue, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    if depth.max() < _BACK:
        raise UserError(
            f"--brain auto: no tissue as deep as a brain has values of {_TISSUE[0]:g} to {_TISSUE[1]:g}; is the unit "
            "1e-6 mm²/s? Or give the file of a mask"
        )
    middle = _middle(Volume((depth > 0.6 * depth.max()).astype(np.uint8), grid))
    directions = _sphere(_DIRECTIONS)
    radii, found = _surface(tissue, spacing, middle, directions, start=float(depth.max()))
    mask = _within(tissue, spacing, middle, directions, radii)
    millilitres = float(np.count_nonzero(mask)) * grid.voxel_ml
    symmetry = _symmetry(Volume(mask, grid))
    said = (
        f"{millilitres:.0f} ml, an edge in {100 * found:.0f} % of directions, Dice {symmetry:.2f} with its mirror image"
    )
    if not SMALLEST_ML <= millilitres <= LARGEST_ML or found < LEAST_FOUND or symmetry < LEAST_SYMMETRY:
        raise UserError(
            f"--brain auto: what was found is no neonate's brain ({said}; expected are {SMALLEST_ML:g} to "
            f"{LARGEST_ML:g} ml, {100 * LEAST_FOUND:g} %, {LEAST_SYMMETRY:g}); give the file of a mask"
        )
    remark = f"the brain was found by its edge alone (--brain auto): {said}; look whether it is right"
    return Brain(Volume(mask.astype(np.uint8), grid), remark)


class _Tool(NamedTuple):
    """A program that strips skulls: what it is called, and how to ask it for the mask of a scan."""

    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    mask: str


_TOOLS: Mapping[str, _Tool] = {
    "synthstrip": _Tool(
        ("mri_synthstrip", "nipreps-synthstrip", "synthstrip-docker", "synthstrip-singularity"),
        ("-i", "scan.nii.gz", "-o", "stripped.nii.gz", "-m", "mask.nii.gz"),
        "mask.nii.gz",
    ),
    "hd-bet": _Tool(
        ("hd-bet",),
        ("-i", "scan.nii.gz", "-o", "out.nii.gz", "-device", "cpu", "--disable_tta", "--save_bet_mask"),
        "out_bet.nii.gz",
    ),
}


def _by_tool(name: str, program: str, adc: Volume) -> Brain:
    tool = _TOOLS[name]
    with TemporaryDirectory() as folder:
        home = Path(folder)
        write(home / "scan.nii.gz", adc)
        # The files' own names alone may be asked for: a container sees this folder as its own.
        ended = subprocess.run(
            [str(Path(program).absolute()), *tool.arguments],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if ended.returncode or not (home / tool.mask).is_file():
            last = next((line for line in reversed(ended.stdout.splitlines()) if line.strip()), "it says nothing")
            raise UserError(
                f"--brain {name}: {program} ended with {ended.returncode} and no mask ({last.strip()[:200]}); "
                "try it on the scan by itself"
            )
        mask = read(home / tool.mask)
    _check(mask, adc, told=name)
    return Brain(mask, f"the brain was found by {name}; look whether it is right")


def _by_file(path: str, adc: Volume) -> Brain:
    mask = read(path)
    _check(mask, adc, told=path)
    return Brain(mask, None)


def _check(mask: Volume, adc: Volume, *, told: str) -> None:
    if differences := mask.geometry.differences(adc.geometry):
        raise UserError(f"--brain {told}: {', '.join(differences)} in the scan; give a mask on the scan's grid")
    if not mask.array.any():
        raise UserError(f"--brain {told}: is 0 everywhere; give the mask of the brain")


def _tissue(array: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return where a voxel has the ADC of tissue or fluid and lies in a smooth neighbourhood, within slices."""
    size = [3, 3, 3]
    size[int(np.argmax(spacing))] = 1
    values = np.where(np.isfinite(array), array, 0.0).astype(np.float64)
    capped = np.minimum(values, _FLUID)
    mean = ndimage.uniform_filter(capped, size)
    deviation = np.sqrt(np.maximum(ndimage.uniform_filter(capped**2, size) - mean**2, 0.0))
    # Of all neighbourhoods that hold the voxel, the smoothest: at an edge between two tissues there is one.
    smooth = ndimage.minimum_filter(deviation, size) < _ROUGH
    return np.asarray((values > _TISSUE[0]) & (values < _TISSUE[1]) & smooth)


def _middle(deep: Volume) -> np.ndarray:
    """Return the middle of the deepest tissue in mm along the array's axes; of several such, of the uppermost."""
    spacing = np.array(deep.geometry.spacing)
    labels, count = components(deep.array)
    parts = [np.argwhere(labels == number) for number in range(1, count + 1)]
    least = min(1.0 / deep.geometry.voxel_ml, max(map(len, parts)))  # a millilitre
    middles = [part.mean(axis=0) for part in parts if len(part) >= least]
    heights = [(deep.geometry.affine @ np.append(middle, 1.0))[2] for middle in middles]
    return np.asarray(middles[int(np.argmax(heights))] * spacing)  # a neck may be as thick as a brain is deep


def _sphere(count: int) -> np.ndarray:
    """Return directions that are spread evenly, `(count, 3)`: a Fibonacci lattice."""
    numbers = np.arange(count) + 0.5
    height, turn = 1 - 2 * numbers / count, np.pi * (1 + np.sqrt(5)) * numbers
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)


def _surface(
    tissue: np.ndarray, spacing: np.ndarray, middle: np.ndarray, directions: np.ndarray, *, start: float
) -> tuple[np.ndarray, float]:
    """Return the brain's radius in mm along each direction, and the share of them where there is an edge."""
    places = (middle + directions[:, None] * _RADII[:, None]) / spacing
    share = ndimage.map_coordinates(tissue.astype(np.float32), places.reshape(-1, 3).T, order=1)
    total = np.pad(np.cumsum(share.reshape(len(directions), -1), axis=1), ((0, 0), (1, 0)))

    def mean(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return the share of tissue between two radii of each direction, `(directions, n)`."""
        low, high = (np.clip(np.rint(ends), 0, len(_RADII)).astype(int) for ends in (low, high))
        between = np.take_along_axis(total, high, axis=1) - np.take_along_axis(total, low, axis=1)
        return between / np.maximum(high - low, 1)

    every = np.broadcast_to(_RADII, (len(directions), len(_RADII)))
    edge = mean(every - _BACK, every) - mean(every, every + _AHEAD)
    near = np.exp(-((np.arccos(np.clip(directions @ directions.T, -1, 1)) / _STIFF) ** 2) / 2)
    radii = np.full(len(directions), start)
    best, is_edge = radii, np.zeros(len(directions), bool)
    for _ in range(_STEPS):
        away = _RADII - radii[:, None]
        worth = np.where((away >= -_SHRINK) & (away <= _GROW), edge - _NEARER * np.abs(away), -np.inf)
        chosen = worth.argmax(axis=1)
        best, height = _RADII[chosen], np.take_along_axis(edge, chosen[:, None], axis=1)[:, 0]
        is_edge = height > _CLEAR
        is_inside = mean((radii - 4)[:, None], (radii + 4)[:, None])[:, 0] > 0.6
        wanted = np.where(is_edge, best, np.where(is_inside, radii + 4, radii - 3))
        weight = near * np.where(is_edge, height, 0.08)  # what has no edge goes with its neighbours
        radii = np.clip(weight @ wanted / weight.sum(axis=1), 5.0, _RADII[-5])
    close = is_edge & (np.abs(best - radii) < 4)
    return np.where(close, (best + radii) / 2, radii), float(is_edge.mean())


def _within(
    tissue: np.ndarray, spacing: np.ndarray, middle: np.ndarray, directions: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """Return the voxels within the surface; near to it those that are tissue."""
    away = np.indices(tissue.shape).reshape(3, -1).T * spacing - middle
    distance = np.linalg.norm(away, axis=1)
    near = np.flatnonzero(distance < radii.max())
    gaps, owners = spatial.cKDTree(directions).query(away[near] / np.maximum(distance[near, None], 1e-6), k=4)
    weight = 1 / np.maximum(gaps, 1e-3) ** 2
    inside = np.zeros(tissue.size, bool)
    inside[near] = distance[near] <= (radii[owners] * weight).sum(axis=1) / weight.sum(axis=1)
    padded = np.pad(inside.reshape(tissue.shape), 1)
    sure = ndimage.distance_transform_edt(padded, sampling=spacing) > _RIM
    reach = ndimage.distance_transform_edt(~padded, sampling=spacing) <= _RIM
    padded_tissue = np.pad(tissue, 1)
    whole = np.asarray(ndimage.binary_fill_holes(_largest(sure | (reach & padded_tissue))))
    # Skull within the surface would be taken for a lesion: what is no tissue and leads outside, and scalp beyond it.
    shallow = ndimage.distance_transform_edt(whole, sampling=spacing) <= _SKULL
    leads_out = ndimage.binary_propagation(~whole, mask=~whole | (shallow & ~padded_tissue))
    whole &= ~leads_out
    core = _largest(ndimage.distance_transform_edt(whole, sampling=spacing) > _RIM)
    whole &= ndimage.distance_transform_edt(~core, sampling=spacing) <= _RIM + spacing.max() / 2
    return np.asarray(ndimage.binary_fill_holes(whole))[1:-1, 1:-1, 1:-1]


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = components(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _symmetry(mask: Volume) -> float:
    """Return the Dice of a mask and its mirror image across the mid-sagittal plane."""
    array = orient(Volume(mask.array.view(np.uint8), mask.geometry))
    across = next(axis for axis, letter in enumerate(axis_codes(array.geometry)) if letter == "L")
    inside = array.array != 0
    if not inside.any():
        return 0.0
    places = np.argwhere(inside)
    places[:, across] = sagittal_plane(inside, across) - places[:, across]
    there = (places[:, across] >= 0) & (places[:, across] < inside.shape[across])
    return float(np.count_nonzero(inside[tuple(places[there].T)]) / len(places))
