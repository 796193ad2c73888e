"""Folds: which cases train, validate and test, written down once so that every run shares them."""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from multifocal.cohorts.case import Cohort
from multifocal.cohorts.lesion_burden import STRATA, stratum
from multifocal.errors import UserError, unknown_name
from multifocal.files import one_form, read_json, write_json

Scheme = Literal["kfold", "nested", "dataset"]
CaseName = Annotated[str, AfterValidator(one_form)]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Fold(BaseModel):
    """The names of the cases of one fold.

    Attributes:
        train: what the network learns from.
        validation: what chooses the best epoch; may be empty.
        test: what it is measured on.

    Example:
        >>> Fold(train=("a", "b"), validation=(), test=("c",)).test
        ('c',)
    """

    model_config = _FROZEN
    train: tuple[CaseName, ...]
    validation: tuple[CaseName, ...]
    test: tuple[CaseName, ...]


class Folds(BaseModel):
    """The folds of one cohort, as kept in a JSON file.

    Attributes:
        scheme: "kfold" or "nested", as drawn by `make_folds`, or "dataset", the dataset's own split.
        seed: what the folds were drawn with; none for the dataset's own split.
        cohort: name of the cohort.
        fingerprint: SHA-256 over the sorted names of its cases.
        folds: the folds.

    Example:
        >>> from multifocal.cohorts import Case, ImageFile
        >>> scan = {"adc": ImageFile(Path("adc.mha"))}
        >>> cohort = Cohort("demo", Path("."), "manifest", tuple(Case(name, name, scan) for name in "abcd"))
        >>> folds = make_folds(cohort, dict.fromkeys("abcd", 0.0), k=2)
        >>> len(folds), sorted(folds.fold(0, cohort).train + folds.fold(0, cohort).test)
        (2, ['a', 'b', 'c', 'd'])
    """

    model_config = _FROZEN
    scheme: Scheme
    seed: int | None
    cohort: str
    fingerprint: str
    folds: tuple[Fold, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.folds:
            raise ValueError("there is no fold")
        for number, fold in enumerate(self.folds):
            names = Counter((*fold.train, *fold.validation, *fold.test))
            twice = [name for name, count in names.items() if count > 1]
            if twice:
                raise ValueError(f"fold {number} holds case {twice[0]} more than once")
            decomposed = (unicodedata.normalize("NFD", name) for name in names)  # as older versions kept them
            if self.fingerprint not in (_fingerprint(names), _fingerprint(decomposed)):
                raise ValueError(f"the cases of fold {number} are not those of the fingerprint; the file was changed")
        tested = Counter(name for fold in self.folds for name in fold.test)
        if self.scheme != "dataset" and (len(tested) != len(names) or max(tested.values()) > 1):
            raise ValueError("not every case is tested exactly once")
        return self

    def __len__(self) -> int:
        return len(self.folds)

    def save(self, path: str | Path) -> None:
        """Write the folds as JSON, whole or not at all.

        Args:
            path: the file.

        Raises:
            UserError: it cannot be written.
        """
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> "Folds":
        """Read folds.

        Args:
            path: a file that `save` wrote.

        Returns:
            The folds.

        Raises:
            UserError: it holds none; the file and the field are named.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise UserError(
                f"{path}: {f'{field}: ' if field else ''}{first['msg']}; make it again with `multifocal data folds`"
            ) from error

    def fold(self, number: int, cohort: Cohort) -> Fold:
        """Return one fold after checking that the file belongs to the cohort.

        Args:
            number: which fold, from 0.
            cohort: the cohort they should be of.

        Returns:
            The fold.

        Raises:
            UserError: there is no such fold; the cohort has other cases than the file; or (unless the split is the
                dataset's own) a subject is in two parts of the fold.
        """
        if not 0 <= number < len(self.folds):
            raise UserError(f"there is no fold {number}; choose from 0 to {len(self.folds) - 1}")
        fold = self.folds[number]
        known, present = {*fold.train, *fold.validation, *fold.test}, {case.name for case in cohort}
        if known != present:
            lists = (("missing from the cohort", known - present), ("not in the folds", present - known))
            told = "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in lists if names)
            raise UserError(f"the folds of cohort {self.cohort} are not of cohort {cohort.name}: {told}; make new ones")
        if self.scheme != "dataset":
            _check_subjects(fold, cohort)
        return fold


def read_fold(cohort: Cohort, *, folds: str | Path | None, fold: int | None) -> Fold | None:
    """Return one fold of a fold file, or None when neither is named.

    Args:
        cohort: the cohort.
        folds: the file.
        fold: which of its folds, from 0.

    Returns:
        The fold.

    Raises:
        UserError: only one of file and number is given, the file cannot be read or belongs to another cohort.

    Example:
        >>> read_fold(Cohort("none", Path("."), "manifest", ()), folds=None, fold=None) is None
        True
    """
    if (folds is None) != (fold is None):
        raise UserError("--folds FILE and --fold K belong together")
    return Folds.load(folds).fold(fold, cohort) if folds is not None and fold is not None else None


def make_folds(
    cohort: Cohort,
    shares: Mapping[str, float],
    *,
    k: int = 5,
    seed: int = 0,
    scheme: Literal["kfold", "nested"] = "kfold",
) -> Folds:
    """Draw folds by subject, balanced over the strata of lesion share.

    All visits of a subject stay together, in the stratum of the largest share among them. Folds differ by at most one
    subject within each stratum and in all. Every case is tested exactly once. The draw depends on the seed and the
    names, not on the order of the cohort.

    Args:
        cohort: the cases and their subjects.
        shares: lesion share of the brain by case, as from `lesion_shares`.
        k: how many folds.
        seed: what they are drawn with.
        scheme: "kfold": test = fold i, validation is empty, train = the rest. "nested": test = fold i, validation =
            fold i + 1 (the first after the last), train = the rest.

    Returns:
        The folds.

    Raises:
        UserError: `k` is below 2 (nested: 3) or above the number of subjects, the scheme is unknown, or a case has no
            share.

    Example:
        >>> from multifocal.cohorts import Case, ImageFile
        >>> scan = {"adc": ImageFile(Path("adc.mha"))}
        >>> cohort = Cohort("demo", Path("."), "manifest", tuple(Case(name, name, scan) for name in "abcd"))
        >>> folds = make_folds(cohort, {"a": 0.0, "b": 0.0, "c": 0.3, "d": 0.2}, k=2)
        >>> [len(fold.test) for fold in folds.folds]
        [2, 2]
    """
    if scheme not in ("kfold", "nested"):
        raise unknown_name("scheme", scheme, ("kfold", "nested"))
    subjects: dict[str, list[str]] = defaultdict(list)
    for case in sorted(cohort, key=lambda case: case.name):
        if case.name not in shares:
            raise UserError(f"case {case.name}: no lesion share; folds need a label for every case")
        subjects[case.subject].append(case.name)
    least = 2 if scheme == "kfold" else 3
    if not least <= k <= len(subjects):
        raise UserError(f"k is {k}; {scheme} folds of {len(subjects)} subjects need {least} to {len(subjects)}")
    groups = _deal(
        {subject: max(shares[name] for name in names) for subject, names in subjects.items()}, k=k, seed=seed
    )
    parts = [tuple(sorted(name for subject in group for name in subjects[subject])) for group in groups]
    folds = []
    for i in range(k):
        validation = parts[(i + 1) % k] if scheme == "nested" else ()
        train = set().union(*parts).difference(parts[i], validation)
        folds.append(Fold(train=tuple(sorted(train)), validation=validation, test=parts[i]))
    return Folds(
        scheme=scheme, seed=seed, cohort=cohort.name, fingerprint=_fingerprint(_names(cohort)), folds=tuple(folds)
    )


def dataset_folds(cohort: Cohort) -> Folds:
    """Return the dataset's own train/val/test split as one fold.

    Args:
        cohort: cases with their splits.

    Returns:
        The fold.

    Raises:
        UserError: a case has no split, or none is for training.

    Example:
        >>> from multifocal.cohorts import Case, ImageFile
        >>> scan = {"adc": ImageFile(Path("adc.mha"))}
        >>> cases = tuple(Case(split, split, scan, split=split) for split in ("train", "test"))
        >>> dataset_folds(Cohort("demo", Path("."), "manifest", cases)).folds
        (Fold(train=('train',), validation=(), test=('test',)),)
    """
    without = [case.name for case in cohort if case.split is None]
    if without:
        raise UserError(
            f"cohort {cohort.name}: the dataset gives no split for {', '.join(without)}; choose kfold or nested"
        )
    train, validation, test = (
        tuple(sorted(case.name for case in cohort if case.split == split)) for split in ("train", "val", "test")
    )
    if not train:
        raise UserError(f"cohort {cohort.name}: the dataset's split has no case for training; choose kfold or nested")
    fold = Fold(train=train, validation=validation, test=test)
    return Folds(
        scheme="dataset", seed=None, cohort=cohort.name, fingerprint=_fingerprint(_names(cohort)), folds=(fold,)
    )


def _deal(shares: Mapping[str, float], *, k: int, seed: int) -> list[list[str]]:
    """Deal the subjects out like cards, stratum after stratum: so neither a stratum nor the whole is off by two."""

    # A hash shuffles the same everywhere and for ever, in whatever order the subjects come.
    def rank(subject: str) -> tuple[int, str]:
        return STRATA.index(stratum(shares[subject])), hashlib.sha256(f"{seed}/{subject}".encode()).hexdigest()

    order = sorted(shares, key=rank)
    return [order[start::k] for start in range(k)]


def _check_subjects(fold: Fold, cohort: Cohort) -> None:
    parts: dict[str, str] = {}
    for part in ("train", "validation", "test"):
        for name in getattr(fold, part):
            subject = cohort.case(name).subject
            if parts.setdefault(subject, part) != part:
                raise UserError(f"subject {subject} is in {parts[subject]} and in {part} of one fold; make new folds")


def _names(cohort: Cohort) -> list[str]:
    return [case.name for case in cohort]


def _fingerprint(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
