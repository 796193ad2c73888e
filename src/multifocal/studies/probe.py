"""How long the cells of a study would take: a few steps and one prediction of each arm, measured.

The measuring process reads a job as that of a cell does, and answers with a line of JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multifocal import networks
from multifocal.cohorts import Folds, open_cohort
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.files import write_text
from multifocal.recipes import Recipe, ThresholdRecipe
from multifocal.studies import loading
from multifocal.studies.cell import measured, peak_mib
from multifocal.studies.grid import Grid, labelled
from multifocal.studies.job import CACHE, FOLDS, STUDY, Job
from multifocal.studies.process import command, environment

BATCHES = 2


class Probe(Config):
    """What one arm costs.

    Args:
        step_ms: a training step.
        samples: training samples of a case.
        predict_s: reading, predicting and writing one case.
        peak_mib: most memory held.
    """

    step_ms: float
    samples: float
    predict_s: float
    peak_mib: float


def probe(grid: Grid, *, cohort: Path, layout: str, device: str, progress: Callable[[str], None]) -> dict[str, Probe]:
    """Return what each arm costs, from a process of its own with the study's number of threads.

    Raises:
        UserError: an arm cannot be trained; it says what training said.
    """
    found = {}
    with tempfile.TemporaryDirectory(prefix="multifocal-") as folder:
        study = Path(folder)
        write_text(study / STUDY, loading.dump(loading.with_fold_file(grid.study, FOLDS)))
        grid.folds.save(study / FOLDS)
        for arm in grid.study.arms:
            progress(arm)
            job = Job(
                study=study,
                cohort=cohort.absolute(),
                layout=layout,
                arm=arm,
                fold=grid.chosen[0],
                seed=grid.study.seeds[0],
                fingerprint="",
                device=device,
            )
            ended = subprocess.run(
                command("multifocal.studies.probe"),
                input=job.model_dump_json(),
                capture_output=True,
                text=True,
                env=environment(grid.study.resources.cpus, gpu=None if grid.study.resources.gpus else ""),
            )
            if ended.returncode:
                lines = ended.stderr.strip().splitlines() or [f"ended with exit code {ended.returncode}"]
                raise UserError(f"arm {arm}: {lines[-1].removeprefix('error: ')}")
            found[arm] = Probe.model_validate_json(ended.stdout.splitlines()[-1])
    return found


def seconds(grid: Grid, arm: str, cost: Probe) -> float:
    """Return how long the cells of an arm would take one after the other, if none stops early."""
    total = 0.0
    for number in grid.chosen:
        fold, recipe = grid.folds.folds[number], grid.recipes[arm, grid.study.seeds[0]]
        predicted, steps = len(fold.test), 0.0
        if isinstance(recipe, Recipe):
            training = recipe.training
            steps = training.epochs * -(-len(fold.train) * cost.samples // training.batch_size)
            predicted += len(fold.validation) * (training.epochs // training.validate_every)
        total += steps * cost.step_ms / 1000 + predicted * cost.predict_s
    return total * len(grid.study.seeds)


def _measure(job: Job) -> dict[str, Any]:
    from multifocal.inference import ThresholdModel, load_model, predict_cohort
    from multifocal.pipeline.cache import Cache
    from multifocal.pipeline.dataset import TrainingSet
    from multifocal.training import Parts, fit

    cohort = labelled(open_cohort(job.cohort, layout=job.layout))
    recipe = loading.resolve(loading.load(job.study / STUDY), job.arm, seed=job.seed)
    fold = Folds.load(job.study / FOLDS).fold(job.fold, cohort)
    found = {"step_ms": 0.0, "samples": 0.0}
    if isinstance(recipe, Recipe):
        shorter = {"epochs": 1, "monitor": None, "patience": None, "validate_every": 1}
        recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update=shorter)})
        dimensions = networks.dimensions(recipe.network.name)
        # The slices of a case fill a batch or more.
        names = fold.train[: BATCHES if dimensions == 2 else BATCHES * recipe.training.batch_size]
        samples = TrainingSet(
            [cohort.case(name) for name in names],
            Cache(job.study / CACHE, recipe.preprocessing),
            augmentation=recipe.augmentation,
            dimensions=dimensions,
            seed=job.seed,
        )
        parts = Parts(names, (), ())
        fit(recipe, cohort, parts=parts, out=job.folder, cache=job.study / CACHE, device=job.device, progress=False)
        found = {"step_ms": measured(job.folder, recipe)["step_ms"], "samples": len(samples) / len(names)}
    model = ThresholdModel(recipe) if isinstance(recipe, ThresholdRecipe) else load_model(job.folder, device=job.device)
    started = time.monotonic()
    predict_cohort(model, cohort.subset(fold.test[:1]), job.folder / "masks")
    return {**found, "predict_s": time.monotonic() - started, "peak_mib": peak_mib()}


def main() -> None:
    """Measure the arm that stdin names."""
    try:
        found = _measure(Job.model_validate_json(sys.stdin.readline()))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{json.dumps(found)}\n")
