"""What was found in one scan, in numbers: the scan as a whole, and lesion by lesion."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from multifocal.cohorts import Case, brain_mask, stratum
from multifocal.errors import UserError
from multifocal.files import read_json, write_csv, write_json
from multifocal.instances import components
from multifocal.pipeline.channels import sagittal_plane
from multifocal.systems.flags import Flag
from multifocal.systems.system import Prediction
from multifocal.systems.uncertainty import LesionUncertainty, Uncertainty, uncertainty
from multifocal.volumes import Volume, axis_codes, orient

Side = Literal["left", "right", "both"]
FINDINGS = "_scan.json"
ONE_SIDE = 0.75  # of a lesion's voxels lie there, or it is on both


@dataclass(frozen=True)
class Values:
    """What a map shows in a lesion, in the map's unit.

    Args:
        mean: over the lesion.
        least: its least value.
        mirrored: the mean over the same voxels of the other side, where that is brain; None where none of it is.
    """

    mean: float
    least: float
    mirrored: float | None


@dataclass(frozen=True)
class Lesion:
    """One component of a mask.

    Args:
        number: from 1, the largest first.
        voxels: how many it has.
        volume_ml: its volume in ml.
        centre: the mean of its voxels' centres in the patient's coordinates, mm to the left, to the back and up from
            the scanner's origin, those of DICOM.
        side: of the brain's mid-sagittal plane; "both" where less than three quarters of it lie on one.
        values: of each map, by its name.
        probability: the mean in it; None where the system has none.
        lsu: structural uncertainty, from 0, where all members have the very same lesion, to 1, where none has any of
            it; None where the system has no members.

    Example:
        >>> values = {"adc": Values(mean=700.0, least=420.0, mirrored=1150.0)}
        >>> Lesion(1, 20, 0.16, (12.0, 3.5, 40.0), "left", values, 0.8, 0.3).row()["adc_min"]
        420.0
    """

    number: int
    voxels: int
    volume_ml: float
    centre: tuple[float, ...]
    side: Side
    values: Mapping[str, Values]
    probability: float | None
    lsu: float | None

    def row(self) -> dict[str, Any]:
        """Return the line of `lesions.csv`.

        Returns:
            By column; what there is none of is None.
        """
        places = dict(zip(("left_mm", "posterior_mm", "superior_mm"), self.centre, strict=False))
        columns: dict[str, Any] = {"number": self.number, "voxels": self.voxels, "volume_ml": self.volume_ml, **places}
        columns["side"] = self.side
        for name, values in self.values.items():
            columns |= {f"{name}_mean": values.mean, f"{name}_min": values.least, f"{name}_mirrored": values.mirrored}
        return columns | {"probability": self.probability, "lsu": self.lsu}


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found in one scan.

    Args:
        case: its name.
        brain_ml: volume of the brain in ml.
        volume_ml: volume of all lesions in ml.
        left_ml: of it on the left of the brain's mid-sagittal plane.
        right_ml: of it on the right.
        lesions: one by one, the largest first.
        labels: their numbers on the scan's own grid, int32, 0 where there is none.
        uncertainty: how sure the system is, where it has probabilities or members.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.systems import load_model
        >>> with TemporaryDirectory() as folder:
        ...     _ = write_phantom(f"{folder}/cohort", cases=1, seed=0)
        ...     case = open_cohort(f"{folder}/cohort").cases[0]
        ...     findings = find(case, load_model("zadc-clean").predict(case))
        >>> findings.lesions[0].number, findings.lesions[0].volume_ml == max(one.volume_ml for one in findings.lesions)
        (1, True)
    """

    case: str
    brain_ml: float
    volume_ml: float
    left_ml: float
    right_ml: float
    lesions: tuple[Lesion, ...]
    labels: Volume
    uncertainty: Uncertainty

    @property
    def share(self) -> float:
        """The lesions' share of the brain."""
        return self.volume_ml / self.brain_ml

    def summary(self) -> dict[str, Any]:
        """Return what there is to say of the scan as a whole, for a line of `scans.csv`.

        Returns:
            By column; what there is none of is None.
        """
        sure = self.uncertainty
        return {
            "case": self.case,
            "lesions": len(self.lesions),
            "volume_ml": self.volume_ml,
            "lowest_ml": sure.lowest_ml,
            "highest_ml": sure.highest_ml,
            "largest_ml": self.lesions[0].volume_ml if self.lesions else 0.0,
            "left_ml": self.left_ml,
            "right_ml": self.right_ml,
            "brain_ml": self.brain_ml,
            "share": self.share,
            "stratum": stratum(self.share),
            "agreement": sure.agreement,
            "expected_dice": sure.expected_dice,
        }


def find(case: Case, prediction: Prediction, sure: Uncertainty | None = None) -> Findings:
    """Return what a system found in a scan, in numbers.

    Args:
        case: the scan; its brain is where its first map is not 0.
        prediction: the system's, of masks (not of label maps or several classes).
        sure: how sure the system is of it, see `multifocal.systems.uncertainty_of`; None goes by the prediction alone.

    Returns:
        The findings.

    Raises:
        UserError: the prediction has several classes, a map lies on another grid, or there is no brain.

    Example:
        >>> from multifocal.systems import load_model
        >>> from multifocal.cohorts import ImageFile
        >>> case = Case("S1", "S1", {"adc": ImageFile("adc.nii.gz"), "zadc": ImageFile("z.nii.gz")})
        >>> find(case, load_model("zadc-clean").predict(case)).volume_ml  # doctest: +SKIP
        1.25
    """
    if prediction.classes:
        raise UserError(f"case {case.name}: the model predicts several classes, and this is for one kind of lesion")
    grid = prediction.mask.geometry
    maps = {name: image.read() for name, image in case.images.items()}
    for name, volume in maps.items():
        if differences := volume.geometry.differences(grid):
            raise UserError(
                f"{case.images[name].path}: lies on another grid than the mask: {'; '.join(differences)}; "
                "resample one onto the other"
            )
    brain = brain_mask(next(iter(maps.values())).array)
    if not brain.any():
        raise UserError(f"{next(iter(case.images.values())).path}: is 0 everywhere, so there is no brain")
    sure = uncertainty(prediction, {}) if sure is None else sure
    labels, count = components(prediction.mask.array > 0)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")  # lesions of one size keep the order that they are met in
    numbers = np.zeros(count + 1, np.int32)
    numbers[1 + order] = np.arange(1, count + 1)
    numbered = Volume(numbers[labels], grid)
    measure = _Measure(numbered, maps, brain)
    known = {int(numbers[one.number]): one for one in sure.lesions}
    lesions = tuple(measure.lesion(number, known[number]) for number in range(1, count + 1))
    left = measure.left(measure.places)
    return Findings(
        case=case.name,
        brain_ml=float(np.count_nonzero(brain) * grid.voxel_ml),
        volume_ml=float(sizes.sum() * grid.voxel_ml),
        left_ml=float(left * grid.voxel_ml),
        right_ml=float((sizes.sum() - left) * grid.voxel_ml),
        lesions=lesions,
        labels=numbered,
        uncertainty=sure,
    )


def write_findings(
    folder: str | Path,
    findings: Findings,
    *,
    model: str,
    digest: str,
    flags: Sequence[Flag] = (),
    remarks: Sequence[str] = (),
) -> Path:
    """Write `<case>_scan.json`, and the tables of all scans whose findings lie in the folder.

    `scans.csv` has a line a scan, `lesions.csv` a line a lesion. Nothing in them says whose scan it is but the case's
    name.

    Args:
        folder: where the masks are.
        findings: of one scan.
        model: the system's name.
        digest: of its weights, see `multifocal.systems.model_digest`.
        flags: what was looked at, and what of it is odd, see `multifocal.systems.flags`.
        remarks: what else is to be known of how it was made, such as that another model stood in, a line each.

    Returns:
        The JSON file.

    Raises:
        UserError: a file cannot be written, or a findings file in the folder is not what this writes.

    Example:
        >>> write_findings("found", findings, model="default", digest="291045f4…")  # doctest: +SKIP
        PosixPath('found/S1_scan.json')
    """
    home, grid = Path(folder), findings.labels.geometry
    file = home / f"{findings.case}{FINDINGS}"
    about = {
        "multifocal": version("multifocal"),
        "model": {"name": model, "sha256": digest},
        "research_only": True,
        "remarks": list(remarks),
        "grid": {"size": list(grid.size), "spacing_mm": list(grid.spacing)},
    }
    lesions = [lesion.row() for lesion in findings.lesions]
    write_json(
        file, {**about, "scan": findings.summary(), "lesions": lesions, "flags": [asdict(flag) for flag in flags]}
    )
    every = [_read_findings(other) for other in sorted(home.glob(f"*{FINDINGS}"))]
    scans = [{**one["scan"], "model": _model(one), "flags": _raised(one)} for one in every]
    rows = [{"case": one["scan"]["case"], **lesion} for one in every for lesion in one["lesions"]]
    write_csv(home / "scans.csv", scans)
    # Scans without a lesion tell no columns; the tables of one model have the same ones.
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["case", "number", "voxels", "volume_ml"]
    write_csv(home / "lesions.csv", rows, columns=columns)
    return file


def _read_findings(file: Path) -> dict[str, Any]:
    found = read_json(file)
    is_ours = isinstance(found, dict) and isinstance(found.get("scan"), dict) and isinstance(found.get("lesions"), list)
    if not is_ours or not isinstance(found["scan"].get("case"), str) or not isinstance(found.get("flags"), list):
        raise UserError(f"{file}: is not what `multifocal predict --statistics` writes; move it to another folder")
    return found


def _model(found: Mapping[str, Any]) -> str | None:
    """Return the name of the model."""
    model = found.get("model")
    return str(model["name"]) if isinstance(model, dict) and "name" in model else None


def _raised(found: Mapping[str, Any]) -> str:
    """Return the names of the flags that are raised."""
    return "; ".join(dict.fromkeys(str(flag["name"]) for flag in found["flags"] if flag["raised"]))


class _Measure:
    """Lesions in LPS order, where axis 0 runs to the left."""

    def __init__(self, numbered: Volume, maps: Mapping[str, Volume], brain: np.ndarray) -> None:
        labels = orient(numbered)
        self.geometry = labels.geometry
        self.maps = {name: orient(volume).array for name, volume in maps.items()}
        self.brain = orient(Volume(brain, numbered.geometry)).array
        self.across = next(axis for axis, letter in enumerate(axis_codes(self.geometry)) if letter == "L")
        self.mirror = sagittal_plane(self.brain, self.across)
        self.places = np.argwhere(labels.array)
        owners = labels.array[tuple(self.places.T)]
        by_owner = np.argsort(owners, kind="stable")
        self.of = np.split(self.places[by_owner], np.flatnonzero(np.diff(owners[by_owner])) + 1)

    def lesion(self, number: int, known: LesionUncertainty) -> Lesion:
        """Return what there is to say of a lesion."""
        places = self.of[number - 1]
        share = self.left(places) / len(places)
        side: Side = "left" if share >= ONE_SIDE else "right" if share <= 1 - ONE_SIDE else "both"
        opposite = places.copy()
        opposite[:, self.across] = self.mirror - places[:, self.across]
        within = (opposite[:, self.across] >= 0) & (opposite[:, self.across] < self.brain.shape[self.across])
        opposite = opposite[within]
        opposite = opposite[self.brain[tuple(opposite.T)]]
        centre = self.geometry.affine @ np.append(places.mean(axis=0), 1.0)
        values = {name: _values(array, places, opposite) for name, array in self.maps.items()}
        return Lesion(
            number=number,
            voxels=len(places),
            volume_ml=float(len(places) * self.geometry.voxel_ml),
            centre=tuple(float(place) for place in centre[:-1]),
            side=side,
            values=values,
            probability=known.probability,
            lsu=known.lsu,
        )

    def left(self, places: np.ndarray) -> float:
        """Return how many of these voxels lie left of the mid-sagittal plane; those on it count half."""
        beyond = 2 * places[:, self.across] - self.mirror
        return float(np.count_nonzero(beyond > 0) + np.count_nonzero(beyond == 0) / 2)


def _values(array: np.ndarray, places: np.ndarray, opposite: np.ndarray) -> Values:
    own = array[tuple(places.T)].astype(np.float64)
    other = float(array[tuple(opposite.T)].mean(dtype=np.float64)) if len(opposite) else None
    return Values(float(own.mean()), float(own.min()), other)
