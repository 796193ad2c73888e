"""Every case read and measured, every problem named."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from multifocal.cohorts.case import Case, Cohort, ImageFile, LabelKind
from multifocal.cohorts.label_values import allowed_values, is_strange
from multifocal.cohorts.labels import Labels
from multifocal.cohorts.layouts.layout_result import Problem, Severity
from multifocal.cohorts.lesion_burden import Stratum, brain_mask, counted, has_brain, stratum
from multifocal.cohorts.opening import Survey
from multifocal.errors import UserError
from multifocal.instances import components
from multifocal.metrics import burden
from multifocal.volumes import Geometry, Volume, axis_codes, remarks

# Median ADC of a living brain in 1e-6 mm²/s: neonatal white matter reaches 2000, severe injury stays above 300.
ADC_MEDIAN = (300.0, 4000.0)
_ADC_UNITS = {"1e-3 mm²/s": 1e3, "mm²/s": 1e6}
# BONBID-HIE clips Z-ADC to ±10; interpolation may overshoot a little.
ZADC_LIMIT = 10.5

Complaint = tuple[Severity, str]
_ONE = Labels()


@dataclass(frozen=True)
class CaseReport:
    """What one case measures; `None` where it could not be measured.

    Attributes:
        name: the case.
        size: voxels along each axis of the first map that can be read.
        spacing: mm along each axis.
        orientation: where increasing indices go, such as "LPS".
        tilt: largest angle between an axis and the body axis nearest to it, in degrees.
        lesion_ml: volume of the label; a 2D image has none.
        share: lesion voxels / brain voxels, where the brain is the first map where it is not 0; of instances, which are
            not of a brain, lesion voxels / all voxels.
        components: connected components of a binary label (full connectivity), or instances of a label map.
        stratum: the stratum of the share.
        problems: everything wrong with the case's files.
        lesion_voxels: voxels of the label, or pixels.

    Example:
        >>> CaseReport("S1", size=(128, 128, 24)).share is None
        True
    """

    name: str
    size: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    orientation: str | None = None
    tilt: float | None = None
    lesion_ml: float | None = None
    share: float | None = None
    components: int | None = None
    stratum: Stratum | None = None
    problems: tuple[Problem, ...] = ()
    lesion_voxels: int | None = None


def check_case(case: Case, *, label_kind: LabelKind = "binary", labels: Labels = _ONE) -> CaseReport:
    """Read and measure one case; whatever is wrong with it is in the report, not raised.

    Args:
        case: the case.
        label_kind: what its label holds: "binary" masks, or "instances" that are numbered.
        labels: what the values of a mask mean.

    Returns:
        The report.

    Example:
        >>> from pathlib import Path
        >>> report = check_case(Case("S1", "S1", {"adc": ImageFile(Path("none.mha"))}))
        >>> [str(problem) for problem in report.problems]
        ['case S1: none.mha: no such file; check the path']
    """
    return _examine(case, label_kind=label_kind, labels=labels)[0]


def check_cohort(
    cohort: Cohort | Survey, *, workers: int = 1, done: Callable[[CaseReport], None] | None = None
) -> list[CaseReport]:
    """Read and measure every case, and find cases whose images are the same.

    Args:
        cohort: a cohort, or a survey (whose cases may lack files).
        workers: threads that read.
        done: called with each report as it is ready (before images are compared between cases).

    Returns:
        A report for each case, in their order.

    Raises:
        UserError: fewer than 1 worker.

    Example:
        >>> from pathlib import Path
        >>> cases = (Case("S1", "S1", {"adc": ImageFile(Path("none.mha"))}),)
        >>> [report.name for report in check_cohort(Cohort("demo", Path("."), "manifest", cases))]
        ['S1']
    """
    if workers < 1:
        raise UserError(f"workers is {workers}; expected 1 or more")
    # A file that the layout missed already is told once.
    told = {problem.missing for problem in cohort.problems if problem.missing} if isinstance(cohort, Survey) else set()
    examine = partial(_examine, label_kind=cohort.label_kind, labels=cohort.labels, told=told)
    reports: list[CaseReport] = []
    owners: dict[str, dict[str, str]] = defaultdict(dict)
    # Threads: unpacking, hashing, copying and waiting for the disk, nearly all of the work, do without the interpreter.
    with ThreadPoolExecutor(workers) as pool:
        for report, digests in pool.map(examine, cohort.cases):
            reports.append(report)
            for name, digest in digests.items():
                owners[digest].setdefault(report.name, name)
            if done:
                done(report)
    return _with_duplicates(reports, owners)


def image_complaints(name: str, array: np.ndarray, *, is_flat: bool = False) -> Iterator[Complaint]:
    """Find what is wrong with the values of one map: empty, constant, broken, in another unit than its map's.

    Args:
        name: of the map; "adc" and "zadc" are also held to their units.
        array: `(*spatial)`.
        is_flat: whether it is a 2D image, of pixels, rather than a scan of a brain.

    Yields:
        Complaint: severity and text.

    Example:
        >>> list(image_complaints("adc", np.zeros((3, 3))))
        [('error', 'empty brain: every voxel is 0; replace the image')]
    """
    broken = array.size - int(np.count_nonzero(np.isfinite(array)))
    whole, one = ("image", "pixel") if is_flat else ("brain", "voxel")
    if broken:
        yield "error", f"{broken} {one}s are NaN or infinite; replace the image"
    brain = array[brain_mask(array)]
    if brain.size == 0:
        yield "error", f"empty {whole}: every {one} is 0; replace the image"
    elif brain.min() == brain.max():
        yield "error", f"constant image: every {one} that is not 0 is {brain.flat[0]:g}; replace the image"
    elif name == "adc":
        yield from _adc_complaints(brain)
    elif name == "zadc":
        yield from _zadc_complaints(brain)


def label_complaints(array: np.ndarray, *, instances: bool, labels: Labels = _ONE) -> Iterator[Complaint]:
    """Find what is wrong with the values of a label.

    Args:
        array: `(*spatial)`.
        instances: whether it numbers its lesions 0, 1, 2, ...; a mask holds 0 and 1, or what is named.
        labels: what the values of a mask mean.

    Yields:
        Complaint: severity and text.

    Example:
        >>> list(label_complaints(np.array([0, 255]), instances=False))
        [('error', 'the label holds 255; expected only 0 and 1 (a binary label)')]
    """
    if not np.isfinite(array).all():
        yield "error", "the label holds NaN or infinite values; replace it"
        return
    allowed = allowed_values("instances" if instances else "binary", labels)
    wrong = np.unique(array[is_strange(array, allowed=allowed)])
    if wrong.size:
        listed = ", ".join(f"{value:g}" for value in wrong[:5]) + (", ..." if wrong.size > 5 else "")
        binary = "only 0 and 1 (a binary label)" if labels == _ONE else f"only {', '.join(map(str, labels.allowed))}"
        expected = "whole numbers from 0" if instances else binary
        yield "error", f"the label holds {listed}; expected {expected}"


def _examine(
    case: Case, *, label_kind: LabelKind, labels: Labels, told: Collection[Path] = ()
) -> tuple[CaseReport, dict[str, str]]:
    """Return the report and a digest of each map's voxels; files that are told to be missing are passed over."""
    problems: list[Problem] = []

    def note(severity: Severity, text: str) -> None:
        problems.append(Problem(severity, text, case.name))

    images = {name: image for name, image in case.images.items() if image.path not in told}
    volumes = {name: volume for name, image in images.items() if (volume := _read(image, note))}
    label = _read(case.label, note) if case.label and case.label.path not in told else None
    digests = {}
    for name, volume in volumes.items():
        for severity, text in image_complaints(name, volume.array, is_flat=volume.geometry.ndim == 2):
            note(severity, f"{name}: {text}")
        digests[name] = hashlib.sha256(f"{volume.array.shape}".encode() + volume.array.tobytes()).hexdigest()
    for (name, digest), (other, same) in combinations(digests.items(), 2):
        if digest == same and case.images[name].path != case.images[other].path:
            note("warning", f"{other}: the same voxels as {name}; give each map its own file")
    report = CaseReport(case.name)
    grids = [(name, volume.geometry) for name, volume in volumes.items()]
    grids += [("the label", label.geometry)] if label else []
    if grids:
        for name, _ in grids:
            file = case.label if name == "the label" else images[name]
            for remark in remarks(file.path) if file else ():
                note("warning", f"{name}: {remark}")
        reference, geometry = grids[0]
        codes = axis_codes(geometry)
        report = replace(
            report, size=geometry.size, spacing=geometry.spacing, orientation=codes, tilt=_tilt(geometry, codes)
        )
        for name, grid in grids[1:]:
            for difference in grid.differences(geometry):
                note("error", f"{name} is not on the grid of {reference}: {difference}; resample it onto that grid")
    if label:
        complaints = list(label_complaints(label.array, instances=label_kind == "instances", labels=labels))
        for severity, text in complaints:
            note(severity, text)
        if not complaints:
            report = _measure(report, volumes.get(next(iter(case.images))), label, label_kind, labels, note)
    return replace(report, problems=tuple(problems)), digests


def _read(image: ImageFile, note: Callable[[Severity, str], None]) -> Volume | None:
    try:
        return image.read()
    except UserError as error:
        note("error", str(error))
        return None


def _measure(
    report: CaseReport,
    image: Volume | None,
    label: Volume,
    kind: LabelKind,
    labels: Labels,
    note: Callable[[Severity, str], None],
) -> CaseReport:
    brain = brain_mask(image.array) if image else np.zeros(label.array.shape, bool)
    if brain.shape != label.array.shape:
        brain = np.zeros(label.array.shape, bool)
    lesion, brain = counted(label.array, brain, labels=labels)
    voxels = int(np.count_nonzero(lesion))
    count = components(lesion)[1] if kind == "binary" else int(np.count_nonzero(np.unique(label.array)))
    volume = voxels * label.geometry.voxel_ml if label.geometry.ndim == 3 else None
    report = replace(report, lesion_ml=volume, lesion_voxels=voxels, components=count)
    if not has_brain(kind):
        share = burden(lesion, counted(label.array, np.ones(lesion.shape, bool), labels=labels)[1])
        return replace(report, share=share, stratum=stratum(share))
    if not brain.any():
        return report
    outside = int(np.count_nonzero(lesion & ~brain))
    if outside:
        where = "lesion pixels lie where the image is 0" if lesion.ndim == 2 else "lesion voxels lie outside the brain"
        note("warning", f"{outside} of {voxels} {where}")
    share = burden(lesion, brain)
    return replace(report, share=share, stratum=stratum(share))


def _tilt(geometry: Geometry, codes: str) -> float:
    """Return the largest angle between an axis and the body axis of its code, in degrees."""
    rows = ["LPS".find(code) if code in "LPS" else "RAI".find(code) for code in codes]
    cosines = [min(1.0, abs(geometry.matrix[row, axis])) for axis, row in enumerate(rows)]
    return math.degrees(math.acos(min(cosines)))


def _with_duplicates(reports: Sequence[CaseReport], owners: dict[str, dict[str, str]]) -> list[CaseReport]:
    """Return the reports with a warning for every map whose voxels another case has too."""
    shared: dict[str, list[Problem]] = defaultdict(list)
    for cases in owners.values():
        for case, name in cases.items():
            others = [f"{other} ({theirs})" for other, theirs in cases.items() if other != case]
            if others:
                text = f"{name}: the same voxels as case {', '.join(others)}; remove the copy"
                shared[case].append(Problem("warning", text, case))
    return [replace(report, problems=(*report.problems, *shared[report.name])) for report in reports]


def _adc_complaints(brain: np.ndarray) -> Iterator[Complaint]:
    median = float(np.median(brain))
    low, high = ADC_MEDIAN
    if not low <= median <= high:
        guess = next((unit for unit, factor in _ADC_UNITS.items() if low <= median * factor <= high), None)
        cure = f"it looks like {guess}: multiply it by {_ADC_UNITS[guess]:g}" if guess else "convert it"
        yield "error", f"brain median {median:.3g}; ADC is expected in 1e-6 mm²/s ({low:g} to {high:g}); {cure}"
    negative = int(np.count_nonzero(brain < 0))
    if negative:
        yield "warning", f"{negative} voxels are negative (down to {brain.min():g}): noise, or a wrong sign"


def _zadc_complaints(brain: np.ndarray) -> Iterator[Complaint]:
    if brain.min() < -ZADC_LIMIT or brain.max() > ZADC_LIMIT:
        yield "warning", f"values from {brain.min():g} to {brain.max():g}; Z-ADC is expected clipped to ±10"
    if brain.min() >= 0 or brain.max() <= 0:
        sign = "negative" if brain.min() >= 0 else "positive"
        yield "warning", f"no voxel is {sign}; a Z-score has both signs"
