"""A whole adult brain on the CPU: training on crops, prediction by windows. Prints memory and times, in Markdown.

    python tools/bench_whole_brain.py FOLDER [--steps N] [--crop N]

FOLDER has a folder a case with flair.nii.gz and mask.nii.gz, such as the MS lesions of Lesjak et al. 2017 (182×218×182
voxels of 1 mm). The network is that of the recipe `hie-small`; each stage is a process of its own, with its memory.
Times are processor time, which on one thread is the time on an idle machine.
"""

import argparse
import math
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from multifocal import recipes
from multifocal.cohorts import Fold, open_cohort
from multifocal.device import autocast_type
from multifocal.pipeline.prepare import prepare
from multifocal.recipes import Recipe
from multifocal.systems import load_model
from multifocal.systems.forward import MEMORY_FORMATS, probabilities
from multifocal.training import fit

RECIPE: dict[str, Any] = {
    "name": "whole-brain",
    "description": "crops of a whole image",
    "source": "multifocal",
    "preprocessing": {
        "kind": "resize",
        "size": [None, None, None],
        "brain": "flair",
        "channels": [{"map": "flair", "zscore": "brain"}],
    },
}


def recipe_of(crop: int, crops: int) -> Recipe:
    """Return the recipe: one epoch of crops."""
    default = recipes.load("hie-small").model_dump(mode="json")
    data = {**RECIPE, **{key: default[key] for key in ("augmentation", "network", "loss", "optimizer")}}
    data["sampling"] = {"crop": [crop] * 3, "per_case": crops, "centred": 0.5, "by": "lesion"}
    data["training"] = {"epochs": 1, "batch_size": 2, "monitor": None}
    data["inference"] = {"window": [crop] * 3, "batch_size": 2}
    return recipes.parse(data, where="bench_whole_brain")


def trained(folder: Path, recipe: Recipe) -> dict[str, float]:
    """Train one epoch."""
    cohort = open_cohort(folder / "manifest.csv")
    names = tuple(case.name for case in cohort)
    started = time.process_time()
    fit(recipe, cohort, split=Fold(train=names, validation=(), test=()), out=folder / "run", progress=False)
    return {"seconds": time.process_time() - started}


def predicted(folder: Path, recipe: Recipe) -> dict[str, float]:
    """Predict a case by windows."""
    model = load_model(folder / "run", device="cpu")
    prepared = prepare(next(iter(open_cohort(folder / "manifest.csv"))), recipe.preprocessing, with_label=False)
    dtype = autocast_type("auto", torch.device("cpu"))
    started = time.process_time()
    probabilities(model.network, prepared, dimensions=3, labels=model.labels, settings=recipe.inference, autocast=dtype)
    return {"seconds": time.process_time() - started}


def bare(folder: Path, recipe: Recipe) -> dict[str, float]:
    """Pass as many windows through the network, and nothing else."""
    model = load_model(folder / "run", device="cpu")
    size = next(iter(open_cohort(folder / "manifest.csv"))).images["flair"].geometry().size
    window, settings = recipe.inference.window, recipe.inference
    # MONAI's windows: steps of (1 - overlap) windows, the last one shifted inside.
    steps = [w if n <= w else int(w * (1 - settings.overlap)) for w, n in zip(window, size, strict=True)]
    counts = [math.ceil(max(0, n - w) / s) + 1 for n, w, s in zip(size, window, steps, strict=True)]
    batch = torch.randn(settings.batch_size, 1, *window).contiguous(memory_format=MEMORY_FORMATS[3])
    dtype = autocast_type("auto", torch.device("cpu"))
    started = time.process_time()
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        for _ in range(math.ceil(math.prod(counts) / settings.batch_size)):
            model.network(batch)
    return {"seconds": time.process_time() - started, "windows": math.prod(counts)}


def alone(stage: Callable[[Path, Recipe], dict[str, float]], folder: Path, recipe: Recipe) -> dict[str, float]:
    """Run a stage in a process of its own; add its peak memory in GiB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (stage, folder, recipe))


def _measured(stage: Callable[[Path, Recipe], dict[str, float]], folder: Path, recipe: Recipe) -> dict[str, float]:
    found = stage(folder, recipe)
    return {**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2}


def main() -> None:
    """Train, predict, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--crop", type=int, default=96)
    options = parser.parse_args()
    found = sorted(path.parent.resolve() for path in options.folder.glob("*/flair.nii.gz"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = [f"{path.name},{path / 'flair.nii.gz'},{path / 'mask.nii.gz'}" for path in found]
        (folder / "manifest.csv").write_text("\n".join(["case,flair,label", *rows]) + "\n")
        recipe = recipe_of(options.crop, max(1, 2 * options.steps // len(found)))
        stages = {"train": trained, "predict by windows": predicted, "as many bare forward passes": bare}
        print(f"{torch.get_num_threads()} threads, {len(found)} cases, crops, windows of {options.crop}^3, batch 2\n")
        print("| stage | seconds | peak memory |\n|---|---:|---:|")
        results = {}
        for name, stage in stages.items():
            results[name] = alone(stage, folder, recipe)
            print(f"| {name} | {results[name]['seconds']:.1f} | {results[name]['peak']:.1f} GiB |", flush=True)
        windows, passes = results["predict by windows"]["seconds"], results["as many bare forward passes"]
        print(f"\n{passes['windows']:.0f} windows; prediction / passes {windows / passes['seconds']:.2f}")


if __name__ == "__main__":
    main()
