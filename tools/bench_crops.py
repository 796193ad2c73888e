"""What a random crop costs: choosing where it lies, reading and augmenting it; and what the whole image costs.

    python tools/bench_crops.py [--size 182 218 182] [--crop 96 96 96] [--draws 1000]

The image is synthetic, with 60 cubes as lesions, in memory-mapped files such as the cache has, all read before.
Augmentation is that of the recipe `hie-small`. One thread. Prints a Markdown table.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from multifocal import recipes
from multifocal.pipeline.augment import Augmentation, Parameters, apply_crop, augment, draw, new_place
from multifocal.pipeline.sampling import LesionVoxels, draw_centre, draw_corner

CHANNELS = 2


def image(folder: Path, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return memory-mapped maps and lesions."""
    chance = np.random.default_rng(0)
    target = np.zeros(size, np.uint8)
    for side in chance.integers(1, 15, 60):
        corner = chance.integers(0, np.subtract(size, side))
        target[tuple(slice(c, c + side) for c in corner)] = 1
    np.save(folder / "images.npy", chance.standard_normal((CHANNELS, *size), np.float32))
    np.save(folder / "target.npy", target)
    return np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "target.npy", mmap_mode="r")


def milliseconds(call: Callable[[int], object], draws: int) -> float:
    """Return the mean processor time of a call."""
    call(draws)
    started = time.process_time()
    for number in range(draws):
        call(number)
    return 1000 * (time.process_time() - started) / draws


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(182, 218, 182))
    parser.add_argument("--crop", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size, crop = tuple(options.size), tuple(options.crop)
    lively = recipes.load("hie-small").trainings[0].augmentation
    with tempfile.TemporaryDirectory() as folder:
        images, target = image(Path(folder), size)
        started = time.process_time()
        lesions = LesionVoxels.of(target)
        rows = {"lesions found, once a case": 1000 * (time.process_time() - started)}

        def drawn(number: int, settings: Augmentation) -> tuple[Parameters, tuple[int, ...]]:
            chance = np.random.default_rng(number)
            generator = torch.Generator().manual_seed(number)
            parameters = draw(settings, channels=CHANNELS, size=size, generator=generator)
            centre = draw_centre(lesions, centred=0.5, by="lesion", chance=chance)
            if centre is not None:
                centre = new_place(centre, parameters, size=size, spacing=(1, 1, 1))
            return parameters, draw_corner(size, crop, centre, chance)

        def cut(number: int, settings: Augmentation) -> object:
            parameters, corner = drawn(number, settings)
            return apply_crop(images, target, parameters=parameters, corner=corner, crop=crop)

        def read(number: int) -> object:
            _, corner = drawn(number, Augmentation())
            box = tuple(slice(c, c + n) for c, n in zip(corner, crop, strict=True))
            return np.array(images[(slice(None), *box)]), np.array(target[box])

        def whole(number: int) -> object:
            generator = torch.Generator().manual_seed(number)
            given = torch.from_numpy(np.array(images)), torch.from_numpy(np.array(target))
            return augment(*given, settings=lively, generator=generator)

        few = max(3, options.draws // 50)
        rows["drawing where, no augmentation"] = milliseconds(lambda n: drawn(n, Augmentation()), options.draws)
        rows["drawing where and what augmentation does"] = milliseconds(lambda n: drawn(n, lively), options.draws)
        rows["the same and reading"] = milliseconds(read, few)
        rows["crop, no augmentation"] = milliseconds(lambda n: cut(n, Augmentation()), few)
        rows["crop, augmented"] = milliseconds(lambda n: cut(n, lively), few)
        rows["whole image, augmented"] = milliseconds(whole, max(3, few // 3))
    print(f"| {'×'.join(map(str, size))}, crops of {'×'.join(map(str, crop))} | ms |\n|---|---:|")
    for name, value in rows.items():
        print(f"| {name} | {value:.2f} |")


if __name__ == "__main__":
    main()
