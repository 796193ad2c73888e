"""Several systems as one: their masks or probabilities combined, on the scan's own grid."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from multifocal import recipes
from multifocal.cohorts import Case, Cohort, Fold, ImageFile, Labels, lesion_shares, make_folds, with_labels
from multifocal.cohorts.lesion_burden import brain_mask
from multifocal.cohorts.seen import Seen, mark_seen, read_seen, seen_by_any
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.files import clear_up
from multifocal.instances import Connectivity, components
from multifocal.limits import at_least
from multifocal.metrics import burden
from multifocal.recipes import KINDS, Recipe
from multifocal.systems.classes import segment
from multifocal.systems.loading import is_finished, load_model, seen_in, system_class, with_tuned
from multifocal.systems.postprocess import MaskSettings, Postprocess, Share, binarize, calibrated, check_finite
from multifocal.systems.system import MEMBERS, START, FitJob, Prediction, System
from multifocal.systems.tuning import Tuning
from multifocal.volumes import Geometry, Volume, extension_of, read, volumes_named, write

MASK, PROBABILITY = "_lesion", "_probability"
_MASK = Labels()


class Vote(Config):
    """Lesion where enough masks say so, of the class that most of them name (at ties, of the least value).

    Args:
        rule: "vote", which tells it from the other rules.
        at_least: how many must; None is more than half.

    Example:
        >>> masks = [np.array([1, 1, 0]), np.array([1, 0, 0]), np.array([1, 1, 1])]
        >>> Vote()(masks, 1.0).tolist(), Vote(at_least=3)(masks, 1.0).tolist()
        ([1, 1, 0], [1, 0, 0])
        >>> Vote()([np.array([2, 0]), np.array([1, 4]), np.array([2, 4])], 1.0).tolist()
        [2, 4]
    """

    reads: ClassVar[str] = MASK
    rule: Literal["vote"] = "vote"
    at_least: int | None = None

    def check(self, systems: int) -> None:
        """Raise `UserError` where so many systems cannot be combined so.

        Args:
            systems: how many there are.
        """
        if self.at_least is not None and not 1 <= self.at_least <= systems:
            raise UserError(f"at least {self.at_least} of {systems} cannot agree; choose 1 to {systems}")

    def __call__(self, masks: Sequence[np.ndarray], voxel_ml: float, axial: int = -1) -> np.ndarray:
        """Return the mask, uint8, or of the type of masks of several classes.

        Args:
            masks: of one shape, one a system; lesion is what is above 0.
            voxel_ml: volume of a voxel in ml; not looked at.
            axial: not looked at either.

        Returns:
            The mask, of the same shape.
        """
        needed = len(masks) // 2 + 1 if self.at_least is None else self.at_least
        votes = np.sum([mask > 0 for mask in masks], axis=0, dtype=np.int32)
        agreed = votes >= needed
        values = sorted({int(value) for mask in masks for value in np.unique(mask)} - {0})
        if len(values) < 2 and values in ([], [1]):
            return np.asarray(agreed, np.uint8)
        counts = np.array([np.sum([mask == value for mask in masks], axis=0, dtype=np.int32) for value in values])
        named = np.array(values)[np.argmax(counts, axis=0)]
        return np.where(agreed, named, 0).astype(np.uint8 if max(values) < 256 else np.uint16)


class _MeanRule(Config):
    rule: Literal["mean"] = "mean"


class Mean(MaskSettings, _MeanRule):
    """Lesion where the mean probability reaches a threshold, with all that may follow, see `MaskSettings`.

    Args:
        rule: "mean", which tells it from the other rules.
        threshold: of the mean.
        hysteresis: see `MaskSettings`.
        min_size_ml: see `MaskSettings`.
        min_size_voxels: see `MaskSettings`.
        min_size_dimensions: see `MaskSettings`.
        largest_only: see `MaskSettings`.
        temperature: see `MaskSettings`; of the mean.
        tune: what of it is chosen on the validation cases once the members are fitted.

    Example:
        >>> Mean()([np.array([0.9, 0.4]), np.array([0.3, 0.4])], 1.0).tolist()
        [1, 0]
    """

    reads: ClassVar[str] = PROBABILITY
    threshold: float = 0.5  # 0 and 1 were always taken here
    tune: Tuning | None = None

    def check(self, systems: int) -> None:
        """Take any number of systems.

        Args:
            systems: how many there are.
        """

    def __call__(self, probabilities: Sequence[np.ndarray], voxel_ml: float, axial: int = -1) -> np.ndarray:
        """Return the mask, uint8.

        Args:
            probabilities: from 0 to 1, of one shape, one a system.
            voxel_ml: volume of a voxel in ml.
            axial: the axis along which axial slices lie.

        Returns:
            The mask, of the same shape.

        Raises:
            UserError: a probability is NaN or infinite.
        """
        total = np.sum(probabilities, axis=0, dtype=np.float64)
        check_finite(np.asarray(total), "a mean of probabilities")
        return binarize(np.asarray(total / len(probabilities)), self, voxel_ml=voxel_ml, axial=axial)


class ByVolume(Config):
    """The lesions of a first mask that are smaller than a volume, and those of a second that are not.

    Both masks lose the lesions that are not theirs before they are merged, so a lesion of one may come to touch, or lie
    in, one of the other.

    Args:
        rule: "volume", which tells it from the other rules.
        below_ml: the volume, in ml.
        connectivity: what makes one lesion, see `multifocal.instances.components`.

    Source:
        Rachmadi, Byra, Skibbe 2024, section 4.2.

    Example:
        >>> first, second = np.array([[1, 0, 1, 1, 1]]), np.array([[0, 0, 0, 1, 1]])
        >>> ByVolume(below_ml=2.0)([first, second], 1.0).tolist()
        [[1, 0, 0, 1, 1]]
    """

    reads: ClassVar[str] = MASK
    rule: Literal["volume"] = "volume"
    below_ml: float = 0.05
    connectivity: Connectivity = "full"

    def check(self, systems: int) -> None:
        """Raise `UserError` unless there are two systems.

        Args:
            systems: how many there are.
        """
        if systems != 2:
            raise UserError(f"lesions are shared out by volume between 2 systems, not {systems}")

    def __call__(self, masks: Sequence[np.ndarray], voxel_ml: float, axial: int = -1) -> np.ndarray:
        """Return the mask, uint8.

        Args:
            masks: two of one shape, that of the small lesions first; lesion is what is above 0.
            voxel_ml: volume of a voxel in ml.
            axial: not looked at.

        Returns:
            The mask, of the same shape.
        """
        small, large = (self._volumes(mask > 0, voxel_ml) for mask in masks)
        kept = ((small > 0) & ~at_least(small, self.below_ml)) | ((large > 0) & at_least(large, self.below_ml))
        return kept.astype(np.uint8)

    def _volumes(self, mask: np.ndarray, voxel_ml: float) -> np.ndarray:
        """Return the volume of the lesion at each voxel, 0 outside."""
        labels, _ = components(mask, connectivity=self.connectivity)
        counts = np.bincount(labels.ravel())
        counts[:1] = 0
        return counts[labels] * voxel_ml


class ByBurden(Config):
    """The prediction of a first system, or that of a second where the first finds little lesion for the brain's size.

    `b = |M₁| / |B|`; the second's prediction is taken where `b < below`, that of an expert for small lesions.

    Args:
        rule: "burden", which tells it from the other rules.
        below: the share of the brain.
        brain: the map that is 0 outside the brain B.

    Source:
        A public thesis on BONBID-HIE (turekmat/HIE-segmentation) asks a second network where the first predicts fewer
        than 60 to 80 voxels; a share of the brain in their place, and 1 %, the lowest of the strata here, are ours.

    Example:
        >>> rule = ByBurden(below=0.3, brain="adc")
        >>> brain = np.array([[1200.0, 900.0, 0.0, 1100.0, 800.0]])
        >>> rule.chosen(np.array([[1, 0, 0, 0, 0]]), brain), rule.chosen(np.array([[1, 1, 0, 0, 0]]), brain)
        (1, 0)
    """

    reads: ClassVar[str] = MASK
    rule: Literal["burden"] = "burden"
    below: Share = 0.01
    brain: Annotated[str, Field(min_length=1)]

    def check(self, systems: int) -> None:
        """Raise `UserError` unless there are two systems.

        Args:
            systems: how many there are.
        """
        if systems != 2:
            raise UserError(f"by predicted burden one of 2 systems is chosen, not of {systems}")

    def chosen(self, mask: np.ndarray, brain: np.ndarray) -> int:
        """Return which system's prediction is taken.

        Args:
            mask: of the first system; lesion is what is above 0.
            brain: the map that is 0 outside the brain, of the same shape.

        Returns:
            0 or 1.

        Raises:
            ValueError: no voxel is brain.
        """
        return 0 if at_least(burden(mask > 0, brain_mask(brain)), self.below) else 1


Rule = Vote | Mean | ByVolume


class Member(Config):
    """One of the systems: a recipe, trained with the ensemble or in need of no training, or a run that is trained.

    Args:
        recipe: spelled out; a recipe's name or file is read when the ensemble's recipe is.
        run: a run folder.
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
    combine: Annotated[Vote | Mean | ByVolume | ByBurden, Field(discriminator="rule")] = Mean()

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
        if labels and labels[0].several and self.combine.rule == "volume":
            raise ValueError(
                "combine.rule: volume shares out the lesions of one class; combine several by mean or vote"
            )
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
    def shared_starts(self) -> tuple[tuple[Recipe, tuple[int, ...]], ...]:
        """What several members start from, the same recipe on the same cases, and their numbers."""
        found: dict[str, tuple[Recipe, list[int]]] = {}
        for number, recipe in self.fitted:
            if recipe.start is not None:
                key = f"{recipe.start.model_dump_json()} {self.members[number].fold}"
                found.setdefault(key, (recipe.start, []))[1].append(number)
        return tuple((start, tuple(numbers)) for start, numbers in found.values() if len(numbers) > 1)

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
        self.members = tuple(members)
        self.seen = Seen.of_all(member.seen for member in self.members)
        self.has_probabilities = all(member.has_probabilities for member in self.members)
        if instances := [member.recipe.name for member in self.members if member.recipe.predicts_instances]:
            raise UserError(f"recipe {recipe.name}: member {instances[0]} predicts label maps, which are not combined")
        labels = [member.labels for member in self.members]
        if any((other.classes, other.overlap) != (labels[0].classes, labels[0].overlap) for other in labels):
            raise UserError(f"recipe {recipe.name}: its members predict different classes; choose those of the same")
        if labels[0].several and recipe.combine.rule == "volume":
            raise UserError(f"recipe {recipe.name}: volume shares out lesions of one class; combine by mean or vote")
        if recipe.combine.reads == PROBABILITY and not self.has_probabilities:
            lacking = next(member.recipe.name for member in self.members if not member.has_probabilities)
            raise UserError(f"recipe {recipe.name}: member {lacking} has no probabilities; combine by vote or volume")

    def predict(self, case: Case) -> Prediction:
        """Return what the rule makes of the members' predictions of a case, on its own grid.

        Args:
            case: with the maps that the members name.

        Returns:
            The mask; the mean probability where all members have one; and the members' own predictions.

        Raises:
            UserError: whatever a member raises.
        """
        return self.predict_with(case, {})

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
        return replace(self._combined(case, found), members=tuple(found))

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
        return Prediction(Volume(_valued(array, self.recipe.combine, self.labels), grid), mean)

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
        temperature = rule.temperature if isinstance(rule, MaskSettings) else 1.0
        return Volume(calibrated(np.mean(probabilities, axis=0), temperature), grid)

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


def combine_files(files: Sequence[str | Path], out: str | Path, *, rule: Rule, labels: Labels = _MASK) -> None:
    """Write what a rule makes of several images of one case.

    Args:
        files: masks or probabilities on one grid, one a system.
        out: the mask to write.
        rule: how they become one.
        labels: what the values of the masks mean; several classes are combined by vote.

    Raises:
        UserError: a file cannot be read or written, lies on another grid than the first, or is no mask (no
            probabilities, where those are combined).
    """
    paths, out = [Path(file) for file in files], Path(out)
    volumes = [read(path) for path in paths]
    grid = volumes[0].geometry
    for file, volume in zip(paths, volumes, strict=True):
        if differences := volume.geometry.differences(grid):
            raise UserError(
                f"{file}: lies on another grid than {paths[0]}: {'; '.join(differences)}; predict both again"
            )
    checked = [_checked(volume.array, file, rule, labels) for file, volume in zip(paths, volumes, strict=True)]
    write(out, Volume(_valued(rule(checked, grid.voxel_ml, grid.axial), rule, labels), grid))


def _valued(array: np.ndarray, rule: Any, labels: Labels) -> np.ndarray:
    """Return a mask with the value of its class; a vote's has the values that were voted for."""
    return array if rule.rule == "vote" else labels.decode(array)


def _checked(array: np.ndarray, file: Path, rule: Rule, labels: Labels) -> np.ndarray:
    """Return a mask of known values, or probabilities; `UserError` for what is neither."""
    if rule.reads == PROBABILITY:
        if not ((array >= 0) & (array <= 1)).all():
            raise UserError(f"{file}: holds something else than probabilities from 0 to 1; predict it again")
        return array
    if not np.isin(array, (0, *labels.named)).all():
        expected = f"{', '.join(map(str, (0, *labels.named[:-1])))} and {labels.named[-1]}"
        raise UserError(f"{file}: holds something else than {expected}; predict it again, or name its classes")
    return array.astype(np.int32)


def combine_folders(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    rule: Rule,
    labels: Labels = _MASK,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write `<case>_lesion.<ext>` for every case of several folders of predictions, and return the files.

    Args:
        folders: of `<case>_lesion.<ext>` or `<case>_probability.<ext>`, as the rule reads them, for the same cases.
        out: where the masks go; another folder.
        rule: how they become one.
        labels: what the values of the masks mean; several classes are combined by vote.
        overwrite: replace masks that exist.
        progress: called with (cases done, cases in all).

    Returns:
        The masks, by the order of the cases in the first folder.

    Raises:
        UserError: too few folders, one that lacks a case of another, grids that differ, masks that exist already.
    """
    homes, out = [Path(folder) for folder in folders], Path(out)
    if len(homes) < 2:
        raise UserError("an ensemble needs at least 2 folders of predictions")
    rule.check(len(homes))
    if labels.several and rule.rule != "vote":
        raise UserError("masks of several classes are combined by vote; an ensemble's recipe takes their means, too")
    found = [predictions_by_case(folder, rule.reads) for folder in homes]
    for folder, files in zip(homes, found, strict=True):
        if missing := sorted(set().union(*found) - files.keys()):
            raise UserError(f"{folder}: holds no {missing[0]}{rule.reads}.…, which another folder has; predict it")
    first = found[0].items()
    targets = {case: out / f"{case}{MASK}{extension_of(file.name)}" for case, file in first}
    existing = [path for path in targets.values() if path.exists()]
    if out.resolve() in {folder.resolve() for folder in homes} or (existing and not overwrite):
        raise UserError(f"{out}: already holds predictions; choose another folder, or --overwrite to replace masks")
    clear_up(out)
    seen = seen_by_any(map(read_seen, homes))
    for done, (case, target) in enumerate(targets.items(), start=1):
        combine_files([files[case] for files in found], target, rule=rule, labels=labels)
        mark_seen(out, case, seen.get(case))
        if progress:
            progress(done, len(targets))
    return list(targets.values())


def predictions_by_case(folder: Path, ending: str) -> Mapping[str, Path]:
    """Return a folder's predictions by case.

    Args:
        folder: of predictions.
        ending: MASK or PROBABILITY: what stands between the case's name and the extension.

    Returns:
        Files by the name of their case.

    Raises:
        UserError: there are none.
    """
    found = volumes_named(folder, ending)
    if not found:
        hint = "; multifocal predict --probabilities writes them" if ending == PROBABILITY else ""
        raise UserError(f"{folder}: holds no <case>{ending}.<ext>{hint}")
    return found
