"""Where the time of a training step goes: loading, augmentation, network, loss. Prints a Markdown table.

    python tools/bench_training.py [COHORT] [--recipe NAME ...] [--steps N]

COHORT defaults to a synthetic one. Each recipe runs as it trains: its batch size, all of its augmentations, its
precision, in-line loading, all threads of the process. Without --recipe, `hie-small` comes again with deep supervision,
with crops, and with two classes.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from multifocal import networks, recipes
from multifocal.cohorts import open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.device import autocast_type
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.dataset import EpochBatches, TrainingSet, collate
from multifocal.systems.forward import MEMORY_FORMATS
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.training.module import SegmentationModule

CROPS = "sampling={crop: [40, 48, 16], per_case: 2, centred: 0.5, by: lesion}"  # they fit into every brain
CLASSES = "labels={classes: {any: 1, same: 1}, overlap: true}"  # of a cohort with one value
ROWS = (
    ("hie-small", ()),
    ("hie-small", ("training.deep_supervision=[1.0, 0.5, 0.25]",)),
    ("hie-small", (CROPS,)),
    ("hie-small", (CLASSES,)),
    ("hie-unet3d-2025", ()),
)
COLUMNS = ("recipe", "batch", "load + augment", "network", "loss", "step", "outside the network", "peak memory")
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def profile(recipe: NetworkRecipe, cohort_path: Path, cache: Path, *, steps: int, note: str = "") -> str:
    """Return the table row of a recipe."""
    cases = [case for case in open_cohort(cohort_path) if case.label][:16]
    dimensions = networks.dimensions(recipe.network.name)
    data = TrainingSet(
        cases,
        Cache(cache, recipe.preprocessing, labels=recipe.labels),
        augmentation=recipe.augmentation,
        dimensions=dimensions,
        seed=0,
        sampling=recipe.sampling,
    )
    module = SegmentationModule(recipe).train()
    optimizer = module.configure_optimizers()
    dtype = autocast_type(recipe.training.precision, torch.device("cpu"))
    batches = EpochBatches(
        data.sizes, batch_size=recipe.training.batch_size, seed=0, weights=data.weights, together=data.together
    )
    queue = [batch for epoch in range(steps) for batch in _epoch(batches, epoch)]
    times: dict[str, list[float]] = {"load": [], "network": [], "loss": []}
    shape = ()
    for step, items in enumerate(queue[: steps + 1]):
        started = time.perf_counter()
        images, target = collate(data[items])
        loaded = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            outputs = module.outputs(images.contiguous(memory_format=MEMORY_FORMATS[dimensions]))
        forward = time.perf_counter()
        outside = [logits.detach().float().requires_grad_() for logits in outputs]
        module.combined(outside, target)[0].backward()
        lossed = time.perf_counter()
        torch.autograd.backward(outputs, [x.grad.to(o.dtype) for x, o in zip(outside, outputs, strict=True)])
        optimizer.step()
        optimizer.zero_grad()
        done = time.perf_counter()
        shape = tuple(images.shape)
        if step:  # the first one warms up
            times["load"].append(loaded - started)
            times["loss"].append(lossed - forward)
            times["network"].append(forward - loaded + done - lossed)
    load, net, loss_time = (1000 * median(times[name]) for name in ("load", "network", "loss"))
    total = load + net + loss_time
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return (
        f"| {recipe.name}{note} | {'×'.join(map(str, shape))} | {load:.0f} ms | {net:.0f} ms | {loss_time:.0f} ms | "
        f"{total:.0f} ms | {100 * (load + loss_time) / total:.0f} % | {peak:.1f} GiB |"
    )


def _epoch(batches: EpochBatches, epoch: int) -> list:
    batches.set_epoch(epoch)
    return list(batches)


def main() -> None:
    """Profile the recipes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", nargs="?", type=Path)
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cohort = options.cohort
        if cohort is None:
            cohort = Path(folder) / "cohort"
            write_phantom(cohort, cases=16, seed=0)
        print(f"{torch.get_num_threads()} threads, median of {options.steps} steps\n\n{HEADER}")
        for name, changes in [(name, ()) for name in options.recipe] if options.recipe else ROWS:
            recipe = recipes.load(name, overrides=[*changes, *options.set])
            note = "".join(f", `{change}`" for change in changes)
            print(profile(recipe, cohort, Path(folder) / "cache", steps=options.steps, note=note), flush=True)


if __name__ == "__main__":
    main()
