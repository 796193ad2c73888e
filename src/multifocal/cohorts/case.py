"""What a cohort is, whatever the layout of its folder: cases with the same maps, and their labels."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from multifocal.cohorts.labels import Labels
from multifocal.errors import UserError
from multifocal.files import one_form
from multifocal.volumes import Geometry, Volume, read, read_geometry

Split = Literal["train", "val", "test"]
LabelKind = Literal["binary", "instances"]
COLOURS = ("red", "green", "blue")  # the maps of a colour image
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class ImageFile:
    """One image on disk: a file, or one component of it.

    Attributes:
        path: the file; text will do.
        component: which of its components (colour channels), from 0; None for a file that has one.

    Example:
        >>> ImageFile(Path("scan.png"), component=0).component
        0
    """

    path: Path
    component: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def read(self) -> Volume:
        """Return the image.

        Returns:
            Voxels and grid.

        Raises:
            UserError: the file cannot be read.
        """
        return read(self.path, component=self.component)

    def geometry(self) -> Geometry:
        """Return the grid of the image from the header alone.

        Returns:
            The grid.

        Raises:
            UserError: the file cannot be read.
        """
        return read_geometry(self.path)


@dataclass(frozen=True)
class Case:
    """One visit of one subject: its images by map name, and its label when there is one.

    Attributes:
        name: of the case; it becomes part of file names.
        subject: who was scanned; all visits of a subject stay together in folds.
        images: the files by map name, such as "adc", on one grid.
        label: the lesions, or None.
        split: the dataset's own part for it ("train", "val", "test"), or None.

    Raises:
        UserError: the name of the case or of a map could not be a file name, or there is no image.

    Example:
        >>> case = Case("S1-VISIT_01", "S1", {"adc": ImageFile(Path("adc.mha"))}, label=None)
        >>> tuple(case.images)
        ('adc',)
    """

    name: str
    subject: str
    images: Mapping[str, ImageFile] = field(hash=False)
    label: ImageFile | None = None
    split: Split | None = None

    def __post_init__(self) -> None:
        for name in ("name", "subject"):
            object.__setattr__(self, name, one_form(getattr(self, name)))
        _check_name("case", self.name)
        if not self.images:
            raise UserError(f"case {self.name}: no image; give at least one")
        for name in self.images:
            _check_name(f"case {self.name}: map", name)
        object.__setattr__(self, "images", {one_form(name): image for name, image in self.images.items()})


@dataclass(frozen=True)
class Cohort:
    """Cases with the same maps and one kind of label: "binary" masks, or "instances" (1 ... n, 0 is background).

    Attributes:
        name: of the cohort.
        root: its folder; text will do.
        layout: name of the layout it was read in.
        cases: the cases.
        label_kind: what the labels hold.
        labels: what the values of a mask mean; those of instances only number them.

    Raises:
        UserError: two cases have one name, or a case lacks a map that another one has.

    Example:
        >>> scan = {"adc": ImageFile(Path("a.mha"))}
        >>> cohort = Cohort("demo", Path("."), "manifest", (Case("a", "a", scan), Case("b", "b", scan)))
        >>> cohort.maps, [case.name for case in cohort.subset(["b"])]
        (('adc',), ['b'])
    """

    name: str
    root: Path
    layout: str
    cases: tuple[Case, ...]
    label_kind: LabelKind = "binary"
    labels: Labels = Labels()

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "cases", tuple(self.cases))
        twice = [name for name, count in Counter(case.name for case in self.cases).items() if count > 1]
        if twice:
            raise UserError(f"cohort {self.name}: more than one case is named {', '.join(twice)}; rename all but one")
        every = list(dict.fromkeys(name for case in self.cases for name in case.images))
        for case in self.cases:
            missing = [name for name in every if name not in case.images]
            if missing:
                raise UserError(
                    f"cohort {self.name}: case {case.name} has no map '{missing[0]}', which other cases have; "
                    "add the file or remove the case"
                )

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the images, the same in every case, in the order of the first one."""
        return tuple(self.cases[0].images) if self.cases else ()

    def case(self, name: str) -> Case:
        """Return the case of that name.

        Args:
            name: of the case.

        Returns:
            The case.

        Raises:
            UserError: there is none; it names the nearest.
        """
        name = one_form(name)
        for case in self.cases:
            if case.name == name:
                return case
        near = get_close_matches(name, [case.name for case in self.cases], n=1)
        hint = f"did you mean '{near[0]}'?" if near else "`multifocal data check` lists the cases"
        raise UserError(f"cohort {self.name}: no case '{name}'; {hint}")

    def subset(self, names: Iterable[str]) -> "Cohort":
        """Return the cohort of the named cases.

        Args:
            names: of the cases.

        Returns:
            A cohort in the order of the names.

        Raises:
            UserError: there is no such case, or one is named twice.
        """
        return replace(self, cases=tuple(self.case(name) for name in names))

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)


def _check_name(kind: str, name: str) -> None:
    """Names become file names in runs and predictions: refuse those that would lead elsewhere or hide the file."""
    if not name or name.startswith(".") or ".." in name or not name.isprintable() or set(name) & set("/\\"):
        raise UserError(
            f"{kind} {name!r} is not a usable name; it must not be empty, start with '.', "
            "or contain '/', '\\', '..' or control characters"
        )
