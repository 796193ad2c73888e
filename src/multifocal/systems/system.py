"""What every system is: a way from a case to a mask, whatever is between them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from multifocal.cohorts import Case, Cohort, Fold, Labels
from multifocal.cohorts.seen import Seen
from multifocal.errors import UserError
from multifocal.recipes import Recipe
from multifocal.systems.postprocess import check_finite
from multifocal.systems.ranges import TrainingRanges
from multifocal.systems.tuning import Tuned
from multifocal.volumes import Volume

WEIGHTS, MEMBERS, START, PARTS = "weights.safetensors", "members", "start", "parts"


@dataclass(frozen=True)
class Prediction:
    """What a system finds in a case, on the case's own grid.

    Args:
        mask: unsigned integers: 1 in lesions; of several classes a label image of their values; of a system that tells
            apart what touches, a label map, 1 to n.
        probability: that of any lesion, float32 from 0 to 1; None where the system has none.
        classes: where there are several, the probability of each by name.
        parts: of a system of several parts (members, a first stage, boxes that a model is asked with), what each of
            them finds by itself, by the names that `System.parts` has, in that order.

    Raises:
        UserError: one of them holds NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from multifocal.volumes import Geometry
        >>> mask = Volume(np.ones((2, 2), np.uint8), Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)))
        >>> Prediction(mask, None).mask.array.sum()
        np.uint64(4)
    """

    mask: Volume
    probability: Volume | None
    classes: Mapping[str, Volume] = field(default_factory=dict)
    parts: Mapping[str, "Prediction"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_finite(self.mask.array, "a predicted mask")
        if self.probability is not None:
            check_finite(self.probability.array, "a predicted probability")


@dataclass(frozen=True)
class FitJob:
    """What a system is fitted on, where, and with what help.

    Args:
        cohort: where the cases are.
        split: which of them train and validate.
        out: the run folder; what is there already is to be continued.
        device: "auto", "cpu", "cuda", ….
        train_network: trains a network's recipe by gradient descent into `out`.
        fit_members: fits other recipes, each on some of the cases, each into a folder inside `out`, several at a time
            where that was asked for; those that are finished are left. `starts` says by folder where the run is that a
            recipe's `start` was fitted into, which otherwise lies within its own.
        validate: scores a fitted system on the validation cases, into `out`.
        begin: writes down what the run is; to be called once the cases are seen to be usable, before anything else is
            written. Training a network, and fitting members, does so itself.
        rehearsal: whether a few cases are fitted to see what that costs, which need not hold what training looks for.

    Example:
        >>> FitJob(cohort, split, Path("runs/0"), "auto", train_network, fit_members, validate, begin)  # doctest: +SKIP
    """

    cohort: Cohort
    split: Fold
    out: Path
    device: str
    train_network: Callable[[Any], None]
    fit_members: Callable[..., None]
    validate: Callable[["System"], None]
    begin: Callable[[], None]
    rehearsal: bool = False


class System(ABC):
    """A way from a case to a mask. A new kind is one file in `multifocal/systems`, registered in `recipes.KINDS`.

    Args:
        recipe: what it was made by.

    Attributes:
        recipe_type: the class of its recipes: what a recipe of this kind may say.
        has_probabilities: whether its predictions have any.
        changes_after_training: the beginnings of the dotted keys of a recipe that still mean something after training.
        seen: the cases that it was trained, validated or tuned on.
        tuned: what was chosen for it on such cases; None where nothing was.
        ranges: what the scans were that it was trained on, one for each training that made a part of it on its own;
            None where that is not known. None at all where nothing was trained.

    Example:
        >>> from multifocal.systems import load_model
        >>> system = load_model("zadc-threshold")
        >>> system.has_probabilities, system.recipe.name
        (False, 'zadc-threshold')
    """

    recipe_type: ClassVar[type[Recipe]]
    has_probabilities: bool = False
    changes_after_training: ClassVar[tuple[str, ...]] = ()

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe
        self.seen = Seen()
        self.tuned: Tuned | None = None
        self.ranges: tuple[TrainingRanges | None, ...] = ()

    @property
    def labels(self) -> Labels:
        """What the values of its masks mean."""
        labels: Labels = self.recipe.target_labels
        return labels

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads, that of the brain first; none where it does not say."""
        maps: tuple[str, ...] = self.recipe.maps
        return maps

    @property
    def parts(self) -> Mapping[str, Seen]:
        """Its parts by name, that of a folder, and the cases that each has seen; none where it is one."""
        return {}

    @property
    def member_names(self) -> tuple[str, ...]:
        """The names of what `members_of` returns, numbered from 0 as in `0-hie-small`; none where there are none."""
        return ()

    def members_of(self, case: Case, prediction: Prediction) -> Mapping[str, Prediction]:
        """Return what each of those makes of a case whose disagreement says how sure the system is.

        Args:
            case: as `predict` takes it.
            prediction: what `predict` returned for it.

        Returns:
            Each one's own prediction, by `member_names`; none where the system knows of no such.
        """
        del case, prediction
        return {}

    @abstractmethod
    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid.

        Args:
            case: with the maps that the recipe names; its label is not looked at.

        Returns:
            The mask, and the probability where there is one.

        Raises:
            UserError: a map is missing, cannot be read, or does not fit the others.
        """

    def predict_with(self, case: Case, prepared: MutableMapping[Any, Any]) -> Prediction:
        """Return the same as `predict`, from what other members of an ensemble that prepare a case alike have prepared.

        Args:
            case: as `predict` takes it.
            prepared: what has been prepared of this very case, by whatever it depends on; what is missing is added. A
                system that prepares nothing leaves it alone.

        Returns:
            What `predict` returns.
        """
        del prepared
        return self.predict(case)

    @classmethod
    @abstractmethod
    def load(cls, recipe: Any, folder: str | Path | None, *, device: str) -> Self:
        """Return the system of a finished run folder, or of a recipe that needs no training.

        Args:
            recipe: the run's.
            folder: the run folder; None for a recipe that needs no training.
            device: what to compute on.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: a file is missing, or does not fit the recipe.
        """

    @classmethod
    def fit(cls, recipe: Any, job: FitJob) -> None:
        """Fit the system into its run folder, or go on with it there.

        Args:
            recipe: what to fit.
            job: on what, where, and with what help.

        Raises:
            UserError: a case cannot be used, or a file cannot be written.
        """
        raise UserError(f"recipe {recipe.name} needs no training; predict with it")

    @classmethod
    def is_fitted(cls, recipe: Any, folder: str | Path) -> bool:
        """Return whether a run folder holds all that `load` needs.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            Whether it does.
        """
        del recipe
        return (Path(folder) / WEIGHTS).is_file()

    @classmethod
    def check_installed(cls, recipe: Any) -> None:
        """Raise `UserError` where something is not installed that this kind of system is fitted with.

        Args:
            recipe: what is to be fitted.

        Raises:
            UserError: the first thing that is missing.
        """
        del recipe

    @classmethod
    def facts(cls, recipe: Any, folder: str | Path) -> Mapping[str, Any]:
        """Return what fitting took: `seconds`, and where there were epochs `epochs`, `best_epoch` and `step_ms`.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            Numbers by name; `seconds` are seconds, `step_ms` is the median of a step in ms.
        """
        del recipe, folder
        return {"seconds": 0.0}
