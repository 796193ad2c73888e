"""How often `multifocal zadc` says that a scan fits its atlas poorly, good or spoiled: docs/scan.md.

    python tools/atlas_accuracy.py BONBID2023_Train --folds docs/bonbid40-folds.json --out OUT
    python tools/atlas_fit.py BONBID2023_Train --folds docs/bonbid40-folds.json --atlases OUT

Each scan is placed in the atlas of the fold that it is tested in. It prints Markdown tables: percent of the scans for
which each number is odd, and least, median and greatest values. What is in OUT/fit.csv is not measured again.
"""

import argparse
import csv
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from multifocal.cohorts import Folds, open_cohort
from multifocal.files import write_csv
from multifocal.normative import Atlas, z_map
from multifocal.normative.fit import LIMITS
from multifocal.volumes import Geometry, Volume, bounding_box, crop, orient, pad

RIM_MM = 5.0


def times(factor: float):
    return lambda scan: Volume(scan.array * np.float32(factor), scan.geometry)


def turned(scan: Volume) -> Volume:
    """Turn the voxels by 90° about the axis from head to feet, and leave the header's direction."""
    array = np.ascontiguousarray(np.rot90(scan.array))
    left, back, up = scan.geometry.spacing
    return Volume(array, replace(scan.geometry, size=array.shape, spacing=(back, left, up)))


def exchanged(axis: int):
    return lambda scan: Volume(np.ascontiguousarray(np.flip(scan.array, axis)), scan.geometry)


def cut(scan: Volume, share: float = 0.25) -> Volume:
    """Leave away the upper part of the brain."""
    lower, upper = bounding_box(scan.array)
    top = upper[2] - max(1, round(share * (upper[2] - lower[2])))
    return crop(scan, lower=(0, 0, 0), upper=(*scan.geometry.size[:2], top))


def larger(factor: float):
    """Give the brain another size by its spacing: 1.4 makes an adult's of a neonate's."""

    def change(scan: Volume) -> Volume:
        grid: Geometry = scan.geometry
        return Volume(scan.array, replace(grid, spacing=tuple(factor * mm for mm in grid.spacing)))

    return change


def rimmed(scan: Volume) -> Volume:
    """Surround the brain by 5 mm of fluid, as where the skull was not stripped well."""
    scan = pad(scan, lower=(4, 4, 4), upper=(4, 4, 4))
    apart = ndimage.distance_transform_edt(scan.array == 0, sampling=scan.geometry.spacing)
    return Volume(np.where((apart > 0) & (apart <= RIM_MM), np.float32(2500), scan.array), scan.geometry)


SPOILED = {
    "as it is": lambda scan: scan,
    "left and right exchanged": exchanged(0),
    "turned by 90° in its plane": turned,
    "front and back exchanged": exchanged(1),
    "head and feet exchanged": exchanged(2),
    "upper quarter cut off": cut,
    "upper half cut off": lambda scan: cut(scan, 0.5),
    "5 mm of fluid around the brain": rimmed,
    "an adult's size (× 1.4)": larger(1.4),
    "another age: ADC × 0.75": times(0.75),
    "ADC × 1.25": times(1.25),
}


def main() -> None:
    """Spoil, place, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort")
    parser.add_argument("--folds", required=True)
    parser.add_argument("--atlases", required=True, type=Path, help="OUT of atlas_accuracy.py")
    parser.add_argument("--only", nargs="*", default=list(SPOILED), choices=SPOILED, metavar="SPOILING")
    options = parser.parse_args()
    cohort, path = open_cohort(options.cohort), options.atlases / "fit.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []
    done = {(row["scan"], row["case"]) for row in rows}
    for number, fold in enumerate(Folds.load(options.folds).folds):
        home = options.atlases / f"fold{number}"
        atlas = Atlas.load(home / "mean.nii.gz", home / "sd.nii.gz")
        for case in cohort.subset(fold.test):
            for spoiling in options.only:
                if (spoiling, case.name) in done:
                    continue
                scan = orient(case.images["adc"].read())
                _, fit = z_map(SPOILED[spoiling](scan), atlas, where=case.name)
                rows.append({"scan": spoiling, "case": case.name, **asdict(fit)})
            write_csv(path, rows)
    show(rows)


def show(rows: list[dict]) -> None:
    """Print how often each number is odd, and which values there were."""
    print("| scan | scans | " + " | ".join([*LIMITS, "**any**"]) + " |\n|" + "---|" * (len(LIMITS) + 3))
    values = {}
    for spoiling in SPOILED:
        own = [row for row in rows if row["scan"] == spoiling]
        if not own:
            continue
        values[spoiling] = np.array([[float(row[name]) for name in LIMITS] for row in own])
        low, high = (np.array([limit[end] for limit in LIMITS.values()]) for end in (0, 1))
        odd = (values[spoiling] < low) | (values[spoiling] > high)
        shares = [f"{100 * share:.0f}" for share in (*odd.mean(0), odd.any(1).mean())]
        print(f"| {spoiling} | {len(own)} | " + " | ".join(shares) + " |")
    print("\n| scan | " + " | ".join(LIMITS) + " |\n|" + "---|" * (len(LIMITS) + 1))
    for spoiling, found in values.items():
        ends = [f"{least:.3g} … {mid:.3g} … {most:.3g}" for least, mid, most in np.percentile(found, [0, 50, 100], 0).T]
        print(f"| {spoiling} | " + " | ".join(ends) + " |")


if __name__ == "__main__":
    main()
