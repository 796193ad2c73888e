"""Several systems as one: their masks or probabilities combined, on the scan's own grid."""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from multifocal import models, recipes
from multifocal.cohorts import Case, Cohort, Fold, ImageFile, Labels, lesion_shares, make_folds, with_labels
from multifocal.cohorts.seen import Seen
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.recipes import KINDS, Recipe, once
from multifocal.systems.classes import segment
from multifocal.systems.combination import PROBABILITY, ByBurden, ByVolume, GeometricMean, Mean, Vote, valued
from multifocal.systems.loading import RECIPE, is_finished, load_model, seen_in, system_class, with_tuned
from multifocal.systems.postprocess import MaskSettings, Postprocess, calibrated
from multifocal.systems.ranges import distinct
from multifocal.systems.system import MEMBERS, START, FitJob, Prediction, System
from multifocal.systems.tuning import Tuning
from multifocal.volumes import Geometry, Volume

_OF_ONE_CLASS = ("volume", "geometric-mean")
_LONGEST = 60  # characters of a recipe's name in that of a folder


class Member(Config):
    """One of the systems: a recipe, trained with the ensemble or in need of no training, or a run that is trained.

    Args:
        recipe: spelled out; a recipe's name or file is read when the ensemble's recipe is.
        run: a run folder, or the name of a model (`multifocal.models`).
        fold: (k, n): the ensemble's training cases are dealt into n folds, and this member validates on the k-th, from
            0, and trains on the others. None trains and validates on the cases that the ensemble does.

    Raises:
        ValueError: recipe and run are given, or none, or a fold of what is not trained here.
    """

    recipe: dict[str, Any] | None = None
    run: str | None = None
    fold: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Member":
        if (self.recipe is None) == (self.run is None):
            raise ValueError("a member is either a recipe or a run; give one of the two")
        own = self.resolved()
        if self.fold is None:
            return self
        if own is None or not own.needs_training:
            raise ValueError("fold divides training cases, and this member is not trained here: leave it out")
        if not (self.fold[1] >= 2 and 0 <= self.fold[0] < self.fold[1]):
            raise ValueError(f"fold={list(self.fold)} is none; expected [k, n], the k-th (from 0) of n, at least 2")
        return self

    def resolved(self) -> Recipe | None:
        """Return the member's recipe, validated; None for a run.

        Returns:
            The recipe, or None.
        """
        return None if self.recipe is None else recipes.parse(self.recipe, where="member")

    def labels(self) -> Labels:
        """Return what the values of the member's masks mean; those of a run are in its folder.

        Returns:
            The labels.

        Raises:
            UserError: the run's recipe cannot be read.
        """
        return self._own().target_labels

    def maps(self) -> tuple[str, ...]:
        """Return the names of the maps that the member reads; those of a run are in its folder.

        Returns:
            The names.

        Raises:
            UserError: the run's recipe cannot be read.
        """
        return self._own().maps

    def _own(self) -> Recipe:
        return self.resolved() or recipes.load(models.run_folder(str(self.run)) / RECIPE)


class EnsembleRecipe(Recipe):
    """Several systems as one.

    Args:
        members: the systems, at least two, in the order that the rule looks at them. Several of one recipe are said as
            `{"recipe": …, "seeds": [0, 1, 2]}` or `{"recipe": …, "folds": 5}`, see `multifocal.recipes.parse`.
        combine: how their predictions become one.

    Raises:
        ValueError: too few members, or not as many as the rule takes.

    Example:
        >>> from multifocal import recipes
        >>> members = [{"recipe": "zadc-threshold", "set": {"below": below}} for below in (-2.0, -2.5)]
        >>> says = {"kind": "ensemble", "name": "two", "description": "", "source": "", "members": members}
        >>> recipes.parse({**says, "combine": {"rule": "vote", "at_least": 2}}, where="two.yaml").needs_training
        False
    """

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[Member, ...] = Field(min_length=2)
    combine: Annotated[Vote | Mean | GeometricMean | ByVolume | ByBurden, Field(discriminator="rule")] = Mean()

    @model_validator(mode="after")
    def _check(self) -> "EnsembleRecipe":
        if any(recipe.is_pretraining for _, recipe in self.fitted):
            raise ValueError("a member has training.denoise, and finds noise, not lesions: set it to null")
        self.combine.check(len(self.members))
        if any(recipe is not None and recipe.predicts_instances for recipe in map(Member.resolved, self.members)):
            raise ValueError("a member predicts label maps of instances, which are not combined; leave it out")
        labels = [training.labels for training in self.trainings]
        if any(other != labels[0] for other in labels[1:]):
            raise ValueError("the members have other labels than one another: set the same labels in all")
        if labels and labels[0].several and self.combine.rule in _OF_ONE_CLASS:
            raise ValueError(f"combine.rule: {self.combine.rule} is of one class; combine several by mean or vote")
        if self.tune is not None:
            if not self.needs_training:
                raise ValueError("combine.tune goes by validation cases, and no member is trained here: leave it out")
            if labels and labels[0].several:
                raise ValueError("combine.tune is for one class, and the members have several: leave it out")
            self.tune.points(self.combine)  # type: ignore[arg-type]  # of a mean, which MaskSettings is
        return self

    @property
    def trainings(self) -> tuple[Any, ...]:
        """Those of the members; what several start from is trained once."""
        again = {number for _, numbers in self.shared_starts for number in numbers[1:]}
        parts = (recipe.trainings[:1] if number in again else recipe.trainings for number, recipe in self.fitted)
        return tuple(training for part in parts for training in part)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that its members read, and that of the brain where the rule looks at one."""
        brain = self.combine.brain if isinstance(self.combine, ByBurden) else None
        return once(brain, *(name for member in self.members for name in member.maps()))

    @property
    def shared_starts(self) -> tuple[tuple[Recipe, tuple[int, ...]], ...]:
        """What several members start from, the same recipe on the same cases, and their numbers."""
        found: dict[str, tuple[Recipe, list[int]]] = {}
        for number, recipe in self.fitted:
            if recipe.start is not None:
                key = f"{recipe.start.model_dump_json()} {self.members[number].fold}"
                found.setdefault(key, (recipe.start, []))[1].append(number)
        return tuple((start, tuple(numbers)) for start, numbers in found.values() if len(numbers) > 1)

    @property
    def target_labels(self) -> Labels:
        """What the values of label images mean to it, as to its first member that is trained, or its first."""
        trained = (training.labels for training in self.trainings)
        return next(trained, None) or self.members[0].labels()

    @property
    def needs_training(self) -> bool:
        """Whether `fit` comes before `predict`: whether a member is fitted, be it without a network."""
        return bool(self.fitted)

    @property
    def is_tuned(self) -> bool:
        """Whether it or a member is tuned on the validation cases; a member of a fold has cases of its own."""
        own = (recipe.is_tuned for number, recipe in self.fitted if self.members[number].fold is None)
        return self.tune is not None or any(own)

    @property
    def monitor(self) -> str | None:
        """The metric of validation cases by which a member's epoch is chosen; one of a fold has cases of its own."""
        own = [recipe.monitor for number, recipe in self.fitted if self.members[number].fold is None]
        return next(filter(None, own), None)

    @property
    def fitted(self) -> tuple[tuple[int, Recipe], ...]:
        """The numbers and recipes of the members that are fitted with the ensemble."""
        found = ((number, member.resolved()) for number, member in enumerate(self.members))
        return tuple((number, recipe) for number, recipe in found if recipe is not None and recipe.needs_training)

    @property
    def mask_section(self) -> str | None:
        """Where `postprocess` and `tune` are said: masks that are combined have no probability to go by."""
        return "combine" if isinstance(self.combine, Mean) else None

    @property
    def postprocess(self) -> MaskSettings | None:
        """What stands between the mean probability and the mask."""
        return self.combine if isinstance(self.combine, Mean) else None

    @property
    def tune(self) -> Tuning | None:
        """What of it is chosen on the validation cases."""
        return self.combine.tune if isinstance(self.combine, Mean) else None

    @classmethod
    def changed(cls, data: Mapping[str, Any], changes: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
        """Return the ensemble's data with a study's changes and seed in the recipes of its members.

        Members that differ by their seeds go on to: each seed of the study moves all of them by 1000.

        Args:
            data: of the ensemble's recipe, not validated yet.
            changes: nested settings that replace those of each member that has a recipe.
            seed: of weights and training.

        Returns:
            New data.
        """
        return {**data, "members": [changed_member(member, changes, seed) for member in data.get("members", ())]}


def changed_member(member: Any, changes: Mapping[str, Any], seed: int) -> Any:
    """Return what a study makes of the data of a system within a system.

    Args:
        member: as `Member` has it, not validated yet.
        changes: nested settings that replace those of its recipe.
        seed: of weights and training; each moves the recipe's own by 1000.

    Returns:
        New data; a run, or what is no member, as it is.
    """
    if not isinstance(member, Mapping) or not isinstance(member.get("recipe"), Mapping):
        return member
    recipe = member["recipe"]
    own = (recipe.get("training") or {}).get("seed", 0)
    kind = recipes.recipe_class(recipe, where="member")
    return {**member, "recipe": kind.changed(recipe, changes, seed=own + 1000 * seed)}


@KINDS.register("ensemble")
class EnsembleSystem(System):
    """Several systems as one.

    Args:
        recipe: members and rule.
        members: the systems, ready to predict, in the order of the recipe's.

    Raises:
        UserError: the rule combines probabilities, and a member has none.

    Example:
        >>> from multifocal import recipes
        >>> from multifocal.systems import build
        >>> members = [{"recipe": "zadc-threshold"}, {"recipe": "zadc-threshold", "set": {"below": -2.5}}]
        >>> says = {"kind": "ensemble", "name": "two", "description": "", "source": "", "members": members}
        >>> recipe = recipes.parse({**says, "combine": {"rule": "vote"}}, where="two.yaml")
        >>> [member.recipe.below for member in build(recipe).members]
        [-2.0, -2.5]
    """

    recipe_type = EnsembleRecipe
    changes_after_training = ("combine.",)

    def __init__(self, recipe: EnsembleRecipe, members: Sequence[System]) -> None:
        super().__init__(recipe)
        self.members: tuple[System, ...] = tuple(members)
        self.seen = Seen.of_all(member.seen for member in self.members)
        self.ranges = distinct(ranges for member in self.members for ranges in member.ranges)
        self.has_probabilities = all(member.has_probabilities for member in self.members)
        if instances := [member.recipe.name for member in self.members if member.recipe.predicts_instances]:
            raise UserError(f"recipe {recipe.name}: member {instances[0]} predicts label maps, which are not combined")
        labels = [member.labels for member in self.members]
        if any((other.classes, other.overlap) != (labels[0].classes, labels[0].overlap) for other in labels):
            raise UserError(f"recipe {recipe.name}: its members predict different classes; choose those of the same")
        if labels[0].several and recipe.combine.rule in _OF_ONE_CLASS:
            raise UserError(f"recipe {recipe.name}: {recipe.combine.rule} is of one class; combine by mean or vote")
        if recipe.combine.reads == PROBABILITY and not self.has_probabilities:
            lacking = next(member.recipe.name for member in self.members if not member.has_probabilities)
            raise UserError(f"recipe {recipe.name}: member {lacking} has no probabilities; combine by vote or volume")

    def predict(self, case: Case) -> Prediction:
        """Return what the rule makes of the members' predictions of a case, on its own grid.

        Args:
            case: with the maps that the members name.

        Returns:
            The mask; the mean probability where all members have one; and as parts the members' own predictions.

        Raises:
            UserError: whatever a member raises.
        """
        return self.predict_with(case, {})

    @property
    def parts(self) -> Mapping[str, Seen]:
        """Its members: the number of each, which its run has in `members/`, and the name of its recipe."""
        names = (re.sub(r"[^A-Za-z0-9._+-]+", "-", member.recipe.name)[:_LONGEST] for member in self.members)
        numbered = (f"{number}-{name}" for number, name in enumerate(names))
        return {name: member.seen for name, member in zip(numbered, self.members, strict=True)}

    @property
    def member_names(self) -> tuple[str, ...]:
        """The same as those of its parts."""
        return tuple(self.parts)

    def members_of(self, case: Case, prediction: Prediction) -> Mapping[str, Prediction]:
        """Return what each member makes of a case.

        Args:
            case: as `predict` takes it.
            prediction: what `predict` returned for it, which holds them.

        Returns:
            The members' own predictions.
        """
        del case
        return prediction.parts

    @property
    def maps(self) -> tuple[str, ...]:
        """Those of its members, which may be runs that its recipe only names, and the brain of the rule."""
        brain = self.recipe.combine.brain if isinstance(self.recipe.combine, ByBurden) else None
        return once(brain, *(name for member in self.members for name in member.maps))

    @property
    def labels(self) -> Labels:
        """Those of its members, which may be runs that its recipe only names."""
        return self.members[0].labels

    def predict_with(self, case: Case, prepared: MutableMapping[Any, Any]) -> Prediction:
        """Return the same as `predict`; an image is read once, and prepared once for members that prepare it alike.

        Args:
            case: as `predict` takes it.
            prepared: what has been prepared of the case; what is missing is added.

        Returns:
            What `predict` returns.
        """
        case = replace(case, images={name: _ReadOnce(one.path, one.component) for name, one in case.images.items()})
        found = []
        for number, member in enumerate(self.members):
            try:
                found.append(member.predict_with(case, prepared))
            except UserError as error:
                raise UserError(f"member {number} ({member.recipe.name}): {error}") from error
        return replace(self._combined(case, found), parts=dict(zip(self.parts, found, strict=True)))

    def _combined(self, case: Case, found: Sequence[Prediction]) -> Prediction:
        """Return what the rule makes of the members' predictions."""
        grid = found[0].mask.geometry
        if isinstance(self.recipe.combine, ByBurden):
            return found[self._chosen(case, found[0].mask)]
        if found[0].classes and isinstance(self.recipe.combine, Mean):
            return self._mean_of_classes(found)
        probabilities = [each.probability.array for each in found if each.probability is not None]
        read = probabilities if self.recipe.combine.reads == PROBABILITY else [each.mask.array for each in found]
        mean = self._mean(probabilities, grid) if self.has_probabilities else None
        array = self.recipe.combine(read, grid.voxel_ml, grid.axial)
        return Prediction(Volume(valued(array, self.recipe.combine, self.labels), grid), mean)

    def _chosen(self, case: Case, first: Volume) -> int:
        """Return whose prediction the first one's burden asks for."""
        rule = self.recipe.combine
        if rule.brain not in case.images:
            raise UserError(
                f"case {case.name}: has no map '{rule.brain}', the brain of combine.brain; it has "
                f"{', '.join(case.images)}"
            )
        brain = case.images[rule.brain].read()
        if differences := brain.geometry.differences(first.geometry):
            raise UserError(
                f"{case.images[rule.brain].path}: lies on another grid than the mask of {self.members[0].recipe.name}: "
                f"{'; '.join(differences)}; resample one onto the other"
            )
        try:
            return int(rule.chosen(first.array, brain.array))
        except ValueError as error:
            raise UserError(f"{case.images[rule.brain].path}: {error}; check the file") from error

    def _mean(self, probabilities: Sequence[np.ndarray], grid: Geometry) -> Volume:
        """Return the mean probability as it counts."""
        rule = self.recipe.combine
        if isinstance(rule, GeometricMean):
            mean = rule.mean(probabilities).astype(np.float32)
        else:
            mean = np.mean(probabilities, axis=0)
        temperature = rule.temperature if isinstance(rule, MaskSettings) else 1.0
        return Volume(calibrated(mean, temperature), grid)

    def _mean_of_classes(self, found: Sequence[Prediction]) -> Prediction:
        """Return what the mean probabilities of several classes make."""
        labels, grid = self.labels, found[0].mask.geometry
        means = [Volume(np.mean([each.classes[name].array for each in found], axis=0), grid) for name in labels.names]
        shared = {name: getattr(self.recipe.combine, name) for name in MaskSettings.model_fields}
        return segment(means, labels, Postprocess(**shared))

    @classmethod
    def load(cls, recipe: EnsembleRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the ensemble of a finished run folder, or of members that need no training here.

        Args:
            recipe: the run's.
            folder: the run folder; None where no member is fitted with the ensemble.
            device: what to compute on.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: a member cannot be loaded.
        """
        members = []
        for number, member in enumerate(recipe.members):
            own = member.resolved()
            if own is None:
                members.append(load_model(str(member.run), device=device))
            else:
                home = Path(folder) / MEMBERS / str(number) if folder is not None and own.needs_training else None
                own = own if home is None else with_tuned(own, home)
                members.append(system_class(own).load(own, home, device=device))
                if home is not None:
                    members[-1].seen = Seen.of_all([members[-1].seen, seen_in(home)])
        return cls(recipe, members)

    @classmethod
    def fit(cls, recipe: EnsembleRecipe, job: FitJob) -> None:
        """Fit the members, and score them together on the validation cases.

        Args:
            recipe: members and rule.
            job: on what, where, and with what help.

        Raises:
            UserError: whatever fitting a member raises.
        """
        for member in recipe.members:
            if member.run is not None:
                # One that is missing says so before hours of training.
                _check_new(recipe, load_model(member.run, device=job.device), job.cohort.subset(job.split.validation))
        parts, home = _parts(recipe, job), job.out / MEMBERS
        starts = {home / f"{START}{which}": shared for which, shared in enumerate(recipe.shared_starts)}
        job.fit_members([(start, at, parts[numbers[0]]) for at, (start, numbers) in starts.items()])
        begun = {home / str(number): at for at, (_, numbers) in starts.items() for number in numbers}
        job.fit_members([(own, home / str(number), parts[number]) for number, own in recipe.fitted], starts=begun)
        job.validate(cls.load(recipe, job.out, device=job.device))

    @classmethod
    def check_installed(cls, recipe: EnsembleRecipe) -> None:
        """Raise `UserError` where something is not installed that a member is fitted with.

        Args:
            recipe: what is to be fitted.

        Raises:
            UserError: the first thing that is missing.
        """
        for member in recipe.members:
            if (own := member.resolved()) is not None:
                system_class(own).check_installed(own)

    @classmethod
    def is_fitted(cls, recipe: EnsembleRecipe, folder: str | Path) -> bool:
        """Return whether all members that are fitted with the ensemble are.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            Whether they are.
        """
        return all(is_finished(own, Path(folder) / MEMBERS / str(number)) for number, own in recipe.fitted)

    @classmethod
    def facts(cls, recipe: EnsembleRecipe, folder: str | Path) -> Mapping[str, Any]:
        """Return what fitting the members took together.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            `seconds` and `epochs` are sums over the members, `step_ms` is that of the slowest; no epoch is the best.
        """
        home = Path(folder) / MEMBERS
        found = [system_class(own).facts(own, home / str(number)) for number, own in recipe.fitted]
        starts = [(start, home / f"{START}{which}") for which, (start, _) in enumerate(recipe.shared_starts)]
        before = sum(system_class(start).facts(start, at)["seconds"] for start, at in starts)
        return {
            "seconds": before + sum(each["seconds"] for each in found),
            "epochs": sum(each.get("epochs") or 0 for each in found),
            "step_ms": max((each.get("step_ms") or 0.0 for each in found), default=0.0),
        }


@dataclass(frozen=True)
class _ReadOnce(ImageFile):
    """An image that is read once, however many members ask for it."""

    @cached_property
    def _volume(self) -> Volume:
        volume = super().read()
        volume.array.flags.writeable = False  # what one member wrote there, the next would read
        return volume

    def read(self) -> Volume:
        return self._volume


def join(models: Sequence[str | Path], *, overrides: Sequence[str] = (), device: str = "auto") -> EnsembleSystem:
    """Return finished systems as one: the mean of their probabilities; a vote where one of them has none.

    Where all of them make a mask of their probability alike, such as by the same threshold and least volume, so does
    the mean; else it is cut at 0.5.

    Args:
        models: run folders, or recipes that need no training; at least two.
        overrides: `combine.…=value` pairs, such as `combine.threshold=0.4`.
        device: what to compute on.

    Returns:
        The ensemble, ready to predict.

    Raises:
        UserError: whatever loading a model raises; or they do not go together.

    Example:
        >>> join(["zadc-threshold", "zadc-clean"]).recipe.combine.rule
        'vote'
    """
    members = [load_model(model, device=device) for model in models]
    rule = "mean" if all(member.has_probabilities for member in members) else "vote"
    data: dict[str, Any] = {
        "kind": "ensemble",
        "name": "+".join(member.recipe.name for member in members),
        "members": [{"run": str(model)} for model in models],
        "combine": {"rule": rule},
    }
    for override in overrides:
        recipes.replace(data, override)
    combine = data["combine"]
    if isinstance(combine, dict) and combine.get("rule") in ("mean", "geometric-mean"):
        data["combine"] = {**_shared_cut(members), **combine}
    return EnsembleSystem(recipes.parse(data, where="the models together"), members)


def _shared_cut(members: Sequence[System]) -> dict[str, Any]:
    """Return the settings of masks that all members have; none where one has others."""
    names = MaskSettings.model_fields.keys() - {"temperature"}  # which is in the probabilities already
    said = [{name: getattr(member.recipe.postprocess, name, None) for name in names} for member in members]
    return said[0] if said[0]["threshold"] is not None and all(each == said[0] for each in said) else {}


def _parts(recipe: EnsembleRecipe, job: FitJob) -> dict[int, Fold]:
    """Return the cases that each fitted member trains and validates on, by its number."""
    parts = dict.fromkeys((number for number, _ in recipe.fitted), job.split)
    divided = {number: fold for number in parts if (fold := recipe.members[number].fold) is not None}
    if not divided:
        return parts
    training = with_labels(job.cohort.subset(job.split.train), recipe.target_labels)
    shares = lesion_shares(training)
    for number, (k, n) in divided.items():
        try:
            drawn = make_folds(training, shares, k=n).folds[k]
        except UserError as error:
            raise UserError(f"recipe {recipe.name}: the training cases of member {number}: {error}") from error
        rest = (*job.split.validation, *job.split.test)
        parts[number] = Fold(train=drawn.train, validation=drawn.test, test=rest)
    return parts


def _check_new(recipe: EnsembleRecipe, member: System, cases: Cohort) -> None:
    """Raise `UserError` where an ensemble would be tuned on cases that a member was trained on."""
    trained = [name for name, part in member.seen.among(cases).items() if part == "train"]
    if recipe.tune is not None and trained:
        raise UserError(
            f"recipe {recipe.name}: member {member.recipe.name} was trained on {trained[0]}, which combine.tune would "
            "go by; validate on cases that no member was trained on, or leave tune out"
        )
