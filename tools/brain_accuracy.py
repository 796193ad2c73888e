"""How near `predict --brain auto` comes to the brain of skull-stripped scans that a synthetic head was put around.

`python tools/brain_accuracy.py COHORT`. No head here is a real one: what a scan with its own skull gives is not known.
"""

import argparse
from typing import Any

import numpy as np

from multifocal.cohorts import brain_mask, open_cohort
from multifocal.cohorts.phantom.head import with_head
from multifocal.errors import UserError
from multifocal.pipeline.skull_strip import find_brain

LOW = 800.0  # ADC below which there is injury
HEADS: dict[str, dict[str, Any] | None] = {
    "stripped already": None,
    "air and skull are 0": {"noise": 0.0},
    "air and skull are noise": {},
    "skull 3 mm, noise": {"skull_mm": 3.0},
    "skull 1.2 mm, fluid 0.8 mm, noise": {"skull_mm": 1.2, "fluid_mm": 0.8},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cohort", help="skull-stripped scans with a map adc")
    parser.add_argument("--every", type=int, default=1, help="only every n-th case (default: all)")
    told = parser.parse_args()
    cases = open_cohort(told.cohort).cases[:: told.every]
    print("| head | Dice, mean | least | volume over the true one | of it skull below 800, at most | refused |")
    print("|---|---|---|---|---|---|")
    for name, head in HEADS.items():
        found = []
        for number, case in enumerate(cases):
            adc = case.images["adc"].read()
            brain = brain_mask(adc.array)
            scan = adc if head is None else with_head(adc, np.random.default_rng([1, number]), **head)
            try:
                mask = find_brain(scan).mask.array != 0
            except UserError:
                continue
            low = (mask & ~brain & (scan.array < LOW)).sum() / mask.sum()  # what a model may take for lesions
            found.append((2 * (mask & brain).sum() / (mask.sum() + brain.sum()), mask.sum() / brain.sum(), low))
        dice, volume, low = np.array(found).reshape(-1, 3).T
        of = (
            f"{dice.mean():.3f} | {dice.min():.3f} | {volume.min():.2f} to {volume.max():.2f} | {100 * low.max():.1f} %"
        )
        print(f"| {name} | {of} | {len(cases) - len(found)} of {len(cases)} |", flush=True)


if __name__ == "__main__":
    main()
