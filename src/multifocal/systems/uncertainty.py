"""How sure a system is of a mask: of the case, of each lesion, and of each voxel, by what its members make of it."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from multifocal.cohorts import Case
from multifocal.errors import UserError
from multifocal.files import locked, plain_file, write_csv
from multifocal.instances import components
from multifocal.metrics.overlap import overlap
from multifocal.systems.system import Prediction, System
from multifocal.volumes import Volume

MAPS = ("entropy", "mutual_information")
CASES, LESIONS = "uncertainty.csv", "uncertainty_lesions.csv"
_CASE = ("case", "members", "agreement", "volume_ml", "lowest_ml", "highest_ml", "expected_dice", "lesions")
_LESION = ("case", "number", "voxels", "volume_ml", "lsu", "probability", "entropy")


@dataclass(frozen=True)
class LesionUncertainty:
    """How sure a system is of one lesion of its mask.

    Args:
        number: that of the component, from 1, as `multifocal.instances.components` numbers those of the mask.
        voxels: how many it has.
        volume_ml: its volume in ml.
        lsu: structural uncertainty, from 0 (all members have this very lesion) to 1 (none has a voxel of it), see
            `lesion_uncertainty`; None without members.
        probability: the mean of the final probability in it; None where the system has none.
        entropy: the mean of `entropy` in it, in bits; None where there is no probability, nor members.

    Example:
        >>> LesionUncertainty(number=1, voxels=20, volume_ml=0.16, lsu=0.3, probability=0.8, entropy=0.6).lsu
        0.3
    """

    number: int
    voxels: int
    volume_ml: float
    lsu: float | None
    probability: float | None
    entropy: float | None


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How sure a system is of the mask of one case.

    Args:
        members: how many there are: those of an ensemble, or the mirrored images of a network; 0 where there are none.
        agreement: mean Dice between the masks of any two members, from 0 to 1; None without members.
        volume_ml: of the mask, in ml.
        lowest_ml: the least volume of a member's mask, in ml; None without members.
        highest_ml: the greatest one.
        expected_dice: the Dice that the final probability promises the mask, see `expected_dice`; None without one.
        lesions: of the mask, in the order of their numbers.
        entropy: in bits, from 0 to 1, on the scan's own grid, see `entropy`; None where nothing has a probability.
        mutual_information: in bits, from 0 to 1, on the same grid, see `mutual_information`; None without members.

    Example:
        >>> from multifocal.systems import load_model
        >>> found = uncertainty_of(load_model("runs/default"), case)  # doctest: +SKIP
        >>> found.agreement, found.lowest_ml, found.highest_ml  # doctest: +SKIP
        (0.71, 10.2, 14.9)
    """

    members: int
    agreement: float | None
    volume_ml: float
    lowest_ml: float | None
    highest_ml: float | None
    expected_dice: float | None
    lesions: tuple[LesionUncertainty, ...]
    entropy: Volume | None
    mutual_information: Volume | None


def uncertainty_of(system: System, case: Case, prediction: Prediction | None = None) -> Uncertainty:
    """Return how sure a system is of a case.

    Members are those of an ensemble (be they of other recipes, seeds or folds), or what a network answers to the image
    and its mirrored forms: along `inference.flips`, or from left to right where it says none. A system of another
    kind has none, and is asked for its probability alone.

    Args:
        system: ready to predict.
        case: with the maps that its recipe names.
        prediction: what `system.predict(case)` returned; None predicts.

    Returns:
        Numbers, and maps on the scan's own grid.

    Raises:
        UserError: the system predicts label maps of instances, or whatever `system.predict` raises.

    Example:
        >>> import tempfile
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.systems import load_model
        >>> folder = tempfile.mkdtemp()
        >>> write_phantom(folder, cases=1, seed=0)
        >>> found = uncertainty_of(load_model("zadc-threshold"), open_cohort(folder).cases[0])
        >>> found.members, found.agreement, len(found.lesions) > 0
        (0, None, True)
    """
    check_masks(system)
    prediction = system.predict(case) if prediction is None else prediction
    return uncertainty(prediction, system.members_of(case, prediction))


def check_masks(system: System) -> None:
    """Raise `UserError` where a system predicts label maps of instances, whose uncertainty nothing here measures.

    Args:
        system: ready to predict.

    Raises:
        UserError: it does.
    """
    if system.recipe.predicts_instances:
        raise UserError(
            f"recipe {system.recipe.name} predicts label maps of instances, and uncertainty, statistics and report are "
            "of masks; leave them out"
        )


def uncertainty(prediction: Prediction, members: Mapping[str, Prediction]) -> Uncertainty:
    """Return how sure a prediction is, by the members that it was made of; of several classes that of any lesion.

    A member without probabilities counts as one of 0 and 1.

    Args:
        prediction: the final one.
        members: each one's own prediction, on the same grid; none, or at least two.

    Returns:
        Numbers, and maps on that grid.

    Raises:
        ValueError: there is one member, or one on another grid.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((3, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> a, b = (Prediction(Volume(np.array([[1], [0], [last]], np.uint8), grid), None) for last in (0, 1))
        >>> found = uncertainty(b, {"a": a, "b": b})
        >>> round(found.agreement, 3), [lesion.lsu for lesion in found.lesions]
        (0.667, [0.0, 0.5])
    """
    if len(members) == 1:
        raise ValueError("members has one; expected none, or at least two")
    grid, mask = prediction.mask.geometry, prediction.mask.array != 0
    for name, member in members.items():
        if differences := member.mask.geometry.differences(grid):
            raise ValueError(f"member {name}: {', '.join(differences)} in the prediction; expected the same grid")
    masks = [member.mask.array != 0 for member in members.values()]
    final = None if prediction.probability is None else prediction.probability.array
    each = [_probability(member) for member in members.values()] or ([] if final is None else [final])
    map_ = entropy(np.mean(each, axis=0)) if each else None
    volumes = [float(np.count_nonzero(one)) * grid.voxel_ml for one in masks]
    return Uncertainty(
        members=len(masks),
        agreement=mean_pairwise_dice(masks) if masks else None,
        volume_ml=float(np.count_nonzero(mask)) * grid.voxel_ml,
        lowest_ml=min(volumes, default=None),
        highest_ml=max(volumes, default=None),
        expected_dice=None if final is None else expected_dice(final, mask),
        lesions=_lesions(mask, masks, final, map_, voxel_ml=grid.voxel_ml),
        entropy=None if map_ is None else Volume(map_, grid),
        mutual_information=Volume(mutual_information(each), grid) if masks else None,
    )


def mean_pairwise_dice(masks: Sequence[np.ndarray]) -> float:
    """Return the mean Dice between any two masks; that of two empty ones is 1.

    `2 / (K (K - 1)) · Σ_{j < k} 2 |M_j ∩ M_k| / (|M_j| + |M_k|)`

    Args:
        masks: at least two, bool, of one shape.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: there are fewer than two.

    Source:
        Roy, Conjeti, Navab, Wachinger 2019, Bayesian QuickNAT, NeuroImage 195 (structure-wise "Dice agreement").

    Example:
        >>> a, b = np.array([[1, 1, 0]], bool), np.array([[0, 1, 0]], bool)
        >>> round(mean_pairwise_dice([a, b, b]), 3)
        0.778
    """
    if len(masks) < 2:
        raise ValueError(f"masks has {len(masks)}; expected at least two")
    return float(np.mean([overlap(a, b).dice for a, b in combinations(masks, 2)]))


def lesion_uncertainty(mask: np.ndarray, members: Sequence[np.ndarray]) -> np.ndarray:
    """Return the structural uncertainty (LSU) of each lesion of a mask.

    `LSU(L) = 1 - 1/K Σ_k max_{L' in M_k} |L ∩ L'| / |L ∪ L'|`, over the lesions L' of each member's mask; lesions are
    voxels that share a corner.

    Args:
        mask: the final one, bool.
        members: the masks of K members, bool, of the same shape; at least one.

    Returns:
        From 0 to 1, one a lesion, in the order of `multifocal.instances.components`.

    Raises:
        ValueError: there is no member.

    Source:
        Molchanova et al. 2025, Structural-based uncertainty in deep learning across anatomical scales, Computers in
        Biology and Medicine 184; arXiv:2311.08931.

    Example:
        >>> mask = np.array([[1, 1, 0, 0, 1]], bool)
        >>> lesion_uncertainty(mask, [mask, np.array([[1, 0, 0, 0, 0]], bool)]).tolist()
        [0.25, 0.5]
    """
    if not members:
        raise ValueError("members is empty; expected at least one mask")
    labels, count = components(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    best = np.zeros((len(members), count))
    for row, member in zip(best, members, strict=True):
        theirs, others = components(member)
        their_sizes = np.bincount(theirs.ravel(), minlength=others + 1)
        shared = (labels > 0) & (theirs > 0)
        codes, both = np.unique(labels[shared].astype(np.int64) * (others + 1) + theirs[shared], return_counts=True)
        own, other = codes // (others + 1), codes % (others + 1)
        np.maximum.at(row, own - 1, both / (sizes[own] + their_sizes[other] - both))
    return np.asarray(1 - best.mean(axis=0))


def expected_dice(probability: np.ndarray, mask: np.ndarray) -> float:
    """Return about the Dice that a mask has if the probabilities are right ("soft Dice confidence").

    `2 Σ_M p / (|M| + Σ p)`; 1 where the mask is empty and no voxel has a probability.

    Args:
        probability: from 0 to 1.
        mask: bool, of the same shape.

    Returns:
        From 0 to 1.

    Source:
        Borges et al. 2024, Soft Dice confidence, arXiv:2402.10665.

    Example:
        >>> round(expected_dice(np.array([0.9, 0.5, 0.1]), np.array([True, False, False])), 3)
        0.72
    """
    both = float(np.count_nonzero(mask) + probability.sum(dtype=np.float64))
    return float(2 * probability[mask].sum(dtype=np.float64) / both) if both else 1.0


def entropy(probability: np.ndarray) -> np.ndarray:
    """Return the entropy of a probability in bits: `-p log2 p - (1 - p) log2 (1 - p)`.

    Args:
        probability: from 0 to 1, any shape; of several members the mean.

    Returns:
        float32 of the same shape, from 0 (sure) to 1 (p is 0.5).

    Example:
        >>> entropy(np.array([0.0, 0.5, 0.75])).round(3).tolist()
        [0.0, 1.0, 0.8109999895095825]
    """
    wide = np.clip(probability, 0.0, 1.0, dtype=np.float64)
    return np.asarray((special.entr(wide) + special.entr(1 - wide)) / np.log(2), np.float32)


def mutual_information(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return how much of the entropy comes of the members' disagreement: `H(mean_k p_k) - mean_k H(p_k)`, in bits.

    What is left of the entropy are doubts that all of them share.

    Args:
        probabilities: of each member, from 0 to 1, of one shape; at least one.

    Returns:
        float32 of that shape, from 0 (they agree) to 1.

    Raises:
        ValueError: there is no member.

    Source:
        Houlsby, Huszár, Ghahramani, Lengyel 2011, arXiv:1112.5745.

    Example:
        >>> mutual_information([np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 1.0])]).tolist()
        [1.0, 0.0, 0.0]
    """
    if not len(probabilities):
        raise ValueError("probabilities is empty; expected at least one")
    shared = np.mean([entropy(each) for each in probabilities], axis=0)
    return np.maximum(
        entropy(np.asarray(np.mean(probabilities, axis=0, dtype=np.float64))) - shared, 0.0, dtype=np.float32
    )


def case_row(case: str, found: Uncertainty) -> dict[str, Any]:
    """Return the line of a case in `uncertainty.csv`; what is not known is empty.

    Args:
        case: the case's name.
        found: of the case.

    Returns:
        Values by column.
    """
    numbers = {name: getattr(found, name) for name in _CASE[1:-1]}
    return {"case": case, **numbers, "lesions": len(found.lesions)}


def lesion_rows(case: str, found: Uncertainty) -> list[dict[str, Any]]:
    """Return the lines of a case's lesions in `uncertainty_lesions.csv`; what is not known is empty.

    Args:
        case: the case's name.
        found: of the case.

    Returns:
        Values by column, one mapping a lesion.
    """
    return [{"case": case, **asdict(lesion)} for lesion in found.lesions]


def add_rows(folder: str | Path, case: str, found: Uncertainty) -> None:
    """Write a case into the two tables of a folder of masks, in the place of what they say of it.

    Args:
        folder: of predictions; several processes may fill it at once.
        case: the case's name.
        found: of the case.

    Raises:
        UserError: a table cannot be read or written.
    """
    with locked(folder):
        for name, columns, rows in (
            (CASES, _CASE, [case_row(case, found)]),
            (LESIONS, _LESION, lesion_rows(case, found)),
        ):
            others = [row for row in _read(Path(folder) / name, columns) if row["case"] != case]
            write_csv(Path(folder) / name, [*others, *rows], columns=columns)


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with plain_file(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            if list(reader.fieldnames or ()) != list(columns):
                raise UserError(f"{path}: is not what `multifocal predict --uncertainty` writes; remove it")
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file ({error}); remove it") from error
    return rows


def _probability(member: Prediction) -> np.ndarray:
    if member.probability is None:
        return (member.mask.array != 0).astype(np.float32)
    return member.probability.array


def _lesions(
    mask: np.ndarray,
    members: Sequence[np.ndarray],
    probability: np.ndarray | None,
    map_: np.ndarray | None,
    *,
    voxel_ml: float,
) -> tuple[LesionUncertainty, ...]:
    labels, count = components(mask)
    inside = labels[mask]
    sizes = np.bincount(inside, minlength=count + 1)[1:]

    def means(values: np.ndarray | None) -> list[float | None]:
        if values is None:
            return [None] * count
        sums = np.bincount(inside, values[mask].astype(np.float64), minlength=count + 1)[1:]
        return [float(mean) for mean in sums / sizes]

    lsu: Sequence[float | None] = lesion_uncertainty(mask, members).tolist() if members else [None] * count
    rows = zip(sizes.tolist(), lsu, means(probability), means(map_), strict=True)
    return tuple(
        LesionUncertainty(number, size, size * voxel_ml, structural, p, unsure)
        for number, (size, structural, p, unsure) in enumerate(rows, start=1)
    )
