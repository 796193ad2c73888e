"""How near Z-ADC made by an atlas recovered from pairs comes to the distributed one, fold by fold: docs/scan.md.

    python tools/atlas_accuracy.py BONBID2023_Train --folds docs/bonbid40-folds.json --out OUT

Maps and atlases go into OUT; what is there is not made again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from multifocal.cohorts import Case, Folds, open_cohort
from multifocal.files import read_json, write_csv, write_json
from multifocal.normative import Atlas, from_pairs, z_map
from multifocal.volumes import read, write

COLUMNS = (
    "fold",
    "case",
    "correlation",
    "deep_correlation",
    "dice",
    "ours_percent",
    "theirs_percent",
    "lesion_percent",
)
DEEP_MM = 6.0


def scored(ours: np.ndarray, theirs: np.ndarray, brain: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """Return how two maps of a brain agree."""
    deep = ndimage.distance_transform_edt(brain, sampling=spacing) > DEEP_MM
    low, other = ours[brain] < -2, theirs[brain] < -2
    return {
        "correlation": float(np.corrcoef(ours[brain], theirs[brain])[0, 1]),
        "deep_correlation": float(np.corrcoef(ours[deep], theirs[deep])[0, 1]),
        "dice": 2 * float((low & other).sum()) / max(int(low.sum() + other.sum()), 1),
        "ours_percent": 100 * float(low.mean()),
        "theirs_percent": 100 * float(other.mean()),
    }


def of_case(case: Case, path: Path, atlas: Atlas, seconds: dict[str, float]) -> dict[str, float]:
    """Return the scores of a case, its map made where it is missing."""
    adc = case.images["adc"].read()
    if not path.exists():
        started = time.perf_counter()
        write(path, z_map(adc, atlas, where=case.name)[0])
        seconds[case.name] = time.perf_counter() - started
    brain = adc.array != 0
    share = case.label.read().array[brain].mean() * 100 if case.label else np.nan
    found = scored(read(path).array, case.images["zadc"].read().array, brain, adc.geometry.spacing)
    return found | {"lesion_percent": float(share)}


def main() -> None:
    """Make what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort")
    parser.add_argument("--folds", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--only", type=int, nargs="*", help="these folds alone")
    options = parser.parse_args()
    cohort, rows = open_cohort(options.cohort), []
    for number, fold in enumerate(Folds.load(options.folds).folds):
        if options.only is not None and number not in options.only:
            continue
        home = options.out / f"fold{number}"
        if not (home / "atlas.json").exists():
            started = time.perf_counter()
            cases = [cohort.case(name) for name in fold.train]
            pairs = [(case.name, case.images["adc"].read(), case.images["zadc"].read()) for case in cases]
            atlas, about = from_pairs(pairs, progress=lambda line: print(f"  {line}", flush=True))
            atlas.save(home, about)
            write_json(home / "seconds.json", {"atlas": round(time.perf_counter() - started)})
        atlas, seconds = Atlas.load(home / "mean.nii.gz", home / "sd.nii.gz"), read_json(home / "seconds.json")
        for name in fold.test:
            row = of_case(cohort.case(name), home / f"{name}_zadc.mha", atlas, seconds)
            rows.append({"fold": number, "case": name, **row})
            write_json(home / "seconds.json", seconds)
        own = [row for row in rows if row["fold"] == number]
        print(f"fold {number}:", _line(own), seconds, flush=True)
    write_csv(options.out / "scores.csv", rows, columns=COLUMNS)
    print(f"all {len(rows)}:", _line(rows))


def _line(rows: list[dict]) -> str:
    whole, deep = (np.mean([row[key] for row in rows]) for key in ("correlation", "deep_correlation"))
    above = [row["dice"] for row in rows if row["lesion_percent"] > 1]
    low = [row["dice"] for row in rows]
    dice = f"Dice above 1 % {np.mean(above):.3f} ({len(above)}), " if above else ""
    return f"correlation {whole:.3f}, deeper than {DEEP_MM:g} mm {deep:.3f}, {dice}of all {np.mean(low):.3f}"


if __name__ == "__main__":
    main()
