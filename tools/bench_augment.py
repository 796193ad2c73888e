"""Compare augmentation with TorchIO, and where it has no such thing with MONAI: time, and what the changes look like.

CarveMix, which neither has, stands beside what its formula costs where signed distances and regions are computed anew
for each sample. Prints Markdown tables. Times are processor time, which on one thread is the time on an idle machine.

    python tools/bench_augment.py --repeats 9
    python tools/bench_augment.py --statistics --draws 100
"""

import argparse
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import SimpleITK
import torch
import torchio as tio
from monai.transforms import RandRotate90, RandScaleIntensity, RandShiftIntensity
from scipy.ndimage import binary_dilation, distance_transform_edt

from multifocal.pipeline.augment import Augmentation, Donor, apply, augment, draw, paste

SHAPES = {"brain box": (2, 80, 96, 48), "whole map": (2, 192, 192, 32)}
SPACING = (2.0, 2.0, 2.0)
AFFINE = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
"""TorchIO counts displacements towards L, P, S: so do the array axes."""

TRANSFORMS = [name for name in Augmentation.model_fields if name not in ("paste", "one_of")]
OURS = {name: {"p": 1.0} for name in TRANSFORMS}
THEIRS: dict[str, tio.Transform] = {
    "noise": tio.RandomNoise(mean=(0.0, 0.0), std=(0, 0.01)),
    "anisotropy": tio.RandomAnisotropy(downsampling=(1.2, 2.0)),
    "blur": tio.RandomBlur(std=(0, 0.5)),
    "gamma": tio.RandomGamma(log_gamma=(-0.1, 0.1)),
    "elastic": tio.RandomElasticDeformation(),
    "affine": tio.RandomAffine(),
    "flip": tio.RandomFlip(axes=(0, 1, 2), flip_probability=1),
}
MONAI = {
    "scale": lambda: RandScaleIntensity(factors=0.1, prob=1, channel_wise=True),
    "shift": lambda: RandShiftIntensity(offsets=0.1, prob=1, channel_wise=True),
    "quarter_turns": lambda: RandRotate90(prob=1, spatial_axes=(0, 1)),
}
SPATIAL = ["elastic", "affine", "flip"]
ALL = list(THEIRS)
ROWS = {name: [name] for name in ALL} | {"all spatial": SPATIAL, "all": ALL}


def ours(names: list[str], images: torch.Tensor, target: torch.Tensor) -> Callable[[], torch.Tensor]:
    settings = Augmentation.model_validate({name: OURS[name] for name in names})
    generator = torch.Generator().manual_seed(0)
    return lambda: augment(images, target, settings=settings, generator=generator, spacing=SPACING)[0]


def theirs(names: list[str], images: torch.Tensor, target: torch.Tensor) -> Callable[[], torch.Tensor]:
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=images, affine=AFFINE), label=tio.LabelMap(tensor=target[None], affine=AFFINE)
    )
    transform = tio.Compose([THEIRS[name] for name in names])
    return lambda: transform(subject)["image"].data


def monais(name: str, images: torch.Tensor, target: torch.Tensor) -> Callable[[], torch.Tensor]:
    transform = MONAI[name]()

    def call() -> torch.Tensor:
        changed = transform(images)
        if name == "quarter_turns":  # the same turn for the target, which the others leave as it is
            transform(target[None], randomize=False)
        return changed

    return call


def lesions(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return maps, some 20 lesions of a few voxels and the brain."""
    chance = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[1:]), indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in axes) < 0.9
    seeds = np.zeros(shape[1:], bool)
    seeds.flat[chance.choice(np.flatnonzero(inside), 20)] = True
    target = binary_dilation(seeds, iterations=3) & inside
    return chance.normal(size=shape).astype(np.float32), target.astype(np.uint8), inside


def our_paste(values: str, shape: tuple[int, ...]) -> Callable[[], torch.Tensor]:
    (images, target, inside), (own, mask, brain) = lesions(shape, 0), lesions(shape, 1)
    box = ((0,) * 3, shape[1:])
    donor = Donor.of(images, target, inside, box=box, spacing=SPACING)
    settings = Augmentation.model_validate({"paste": {"p": 1, "values": values}})
    generator = torch.Generator().manual_seed(0)

    def call() -> torch.Tensor:
        parameters = draw(settings, channels=len(own), size=mask.shape, generator=generator)
        found = paste(parameters.paste, donor, images, target, onto=own, inside=brain, box=box)
        return apply(torch.from_numpy(own), torch.from_numpy(mask), parameters=parameters, pasted=found)[0]

    return call


def plain_paste(shape: tuple[int, ...]) -> Callable[[], torch.Tensor]:
    """CarveMix by its formula: signed distances, region and mixture of whole images, each time."""
    (images, target, _), (own, mask, _) = lesions(shape, 0), lesions(shape, 1)
    chance = np.random.default_rng(0)

    def call() -> torch.Tensor:
        inner = distance_transform_edt(target, sampling=SPACING)
        signed = np.where(target, -inner, distance_transform_edt(target == 0, sampling=SPACING))
        depth = inner.max()
        low, high = ((-depth / 2, 0), (0, depth))[chance.integers(2)]
        region = signed <= chance.uniform(low, high)
        np.where(region, target, mask)
        return torch.from_numpy(np.where(region, images, own))

    return call


def milliseconds(call: Callable[[], torch.Tensor], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * median(times)


def speed(repeats: int) -> Iterator[str]:
    yield (
        "| transform | "
        + " | ".join(f"{name} {shape}, ms | TorchIO, ms | ratio" for name, shape in SHAPES.items())
        + " |"
    )
    yield "|---|" + "---:|---:|---:|" * len(SHAPES)
    for row, names in ROWS.items():
        cells = []
        for shape in SHAPES.values():
            images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            target = (images[0] > 1.5).to(torch.uint8)
            mine = milliseconds(ours(names, images, target), 4 * repeats)
            other = milliseconds(theirs(names, images, target), repeats)
            cells.append(f"{mine:.1f} | {other:.1f} | {other / mine:.0f}")
        yield f"| {row} | " + " | ".join(cells) + " |"
    yield ""
    yield (
        "| transform | "
        + " | ".join(f"{name} {shape}, ms | MONAI, ms | ratio" for name, shape in SHAPES.items())
        + " |"
    )
    yield "|---|" + "---:|---:|---:|" * len(SHAPES)
    for row in MONAI:
        cells = []
        for shape in SHAPES.values():
            images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            target = (images[0] > 1.5).to(torch.uint8)
            mine = milliseconds(ours([row], images, target), 4 * repeats)
            other = milliseconds(monais(row, images, target), 4 * repeats)
            cells.append(f"{mine:.1f} | {other:.1f} | {other / mine:.1f}")
        yield f"| {row} | " + " | ".join(cells) + " |"
    yield ""
    yield (
        "| transform | "
        + " | ".join(f"{name} {shape}, ms | formula, ms | ratio" for name, shape in SHAPES.items())
        + " |"
    )
    yield "|---|" + "---:|---:|---:|" * len(SHAPES)
    for values in ("absolute", "difference"):
        cells = []
        for shape in SHAPES.values():
            mine = milliseconds(our_paste(values, shape), 4 * repeats)
            other = milliseconds(plain_paste(shape), repeats)
            cells.append(f"{mine:.1f} | {other:.1f} | {other / mine:.0f}")
        yield f"| paste, {values} | " + " | ".join(cells) + " |"


def displacements(call: Callable[[], torch.Tensor], coordinates: torch.Tensor, draws: int) -> list[float]:
    """Spread, quantiles and slope of the displacement in mm: a deformed image of the coordinates tells it."""
    middle = (slice(None), *[slice(12, -12)] * 3)
    fields = torch.stack([(call() - coordinates)[middle] for _ in range(draws)])
    sizes = np.abs(fields.numpy())
    spread = [float(fields[:, axis].std()) for axis in range(3)]
    slopes = [float(fields[:, axis].diff(dim=axis + 1).std()) / SPACING[axis] for axis in range(3)]
    return [*spread, *np.quantile(sizes, [0.5, 0.9, 0.99]).tolist(), *slopes]


def intensities(call: Callable[[], torch.Tensor], images: torch.Tensor, draws: int) -> list[float]:
    """Over the draws: mean and spread of the change, its median and 90 % sizes, and the image's own spread."""
    middle = (slice(None), *[slice(2, -2)] * 3)
    changes = [(call() - images)[middle] for _ in range(draws)]
    spreads = np.array([float(change.std()) for change in changes])
    after = [float((change + images[middle]).std()) for change in changes]
    mean = float(np.mean([float(change.mean()) for change in changes]))
    return [mean, float(spreads.mean()), *np.quantile(spreads, [0.1, 0.5, 0.9]).tolist(), float(np.mean(after))]


def statistics(draws: int) -> Iterator[str]:
    size = SHAPES["brain box"][1:]
    target = torch.zeros(size, dtype=torch.uint8)
    axes = [torch.arange(n) * step for n, step in zip(size, SPACING, strict=True)]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    yield "| displacement, mm | | std x | y | z | 50 % below | 90 % | 99 % | slope std x | y | z |"
    yield "|---|---|" + "---:|" * 9
    for name in ("elastic", "affine"):
        for maker in (ours, theirs):
            numbers = displacements(maker([name], coordinates, target), coordinates, draws)
            yield f"| {name} | {maker.__name__} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |"
    yield ""
    yield "| change of intensity | | mean | std | 10 % of stds below | 50 % | 90 % | image's std after |"
    yield "|---|---|" + "---:|" * 6
    images = torch.randn(1, *size, generator=torch.Generator().manual_seed(0)).cumsum(dim=1).div(5).contiguous()
    for name in ("noise", "anisotropy", "blur", "gamma"):
        for maker in (ours, theirs):
            numbers = intensities(maker([name], images, target), images, draws)
            yield f"| {name} | {maker.__name__} | " + " | ".join(f"{number:.4f}" for number in numbers) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="runs of TorchIO a row; ours runs four times as often")
    parser.add_argument("--statistics", action="store_true", help="compare the changes instead of the times")
    parser.add_argument("--draws", type=int, default=100, help="samples for the statistics")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for line in statistics(options.draws) if options.statistics else speed(options.repeats):
        print(line, flush=True)


if __name__ == "__main__":
    main()
