"""A system and, after it, a random forest that judges what it found: voxels, or whole components."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from multifocal.cohorts import Case, Cohort, Labels, lesion_shares, make_folds
from multifocal.cohorts.folds import Fold
from multifocal.cohorts.seen import Seen
from multifocal.errors import UserError
from multifocal.files import read_json, write_json
from multifocal.pipeline.prepare import Prepared, prepare
from multifocal.pipeline.settings import BrainBox, Channel
from multifocal.recipes import KINDS, Recipe, once
from multifocal.systems.candidates import LESION, Candidates, Stage, Voxels
from multifocal.systems.ensemble import Member, changed_member
from multifocal.systems.forest import PACKAGE, Forest, ForestSettings, RandomTrees
from multifocal.systems.loading import RECIPE, is_finished, load_model, system_class, with_tuned
from multifocal.systems.postprocess import MaskSettings, Postprocess, postprocess
from multifocal.systems.scan import Scan
from multifocal.systems.system import MEMBERS, WEIGHTS, FitJob, Prediction, System
from multifocal.systems.tuning import Tuning
from multifocal.versions import check_installed
from multifocal.volumes import Volume, restore

FIRST, FOLD, ABOUT_FOREST = "first", "fold", "forest.json"
CANDIDATES, DROPPED = "candidates", "dropped"
_MARGIN = 2  # voxels around the brain: what a window of 5 reaches


class CascadeInference(MaskSettings):
    """What stands between the forest's probability and the mask, see `MaskSettings`.

    Args:
        threshold: see `MaskSettings`.
        hysteresis: see `MaskSettings`.
        min_size_ml: see `MaskSettings`.
        min_size_voxels: see `MaskSettings`.
        min_size_dimensions: see `MaskSettings`.
        largest_only: see `MaskSettings`.
        temperature: see `MaskSettings`.
        tune: what of it is chosen on the validation cases once the forest is fitted.
    """

    tune: Tuning | None = None

    @model_validator(mode="after")
    def _check_tune(self) -> "CascadeInference":
        if self.tune is not None:
            self.tune.points(self)
        return self


class CascadeRecipe(Recipe):
    """A first stage, and a random forest on its probabilities and the maps themselves.

    The forest is fitted on out-of-fold probabilities alone: the training cases are dealt into `folds` by subject, and
    those of each fold are predicted by a first stage that was trained on the others. The one that predicts later is
    trained on all of them. A first stage that is not trained here is asked as it is, unless it has seen a case.

    Args:
        first: the first stage: a recipe (trained here, or in need of no training) or a run. Where it has no
            probability, its mask counts as one of 0 and 1.
        folds: how many; at most one a subject.
        brain: the map that is 0 outside the brain.
        second: what is judged, and what it goes by.
        forest: how it is grown.
        inference: how its probability becomes a mask.

    Raises:
        ValueError: the first stage predicts several classes, instances, or noise.

    Source:
        Toubal et al., the first of BONBID-HIE 2023.

    Example:
        >>> from multifocal import recipes
        >>> second = {"kind": "voxels", "maps": ["zadc", "adc"]}
        >>> says = {"kind": "cascade", "name": "mine", "first": "zadc-threshold", "brain": "adc", "second": second}
        >>> recipe = recipes.parse(says, where="mine.yaml")
        >>> recipe.needs_training, recipe.first.resolved().name, recipe.second.window
        (True, 'zadc-threshold', '5x5')
    """

    nested: ClassVar[tuple[str, ...]] = ("first",)
    kind: Literal["cascade"] = "cascade"
    first: Member
    folds: int = Field(default=5, ge=2)
    brain: str = Field(min_length=1)
    second: Stage
    forest: ForestSettings = RandomTrees()
    inference: CascadeInference = CascadeInference()

    @model_validator(mode="after")
    def _check(self) -> "CascadeRecipe":
        own = self.first.resolved()
        if own is not None and own.is_pretraining:
            raise ValueError("first has training.denoise, and finds noise, not lesions: set it to null")
        if own is not None and (own.predicts_instances or own.target_labels.several):
            raise ValueError(
                "first predicts several classes or instances, and a forest tells lesion from none: choose one of masks"
            )
        return self

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return once(self.brain, *self.first.maps(), *self.second.maps)

    @property
    def trained(self) -> Recipe | None:
        """The recipe of the first stage where it is trained here; None where not."""
        own = self.first.resolved()
        return own if own is not None and own.needs_training else None

    @property
    def trainings(self) -> tuple[Any, ...]:
        """Those of the first stage, once a fold and once for all cases."""
        return () if self.trained is None else self.trained.trainings * (self.folds + 1)

    @property
    def needs_training(self) -> bool:
        """Whether `fit` comes before `predict`, which it does: the forest is fitted."""
        return True

    @property
    def target_labels(self) -> Labels:
        """What the values of label images mean to it: what they mean to its first stage."""
        return self.first.labels()

    @property
    def is_tuned(self) -> bool:
        """Whether it or its first stage is tuned on the validation cases."""
        return self.tune is not None or (self.trained is not None and self.trained.is_tuned)

    @property
    def mask_section(self) -> str:
        """Where `postprocess` and `tune` are said."""
        return "inference"

    @property
    def postprocess(self) -> MaskSettings:
        """What stands between the forest's probability and the mask."""
        return self.inference

    @property
    def tune(self) -> Tuning | None:
        """What of it is chosen on the validation cases."""
        return self.inference.tune

    @classmethod
    def changed(cls, data: Mapping[str, Any], changes: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
        """Return the cascade's data with a study's changes in the recipe of its first stage, and its seed in both.

        Args:
            data: of the cascade's recipe, not validated yet.
            changes: nested settings that replace those of the first stage.
            seed: of weights and training; each moves the first stage's own, and the forest's, by 1000.

        Returns:
            New data.
        """
        forest = data.get("forest") or {}
        moved = {**forest, "seed": forest.get("seed", 0) + 1000 * seed} if isinstance(forest, Mapping) else forest
        return {**data, "first": changed_member(data.get("first"), changes, seed), "forest": moved}


@KINDS.register("cascade")
class CascadeSystem(System):
    """A first stage and a random forest.

    Args:
        recipe: what they were fitted by.
        first: the first stage, ready to predict.
        forest: fitted.

    Raises:
        UserError: the first stage predicts several classes or instances.

    Example:
        >>> from multifocal.systems import load_model
        >>> load_model("runs/cascade").first.recipe.name  # doctest: +SKIP
        'hie-small'
    """

    recipe_type = CascadeRecipe
    has_probabilities = True
    changes_after_training = ("inference.",)

    def __init__(self, recipe: CascadeRecipe, first: System, forest: Forest) -> None:
        super().__init__(recipe)
        _check_masks(recipe, first)
        self.first, self.forest = first, forest
        self.seen, self.ranges = first.seen, first.ranges

    @property
    def parts(self) -> Mapping[str, Seen]:
        """What the first stage finds, all that the forest judges, and of whole components what it drops of them."""
        names = (FIRST, CANDIDATES, *([DROPPED] if isinstance(self.recipe.second, Candidates) else []))
        return dict.fromkeys(names, self.first.seen)

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid.

        Args:
            case: with the maps that the recipe and its first stage name.

        Returns:
            The mask, the forest's probability, 0 where there is no candidate, and the parts: the first stage's
            prediction, and the masks of what is judged and dropped.

        Raises:
            UserError: whatever the first stage raises; a map is missing or cannot be read; or the case has other
                dimensions than those of training.
        """
        second: Voxels | Candidates = self.recipe.second
        scan, prepared, first = _scan(case, self.recipe, self.first)
        names = second.features(scan.inside.ndim)
        if len(names) != len(self.forest.importance):
            raise UserError(f"case {case.name}: is {scan.inside.ndim}D, and the cascade was trained on other cases")
        found: Any = second.find(scan)
        probability = self.forest.predict(second.describe(scan, found), threads=torch.get_num_threads())

        def painted(values: np.ndarray) -> Volume:
            image = Volume(second.paint(found, values, scan.inside.shape), prepared.geometry)
            return restore(image, prepared.native, interpolation="nearest")

        def answer(mask: np.ndarray, counted: Volume | None = None) -> Prediction:
            return Prediction(Volume(self.recipe.target_labels.decode(mask), prepared.native), counted)

        settings = {name: getattr(self.recipe.inference, name) for name in MaskSettings.model_fields}
        mask, counted = postprocess(painted(probability), Postprocess(**settings))
        judged = (painted(np.ones(len(found), np.float32)).array > 0).astype(np.uint8)
        stages = (first, answer(judged), answer(judged & ~mask.array))
        return replace(answer(mask.array, counted), parts=dict(zip(self.parts, stages, strict=False)))

    @classmethod
    def load(cls, recipe: CascadeRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the cascade of a finished run folder.

        Args:
            recipe: the run's.
            folder: the run folder.
            device: what to compute on.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: a file is missing, or does not fit the recipe.
        """
        if folder is None:
            raise ValueError("folder is None; expected that of a run, for a forest is fitted")
        features = {len(recipe.second.features(dimensions)) for dimensions in (2, 3)}
        forest = Forest.load(Path(folder) / WEIGHTS, features=features)
        return cls(recipe, _first(recipe, Path(folder) / MEMBERS / FIRST, device=device), forest)

    @classmethod
    def fit(cls, recipe: CascadeRecipe, job: FitJob) -> None:
        """Fit the first stage fold by fold and on all cases, then the forest; score both on the validation cases.

        Args:
            recipe: what to fit.
            job: on what, where, and with what help.

        Raises:
            UserError: the labels are of several classes or instances, no out-of-fold probabilities can be had, there is
                no candidate, or none is a lesion; and whatever fitting the first stage raises.
        """
        if job.cohort.label_kind == "instances":
            raise UserError(
                f"recipe {recipe.name}: a cascade is fitted on masks, and cohort {job.cohort.name} numbers instances; "
                "choose another kind of recipe"
            )
        cases = job.cohort.subset(job.split.train)
        parts = _parts(recipe, cases)
        if recipe.trained is None:  # what has seen a case says so before any work
            _check_new(recipe, _first(recipe, None, device=job.device), cases)
        job.begin()
        if recipe.trained is not None:
            home, stages = job.out / MEMBERS, []
            for number, held in enumerate(parts):
                inner = tuple(name for name in job.split.train if name not in held)
                split = Fold(train=inner, validation=job.split.validation, test=held)
                stages.append((recipe.trained, home / f"{FOLD}{number}", split))
            job.fit_members([*stages, (recipe.trained, home / FIRST, job.split)])
        started = time.monotonic()
        seen: dict[str, tuple[Scan, np.ndarray]] = {}
        for number, held in enumerate(parts):
            first = _first(recipe, job.out / MEMBERS / f"{FOLD}{number}", device=job.device)
            _check_new(recipe, first, cases.subset(held))
            for name in held:
                scan, prepared, _ = _scan(cases.case(name), recipe, first, labels=cases.labels, with_label=True)
                if prepared.target is None:
                    raise UserError(f"case {name}: has no label; leave it out of training")
                seen[name] = scan, prepared.target
        forest, about = _grown(recipe, [seen[name] for name in job.split.train], is_rehearsal=job.rehearsal)
        del seen
        system = cls(recipe, _first(recipe, job.out / MEMBERS / FIRST, device=job.device), forest)
        job.validate(system)
        write_json(job.out / ABOUT_FOREST, {**about, "seconds": round(time.monotonic() - started, 3)})
        forest.save(job.out / WEIGHTS)

    @classmethod
    def check_installed(cls, recipe: CascadeRecipe) -> None:
        """Raise `UserError` where something is not installed that its forest, or its first stage, is fitted with.

        Args:
            recipe: what is to be fitted.

        Raises:
            UserError: the first thing that is missing.
        """
        check_installed(PACKAGE, what=f"recipe {recipe.name}")
        if recipe.trained is not None:
            system_class(recipe.trained).check_installed(recipe.trained)

    @classmethod
    def is_fitted(cls, recipe: CascadeRecipe, folder: str | Path) -> bool:
        """Return whether the first stage and the forest are.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            Whether they are.
        """
        first = recipe.trained is None or is_finished(recipe.trained, Path(folder) / MEMBERS / FIRST)
        return first and (Path(folder) / WEIGHTS).is_file()

    @classmethod
    def facts(cls, recipe: CascadeRecipe, folder: str | Path) -> Mapping[str, Any]:
        """Return what fitting all first stages and the forest took together.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            `seconds` and `epochs` are sums, `step_ms` is that of the slowest; no epoch is the best.
        """
        own, members = recipe.trained, Path(folder) / MEMBERS
        homes = [] if own is None else sorted(home.parent for home in members.glob(f"*/{RECIPE}"))
        found = [system_class(own).facts(own, home) for home in homes if own is not None]
        about = read_json(Path(folder) / ABOUT_FOREST)
        return {
            "seconds": sum(each["seconds"] for each in found) + about["seconds"],
            "epochs": sum(each.get("epochs") or 0 for each in found),
            "step_ms": max((each.get("step_ms") or 0.0 for each in found), default=0.0),
        }


def _parts(recipe: CascadeRecipe, cases: Cohort) -> list[tuple[str, ...]]:
    """Return the cases that are predicted together, out of fold: all, where nothing is trained here."""
    if recipe.trained is None:
        return [tuple(case.name for case in cases)]
    subjects = len({case.subject for case in cases})
    if subjects < 2:
        raise UserError(
            f"recipe {recipe.name}: its forest is fitted on cases that the first stage was not trained on, which "
            f"needs 2 subjects to train on, found {subjects}; add cases, or give a run as first that has not seen them"
        )
    folds = make_folds(cases, lesion_shares(cases), k=min(recipe.folds, subjects), seed=recipe.forest.seed)
    return [fold.test for fold in folds.folds]


def _first(recipe: CascadeRecipe, home: Path | None, *, device: str) -> System:
    """Return a first stage: that of a folder where it is trained here."""
    if recipe.first.run is not None:
        first = load_model(recipe.first.run, device=device)
    else:
        own: Any = recipe.first.resolved()
        if recipe.trained is None or home is None:
            first = system_class(own).load(own, None, device=device)
        else:
            first = system_class(own).load(with_tuned(own, home), home, device=device)
    _check_masks(recipe, first)
    return first


def _check_masks(recipe: CascadeRecipe, first: System) -> None:
    if first.recipe.predicts_instances or first.recipe.target_labels.several:
        raise UserError(
            f"recipe {recipe.name}: its first stage {first.recipe.name} predicts several classes or instances; "
            "choose one of masks"
        )


def _check_new(recipe: CascadeRecipe, first: System, cases: Cohort) -> None:
    trained = [name for name, part in first.seen.among(cases).items() if part == "train"]
    if trained:
        raise UserError(
            f"recipe {recipe.name}: its first stage {first.recipe.name} was trained on {trained[0]}, where its "
            "probabilities are better than on new cases; give its recipe as first, which is then trained fold by fold, "
            "or train the forest on other cases"
        )


def _scan(
    case: Case, recipe: CascadeRecipe, first: System, *, labels: Labels | None = None, with_label: bool = False
) -> tuple[Scan, Prepared, Prediction]:
    """Return what the second stage sees of a case, the way home, and what the first stage finds."""
    channels = tuple(Channel(map=name) for name in recipe.second.maps)
    settings = BrainBox(kind="brain-box", brain=recipe.brain, channels=channels, margin=_MARGIN)
    prepared = prepare(case, settings, labels=labels or Labels(), with_label=with_label)
    found = first.predict(case)
    probability = found.probability or Volume((found.mask.array > 0).astype(np.float32), found.mask.geometry)
    if differences := probability.geometry.differences(prepared.native):
        raise UserError(
            f"case {case.name}: the first stage predicts on another grid than that of {', '.join(recipe.second.maps)}: "
            f"{'; '.join(differences)}; resample one onto the other"
        )
    maps = dict(zip(recipe.second.maps, prepared.images, strict=True))
    cut = restore(probability, prepared.geometry, interpolation="nearest").array.astype(np.float32)
    return Scan(case.name, maps, cut, prepared.inside, prepared.geometry), prepared, found


def _grown(
    recipe: CascadeRecipe, seen: list[tuple[Scan, np.ndarray]], *, is_rehearsal: bool
) -> tuple[Forest, dict[str, Any]]:
    """Return the forest of some cases, and what it was fitted on."""
    second: Any = recipe.second
    dimensions = {scan.inside.ndim for scan, _ in seen}
    if len(dimensions) > 1:
        raise UserError(f"recipe {recipe.name}: a cascade needs cases of one kind; these are 2D and 3D")
    names = second.features(dimensions.pop())
    found = [second.find(scan) for scan, _ in seen]
    answers = [second.answers(each, target) for each, (_, target) in zip(found, seen, strict=True)]
    together = np.concatenate(answers)
    lesions = int(np.count_nonzero(together == LESION))
    if not lesions and not is_rehearsal:
        told = f"none of the {len(together)} candidates" if len(together) else "there is no candidate"
        raise UserError(
            f"recipe {recipe.name}: {told} in {len(seen)} training cases{' is a lesion' if len(together) else ''}; "
            "raise second.below or lower second.above, so that candidates hold the lesions, or add cases with lesions"
        )
    drawn = second.drawn(together, np.random.default_rng(recipe.forest.seed))
    shares = np.split(drawn, np.cumsum([len(each) for each in answers])[:-1])
    rows = np.concatenate(
        [second.describe(scan, each, share) for (scan, _), each, share in zip(seen, found, shares, strict=True)]
    )
    taken = together[drawn] == LESION
    if not len(rows):  # a rehearsal on cases without any
        rows, taken = np.zeros((1, len(names)), np.float32), np.zeros(1, bool)
    forest = Forest.fit(rows, taken, recipe.forest, threads=torch.get_num_threads())
    about = {
        "cases": len(seen),
        "candidates": len(together),
        "lesions": lesions,
        "fitted_on": len(rows),
        "importance": forest.importances(names),
    }
    return forest, about
