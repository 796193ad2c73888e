"""What stands between probability and mask, chosen by what it scores on cases that are not reported."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from multifocal.cohorts import Case, Cohort
from multifocal.cohorts.lesion_burden import brain_mask
from multifocal.config import Config, validate
from multifocal.errors import UserError, unknown_name
from multifocal.files import read_json
from multifocal.metrics import METRICS, MaskPair, ScoringOptions
from multifocal.metrics.validation import as_labels
from multifocal.parallel import parallel_map
from multifocal.systems.calibration import Calibration, OddsCounts, calibrate, summed
from multifocal.systems.postprocess import (
    MaskSettings,
    Share,
    Threshold,
    binarize,
    calibrated,
    check_finite,
    fits,
    threshold_of,
)
from multifocal.volumes import Geometry, Volume, bounding_box, read

TUNED = "tuned.json"
WORTH_A_PROCESS = 5  # cases that take as long to score as a process to start
# One name stands for a list of it.
Names = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(lambda x: (x,) if isinstance(x, str) else tuple(x) if isinstance(x, list) else x),
]
NotNegative = Annotated[float, Field(ge=0)]


class Tuning(Config):
    """What is tried, and what it is chosen by: every combination of the values that are named.

    A setting without values stays as the recipe has it; combinations whose hysteresis is above the threshold are left
    out. Of equally good ones that of the recipe is chosen, else the first, with the last setting varying fastest.

    Args:
        metric: one of `multifocal.metrics.METRICS`, or several: then the sum of the ranks by each is what counts.
        threshold: the values of `MaskSettings.threshold` to try.
        hysteresis: those of `hysteresis`.
        min_size_ml: those of `min_size_ml`, in ml.
        min_size_voxels: those of `min_size_voxels`.
        largest_only: those of `largest_only`.
        calibration: "temperature" finds that first, see `calibrate`: thresholds are then of calibrated probabilities.

    Raises:
        ValueError: nothing is to be chosen, or a metric is not known or has no best value.

    Example:
        >>> tuning = Tuning(metric="dice", threshold=(0.3, 0.5), min_size_ml=(0.0, 0.05))
        >>> len(tuning.points(MaskSettings(largest_only=True)))
        4
    """

    metric: Names = ("dice",)
    threshold: tuple[Threshold, ...] = ()
    hysteresis: tuple[Share | None, ...] = ()
    min_size_ml: tuple[NotNegative, ...] = ()
    min_size_voxels: tuple[Annotated[int, Field(ge=0)], ...] = ()
    largest_only: tuple[bool, ...] = ()
    calibration: Literal["temperature"] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Tuning":
        for name in self.metric:
            if name not in METRICS:
                raise ValueError(str(unknown_name("metric", name, METRICS)))
            if METRICS[name].best is None:
                raise ValueError(f"metric {name} has no best value to tune for; choose dice, nsd, masd, f1, …")
        if not self.axes and self.calibration is None:
            raise ValueError("there is nothing to choose: name values of threshold, min_size_ml, …, or calibration")
        return self

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values to try, by setting; settings without are left out."""
        tried = ("threshold", "hysteresis", "min_size_ml", "min_size_voxels", "largest_only")
        return {name: getattr(self, name) for name in tried if getattr(self, name)}

    def points(self, base: MaskSettings) -> list[dict[str, Any]]:
        """Return the combinations to try.

        Args:
            base: what settings without values stay at.

        Returns:
            The settings that are named, by name, a mapping a combination.

        Raises:
            UserError: hysteresis is above the threshold in all of them.
        """
        found = []
        for values in product(*self.axes.values()):
            point = dict(zip(self.axes, values, strict=True))
            whole = base.model_dump() | point
            if fits(whole["threshold"], whole["hysteresis"]):
                found.append(point)
        if not found:
            raise UserError("tune: hysteresis is above the threshold in every combination; name lower values of it")
        return found


class Point(Config):
    """Settings, and what they score.

    Args:
        settings: by name.
        means: by metric, over the cases where it is defined; None where it is in none.
    """

    settings: dict[str, Any]
    means: dict[str, float | None]


class Tuned(Config):
    """What was chosen, on which cases, and what else was tried: the contents of `tuned.json`.

    Args:
        format: of the file.
        tune: what was asked.
        cohort: the name of the cohort that the cases are of.
        cases: the names of the cases that it was chosen on.
        untuned: the settings that the recipe has, and what they score on those.
        points: what was tried, in order, on calibrated probabilities where there is a calibration.
        choice: the settings to take.
        calibration: the temperature and what it does; None where none was asked for.

    Example:
        >>> read_tuned("runs/untuned") is None
        True
    """

    format: Literal["multifocal tuned 1"] = "multifocal tuned 1"
    tune: Tuning
    cohort: str
    cases: tuple[str, ...]
    untuned: Point
    points: tuple[Point, ...]
    choice: dict[str, Any]
    calibration: Calibration | None = None

    def __str__(self) -> str:
        chosen = ", ".join(f"{name} {value}" for name, value in self.choice.items())
        return f"{chosen} (chosen on {len(self.cases)} cases by {' and '.join(self.tune.metric)})"


def read_tuned(folder: str | Path) -> Tuned | None:
    """Return what was chosen for a run.

    Args:
        folder: the run folder.

    Returns:
        It, or None where nothing was.

    Raises:
        UserError: the file is not what tuning writes.
    """
    file = Path(folder) / TUNED
    return validate(Tuned, read_json(file), where=str(file)) if file.is_file() else None


class Tuner:
    """Probabilities on the disk, from which settings are chosen on any part of the cases.

    The means are those of the masks on the cases' own grids; an undefined distance counts as the image's diagonal, and
    of other metrics a case where they are undefined is left out. The brain, inside which temperatures are found, is
    where a case's first map is not 0; of instance labels, it is the whole image.

    Args:
        maps: files of probabilities by case.
        cohort: where the labels of these cases are.
        tuning: what is tried.
        base: what settings that are not tried stay at. The maps have its temperature already.
        options: how masks are scored; None takes the defaults.
        workers: processes that score.

    Example:
        >>> tuner = Tuner(maps, cohort, recipe.inference.tune, recipe.inference.postprocess)  # doctest: +SKIP
        >>> tuner.on(["a", "b"]).choice  # doctest: +SKIP
        {'threshold': 0.35}
    """

    def __init__(
        self,
        maps: Mapping[str, Path],
        cohort: Cohort,
        tuning: Tuning,
        base: MaskSettings,
        *,
        options: ScoringOptions | None = None,
        workers: int = 1,
    ) -> None:
        self.maps, self.cohort, self.tuning, self.base, self.workers = maps, cohort, tuning, base, workers
        self.options = options or ScoringOptions()
        if cohort.label_kind == "instances" and not self.options.has_label_maps:
            self.options = replace(self.options, label_maps="target")
        self.points = tuning.points(base)
        self._counts: dict[str, OddsCounts] = {}
        self._scores: dict[tuple[str, float], np.ndarray] = {}

    def on(self, cases: Sequence[str]) -> Tuned:
        """Choose on some of the cases; no other case's label or probability is looked at.

        Args:
            cases: their names.

        Returns:
            What was chosen, and all that was tried.

        Raises:
            UserError: there is no case, a file cannot be read, grids differ, a metric is defined nowhere, or a
                temperature is asked for where there is no lesion.
        """
        if not cases:
            raise UserError("tuning needs cases to choose on; give a fold with validation cases")
        calibration = self._calibration(cases)
        temperature = calibration.temperature if calibration else 1.0
        scores = self._scored(cases, temperature)
        own = {name: getattr(self.base, name) for name in self.tuning.axes}
        best = choose(scores[:, :-1], self.tuning.metric, own=self.points.index(own) if own in self.points else None)
        means = [dict(zip(self.tuning.metric, each, strict=True)) for each in _means(scores, self.tuning.metric)]
        settings = [*self.points, own]
        points = [Point(settings=each, means=mean) for each, mean in zip(settings, means, strict=True)]
        found = {"temperature": self.base.temperature * temperature} if calibration else {}
        return Tuned(
            tune=self.tuning,
            cohort=self.cohort.name,
            cases=tuple(cases),
            untuned=points[-1],
            points=tuple(points[:-1]),
            choice={**self.points[best], **found},
            calibration=calibration,
        )

    def mask(self, case: str, tuned: Tuned) -> Volume:
        """Return the mask that a case's probabilities become with what was chosen.

        Args:
            case: its name.
            tuned: what was chosen.

        Returns:
            The mask, uint8.

        Raises:
            UserError: the file cannot be read.
        """
        temperature = tuned.calibration.temperature if tuned.calibration else 1.0
        settings = self._settings({**tuned.choice, "temperature": temperature})
        found = _read_map(self.maps[case])
        grid = found.geometry
        mask = binarize(found.array, settings, voxel_ml=grid.voxel_ml, axial=grid.axial)
        return Volume(self.cohort.labels.decode(mask), grid)

    def _settings(self, point: Mapping[str, Any]) -> MaskSettings:
        shared = {name: getattr(self.base, name) for name in MaskSettings.model_fields}
        return MaskSettings().model_copy(update={**shared, "temperature": 1.0, **point})

    def _calibration(self, cases: Sequence[str]) -> Calibration | None:
        if self.tuning.calibration is None:
            return None
        missing = [name for name in cases if name not in self._counts]
        self._counts |= zip(missing, self._mapped(_count, [self._task(name) for name in missing]), strict=True)
        return calibrate(summed(self._counts[name] for name in cases))

    def _scored(self, cases: Sequence[str], temperature: float) -> np.ndarray:
        """Return (cases, points and the base, metrics)."""
        missing = [name for name in cases if (name, temperature) not in self._scores]
        points = [self._settings({**point, "temperature": temperature}) for point in self.points]
        tasks = [self._task(name, (*points, self._settings({}))) for name in missing]
        keys = [(name, temperature) for name in missing]
        self._scores |= zip(keys, self._mapped(_score, tasks), strict=True)
        return np.stack([self._scores[name, temperature] for name in cases])

    def _task(self, name: str, points: Sequence[MaskSettings] = ()) -> "_Task":
        return _Task(
            self.cohort.case(name),
            self.maps[name],
            tuple(points),
            self.tuning.metric,
            self.options,
            is_of_brain=self.cohort.label_kind == "binary",
            ignore=self.cohort.labels.ignore,
        )

    def _mapped(self, function: Any, tasks: Sequence["_Task"]) -> Iterator[Any]:
        workers = min(self.workers, 1 + len(tasks) // WORTH_A_PROCESS)
        return parallel_map(function, tasks, workers=workers)


def choose(scores: np.ndarray, metrics: Sequence[str], *, own: int | None = None) -> int:
    """Return which of several settings is best.

    By one metric it is the best mean over the cases. By several, the least sum of ranks: those of the means by each
    metric, from 1, the mean rank for ties. A mean that no case defines comes last.

    Args:
        scores: (cases, settings, metrics), NaN where a metric is undefined.
        metrics: their names.
        own: the number of the settings to stay with where none is better.

    Returns:
        Its number; of equally good ones `own`, else the first.

    Raises:
        UserError: a metric is defined in no case with any settings.

    Example:
        >>> choose(np.array([[[0.5, 3.0], [0.7, 2.0], [0.6, 1.0]]]), ["dice", "masd"])
        1
    """
    from scipy import stats  # half a second, which reading a recipe need not wait for

    ranks = np.zeros(scores.shape[1])
    columns = np.array([[np.nan if value is None else value for value in row] for row in _means(scores, metrics)]).T
    for name, means in zip(metrics, columns, strict=True):
        if np.isnan(means).all():
            raise UserError(
                f"tuning by {name}: it is undefined in all {len(scores)} cases; add cases with lesions, or choose "
                "another metric"
            )
        best = METRICS[name].best
        cost = -means if best == "highest" else means
        ranks += stats.rankdata(np.where(np.isnan(cost), np.inf, cost))
    first = int(np.argmin(ranks))
    return own if own is not None and ranks[own] == ranks[first] else first


def score_settings(
    probability: Volume,
    target: np.ndarray,
    settings: Sequence[MaskSettings],
    *,
    metrics: Sequence[str],
    options: ScoringOptions,
    ignored: np.ndarray | None = None,
) -> np.ndarray:
    """Return what a case's masks score, for each of several ways from its probability to a mask.

    Args:
        probability: of one class.
        target: `(*spatial)`, the true mask or label map on the same grid.
        settings: the ways.
        metrics: names of what to compute.
        options: how masks are scored.
        ignored: bool `(*spatial)`, what is not scored, where neither of them has anything; None for none.

    Returns:
        (settings, metrics); NaN where a metric is undefined, the image's diagonal in mm where that is a distance.

    Example:
        >>> grid = Geometry((1, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> found = Volume(np.array([[0.9, 0.4, 0.1, 0.1]]), grid)
        >>> ways = [MaskSettings(threshold=threshold) for threshold in (0.3, 0.5)]
        >>> score_settings(found, np.array([[1, 1, 0, 0]]), ways, metrics=["dice"], options=ScoringOptions()).tolist()
        [[1.0], [0.6666666666666666]]
    """
    grid = probability.geometry
    maps = {each: calibrated(probability.array, each) for each in {way.temperature for way in settings}}
    found = np.empty((len(settings), len(metrics)))
    for number, way in enumerate(settings):
        values, plain = maps[way.temperature], way.model_copy(update={"temperature": 1.0})
        # Most of an image is neither lesion nor taken for any: components and metrics need not look there.
        plain = plain.model_copy(update={"threshold": threshold_of(values, plain)})  # of the whole image
        box = bounding_box((values >= min(plain.threshold, way.hysteresis or 1.0)) | (target > 0))
        place = tuple(slice(low, high) for low, high in zip(*box, strict=True)) if box else (slice(0, 1),) * target.ndim
        mask = binarize(values[place], plain, voxel_ml=grid.voxel_ml, axial=grid.axial)
        left_out = None if ignored is None else ignored[place]
        pair = MaskPair.of(mask, target[place], spacing=grid.spacing, options=options, ignore=left_out)
        pair = replace(pair, total=target.size if ignored is None else int(np.count_nonzero(~ignored)))
        found[number] = [_value(name, pair, grid) for name in metrics]
    return found


@dataclass(frozen=True)
class _Task:
    """What it takes to score a case, small enough to be sent to another process."""

    case: Case
    file: Path
    points: tuple[MaskSettings, ...]
    metrics: tuple[str, ...]
    options: ScoringOptions
    is_of_brain: bool
    ignore: int | None


def _value(name: str, pair: MaskPair, grid: Geometry) -> float:
    value = METRICS[name].function(pair)
    if np.isnan(value) and METRICS[name].is_distance:
        return float(np.linalg.norm(np.multiply(grid.size, grid.spacing)))
    return abs(value) if METRICS[name].best == "zero" else value


def _means(scores: np.ndarray, metrics: Sequence[str]) -> list[list[float | None]]:
    """Return the mean over the cases that have a value, by settings and metric."""
    columns = [[scores[:, point, nth] for nth in range(len(metrics))] for point in range(scores.shape[1])]
    held = [[values[~np.isnan(values)] for values in row] for row in columns]
    return [[float(values.mean()) if len(values) else None for values in row] for row in held]


def _score(task: _Task) -> np.ndarray:
    probability, target, ignored = _opened(task)
    options = {"metrics": task.metrics, "options": task.options, "ignored": ignored}
    return score_settings(probability, target, task.points, **options)  # type: ignore[arg-type]


def _count(task: _Task) -> OddsCounts:
    probability, target, ignored = _opened(task)
    inside = np.ones(target.shape, bool)
    if task.is_of_brain:
        first = next(iter(task.case.images.values()))
        image = first.read()
        _check_grid(task, image.geometry, probability.geometry, first.path)
        inside = brain_mask(image.array)
    if ignored is not None:
        inside = inside & ~ignored
    return OddsCounts.of(probability.array[inside], target[inside] > 0)


def _opened(task: _Task) -> tuple[Volume, np.ndarray, np.ndarray | None]:
    """Return the probability of a case, its label as it is scored, and what is ignored."""
    case = task.case
    if case.label is None:
        raise UserError(f"case {case.name}: has no label to tune by; leave it out")
    label, probability = case.label.read(), _read_map(task.file)
    _check_grid(task, label.geometry, probability.geometry, case.label.path)
    array, ignored = label.array, None
    if task.ignore is not None:
        ignored = array == task.ignore
        array = np.where(ignored, 0, array)
        probability = Volume(np.where(ignored, 0, probability.array), probability.geometry)
    return probability, as_labels(array, name="label") if task.options.has_label_maps else array > 0, ignored


def _check_grid(task: _Task, grid: Geometry, of_probability: Geometry, file: Path) -> None:
    if differences := grid.differences(of_probability):
        raise UserError(
            f"case {task.case.name}: {file}: lies on another grid than the probabilities: {'; '.join(differences)}; "
            "predict them again"
        )


def _read_map(file: Path) -> Volume:
    found = read(file)
    check_finite(found.array, str(file))
    if not ((found.array >= -1e-6) & (found.array <= 1 + 1e-6)).all():
        raise UserError(f"{file}: holds something else than probabilities from 0 to 1; predict it again")
    return found
