"""What the parity scripts share: pairs of masks, which both sides read from the same files, and the comparison."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

Scores = dict[str, float]


def main(ours: Callable[..., Scores], theirs: Callable[[Path], None], *, script: str, description: str | None) -> None:
    """Run a parity script: this side by default, the other library's with `--theirs FOLDER`.

    Args:
        ours: called with (prediction, target, spacing).
        theirs: scores the pairs in a folder, and writes a list of scores (null: undefined) to `theirs.json` in it.
        script: the script's file, to run it in the other environment.
        description: of the script.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the other library's environment")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real masks")
    parser.add_argument("--count", type=int, default=200, help="random pairs")
    parser.add_argument("--theirs", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.theirs:
        theirs(arguments.theirs)
        return
    groups, found = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, (group, prediction, target, spacing) in enumerate(_pairs(arguments.data, count=arguments.count)):
            np.savez(folder / f"{place:04d}.npz", prediction=prediction, target=target, spacing=spacing)
            groups.append(group)
            found.append(ours(prediction, target, spacing))
        subprocess.run([arguments.python, script, "--theirs", name], check=True)
        _print(groups, found, json.loads((folder / "theirs.json").read_text()))


def _print(groups: list[str], ours: list[Scores], theirs: list[dict[str, float | None]]) -> None:
    """Print the largest differences (relative ones above 1), and how many pairs have no value there alone."""
    names = list(ours[0])
    heads = ["masks", "pairs", *names, "undefined there"]
    print("| " + " | ".join(heads) + " |\n|---" + "|--:" * (len(heads) - 1) + "|")
    for group in dict.fromkeys(groups):
        both = [(a, b) for of, a, b in zip(groups, ours, theirs, strict=True) if of == group]
        cells = [f"{max(_difference(a[name], b[name]) for a, b in both):.1e}" for name in names]
        gaps = sum(any(b[name] is None and not np.isnan(a[name]) for name in names) for a, b in both)
        print("| " + " | ".join([group, str(len(both)), *cells, str(gaps)]) + " |")


def _pairs(data: Path, *, count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]]:
    """Yield (group, prediction, target, spacing): random masks, and the real ones where `data` holds them."""
    from multifocal.cohorts import open_cohort  # which the other environment need not have
    from multifocal.volumes import read

    random = np.random.default_rng(0)
    yield from _random(random, count)
    for folder in sorted((data / "ms-lesion-masks").glob("patient*")):
        volume = read(folder / "mask.nii.gz")
        target = _boxed(volume.array > 0, margin=6)
        yield "29 MS masks, degraded", _degraded(target, random), target, volume.geometry.spacing
    bonbid = data / "bonbid-hie" / "BONBID2023_Train"
    for case in open_cohort(bonbid) if bonbid.is_dir() else ():
        label, zadc = case.label.read(), case.images["zadc"].read().array
        yield "40 BONBID labels, Z-ADC < -2", zadc < -2, label.array > 0, label.geometry.spacing


def _difference(ours: float, theirs: float | None) -> float:
    if theirs is None:
        return 0.0
    return np.inf if np.isnan(ours) else abs(ours - theirs) / max(1.0, abs(theirs))


def _random(random: np.random.Generator, count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]]:
    for place in range(count):
        shape = tuple(int(side) for side in random.integers(2, 25, 3))
        prediction, target = _blobs(random, shape), _blobs(random, shape)
        if place % 10 == 1:
            prediction = np.roll(target, 1, axis=0)
        if place % 10 == 3:
            target = np.zeros(shape, bool)
            target[tuple(random.integers(0, side) for side in shape)] = True  # one voxel, anywhere
        if place % 20 == 5:
            prediction[:] = False
        if place % 20 == 15:
            target[:] = False
        if place % 40 == 25:
            prediction[:] = target[:] = False
        yield f"{count} random", prediction, target, tuple(random.uniform(0.5, 6.0, 3))


def _blobs(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    field = ndimage.gaussian_filter(random.random(shape), random.choice([0.4, 0.8, 1.5]))
    return field > np.quantile(field, random.choice([0.6, 0.8, 0.95]))


def _degraded(target: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Miss some lesions, grow or shrink others, shift all by a voxel, and make some up."""
    labels, count = ndimage.label(target, np.ones((3, 3, 3)))
    fates = np.concatenate([[0], random.choice([0, 1, 2, 3], count, p=[0.25, 0.35, 0.2, 0.2])])[labels]
    grown = ndimage.binary_dilation(fates == 2) | ndimage.binary_erosion(fates == 3) | (fates == 1)
    seeds = random.random(target.shape) > 1 - 0.3 * count / target.size
    return np.roll(grown, 1, axis=int(random.integers(3))) | ndimage.binary_dilation(seeds & ~target)


def _boxed(mask: np.ndarray, *, margin: int) -> np.ndarray:
    places = np.nonzero(mask)
    lower, upper = [int(along.min()) for along in places], [int(along.max()) + 1 for along in places]
    box = tuple(slice(max(0, a - margin), b + margin) for a, b in zip(lower, upper, strict=True))
    return np.ascontiguousarray(mask[box])
