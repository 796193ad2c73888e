"""From a path to a cohort: recognise the layout, find every case, refuse with every problem at once."""

from dataclasses import dataclass
from pathlib import Path

from multifocal.cohorts.case import Case, Cohort, LabelKind
from multifocal.cohorts.labels import Labels
from multifocal.cohorts.layouts import LAYOUTS, Layout, LayoutResult, Problem, layout_names
from multifocal.errors import UserError


@dataclass(frozen=True)
class Survey:
    """A folder as found: its cases and what is wrong with it.

    Attributes:
        name: the folder's, or the manifest's.
        root: the folder.
        layout: name of the layout.
        cases: all that were found; some may lack a file.
        problems: everything wrong.
        label_kind: "binary" masks, or "instances" that are numbered.
        labels: what the values of a mask mean.

    Example:
        >>> Survey("demo", Path("."), "manifest", (), (Problem("error", "S1.mha: no such file"),), "binary").cohort()
        Traceback (most recent call last):
        multifocal.errors.UserError: .: S1.mha: no such file
    """

    name: str
    root: Path
    layout: str
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]
    label_kind: LabelKind
    labels: Labels = Labels()

    def cohort(self) -> Cohort:
        """Return the cohort, if nothing is wrong with it.

        Returns:
            The cases as a cohort.

        Raises:
            UserError: there are problems; it lists all.
        """
        if self.problems:
            count = f"{len(self.problems)} problems: " if len(self.problems) > 1 else ""
            raise UserError(f"{self.root}: {count}{'; '.join(map(str, self.problems))}")
        return Cohort(self.name, self.root, self.layout, self.cases, self.label_kind, self.labels)


def survey(path: str | Path, *, layout: str = "auto") -> Survey:
    """Find every case and every problem of a folder without stopping at the first.

    Args:
        path: the cohort's folder, or a manifest.
        layout: a name of `layout_names()`, or "auto" to recognise it by what the folder holds.

    Returns:
        The cases and problems.

    Raises:
        UserError: there is no such path, no layout matches, several do, or a file that describes the whole cohort
            (dataset.json, the manifest) cannot be understood.

    Example:
        >>> import tempfile
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> folder = tempfile.mkdtemp()
        >>> write_phantom(folder, cases=1, seed=0)
        >>> (Path(folder) / "3LABEL" / "PHANTOM_001-VISIT_01_lesion.mha").unlink()
        >>> [str(problem) for problem in survey(folder).problems][0].partition(";")[0]
        'case PHANTOM_001-VISIT_01: 1ADC_ss/PHANTOM_001-VISIT_01-ADC_ss.mha has no label in 3LABEL'
    """
    # Absolute without following links: the name the user gave is the cohort's name.
    root = Path(path).absolute()
    if not root.exists():
        raise UserError(f"{path}: no such file or folder")
    chosen = _recognise(root) if layout == "auto" else LAYOUTS[layout]
    if not chosen.matches(root):
        raise UserError(f"{path}: not laid out as {chosen.name}, which needs {chosen.needs}")
    found = LayoutResult(root)
    try:
        chosen.read(found)
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot read: {error.strerror}") from error
    if not found.cases and not found.problems:
        found.problem(f"no case found; {chosen.name} needs {chosen.needs}")
    folder = root if root.is_dir() else root.parent
    name = root.name if root.is_dir() else root.stem
    cases, problems = tuple(found.cases.values()), tuple(found.problems)
    return Survey(name, folder, chosen.name, cases, problems, found.label_kind, found.label_values)


def open_cohort(path: str | Path, *, layout: str = "auto") -> Cohort:
    """Return the cohort in a folder (or a manifest), whatever its layout.

    Only names and headers are looked at; `check_cohort` reads the images.

    Args:
        path: the cohort's folder, or a manifest.
        layout: a name of `layout_names()`, or "auto" to recognise it by what the folder holds.

    Returns:
        The cohort with all its cases.

    Raises:
        UserError: there is no such path, no layout matches or several do, or anything is wrong with the cases (all
            problems are listed): no case is left out in silence.

    Example:
        >>> import tempfile
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> folder = tempfile.mkdtemp()
        >>> write_phantom(folder, cases=1, seed=0)
        >>> cohort = open_cohort(folder)
        >>> len(cohort), cohort.maps, cohort.layout
        (1, ('adc', 'zadc'), 'bonbid-hie')
    """
    return survey(path, layout=layout).cohort()


def _recognise(root: Path) -> Layout:
    layouts = [LAYOUTS[name] for name in layout_names()]
    matching = [layout for layout in layouts if layout.matches(root)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(layout.name for layout in matching)
        raise UserError(f"{root}: looks like several layouts ({names}); choose one with --layout")
    needs = "; ".join(f"{layout.name}: {layout.needs}" for layout in layouts)
    state = "the folder is empty" if root.is_dir() and not any(root.iterdir()) else "no known layout"
    raise UserError(f"{root}: {state}; expected one of: {needs}")
