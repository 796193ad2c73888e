"""How often each flag warns on good scans, and on the same scans spoiled.

    python tools/flag_rates.py COHORT RUN... [--cases N] [--out FILE.csv]

Each run's test cases (`run.json`) are predicted as they are and spoiled, and flagged by the ranges of its training
cases: those of the run's `ranges.json`, or, of a run that is older, measured now. The first map alone is spoiled in its
values (another map, such as Z-ADC, is taken as it is); all maps alike in their places. It prints a Markdown table of
percent of the scans for which a flag is raised, and of those for which any is.
"""

import argparse
import csv
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from multifocal.cohorts import Case, ImageFile, open_cohort
from multifocal.cohorts.lesion_burden import brain_mask
from multifocal.systems import flags, load_model, uncertainty
from multifocal.systems.loading import read_about
from multifocal.systems.ranges import training_ranges
from multifocal.volumes import Volume, bounding_box, orient, write


def within(change):
    """Change the values of the first map in the brain; outside it stays 0."""

    def changed(maps, random):
        name = next(iter(maps))
        volume = maps[name]
        brain = brain_mask(volume.array)
        array = np.where(brain, change(volume.array.astype(np.float64), brain, volume, random), 0.0)
        array[brain & (array == 0)] = 1e-6  # or it would no longer be brain
        return {**maps, name: Volume(array.astype(np.float32), volume.geometry)}

    return changed


def noisy(array, brain, volume, random):
    return array + random.normal(0, 0.2 * np.median(array[brain]), array.shape)


def ghosted(array, brain, volume, random):
    """Half of the field of view away, along the axis nearest to front and back, 30 % of the image come again."""
    axis = int(np.argmax(np.abs(volume.geometry.matrix[1])))
    box = bounding_box(brain)
    shift = (box[1][axis] - box[0][axis]) // 2  # of the brain, or no ghost would lie on it
    return array + 0.3 * np.roll(array, shift, axis)


def moved(array, brain, volume, random):
    """Every other slice displaced by 4 mm within its plane, as if the head had moved between interleaved halves."""
    across = int(np.argmax(volume.geometry.spacing))
    along = next(axis for axis in range(3) if axis != across)
    shift = max(1, round(4 / volume.geometry.spacing[along]))
    found, slices = array.copy(), np.moveaxis(array, across, 0)
    np.moveaxis(found, across, 0)[1::2] = np.roll(slices, shift, 1 + (along if along < across else along - 1))[1::2]
    return np.where(found == 0, np.median(array[brain]), found)


def flipped(row):
    """Turn the voxels round along a patient axis, and leave the header."""

    def change(maps, random):
        return {
            name: Volume(np.flip(one.array, int(np.argmax(np.abs(one.geometry.matrix[row])))), one.geometry)
            for name, one in maps.items()
        }

    return change


def cropped(maps, random):
    """Leave away the upper quarter of the brain."""
    maps = {name: orient(one) for name, one in maps.items()}
    lower, upper = bounding_box(brain_mask(next(iter(maps.values())).array))
    top = upper[2] - max(1, (upper[2] - lower[2]) // 4)
    return {
        name: Volume(one.array[:, :, :top], replace(one.geometry, size=(*one.geometry.size[:2], top)))
        for name, one in maps.items()
    }


SPOILED = {
    "as it is": lambda maps, random: maps,
    "unit: × 0.001": within(lambda array, *_: array * 1e-3),
    "unit: × 1000": within(lambda array, *_: array * 1e3),
    "ADC × 0.75 (another age)": within(lambda array, *_: array * 0.75),
    "noise of 20 %": within(noisy),
    "ghost of 30 %": within(ghosted),
    "every other slice moved": within(moved),
    "upper quarter cut off": cropped,
    "left and right exchanged": flipped(0),
    "front and back exchanged": flipped(1),
    "head and feet exchanged": flipped(2),
}


def main() -> None:
    """Predict, flag, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--cases", type=int, help="of each run at most")
    parser.add_argument("--out", help="a line for each flag of each scan")
    chosen = parser.parse_args()
    cohort, rows = open_cohort(chosen.cohort), []
    for run in chosen.runs:
        model, parts = load_model(run), read_about(Path(run))["parts"]
        own = any(ranges is None for ranges in model.ranges)
        ranges = training_ranges(cohort.subset(parts["train"])) if own else model.ranges
        for case in cohort.subset(parts["test"][: chosen.cases]):
            maps = {name: image.read() for name, image in case.images.items()}
            for spoiling, change in SPOILED.items():
                with tempfile.TemporaryDirectory() as folder:
                    images = {}
                    for name, volume in change(maps, np.random.default_rng(0)).items():
                        images[name] = ImageFile(Path(folder) / f"{name}.mha")
                        write(images[name].path, Volume(np.ascontiguousarray(volume.array), volume.geometry))
                    spoiled = Case(case.name, case.subject, images)
                    prediction = model.predict(spoiled)
                    sure = uncertainty(prediction, model.members_of(spoiled, prediction))
                    found = flags(spoiled, prediction, uncertainty=sure, ranges=ranges)
                rows += [
                    {"case": case.name, "scan": spoiling, "flag": one.name, "number": one.number, "value": one.value}
                    | {"low": one.low, "high": one.high, "raised": one.raised}
                    for one in found
                ]
            print(f"{run}: {case.name}", file=sys.stderr)
    if chosen.out:
        with Path(chosen.out).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    show(rows)


def show(rows) -> None:
    """Print the share of the scans for which each flag is raised."""
    raised, cases = defaultdict(set), defaultdict(set)
    names = list(dict.fromkeys(row["flag"] for row in rows))
    for row in rows:
        cases[row["scan"]].add(row["case"])
        if row["raised"]:
            raised[row["scan"], row["flag"]].add(row["case"])
            raised[row["scan"], "any"].add(row["case"])
    print("| scan | " + " | ".join([*names, "**any**"]) + " |")
    print("|" + "---|" * (len(names) + 2))
    for scan in SPOILED:
        shares = [f"{100 * len(raised[scan, name]) / len(cases[scan]):.0f}" for name in (*names, "any")]
        print(f"| {scan} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    main()
