"""Lay cohorts of neonates (ADC, Z-ADC, lesions) beside each other in numbers: how real a synthetic one is.

    python tools/phantom_realism.py real=BONBID2023_Train neat=phantoms random=phantoms-random

Prints one table: a row a quantity, a column a cohort, in each the 10 %, 50 % and 90 % quantiles over its cases. The
brain is where ADC is not 0, "tissue" the brain without lesions. What is of lesions is over the cases that have some.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from multifocal.cohorts import Case, open_cohort
from multifocal.instances import components
from multifocal.parallel import parallel_map

FORMATS = {
    "correlation of ADC and Z-ADC in the brain": ".2f",
    "ADC in lesions, in standard deviations of the brain": ".2f",
    "the same, cases below 1 %": ".2f",
    "median Z in lesions": ".2f",
    "lesion voxels with Z < -2, cases below 1 %": ".2f",
    "tissue with Z < -2": ".3f",
    "tissue with Z < -1.5": ".3f",
    "mean Z of tissue": ".2f",
    "standard deviation of Z in tissue": ".2f",
    "ADC of tissue, 1e-6 mm²/s: median": ".0f",
    "interquartile range": ".0f",
    "99 %": ".0f",
    "above 2000 (fluid)": ".3f",
    "difference of neighbours in plane, tissue: ADC": ".0f",
    "Z-ADC": ".2f",
    "brain, ml": ".0f",
    "lesions' share of the brain": ".4f",
    "lesions a case": ".0f",
    "their median size, ml": ".2f",
    "share of lesions under 0.05 ml": ".2f",
    "components of Z < -2 of 0.04 ml and more that touch no lesion": ".0f",
    "their median size": ".2f",
    "their depth below the brain's edge, mm": ".1f",
    "Dice of Z < -2, cases below 1 %": ".2f",
    "1-5 %": ".2f",
    "above 5 %": ".2f",
}
"""The quantities in the order of `measure`, and how each is printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohorts", nargs="+", metavar="NAME=COHORT")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    given = parser.parse_args()
    named = [text.rpartition("=")[::2] for text in given.cohorts]
    columns = []
    for name, path in named:
        rows = np.array(list(parallel_map(measure, open_cohort(path).cases, workers=given.workers)))
        columns.append((f"{name or path} ({len(rows)})", np.nanpercentile(rows, (10, 50, 90), axis=0).T))
    print(f"| 10 % / 50 % / 90 % of the cases | {' | '.join(title for title, _ in columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for number, (quantity, form) in enumerate(FORMATS.items()):
        cells = (" / ".join(format(value, form) for value in values[number]) for _, values in columns)
        print(f"| {quantity} | {' | '.join(cells)} |")


def measure(case: Case) -> Sequence[float]:
    adc, zadc = (case.images[name].read().array.astype(np.float64) for name in ("adc", "zadc"))
    label = case.label.read()
    lesion, brain = label.array > 0, adc != 0
    tissue = brain & ~lesion
    labels, count = components(lesion, connectivity="full")
    sizes = np.bincount(labels.ravel())[1:] * label.geometry.voxel_ml
    share = lesion.sum() / brain.sum()
    is_small = 0 < share <= 0.01
    nan = float("nan")
    contrast = (np.median(adc[lesion]) - adc[brain].mean()) / adc[brain].std() if count else nan
    low = brain & (zadc < -2)
    dice = 2 * (low & lesion).sum() / (low.sum() + lesion.sum()) if count else nan
    others = false_components(low, lesion, spacing=label.geometry.spacing)
    depth = ndimage.distance_transform_edt(np.pad(brain, 1), sampling=label.geometry.spacing)[1:-1, 1:-1, 1:-1]
    quarter, half, three, top = np.percentile(adc[tissue], (25, 50, 75, 99))
    return (
        np.corrcoef(adc[brain], zadc[brain])[0, 1],
        contrast,
        contrast if is_small else nan,
        np.median(zadc[lesion]) if count else nan,
        (zadc[lesion] < -2).mean() if is_small else nan,
        (zadc[tissue] < -2).mean(),
        (zadc[tissue] < -1.5).mean(),
        zadc[tissue].mean(),
        zadc[tissue].std(),
        half,
        three - quarter,
        top,
        (adc[tissue] > 2000).mean(),
        roughness(adc, tissue),
        roughness(zadc, tissue),
        brain.sum() * label.geometry.voxel_ml,
        share,
        count or nan,
        np.median(sizes) if count else nan,
        (sizes < 0.05).mean() if count else nan,
        len(others),
        np.median([len(each) for each in others]) * label.geometry.voxel_ml if others else nan,
        np.median([depth.ravel()[each].mean() for each in others]) if others else nan,
        dice if is_small else nan,
        dice if 0.01 < share <= 0.05 else nan,
        dice if share > 0.05 else nan,
    )


def false_components(low: np.ndarray, lesion: np.ndarray, *, spacing: tuple[float, ...]) -> list[np.ndarray]:
    """The voxels, as flat indices, of each component that is low and touches no lesion, specks apart."""
    labels, count = components(low, connectivity="full")
    found = [np.flatnonzero(labels == number) for number in range(1, count + 1)]
    least = 0.04 * 1000 / np.prod(spacing)
    return [each for each in found if len(each) >= least and not lesion.ravel()[each].any()]


def roughness(image: np.ndarray, where: np.ndarray) -> float:
    """The median difference of neighbours in a slice."""
    pairs = [where[1:] & where[:-1], where[:, 1:] & where[:, :-1]]
    steps = [np.abs(np.diff(image, axis=axis))[pair] for axis, pair in enumerate(pairs)]
    return float(np.median(np.concatenate(steps)))


if __name__ == "__main__":
    main()
