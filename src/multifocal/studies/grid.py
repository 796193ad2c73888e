"""The cells of a study: arm × fold × seed, each with its recipe, its cases and a fingerprint of all that it is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from multifocal.cohorts import (
    Cohort,
    Fold,
    Folds,
    Labels,
    dataset_folds,
    fingerprint,
    lesion_shares,
    make_folds,
    with_labels,
)
from multifocal.cohorts.case import LabelKind
from multifocal.cohorts.label_values import NAMED, check_labels
from multifocal.errors import UserError
from multifocal.metrics import ScoringOptions
from multifocal.recipes import Recipe
from multifocal.studies.loading import resolve
from multifocal.studies.settings import DatasetFolds, FileFolds, Study

_CURE = f"{NAMED}; or set metrics.rules.label_maps where the values number the lesions"
FORMAT = 1  # raise it when a cell of the same fingerprint would no longer be the same
_MASK = {"min_size_voxels": 0, "min_size_dimensions": 3, "largest_only": False, "temperature": 1.0, "tune": None}
# Keys that recipes have gained since format 1, by kind, with the values that leave everything as it was: these are left
# out of the fingerprint, so that a study that was begun without them goes on. What stands for a list is of each of its
# members.
ADDED_KEYS: Mapping[str, Mapping[str, Any]] = {
    "network": {
        "labels": {"classes": {}, "overlap": False, "ignore": None, "border": None},
        "inference": {"hysteresis": None, "min_size_ml": 0.0, "instances": None, **_MASK},
        "preprocessing": {
            "channels": [
                {
                    "n4": False,
                    "derive": None,
                    "percentiles": None,
                    "over": "image",
                    "standardize": None,
                    "background": None,
                }
            ]
        },
        "augmentation": {"scale": None, "shift": None, "quarter_turns": None, "paste": None, "one_of": []},
        "optimizer": {"momentum": 0.0, "nesterov": False, "clip_by": "norm", "clip_value": None},
        "training": {
            "accumulation": "mean",
            "ema": None,
            "start_from": None,
            "loggers": [],
            "deep_supervision": [],
            "denoise": None,
        },
        "sampling": {
            "crop": None,
            "per_case": 1,
            "centred": 0.0,
            "by": "voxel",
            "empty": "keep",
            "weights": "equal",
            "slices": None,
        },
    },
    "threshold": {"min_size_ml": 0.0, "min_size_voxels": 0, "min_size_dimensions": 3, "largest_only": False},
    "cascade": {"forest": {"method": "random", "repeats": 1}},
    "promptable": {"video": None},
    "voxels": {"levels": []},  # of a cascade's second stage
    "ensemble": {"combine": {"hysteresis": None, "min_size_ml": 0.0, **_MASK}, "members": [{"fold": None}]},
}
# The same of sections that stand in several places.
ADDED_TO_SECTIONS: Mapping[str, Mapping[str, Any]] = {"affine": {"rotate_about": None, "translations": [0.0, 0.0]}}


@dataclass(frozen=True, order=True)
class Cell:
    """One training and its test. The order is the one they are run in: arms can be compared fold by fold.

    Args:
        fold: number of the fold.
        seed: of weights and training.
        number: of the arm, in the order of the study.
        arm: the arm's name.

    Example:
        >>> Cell(fold=1, seed=0, number=0, arm="dice").name
        'dice/fold1-seed0'
    """

    fold: int
    seed: int
    number: int
    arm: str

    @property
    def name(self) -> str:
        """Return the cell's folder within `cells/`."""
        return f"{self.arm}/fold{self.fold}-seed{self.seed}"


@dataclass(frozen=True)
class Grid:
    """Every cell of a study on a cohort.

    Args:
        study: the study.
        cohort: its labelled cases.
        folds: how they are dealt.
        fingerprint: of the cohort's names and contents.
        recipes: by arm and seed.

    Example:
        >>> from multifocal.cohorts import Case, ImageFile
        >>> from multifocal.studies import load
        >>> scan = {"adc": ImageFile(Path("adc.mha"))}
        >>> cohort = Cohort("demo", Path("."), "manifest", tuple(Case(name, name, scan) for name in "abc"))
        >>> folds = make_folds(cohort, dict.fromkeys("abc", 0.0), k=3)
        >>> [cell.name for cell in Grid(load("demo"), cohort, folds, "", {}).cells]
        ['dice-ce/fold0-seed0', 'blob-dice/fold0-seed0', 'z-adc/fold0-seed0']
    """

    study: Study
    cohort: Cohort
    folds: Folds
    fingerprint: str
    recipes: Mapping[tuple[str, int], Recipe]

    @property
    def chosen(self) -> tuple[int, ...]:
        """Return the numbers of the folds that are run."""
        run = None if isinstance(self.study.folds, DatasetFolds) else self.study.folds.run
        return tuple(range(len(self.folds))) if run is None else run

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Return all cells, in the order they are run in."""
        return tuple(
            sorted(
                Cell(fold, seed, number, arm)
                for number, arm in enumerate(self.study.arms)
                for fold in self.chosen
                for seed in self.study.seeds
            )
        )

    def recipe(self, cell: Cell) -> Recipe:
        """Return what a cell trains.

        Args:
            cell: one of `cells`.

        Returns:
            The recipe, every default spelled out.
        """
        return self.recipes[cell.arm, cell.seed]

    def is_tuned(self, arm: str) -> bool:
        """Return whether an arm is tuned fold by fold, for which its cells keep probabilities.

        Args:
            arm: its name.

        Returns:
            Whether the study says so, and the arm has probabilities.
        """
        return self.study.tune is not None and self.recipes[arm, self.study.seeds[0]].postprocess is not None

    def fold(self, cell: Cell) -> Fold:
        """Return the cases of a cell.

        Args:
            cell: one of `cells`.

        Returns:
            Their names by part.
        """
        return self.folds.folds[cell.fold]

    def fingerprint_of(self, cell: Cell) -> str:
        """Return the SHA-256 (hex) of all that decides a cell's masks: recipe and seed, cases, contents of the data.

        Args:
            cell: one of `cells`.

        Returns:
            64 characters.
        """
        recipe = _as_hashed(self.recipe(cell).model_dump(mode="json"))
        facts = [FORMAT, recipe, self._fold_digests[cell.fold], cell.seed, self.fingerprint]
        starts = self._starts[cell.arm, cell.seed]
        return _digest([*facts, starts] if starts else facts)

    @cached_property
    def _starts(self) -> dict[tuple[str, int], list[str]]:
        # The weights that trainings begin with, by their contents: a path may hold others tomorrow.
        begun = {
            # What starts from a recipe has it among its own data.
            key: [one for one in of.trainings if isinstance(one.training.start_from, str)]
            for key, of in self.recipes.items()
        }
        if not any(begun.values()):
            return {key: [] for key in begun}
        from multifocal.training.warm_start import start_digest  # with Lightning, which studies else do without

        return {key: [start_digest(one) for one in trainings] for key, trainings in begun.items()}

    @cached_property
    def _fold_digests(self) -> dict[int, str]:
        # Of large cohorts, whose folds should not be written out for every cell.
        return {number: _digest(self.folds.folds[number].model_dump(mode="json")) for number in self.chosen}


def make_grid(study: Study, cohort: Cohort) -> Grid:
    """Return the grid after checking that every cell can begin.

    Args:
        study: the study.
        cohort: the cases; those without a label are left out.

    Returns:
        The grid.

    Raises:
        UserError: no case has a label, a label holds values that nobody named, a file cannot be read, the folds cannot
            be drawn or are another cohort's, a fold has nothing to train on, to test, or to choose an epoch by, an
            arm's recipe is not valid, or the study asks how sure label maps of instances are.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.studies import load
        >>> study = load("demo", overrides=["folds.number=2"])
        >>> with TemporaryDirectory() as home:
        ...     write_phantom(f"{home}/cohort", cases=2, seed=0)
        ...     grid = make_grid(study, open_cohort(f"{home}/cohort"))
        >>> len(grid.cells), grid.recipe(grid.cells[0]).loss.name, len(grid.fold(grid.cells[0]).test)
        (3, 'dice-ce', 1)
    """
    resolved = {(arm, seed): resolve(study, arm, seed=seed) for arm in study.arms for seed in study.seeds}
    arms = {arm: recipe for (arm, _), recipe in resolved.items()}
    cohort = with_labels(labelled(cohort), common_labels(arms))
    _check_instances(study, arms)
    folds = _folds(study, cohort)
    _check_combined(study, cohort.labels)
    grid = Grid(study, cohort, folds, fingerprint(cohort), resolved)
    _check_tune(grid)
    if study.uncertainty and (cohort.label_kind == "instances" or ScoringOptions(**study.metrics.rules).has_label_maps):
        raise UserError(f"study {study.name}: uncertainty is of masks, not of label maps of instances; leave it out")
    for number in grid.chosen:
        fold = folds.fold(number, cohort)
        if not fold.train or not fold.test:
            raise UserError(
                f"study {study.name}: fold {number} has {len(fold.train)} cases to train on and {len(fold.test)} to "
                "test; a study needs both: choose scheme kfold or nested"
            )
        for (arm, _), recipe in resolved.items():
            if recipe.is_tuned and not fold.validation:
                raise UserError(
                    f"study {study.name}: arm {arm} is tuned on validation cases, and fold {number} has none; choose "
                    "folds.scheme: nested, or the study's own tune, which goes by the other folds"
                )
            if recipe.monitor and not fold.validation:
                raise UserError(
                    f"study {study.name}: arm {arm} keeps the best epoch by {recipe.monitor}, but fold "
                    f"{number} has no validation cases; choose folds.scheme: nested, or training: "
                    "{monitor: null, patience: null}"
                )
    return grid


def common_labels(recipes: Mapping[str, Recipe]) -> Labels:
    """Return what the values of label images mean to all arms of a study.

    Args:
        recipes: by arm.

    Returns:
        The classes that all predict, and what any of them ignores.

    Raises:
        UserError: the arms predict different classes, or ignore different values.
    """
    # What is inside of instances and what is border is for training: they are predicted as label maps.
    found = {
        arm: Labels(ignore=recipe.target_labels.ignore) if recipe.predicts_instances else recipe.target_labels
        for arm, recipe in recipes.items()
    }
    (first, common), *others = found.items()
    for arm, labels in others:
        if (labels.classes, labels.overlap) != (common.classes, common.overlap):
            raise UserError(
                f"arm {arm} predicts {', '.join(labels.names)}, and arm {first} {', '.join(common.names)}, by other "
                "values: a study compares arms of the same labels.classes"
            )
    ignored = sorted({labels.ignore for labels in found.values() if labels.ignore is not None})
    if len(ignored) > 1:
        raise UserError(f"the arms ignore the values {ignored[0]} and {ignored[1]}: set the same labels.ignore in all")
    return common if not ignored else common.model_copy(update={"ignore": ignored[0]})


def _check_instances(study: Study, arms: Mapping[str, Recipe]) -> None:
    """Raise `UserError` where label maps are predicted, and would be scored or pooled as masks."""
    found = [arm for arm, recipe in arms.items() if recipe.predicts_instances]
    if found and not ScoringOptions(**study.metrics.rules).predicts_label_maps:
        raise UserError(
            f"study {study.name}: arm {found[0]} predicts label maps of instances: set metrics.rules.label_maps to both"
        )
    if found and len(study.seeds) > 1:
        raise UserError(
            f"study {study.name}: arm {found[0]} predicts label maps, of which several seeds do not vote; use one seed"
        )


def _check_combined(study: Study, labels: Labels) -> None:
    """Raise `UserError` where masks would be combined that hold instances, or classes that the rule cannot tell."""
    if study.combined and ScoringOptions(**study.metrics.rules).predicts_label_maps:
        raise UserError(f"study {study.name}: combined is made of masks, not of label maps; leave it out")
    for name, one in study.combined.items():
        if labels.several and one.combine.rule == "volume":
            raise UserError(f"study {study.name}: combined.{name}: volume shares out lesions of one class; choose vote")


def _check_tune(grid: Grid) -> None:
    study = grid.study
    if study.tune is None:
        return
    if len(grid.chosen) < 2:
        raise UserError(f"study {study.name}: tune goes by the test cases of other folds, and there is one; run more")
    for (arm, _), recipe in grid.recipes.items():
        if recipe.tune is not None:
            raise UserError(f"study {study.name}: arm {arm} is tuned by its recipe and by the study; leave one out")
        if recipe.postprocess is not None:
            study.tune.points(recipe.postprocess)
    if not any(map(grid.is_tuned, study.arms)):
        raise UserError(f"study {study.name}: no arm has probabilities to tune; leave tune out")


def _as_hashed(data: Any) -> Any:
    """Return a recipe's data, or part of them, without the keys that it would do without."""
    if isinstance(data, list):
        return [_as_hashed(value) for value in data]
    if not isinstance(data, dict):
        return data
    data = _without(data, ADDED_KEYS.get(str(data.get("kind")), {}))
    added = {key: ADDED_TO_SECTIONS.get(key, {}) if isinstance(value, dict) else {} for key, value in data.items()}
    return {key: _as_hashed(_without(value, added[key]) if added[key] else value) for key, value in data.items()}


def _without(data: Mapping[str, Any], neutral: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those that are at their neutral values, section by section."""
    kept = {key: value for key, value in data.items() if key not in neutral or value != neutral[key]}
    # A section that is neutral as a whole is gone already.
    inner = {key: value for key, value in neutral.items() if key in kept and isinstance(value, Mapping)}
    sections: dict[str, Any] = {key: _without(kept[key], value) for key, value in inner.items()}
    members = {key: value[0] for key, value in neutral.items() if isinstance(value, list) and value}
    lists = {key: value for key, value in members.items() if key in kept and isinstance(value, Mapping)}
    sections |= {key: [_without(member, value) for member in kept[key]] for key, value in lists.items()}
    return {**kept, **sections}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def labelled(cohort: Cohort) -> Cohort:
    """Return the cases that have a label."""
    found = cohort.subset([case.name for case in cohort if case.label is not None])
    if not len(found):
        raise UserError(f"cohort {cohort.name}: no case has a label; a study trains and tests on labelled cases")
    return found


def _folds(study: Study, cohort: Cohort) -> Folds:
    """Return the folds, after all labels were read: evaluation would refuse a strange one only after training."""
    settings, is_map = study.folds, ScoringOptions(**study.metrics.rules).has_label_maps
    kind: LabelKind = "instances" if is_map else cohort.label_kind
    if not isinstance(settings, FileFolds | DatasetFolds):
        shares = lesion_shares(cohort, kind=kind, cure=_CURE)
        return make_folds(cohort, shares, k=settings.number, seed=settings.seed, scheme=settings.scheme)
    folds = Folds.load(Path(settings.path)) if isinstance(settings, FileFolds) else dataset_folds(cohort)
    check_labels(cohort, kind=kind, cure=_CURE)
    return folds
