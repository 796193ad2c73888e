"""Time of each loss, forward and backward, beside MONAI's in the same run. Prints Markdown tables.

    python tools/bench_losses.py [--input NAME ...] [--repeats N] [--threads N] [--masks FOLDER]

Inputs: slices-48 and slices-4 (B, 1, 256, 256) with 0-15 lesions and 10-40 predicted components a slice; volumes-4
(4, 1, 192, 192, 32) and volume-1 (1, 1, 128, 128, 64) with 5-60; masks: the real masks of `ms-lesion-masks` with
degraded predictions; growth: one image with 10 to 400 lesions. Losses take turns, so that what else the machine does
meets them all alike; a number is the median of its turns.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch

from multifocal import losses
from multifocal.volumes import read

PIXEL = {
    "dice": "DiceLoss",
    "generalized-dice": "GeneralizedDiceLoss",
    "focal": "FocalLoss",
    "tversky": "TverskyLoss",
    "dice-focal": "DiceFocalLoss",
    "dice-ce": "DiceCELoss",
    "gdf": "GeneralizedDiceFocalLoss",
}
DISTANCE = {"hausdorff-dt": "HausdorffDTLoss", "log-hausdorff-dt": "LogHausdorffDTLoss"}
LESION = ("blob-dice", "blob-gdf", "ici", "false", "proximity", "cc-dice", "cc-dice-ce", "bicc-dice-ce")
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def blobs(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Return a mask of balls of 1 to 4 voxels' radius (less along short axes)."""
    mask = np.zeros(shape, bool)
    for _ in range(count):
        radius = rng.integers(1, 5)
        centre = [int(rng.integers(radius, side - radius)) for side in shape]
        window = tuple(slice(c - radius, c + radius + 1) for c in centre)
        steps = np.arange(-radius, radius + 1)
        mask[window] |= sum(np.meshgrid(*[steps**2] * len(shape), indexing="ij")) <= radius**2
    return mask


def degraded(rng: np.random.Generator, mask: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """Return logits that find most of a mask, a voxel aside, and something else besides."""
    moved = np.roll(mask, rng.integers(-1, 2, mask.ndim), tuple(range(mask.ndim)))
    found = (moved & (rng.random(mask.shape) < 0.95)) | extra
    return np.where(found, 2.0, -5.0) + rng.normal(0, 0.5, mask.shape)


def synthetic(shape: tuple[int, ...], lesions: tuple[int, int], components: tuple[int, int]) -> tuple:
    """Return logits and target of a batch."""
    rng = np.random.default_rng(0)
    logits, target = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for image in range(shape[0]):
        mask = blobs(rng, shape[2:], int(rng.integers(lesions[0], lesions[1] + 1)))
        extra = blobs(rng, shape[2:], int(rng.integers(components[0], components[1] + 1)) // 2)
        target[image, 0], logits[image, 0] = mask, degraded(rng, mask, extra)
    return torch.from_numpy(logits), torch.from_numpy(target)


def masks(folder: Path) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Yield the real masks with degraded predictions."""
    rng = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.nii*")):
        mask = read(path).array > 0
        logits = degraded(rng, mask, blobs(rng, mask.shape, 20)).astype(np.float32)
        yield path.name, torch.from_numpy(logits)[None, None], torch.from_numpy(mask.astype(np.float32))[None, None]


def monai_losses(names: dict[str, str]) -> dict[str, Loss]:
    """Return MONAI's losses of these names."""
    import monai.losses

    found = {}
    for name, kind in names.items():
        options = {} if kind == "FocalLoss" else {"sigmoid": True}
        if "Hausdorff" in kind:
            options["include_background"] = True
        if kind == "TverskyLoss":
            options |= {"alpha": 0.3, "beta": 0.7}
        found[name] = getattr(monai.losses, kind)(**options)
    return found


def step(loss: Loss, logits: torch.Tensor, target: torch.Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    x = logits.detach().requires_grad_()
    started = time.perf_counter()
    loss(x, target).backward()
    return time.perf_counter() - started


def timed(rows: dict[str, Loss], logits: torch.Tensor, target: torch.Tensor, repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each loss, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(repeats + 1):
        for name, loss in rows.items():
            seconds = step(loss, logits, target)
            if turn:  # the first one warms up
                times[name].append(1000 * seconds)
    return {name: median(values) for name, values in times.items()}


def table(title: str, logits: torch.Tensor, target: torch.Tensor, *, repeats: int, with_distances: bool) -> None:
    """Print one input's table."""
    others = PIXEL | (DISTANCE if with_distances else {})
    rows: dict[str, Loss] = {f"monai {name}": loss for name, loss in monai_losses(others).items()}
    rows |= {
        name: losses.build(name) for name in losses.names() if with_distances or not ("haus" in name or name == "tlhf")
    }
    if with_distances:
        distances = losses.target_distances(target)
        ready = losses.build("hausdorff-dt")
        rows["hausdorff-dt, target's distances given"] = lambda x, y: ready(x, y, distances=distances)
    took = timed(rows, logits, target, repeats)
    base = took["monai gdf"]
    print(f"\n### {title}\n\n| loss | ms | MONAI's, ms | of MONAI's gdf |\n|---|---|---|---|")
    for name, milliseconds in took.items():
        if not name.startswith("monai "):
            same = took.get("monai " + name.split(",")[0])
            print(f"| {name} | {milliseconds:.1f} | {f'{same:.1f}' if same else ''} | {milliseconds / base:.2f} |")


def growth(repeats: int) -> None:
    """Print how time grows with the number of lesions on one image."""
    names = ("blob-gdf", "ici", "false", "proximity", "cc-dice-ce", "bicc-dice-ce")
    print(
        "\n### Growth with the number of lesions, 1×1×192×192×64, ms\n\n| loss | 10 | 400 | ratio |\n|---|---|---|---|"
    )
    took = []
    for count in (10, 400):
        rng = np.random.default_rng(0)
        mask = blobs(rng, (192, 192, 64), count)
        logits = torch.from_numpy(degraded(rng, mask, blobs(rng, mask.shape, count // 4)).astype(np.float32))[
            None, None
        ]
        target = torch.from_numpy(mask.astype(np.float32))[None, None]
        took.append(timed({name: losses.build(name) for name in names}, logits, target, repeats))
    for name in names:
        few, many = took[0][name], took[1][name]
        print(f"| {name} | {few:.1f} | {many:.1f} | {many / few:.2f} |")


def real(folder: Path, repeats: int, names: list[str]) -> None:
    """Print the ratios to MONAI's generalized Dice + focal over the real masks: median and worst."""
    ratios: dict[str, list[float]] = {name: [] for name in names}
    count = 0
    for _, logits, target in masks(folder):
        rows = {"monai gdf": monai_losses({"gdf": PIXEL["gdf"]})["gdf"]} | {name: losses.build(name) for name in names}
        took = timed(rows, logits, target, repeats)
        count += 1
        for name in names:
            ratios[name].append(took[name] / took["monai gdf"])
    print(f"\n### {count} real masks: time over that of MONAI's gdf\n\n| loss | median | worst |\n|---|---|---|")
    for name, values in ratios.items():
        print(f"| {name} | {median(values):.2f} | {max(values):.2f} |")


INPUTS = {
    "slices-4": ((4, 1, 256, 256), (0, 15), (10, 40)),
    "slices-48": ((48, 1, 256, 256), (0, 15), (10, 40)),
    "volumes-4": ((4, 1, 192, 192, 32), (5, 60), (5, 60)),
    "volume-1": ((1, 1, 128, 128, 64), (5, 60), (5, 60)),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", action="append", choices=[*INPUTS, "growth", "masks"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-distances", action="store_true", help="leave out the Hausdorff losses, MONAI's are slow")
    parser.add_argument("--loss", action="append", choices=losses.names(), help="of those timed on the real masks")
    parser.add_argument("--masks", type=Path, default=Path("../shared/data/ms-lesion-masks"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, medians of {options.repeats}")
    for name in options.input or [*INPUTS, "growth", "masks"]:
        if name == "growth":
            growth(options.repeats)
        elif name == "masks":
            if options.masks.is_dir():
                real(options.masks, options.repeats, options.loss or list(LESION))
        else:
            logits, target = synthetic(*INPUTS[name])
            title = f"{name}: {'×'.join(map(str, logits.shape))}"
            table(title, logits, target, repeats=options.repeats, with_distances=not options.no_distances)


if __name__ == "__main__":
    main()
