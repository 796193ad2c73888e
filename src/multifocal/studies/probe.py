"""How long the cells of a study would take: a few steps and one prediction of each arm, measured.

The measuring process reads a job as that of a cell does, and answers with a line of JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multifocal import networks, recipes
from multifocal.cohorts import Cohort, Folds, open_cohort
from multifocal.config import Config
from multifocal.errors import LESS_MEMORY, UserError, out_of_memory
from multifocal.studies.cell import Job, peak_mib
from multifocal.studies.folder import CACHE, FOLDS
from multifocal.studies.grid import Grid, labelled
from multifocal.studies.local import command, environment, reason
from multifocal.systems.packages import check_packages

BATCHES = 2


class Probe(Config):
    """What one arm costs.

    Args:
        step_ms: a training step.
        fit_s: fitting without any steps, for each training case.
        samples: training samples of a case.
        predict_s: reading, predicting and writing one case.
        peak_mib: most memory held.
    """

    step_ms: float
    fit_s: float = 0.0
    samples: float
    predict_s: float
    peak_mib: float


def probe(grid: Grid, *, cohort: Path, layout: str, device: str, progress: Callable[[str], None]) -> dict[str, Probe]:
    """Return what each arm costs, from a process of its own with the study's number of threads.

    Args:
        grid: the study.
        cohort: path of the cohort.
        layout: of the cohort.
        device: of the cells.
        progress: called with the name of each arm that is begun.

    Returns:
        The costs, by arm.

    Raises:
        UserError: an arm cannot be trained; it says what training said.
        RuntimeError: of a bug, with what was written of it.
    """
    found = {}
    for recipe in grid.recipes.values():
        check_packages(recipe)
    with tempfile.TemporaryDirectory(prefix="multifocal-") as folder:
        study, seed = Path(folder), grid.study.seeds[0]
        grid.folds.save(study / FOLDS)
        for arm in grid.study.arms:
            progress(arm)
            job = Job(
                study=study,
                cohort=cohort.absolute(),
                layout=layout,
                arm=arm,
                fold=grid.chosen[0],
                seed=seed,
                recipe=grid.recipes[arm, seed].model_dump(mode="json"),
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
                last = ended.stderr.strip().rpartition("\n")[2]
                if last.startswith("error: "):
                    raise UserError(f"arm {arm}: {last.removeprefix('error: ')}")
                if ended.returncode < 0:
                    raise UserError(f"arm {arm}: {reason(ended.returncode)}")
                raise RuntimeError(f"arm {arm}: its measurement {reason(ended.returncode)}\n{ended.stderr}")
            found[arm] = Probe.model_validate_json(ended.stdout.splitlines()[-1])
    return found


def seconds(grid: Grid, arm: str, cost: Probe) -> float:
    """Return how long the cells of an arm would take one after the other, if none stops early."""
    total = 0.0
    for number in grid.chosen:
        fold, recipe = grid.folds.folds[number], grid.recipes[arm, grid.study.seeds[0]]
        predicted, steps = len(fold.test), float(recipe.fixed_steps)
        for training in (one.training for one in recipe.trainings):
            steps += training.epochs * -(-len(fold.train) * cost.samples // training.batch_size)
            predicted += len(fold.validation) * (training.epochs // training.validate_every)
        total += steps * cost.step_ms / 1000 + len(fold.train) * cost.fit_s + predicted * cost.predict_s
    return total * len(grid.study.seeds)


def _measure(job: Job) -> dict[str, Any]:
    from multifocal.cohorts import Fold
    from multifocal.pipeline.augment import Augmentation
    from multifocal.pipeline.cache import Cache
    from multifocal.pipeline.dataset import TrainingSet
    from multifocal.systems import build, predict_cohort, system_class

    cohort = labelled(open_cohort(job.cohort, layout=job.layout))
    recipe = recipes.parse(job.recipe, where=f"arm {job.arm}")
    fold = Folds.load(job.study / FOLDS).fold(job.fold, cohort)
    step_ms, fit_s, samples = 0.0, 0.0, [0.0]
    names = _mixed(fold.train, cohort)[:BATCHES]  # of what is fitted without a network
    for own in recipe.trainings:
        # The slices of a case fill a batch or more.
        dimensions = networks.dimensions(own.network.name)
        names = _mixed(fold.train, cohort)[: BATCHES if dimensions == 2 else BATCHES * own.training.batch_size]
        drawn = TrainingSet(
            [cohort.case(name) for name in names],
            # How many samples there are does not depend on where lesions are frequent.
            Cache(job.study / CACHE, own.preprocessing.without_lesion_frequency()),
            augmentation=Augmentation(),  # which does not change their number
            dimensions=dimensions,
            seed=own.training.seed,
            sampling=own.sampling.model_copy(update={"empty": "keep"}),
        )
        samples.append(len(drawn.sizes) / len(names))
    short = recipe.model_validate(_shortened(recipe.model_dump()))
    if recipe.needs_training:
        from multifocal.training import fit

        split = Fold(train=names, validation=(), test=())
        # Held: nobody else knows of the folder, and the labels were checked with the grid.
        options: dict[str, Any] = {"device": job.device, "progress": False, "held": True, "rehearsal": True}
        fit(short, cohort, split=split, out=job.folder, cache=job.study / CACHE, **options)
        facts = system_class(short).facts(short, job.folder)
        step_ms = facts.get("step_ms") or 0.0
        fit_s = 0.0 if step_ms else facts["seconds"] / len(names)
    model = system_class(short).load(short, job.folder, device=job.device) if recipe.needs_training else build(recipe)
    started = time.monotonic()
    predict_cohort(model, cohort.subset(fold.test[:1]), job.folder / "masks")
    took = {"predict_s": time.monotonic() - started, "peak_mib": peak_mib()}
    return {"step_ms": step_ms, "fit_s": fit_s, "samples": max(samples), **took}


def _mixed(names: Sequence[str], cohort: Cohort) -> tuple[str, ...]:
    """Return the cases with one of each subject first: a channel of lesion frequency needs two subjects."""
    first = {cohort.case(name).subject: name for name in reversed(names)}
    return tuple(sorted(names, key=lambda name: name != first[cohort.case(name).subject]))


def _shortened(recipe: Any) -> Any:
    """Return a recipe's data, or part of them, with trainings of one epoch that ask for no validation cases."""
    if isinstance(recipe, dict):
        # Perhaps the first cases have no lesions to paste; and there is nothing to tune on.
        data: dict[str, Any] = {key: None if key in ("paste", "tune") else _shortened(of) for key, of in recipe.items()}
        if "sampling" in data:  # perhaps the first cases are all empty
            data["sampling"] = {**data["sampling"], "empty": "keep"}
        if "folds" in data:  # of which two tell what each costs
            data["folds"] = 2
        if "fold" in data:  # there may be fewer cases than folds of them
            data["fold"] = None
        if "iterations" in data:
            data |= {"epochs": 1, "iterations": 2, "validation_iterations": 1}
        if "training" in data:
            data["training"] |= {"epochs": 1, "monitor": None, "patience": None, "validate_every": 1}
            if (data.get("schedule") or {}).get("name") == "plateau":  # of what is monitored
                data["schedule"] = {"name": "constant"}
        return data
    return [_shortened(value) for value in recipe] if isinstance(recipe, list | tuple) else recipe


def main() -> None:
    """Measure the arm that stdin names."""
    try:
        found = _measure(Job.model_validate_json(sys.stdin.readline()))
    except (UserError, MemoryError, RuntimeError) as error:
        told = error if isinstance(error, UserError) else out_of_memory(error, LESS_MEMORY)
        if told is None:
            raise
        sys.stderr.write(f"error: {told}\n")
        sys.exit(2)
    sys.stdout.write(f"{json.dumps(found)}\n")
