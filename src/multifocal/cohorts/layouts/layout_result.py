"""What reading a layout results in: cases and problems side by side, so that no file is dropped in silence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from multifocal.cohorts.case import Case, ImageFile, LabelKind, Split
from multifocal.cohorts.labels import Labels
from multifocal.errors import UserError
from multifocal.files import one_form
from multifocal.volumes import EXTENSIONS, strip_extension

# Files that lie beside images and are not images: notes, tables, and the voxels of detached headers.
_BESIDE = {".txt", ".md", ".pdf", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".log", ".db", ".ini"}
_VOXELS = {".raw", ".zraw"}


Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something wrong with a cohort, said so that the user can put it right.

    Attributes:
        severity: an "error" makes the cohort unusable, a "warning" is to be looked at.
        text: what is wrong, and the cure.
        case: in which case; None for the cohort as a whole.
        missing: the file that is not there, if that is the problem; reading it is not tried again.

    Example:
        >>> str(Problem("error", "adc.mha: file is empty", case="S1"))
        'case S1: adc.mha: file is empty'
    """

    severity: Severity
    text: str
    case: str | None = None
    missing: Path | None = None

    def __str__(self) -> str:
        return f"case {self.case}: {self.text}" if self.case else self.text


@dataclass
class LayoutResult:
    """Cases and problems as a layout's reader adds them.

    Attributes:
        root: the cohort's folder, or the file that describes it.
        label_kind: "binary" masks, or "instances" that are numbered.
        label_values: what the values of a mask mean.
        cases: the cases by name, in the order they were found.
        problems: what is wrong.

    Example:
        >>> found = LayoutResult(Path("cohort"))
        >>> found.add("S1", images={"adc": ImageFile(Path("cohort/S1.mha"))})
        >>> found.add("S1", images={"adc": ImageFile(Path("cohort/S1.nrrd"))})
        >>> list(found.cases), str(found.problems[0])
        (['S1'], 'case S1: there is a second case of this name (S1.nrrd); rename or remove one')
    """

    root: Path
    label_kind: LabelKind = "binary"
    label_values: Labels = Labels()
    cases: dict[str, Case] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, text: str, *, case: str | None = None, missing: Path | None = None) -> None:
        """Note an error.

        Args:
            text: what is wrong, and the cure.
            case: in which case; None for the cohort as a whole.
            missing: the file that is not there, if that is the problem.
        """
        self.problems.append(Problem("error", text, case, missing))

    def add(
        self,
        name: str,
        *,
        images: Mapping[str, ImageFile],
        subject: str | None = None,
        label: ImageFile | None = None,
        split: Split | None = None,
    ) -> None:
        """Add a case, or note why it cannot be one.

        Args:
            name: of the case.
            images: by map name.
            subject: whose visit it is; None or "" says that the case is its own subject.
            label: the lesions, if known.
            split: the dataset's own part for it, if it has one.
        """
        name = one_form(name)
        if name in self.cases:
            file = next(iter(images.values())).path if images else None
            where = f" ({self.short(file)})" if file else ""
            self.problem(f"there is a second case of this name{where}; rename or remove one", case=name)
            return
        try:
            self.cases[name] = Case(name, subject or name, images, label, split)
        except UserError as error:
            self.problem(str(error))

    def short(self, path: Path) -> str:
        """Return a path as seen from the cohort's root.

        Args:
            path: any path.

        Returns:
            Relative where it lies under the root, else as it is.
        """
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def listing(self, folder: Path, *, pattern: str, expected: str) -> dict[str, Path]:
        """Return the image files of a folder by group 1 of the pattern that their names (less ending) match.

        Names that do not match, endings that cannot be read, and second files of one name are noted as problems.
        Hidden files, READMEs, licences, notes and tables are passed over.

        Args:
            folder: where the images lie.
            pattern: a regular expression for the whole name; group 1 is the key.
            expected: the pattern in words.

        Returns:
            The files by key, sorted by name.
        """
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if _is_beside(path):
                continue
            where, stem = self.short(path), strip_extension(path.name)
            if path.is_dir():
                self.problem(f"{where}: a folder among the images; move it elsewhere")
            elif stem == path.name:  # no ending of an image: the same rule as for whoever reads the file
                self.problem(f"{where}: not an image format read here; convert it to one of {', '.join(EXTENSIONS)}")
            elif not (match := re.fullmatch(pattern, stem)):
                self.problem(f"{where}: unexpected name; expected {expected}")
            elif (name := one_form(match[1])) in found:
                self.problem(f"{where}: a second file for {self.short(found[name])}; remove one", case=name)
            else:
                found[name] = path
        return found

    def labels(self, folder: Path, cases: Mapping[str, Path], *, pattern: str, expected: str) -> dict[str, ImageFile]:
        """Return the label of each case; none at all when there is no such folder (a cohort to predict).

        Args:
            folder: where the labels lie.
            cases: the image each case is known by.
            pattern: group 1 is the case's name.
            expected: the pattern in words.

        Returns:
            The labels by case.
        """
        if not folder.is_dir():
            return {}
        files = self.listing(folder, pattern=pattern, expected=expected)
        for name in sorted(cases.keys() - files.keys()):
            self.problem(
                f"{self.short(cases[name])} has no label in {self.short(folder)}; add it, or remove that folder "
                "to only predict",
                case=name,
            )
        for name in sorted(files.keys() - cases.keys()):
            self.problem(f"{self.short(files[name])} is a label without an image; add the image or remove the label")
        return {name: ImageFile(path) for name, path in files.items() if name in cases}


def _is_beside(path: Path) -> bool:
    name = path.name.lower()
    if name.startswith((".", "readme", "license", "licence")) or path.suffix.lower() in _BESIDE:
        return True
    headers = (path.with_suffix(form(e)) for e in (".mhd", ".mha", ".nrrd") for form in (str.lower, str.upper))
    return path.suffix.lower() in _VOXELS and any(header.is_file() for header in headers)
