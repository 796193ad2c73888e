"""What a member of an ensemble costs: trained two at a time against in turn, predicting against its forward pass.

    python tools/bench_ensembles.py training [--epochs N] [--recipe NAME]
    python tools/bench_ensembles.py prediction [--members N] [--runs N] [--recipe NAME]

Synthetic cases; in prediction weights are random, which does not change the time. Prints a Markdown table.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from multifocal import networks, recipes
from multifocal.cohorts import Cohort, Fold, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.device import autocast_type
from multifocal.pipeline.prepare import prepare
from multifocal.recipes import Recipe
from multifocal.systems.ensemble import EnsembleSystem
from multifocal.systems.forward import probabilities
from multifocal.systems.network import NetworkSystem
from multifocal.threads import settle_threads
from multifocal.training import fit


def main() -> None:
    """Measure what the command names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("training", "prediction"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--recipe", default="hie-small")
    options = parser.parse_args()
    print(f"{settle_threads()} threads, recipe {options.recipe}\n")
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(f"{folder}/cohort", cases=6, seed=0)
        cohort = open_cohort(f"{folder}/cohort")
        if options.what == "training":
            _training(cohort, Path(folder), options)
        else:
            _prediction(cohort, options)


def _ensemble(recipe: str, members: int, epochs: int) -> Recipe:
    says = {"kind": "ensemble", "name": "bench", "description": "", "source": ""}
    seeds = {"recipe": recipe, "set": {"training": {"epochs": epochs}}, "seeds": list(range(members))}
    return recipes.parse({**says, "members": seeds}, where="bench")


def _training(cohort: Cohort, folder: Path, options: argparse.Namespace) -> None:
    recipe, names = _ensemble(options.recipe, 2, options.epochs), tuple(case.name for case in cohort)
    split, seconds = Fold(train=names[:5], validation=names[5:], test=()), {}
    for members in (1, 2):
        started = time.perf_counter()
        fit(recipe, cohort, split=split, out=folder / str(members), members=members, progress=False)
        seconds[members] = time.perf_counter() - started
    print("| epochs | in turn | two at a time | ratio |\n|---|---|---|---|")
    ratio = seconds[2] / seconds[1]
    print(f"| {options.epochs} | {seconds[1]:.0f} s | {seconds[2]:.0f} s | {ratio:.2f} |")


def _prediction(cohort: Cohort, options: argparse.Namespace) -> None:
    recipe = _ensemble(options.recipe, options.members, 1)
    own = recipe.trainings
    built = [NetworkSystem(each, each.build_network(for_training=False)) for each in own]
    ensemble, dtype = EnsembleSystem(recipe, built), autocast_type(own[0].training.precision, torch.device("cpu"))
    dimensions = networks.dimensions(own[0].network.name)
    print("| case | box | forward | one network | ensemble | a further member, in forward passes |")
    print("|---|---|---|---|---|---|")
    for case in list(cohort)[:3]:
        prepared = prepare(case, own[0].preprocessing, with_label=False)
        times: list[list[float]] = [[], [], []]
        for _ in range(options.runs + 1):
            marks = [time.perf_counter()]
            probabilities(
                built[0].network,
                prepared,
                dimensions=dimensions,
                labels=own[0].labels,
                settings=own[0].inference,
                autocast=dtype,
            )
            marks.append(time.perf_counter())
            built[0].predict(case)
            marks.append(time.perf_counter())
            ensemble.predict(case)
            marks.append(time.perf_counter())
            for kept, began, ended in zip(times, marks, marks[1:], strict=False):
                kept.append(1000 * (ended - began))
        forward, one, all_ = (median(each[1:]) for each in times)
        further = (all_ - one) / (options.members - 1) / forward
        size = "×".join(map(str, prepared.inside.shape))
        print(f"| {case.name} | {size} | {forward:.0f} ms | {one:.0f} ms | {all_:.0f} ms | {further:.2f} |", flush=True)


if __name__ == "__main__":
    main()
