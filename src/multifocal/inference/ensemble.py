"""Several systems' masks or probabilities as one mask, on the scan's own grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from multifocal.errors import UserError
from multifocal.instances import Connectivity, components
from multifocal.volumes import Volume, extension_of, read, volumes_named, write

MASK, PROBABILITY = "_lesion", "_probability"


@dataclass(frozen=True, kw_only=True)
class Vote:
    """Lesion where enough masks say so.

    Args:
        at_least: how many must; None is more than half.

    Example:
        >>> masks = [np.array([1, 1, 0]), np.array([1, 0, 0]), np.array([1, 1, 1])]
        >>> Vote()(masks, 1.0).tolist(), Vote(at_least=3)(masks, 1.0).tolist()
        ([1, 1, 0], [1, 0, 0])
    """

    reads: ClassVar[str] = MASK
    at_least: int | None = None

    def check(self, systems: int) -> None:
        """Raise `UserError` where so many systems cannot be combined so."""
        if self.at_least is not None and not 1 <= self.at_least <= systems:
            raise UserError(f"at least {self.at_least} of {systems} cannot agree; choose 1 to {systems}")

    def __call__(self, masks: Sequence[np.ndarray], voxel_ml: float) -> np.ndarray:
        """Return the mask, uint8."""
        needed = len(masks) // 2 + 1 if self.at_least is None else self.at_least
        votes = np.sum([mask > 0 for mask in masks], axis=0, dtype=np.int32)
        return np.asarray(votes >= needed, np.uint8)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Lesion where the mean probability reaches a threshold.

    Example:
        >>> Mean()([np.array([0.9, 0.4]), np.array([0.3, 0.4])], 1.0).tolist()
        [1, 0]
    """

    reads: ClassVar[str] = PROBABILITY
    threshold: float = 0.5

    def check(self, systems: int) -> None:
        """Take any number of systems."""

    def __call__(self, probabilities: Sequence[np.ndarray], voxel_ml: float) -> np.ndarray:
        """Return the mask, uint8."""
        total = np.sum(probabilities, axis=0, dtype=np.float64)
        return np.asarray(total / len(probabilities) >= self.threshold, np.uint8)


@dataclass(frozen=True, kw_only=True)
class ByVolume:
    """The lesions of a first mask that are smaller than a volume, and those of a second that are not.

    Both masks lose the lesions that are not theirs before they are merged, so a lesion of one may come to touch, or lie
    in, one of the other.

    Args:
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
    below_ml: float = 0.05
    connectivity: Connectivity = "full"

    def check(self, systems: int) -> None:
        """Raise `UserError` unless there are two systems."""
        if systems != 2:
            raise UserError(f"lesions are shared out by volume between 2 systems, not {systems}")

    def __call__(self, masks: Sequence[np.ndarray], voxel_ml: float) -> np.ndarray:
        """Return the mask, uint8."""
        small, large = (self._volumes(mask > 0, voxel_ml) for mask in masks)
        # A lesion of exactly the volume is not below it, also where the product of two floats is a last digit off.
        limit = self.below_ml - 1e-9
        kept = ((small > 0) & (small < limit)) | ((large > 0) & (large >= limit))
        return kept.astype(np.uint8)

    def _volumes(self, mask: np.ndarray, voxel_ml: float) -> np.ndarray:
        """Return the volume of the lesion at each voxel, 0 outside."""
        labels, _ = components(mask, connectivity=self.connectivity)
        counts = np.bincount(labels.ravel())
        counts[:1] = 0
        return counts[labels] * voxel_ml


Rule = Vote | Mean | ByVolume


def combine_files(files: Sequence[Path], out: Path, *, rule: Rule) -> None:
    """Write what a rule makes of several images of one case.

    Args:
        files: masks or probabilities on one grid, one a system.
        out: the mask to write.
        rule: how they become one.

    Raises:
        UserError: a file cannot be read or written, lies on another grid than the first, or is no mask (no
            probabilities, where those are combined).
    """
    volumes = [read(file) for file in files]
    grid = volumes[0].geometry
    for file, volume in zip(files, volumes, strict=True):
        if differences := volume.geometry.differences(grid):
            raise UserError(
                f"{file}: lies on another grid than {files[0]}: {'; '.join(differences)}; predict both again"
            )
    checked = [_checked(volume.array, file, rule) for file, volume in zip(files, volumes, strict=True)]
    write(out, Volume(rule(checked, grid.voxel_ml), grid))


def _checked(array: np.ndarray, file: Path, rule: Rule) -> np.ndarray:
    """Return a mask of zeros and ones, or probabilities; `UserError` for what is neither."""
    if rule.reads == PROBABILITY:
        if not ((array >= 0) & (array <= 1)).all():
            raise UserError(f"{file}: holds something else than probabilities from 0 to 1; predict it again")
        return array
    if not ((array == 0) | (array == 1)).all():
        raise UserError(f"{file}: holds something else than 0 and 1; predict it again")
    return array


def combine_folders(
    folders: Sequence[Path],
    out: Path,
    *,
    rule: Rule,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write `<case>_lesion.<ext>` for every case of several folders of predictions, and return the files.

    Args:
        folders: of `<case>_lesion.<ext>` or `<case>_probability.<ext>`, as the rule reads them, for the same cases.
        out: where the masks go; another folder.
        rule: how they become one.
        overwrite: replace masks that exist.
        progress: called with (cases done, cases in all).

    Raises:
        UserError: too few folders, one that lacks a case of another, grids that differ, masks that exist already.
    """
    if len(folders) < 2:
        raise UserError("an ensemble needs at least 2 folders of predictions")
    rule.check(len(folders))
    found = [predictions_by_case(folder, rule.reads) for folder in folders]
    for folder, files in zip(folders, found, strict=True):
        if missing := sorted(set().union(*found) - files.keys()):
            raise UserError(f"{folder}: holds no {missing[0]}{rule.reads}.…, which another folder has; predict it")
    first = found[0].items()
    targets = {case: out / f"{case}{MASK}{extension_of(file.name)}" for case, file in first}
    existing = [path for path in targets.values() if path.exists()]
    if out.resolve() in {folder.resolve() for folder in folders} or (existing and not overwrite):
        raise UserError(f"{out}: already holds predictions; choose another folder, or --overwrite to replace masks")
    for done, (case, target) in enumerate(targets.items(), start=1):
        combine_files([files[case] for files in found], target, rule=rule)
        if progress:
            progress(done, len(targets))
    return list(targets.values())


def predictions_by_case(folder: Path, ending: str) -> Mapping[str, Path]:
    """Return a folder's files by case."""
    found = volumes_named(folder, ending)
    if not found:
        hint = "; multifocal predict --probabilities writes them" if ending == PROBABILITY else ""
        raise UserError(f"{folder}: holds no <case>{ending}.<ext>{hint}")
    return found
