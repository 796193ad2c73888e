"""Predictions of several systems as one: the rules, on arrays and on files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from multifocal.cohorts import Labels
from multifocal.cohorts.lesion_burden import brain_mask
from multifocal.cohorts.seen import mark_seen, read_seen, seen_by_any
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.files import clear_up
from multifocal.instances import Connectivity, components
from multifocal.limits import at_least
from multifocal.metrics import burden
from multifocal.systems.postprocess import MaskSettings, Share, binarize, check_finite
from multifocal.systems.tuning import Tuning
from multifocal.volumes import Volume, extension_of, read, volumes_named, write

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
    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["dice"] = 0.5  # 0 and 1 were always taken here
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
        mean = self.mean(probabilities)
        check_finite(mean, "a mean of probabilities")
        return binarize(mean, self, voxel_ml=voxel_ml, axial=axial)

    def mean(self, probabilities: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean itself.

        Args:
            probabilities: from 0 to 1, of one shape, one a system.

        Returns:
            float64, of the same shape.
        """
        return np.asarray(np.sum(probabilities, axis=0, dtype=np.float64) / len(probabilities))


class _GeometricMeanRule(Config):
    rule: Literal["geometric-mean"] = "geometric-mean"


class GeometricMean(_GeometricMeanRule, Mean):  # type: ignore[misc]  # the same, under another name
    """The same of the geometric mean, `(Π p)^(1/n)`, which is large only where all systems find a lesion likely.

    Args:
        rule: "geometric-mean", which tells it from the other rules.
        threshold: of the mean.
        hysteresis: see `MaskSettings`.
        min_size_ml: see `MaskSettings`.
        min_size_voxels: see `MaskSettings`.
        min_size_dimensions: see `MaskSettings`.
        largest_only: see `MaskSettings`.
        temperature: see `MaskSettings`; of the mean.
        tune: what of it is chosen on the validation cases once the members are fitted.

    Source:
        Genest, Zidek, Statistical Science 1:114 (1986): the logarithmic pool, here not normalised.

    Example:
        >>> GeometricMean().mean([np.array([0.9, 0.4]), np.array([0.4, 0.0])]).round(3).tolist()
        [0.6, 0.0]
    """

    def mean(self, probabilities: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean itself.

        Args:
            probabilities: from 0 to 1, of one shape, one a system.

        Returns:
            float64, of the same shape.
        """
        return np.asarray(np.prod(probabilities, axis=0, dtype=np.float64) ** (1 / len(probabilities)))


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


Rule = Vote | Mean | GeometricMean | ByVolume


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
    write(out, Volume(valued(rule(checked, grid.voxel_ml, grid.axial), rule, labels), grid))


def valued(array: np.ndarray, rule: Any, labels: Labels) -> np.ndarray:
    """Return a mask with the value of its class; a vote's has the values that were voted for.

    Args:
        array: what the rule returned.
        rule: the rule.
        labels: what the values of masks mean.

    Returns:
        The mask.
    """
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
