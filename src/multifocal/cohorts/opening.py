"""From a path to a cohort: recognise the layout, find every case, refuse with every problem at once."""

from dataclasses import dataclass
from pathlib import Path

from multifocal.cohorts.case import Case, Cohort, LabelKind
from multifocal.cohorts.layouts import Findings, Layout, every, get
from multifocal.cohorts.problems import Problem
from multifocal.errors import UserError


@dataclass(frozen=True)
class Survey:
    """A folder as found: its cases (perhaps lacking a file) and what is wrong with it."""

    name: str
    root: Path
    layout: str
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]
    label_kind: LabelKind

    def cohort(self) -> Cohort:
        """Return the cohort; raises one `UserError` that lists every problem when there are any."""
        if self.problems:
            count = f"{len(self.problems)} problems: " if len(self.problems) > 1 else ""
            raise UserError(f"{self.root}: {count}{'; '.join(map(str, self.problems))}")
        return Cohort(self.name, self.root, self.layout, self.cases, self.label_kind)


def survey(path: str | Path, *, layout: str = "auto") -> Survey:
    """Find every case and every problem of a folder without stopping at the first.

    Args:
        path: the cohort's folder, or a manifest.
        layout: a name of `layout_names()`, or "auto" to recognise it by what the folder holds.

    Raises:
        UserError: there is no such path, no layout matches, several do, or a file that describes the whole cohort
            (dataset.json, the manifest) cannot be understood.
    """
    # Absolute without following links: the name the user gave is the cohort's name.
    root = Path(path).absolute()
    if not root.exists():
        raise UserError(f"{path}: no such file or folder")
    chosen = _recognise(root) if layout == "auto" else get(layout)
    if not chosen.matches(root):
        raise UserError(f"{path}: not laid out as {chosen.name}, which needs {chosen.needs}")
    found = Findings(root)
    try:
        chosen.read(found)
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot read: {error.strerror}") from error
    if not found.cases and not found.problems:
        found.problem(f"no case found; {chosen.name} needs {chosen.needs}")
    folder = root if root.is_dir() else root.parent
    name = root.name if root.is_dir() else root.stem
    return Survey(name, folder, chosen.name, tuple(found.cases.values()), tuple(found.problems), found.label_kind)


def open_cohort(path: str | Path, *, layout: str = "auto") -> Cohort:
    """Return the cohort in a folder (or a manifest), whatever its layout.

    Only names and headers are looked at; `check_cohort` reads the images.

    Raises:
        UserError: what `survey` raises, or any problem (all are listed): no case is left out in silence.

    Example:
        >>> cohort = open_cohort("BONBID2023_Train")  # doctest: +SKIP
        >>> len(cohort), cohort.maps  # doctest: +SKIP
        (40, ('adc', 'zadc'))
    """
    return survey(path, layout=layout).cohort()


def _recognise(root: Path) -> Layout:
    matching = [layout for layout in every() if layout.matches(root)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(layout.name for layout in matching)
        raise UserError(f"{root}: looks like several layouts ({names}); choose one with --layout")
    needs = "; ".join(f"{layout.name}: {layout.needs}" for layout in every())
    state = "the folder is empty" if root.is_dir() and not any(root.iterdir()) else "no known layout"
    raise UserError(f"{root}: {state}; expected one of: {needs}")
