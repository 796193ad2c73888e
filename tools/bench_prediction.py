"""Prediction of one case, reading and writing included, against the bare forward pass. Prints a Markdown table.

    python tools/bench_prediction.py [COHORT] [--runs N] [--recipe NAME]

COHORT defaults to a synthetic one. Weights are random: they do not change the time.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from multifocal import networks, recipes
from multifocal.cohorts import open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.device import autocast_type
from multifocal.pipeline.prepare import prepare
from multifocal.systems import predict_cohort
from multifocal.systems.forward import probabilities
from multifocal.systems.network import NetworkSystem


def main() -> None:
    """Time whole predictions and bare forward passes, case by case, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--recipe", default="hie-small")
    options = parser.parse_args()
    recipe = recipes.load(options.recipe)
    network = networks.build(
        recipe.network.name, in_channels=len(recipe.preprocessing.channels), **recipe.network.options
    )
    model = NetworkSystem(recipe, network)
    dtype = autocast_type(recipe.training.precision, torch.device("cpu"))
    print(f"{torch.get_num_threads()} threads, median of {options.runs} runs, recipe {recipe.name}\n")
    print("| case | box | forward | read to written | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = options.cohort
        if path is None:
            path = Path(folder) / "cohort"
            write_phantom(path, cases=4, seed=0)
        cohort = open_cohort(path)
        for case in list(cohort)[:4]:
            prepared = prepare(case, recipe.preprocessing, with_label=False)
            bare, whole = [], []
            for _ in range(options.runs + 1):
                started = time.perf_counter()
                probabilities(
                    model.network,
                    prepared,
                    dimensions=model.dimensions,
                    labels=recipe.labels,
                    settings=recipe.inference,
                    autocast=dtype,
                )
                middle = time.perf_counter()
                predict_cohort(model, cohort.subset([case.name]), Path(folder) / "masks", overwrite=True)
                bare.append(middle - started)
                whole.append(time.perf_counter() - middle)
            forward, total = 1000 * median(bare[1:]), 1000 * median(whole[1:])
            size = "×".join(map(str, prepared.inside.shape))
            print(f"| {case.name} | {size} | {forward:.0f} ms | {total:.0f} ms | {total / forward:.2f} |", flush=True)


if __name__ == "__main__":
    main()
