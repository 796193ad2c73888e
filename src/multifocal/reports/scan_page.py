"""The page of one new scan, whose lesions nobody has drawn: one file with everything in it."""

import base64
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

import multifocal
from multifocal.cohorts import Case, stratum
from multifocal.files import write_text
from multifocal.instances import components
from multifocal.reports.cases.case_images import read_case_images
from multifocal.reports.cases.embed import embedded, script
from multifocal.reports.cases.pictures import Tile, shadows, slices
from multifocal.reports.formatting import number
from multifocal.reports.templating import render
from multifocal.systems.findings import Findings, Lesion
from multifocal.systems.flags import Flag

SHOWN = 40  # lesions in the table; lesions.csv has all
SIZES = (0.0, 0.05, 0.1, 0.5, 1.0, math.inf)  # ml
_STYLES = ("vendor/source-sans-3.css", "assets/report.css")
_SCRIPTS = ("assets/report.js", "vendor/niivue.umd.js")


class Size(NamedTuple):
    """How many lesions have a volume of some ml, and of how much together."""

    name: str
    lesions: int
    volume_ml: float
    share: float


def write_scan_page(
    path: str | Path,
    case: Case,
    mask: str | Path,
    findings: Findings,
    *,
    model: str,
    digest: str,
    flags: Sequence[Flag] = (),
    remarks: Sequence[str] = (),
) -> None:
    """Write the page of one scan, a single file that needs no other and prints to PDF.

    Args:
        path: the HTML file; one that is there is replaced.
        case: the scan; its brain is where its first map is not 0.
        mask: the file of its mask.
        findings: what was found in it.
        model: the system's name.
        digest: of its weights, see `multifocal.systems.model_digest`.
        flags: what was looked at; those that are raised stand at the top.
        remarks: what else is to be known of how it was made, a line each; they stand there, too.

    Raises:
        UserError: a file cannot be read or written.
    """
    shown = read_case_images(replace(case, label=None), {model: Path(mask)}, label_kind="binary")
    is_volume = shown.geometry.ndim == 3
    with TemporaryDirectory() as folder:
        home = Path(folder)
        drawn = [replace(one, arms={model: _inlined(one.arms[model], home)}) for one in slices(shown, home, prefix="")]
        planes = {
            plane: {model: _inlined(arms[model], home)} for plane, arms in shadows(shown, home, prefix="").items()
        }
    own = [_asset(name) for name in _SCRIPTS[: len(_SCRIPTS) if is_volume else 1]]
    if is_volume:
        labels = shown.predictions[model]
        own += [script("multifocalCase", embedded(shown, start=_numbered(labels))), _asset("assets/viewer.js")]
    page = render(
        "scan.html.j2",
        name=case.name,
        model=model,
        facts=_facts(findings),
        notes=[*remarks, *(flag.text for flag in flags if flag.raised)],
        unknown=any(flag.raised is None for flag in flags),
        slices=drawn,
        planes=planes,
        is_volume=is_volume,
        slice_count=shown.brain.shape[2],
        maps=list(case.images),
        lesions=findings.lesions[:SHOWN],
        left_out=max(len(findings.lesions) - SHOWN, 0),
        place=_place,
        digits={name: _digits(findings.lesions, name) for name in case.images},
        sizes=sizes(findings.lesions),
        made=_made(case, findings, model, digest),
        styles=[Markup(_asset(name)) for name in _STYLES],  # noqa: S704 - files of this package
        scripts=[Markup(text.replace("</script", "<\\/script")) for text in own],  # noqa: S704
        root="",
    )
    write_text(path, page)


def sizes(lesions: Sequence[Lesion]) -> list[Size]:
    """Return how many lesions there are of each size.

    Args:
        lesions: of a scan.

    Returns:
        From the smallest; a limit belongs to the larger size. Shares are of the most frequent one.

    Example:
        >>> [size.name for size in sizes([])]
        ['below 0.05', '0.05 to 0.1', '0.1 to 0.5', '0.5 to 1', '1 and above']
    """
    volumes = [lesion.volume_ml for lesion in lesions]
    found = []
    for low, high in pairwise(SIZES):
        own = [volume for volume in volumes if low <= volume < high]
        name = f"below {high:g}" if low == 0 else f"{low:g} and above" if math.isinf(high) else f"{low:g} to {high:g}"
        found.append((name, len(own), sum(own)))
    most = max((count for _, count, _ in found), default=0) or 1
    return [Size(name, count, volume, count / most) for name, count, volume in found]


def _facts(findings: Findings) -> list[tuple[str, str]]:
    sure, count = findings.uncertainty, len(findings.lesions)
    volume = f"{number(findings.volume_ml, digits=2)} ml"
    if sure.lowest_ml is not None and sure.highest_ml is not None:
        volume += f" (its members: {number(sure.lowest_ml, digits=2)} to {number(sure.highest_ml, digits=2)})"
    facts = [
        ("lesions", f"{count}, the largest {number(findings.lesions[0].volume_ml, digits=2)} ml" if count else "none"),
        ("volume", volume),
        ("share of the brain", f"{number(100 * findings.share, digits=2)} % ({stratum(findings.share)})"),
        ("left, right", f"{number(findings.left_ml, digits=2)} ml, {number(findings.right_ml, digits=2)} ml"),
        ("brain", f"{number(findings.brain_ml, digits=0)} ml"),
    ]
    if sure.agreement is not None:
        facts.append(("members agree", f"Dice {number(sure.agreement, digits=2)} of any two"))
    if sure.expected_dice is not None:
        facts.append(("expected Dice", number(sure.expected_dice, digits=2)))
    return facts


def _made(case: Case, findings: Findings, model: str, digest: str) -> list[tuple[str, str]]:
    grid = findings.labels.geometry
    return [
        ("model", model),
        ("SHA-256 of the model", digest),
        ("multifocal", multifocal.__version__),
        ("maps", ", ".join(case.images)),
        (
            "grid",
            f"{' × '.join(map(str, grid.size))} voxels of {' × '.join(f'{side:.4g}' for side in grid.spacing)} mm",
        ),
    ]


def _place(centre: Sequence[float]) -> str:
    letters = (("L", "R"), ("P", "A"), ("S", "I"))
    return " ".join(
        f"{names[0] if value >= 0 else names[1]} {abs(value):.0f}"
        for names, value in zip(letters, centre, strict=False)
    )


def _digits(lesions: Sequence[Lesion], name: str) -> int:
    """Return how many digits after the point a map's values are worth: none above 100."""
    values = [abs(lesion.values[name].mean) for lesion in lesions]
    return 0 if values and max(values) >= 100 else 2


def _numbered(labels: np.ndarray | None) -> np.ndarray:
    return components(labels > 0)[0] if labels is not None else np.zeros((1, 1, 1), np.int32)


def _inlined(tile: Tile | None, home: Path) -> Tile | None:
    if tile is None:
        return None
    data = base64.b64encode((home / tile.image.lstrip("/")).read_bytes()).decode()
    return replace(tile, image=f"data:image/png;base64,{data}")


def _asset(name: str) -> str:
    return files("multifocal.reports").joinpath(name).read_text(encoding="utf-8")
