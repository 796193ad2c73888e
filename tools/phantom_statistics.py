"""Compare a synthetic cohort with real masks: how many lesions or nuclei, how large, where.

    python tools/phantom_statistics.py wmh --real ms-lesion-masks --brains ms-flair --synthetic phantoms
    python tools/phantom_statistics.py nuclei --real nuclei --synthetic phantoms

`wmh`: REAL holds `<case>/mask.nii.gz`, BRAINS `<patient>/flair.nii.gz` in the same space (the share of the brain and
the distance to the ventricles are means over these patients), SYNTHETIC is a cohort of
`multifocal data phantom --kind wmh`, of which the cases of 1 mm are compared. Ventricles are found alike in both: dark,
deep in the brain, at least 1 ml in one piece. `nuclei`: two cohorts of layout images2d, colour and grey images apart.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from multifocal.cohorts import brain_mask, open_cohort
from multifocal.instances import components
from multifocal.volumes import read

QUANTILES = (10, 50, 90)
WMH = {
    "lesions a case": "{:.0f}",
    "volume of all, ml": "{:.1f}",
    "share of the brain, %": "{:.2f}",
    "median lesion, mm³": "{:.0f}",
    "lesions below 10 mm³, %": "{:.0f}",
    "90 % quantile of a case's lesions, mm³": "{:.0f}",
    "largest lesion, % of all": "{:.0f}",
    "voxels within 3 mm of the ventricles, %": "{:.0f}",
    "voxels within 10 mm of the ventricles, %": "{:.0f}",
    "lesions that come within 3 mm, %": "{:.0f}",
    "volume of these, % of all": "{:.0f}",
}
NUCLEI = {
    "nuclei an image": "{:.0f}",
    "nuclei a component": "{:.2f}",
    "nuclei that touch another, %": "{:.0f}",
    "median area, pixels": "{:.0f}",
    "spread of areas / mean": "{:.2f}",
    "foreground, %": "{:.1f}",
    "grey of the background": "{:.0f}",
    "grey of the nuclei": "{:.0f}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("wmh", "nuclei"))
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--brains", type=Path, help="of wmh: FLAIR of some patients in the masks' space")
    parser.add_argument("--synthetic", type=Path, required=True)
    given = parser.parse_args()
    if given.kind == "wmh":
        print_table(WMH, real_wmh(given.real, given.brains), synthetic_wmh(given.synthetic))
        return
    for colour in (True, False):
        print("colour" if colour else "grey")
        print_table(NUCLEI, list(nuclei(given.real, colour=colour)), list(nuclei(given.synthetic, colour=colour)))


def print_table(names: dict[str, str], real: list[np.ndarray], synthetic: list[np.ndarray]) -> None:
    quantiles = " / ".join(f"{quantile} %" for quantile in QUANTILES)
    print(f"| {quantiles} of the cases | real ({len(real)}) | synthetic ({len(synthetic)}) |")
    print("|---|---|---|")
    columns = [np.nanpercentile(np.array(rows, float), QUANTILES, axis=0).T for rows in (real, synthetic)]
    for name, one, other in zip(names, *columns, strict=True):
        print(f"| {name} | {' / '.join(names[name].format(v) for v in one)} | "
              f"{' / '.join(names[name].format(v) for v in other)} |")  # fmt: skip


def real_wmh(masks: Path, brains: Path) -> list[np.ndarray]:
    heads = [read(path) for path in sorted(brains.glob("*/flair.nii.gz"))]
    places = [head_of(volume.array) for volume in heads]
    rows = []
    for path in sorted(masks.glob("*/mask.nii.gz")):
        volume = read(path)
        rows.append(np.mean([lesion_row(volume.array > 0, volume.geometry.voxel_ml, *place) for place in places], 0))
    return rows


def synthetic_wmh(folder: Path) -> list[np.ndarray]:
    rows = []
    for case in open_cohort(folder):
        flair = case.images["flair"].read()
        if max(flair.geometry.spacing) < 1.5:  # mm; distances below take voxels for mm
            rows.append(lesion_row(case.label.read().array > 0, flair.geometry.voxel_ml, *head_of(flair.array)))
    return rows


def head_of(flair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The brain, and the distance of each voxel to its ventricles."""
    brain = ndimage.binary_fill_holes(brain_mask(flair))
    dark = ndimage.gaussian_filter(flair.astype(np.float32), 0.7) < 0.55 * np.median(flair[brain])
    labels, _ = components(dark & (ndimage.distance_transform_edt(brain) > 18), connectivity="face")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return brain, ndimage.distance_transform_edt(~(sizes >= 1000)[labels])


def lesion_row(lesion: np.ndarray, voxel_ml: float, brain: np.ndarray, away: np.ndarray) -> np.ndarray:
    labels, count = components(lesion)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * voxel_ml * 1000
    near = ndimage.minimum(away, labels, range(1, count + 1)) <= 3
    total = sizes.sum()
    percent = 100 * np.array(
        [(away[lesion] <= 3).mean(), (away[lesion] <= 10).mean(), near.mean(), sizes[near].sum() / total]
    )
    return np.array([
        count, total / 1000, 100 * lesion.sum() / brain.sum(), np.median(sizes), 100 * (sizes < 10).mean(),
        np.percentile(sizes, 90), 100 * sizes.max() / total, *percent,
    ])  # fmt: skip


def nuclei(folder: Path, *, colour: bool) -> Iterator[np.ndarray]:
    for case in open_cohort(folder):
        channels = [image.read().array.astype(float) for image in case.images.values()]
        if (len(channels) > 1 and not np.array_equal(channels[0], channels[1])) != colour:
            continue
        grey, labels = np.mean(channels, axis=0), case.label.read().array.astype(int)
        areas = np.bincount(labels.ravel())[1:]
        areas = areas[areas > 0]
        touching: set[int] = set()
        for axis in (0, 1):
            one, other = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
            meet = (one > 0) & (other > 0) & (one != other)
            touching |= {*one[meet].tolist(), *other[meet].tolist()}
        found = labels > 0
        yield np.array([
            len(areas), len(areas) / components(found)[1], 100 * len(touching) / len(areas), np.median(areas),
            areas.std() / areas.mean(), 100 * found.mean(), grey[~found].mean(), grey[found].mean(),
        ])  # fmt: skip


if __name__ == "__main__":
    main()
