"""Draw docs/overview.png from the outcome of `make demo`: synthetic scans with true and predicted lesions.

make demo && .venv/bin/python tools/make_overview.py demo docs/overview.png
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

from multifocal.cohorts import open_cohort
from multifocal.volumes import Volume, bounding_box, orient, read

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

METHODS = {"zadc-threshold": "Z-ADC < -2", "hie-small": "hie-small"}
COLORS = {"found": (0.15, 0.68, 0.38), "missed": (0.95, 0.61, 0.07), "false": (0.91, 0.30, 0.24)}


def main(demo: Path, picture: Path) -> None:
    """Draw the two test cases with most lesion below a tenth of the brain, three slices each at most."""
    cohort = open_cohort(demo / "cohort")
    tested = sorted(path.name.removesuffix("_lesion.mha") for path in (demo / "masks-hie-small").glob("*_lesion.mha"))
    cases = {name: _load(cohort.case(name), demo) for name in tested}
    share = {name: c["label"].sum() / (c["adc"] != 0).sum() for name, c in cases.items()}
    chosen = sorted((n for n in tested if 0 < share[n] < 0.1), key=share.__getitem__)[-2:]
    figure, axes = plt.subplots(len(chosen), 4, figsize=(11, 3.1 * len(chosen)), facecolor="black", squeeze=False)
    for row, name in zip(axes, chosen, strict=True):
        case = cases[name]
        z = int(case["label"].sum(axis=(0, 1)).argmax())
        _show(row[0], case["adc"][..., z], case["spacing"], "ADC", vmin=0, vmax=2800)
        _show(row[1], case["zadc"][..., z], case["spacing"], "Z-ADC", vmin=-6, vmax=6)
        for axis, (method, title) in zip(row[2:], METHODS.items(), strict=True):
            _show(axis, case["adc"][..., z], case["spacing"], title, vmin=0, vmax=2800)
            axis.imshow(_overlay(case[method][..., z], case["label"][..., z]), **_frame(case["spacing"]))
    handles = [plt.Line2D([], [], marker="s", ls="", color=color, label=name) for name, color in COLORS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, labelcolor="white", fontsize=11)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(picture, dpi=90, facecolor="black")


def _load(case, demo: Path) -> dict:
    volumes = {name: orient(image.read()) for name, image in case.images.items()}
    volumes["label"] = orient(case.label.read())
    for method in METHODS:
        volumes[method] = orient(read(demo / f"masks-{method}" / f"{case.name}_lesion.mha"))
    lower, upper = bounding_box(volumes["adc"].array)
    box = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    spacing = volumes["adc"].geometry.spacing
    return {name: _array(volume)[box] for name, volume in volumes.items()} | {"spacing": spacing}


def _array(volume: Volume) -> np.ndarray:
    return volume.array.astype(np.float32)


def _frame(spacing: tuple[float, ...]) -> dict:
    return {"aspect": spacing[1] / spacing[0], "interpolation": "nearest"}


def _show(axis, values: np.ndarray, spacing: tuple[float, ...], title: str, **limits: float) -> None:
    axis.imshow(values.T, cmap="gray", **limits, **_frame(spacing))
    axis.set_title(title, color="white", fontsize=12)
    axis.axis("off")


def _overlay(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    image = np.zeros((*truth.T.shape, 4))
    masks = {"found": truth * prediction, "missed": truth * (1 - prediction), "false": prediction * (1 - truth)}
    for name, mask in masks.items():
        image[mask.T > 0] = (*COLORS[name], 0.75)
    return image


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
