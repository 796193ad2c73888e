"""What a study may say: one recipe, the arms that differ from it, and how often each is trained and tested."""

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from multifocal.config import Config, Name, check_arguments
from multifocal.metrics import ScoringOptions
from multifocal.metrics.metric import Undefined
from multifocal.systems import Tuning
from multifocal.systems.combination import ByVolume, Vote

Seed = Annotated[int, Field(ge=0)]
Chosen = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None
TUNED = "+tuned"  # how the names of tuned arms end
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


class DrawnFolds(Config):
    """Folds by subject, balanced by lesion share.

    Args:
        scheme: `kfold`, train and test, or `nested`, with validation cases too.
        number: of the folds.
        seed: what they are drawn with.
        run: numbers of those to run; None runs all.
    """

    scheme: Literal["kfold", "nested"]
    number: int = Field(default=5, ge=2)
    seed: Seed = 0
    run: Chosen = None


class DatasetFolds(Config):
    """The dataset's own train, val and test as one fold.

    Args:
        scheme: `dataset`.
    """

    scheme: Literal["dataset"]


class FileFolds(Config):
    """Folds of a file that `multifocal data folds` wrote.

    Args:
        scheme: `file`.
        path: of the file; relative to the study's file.
        run: numbers of the folds to run; None runs all.
    """

    scheme: Literal["file"]
    path: str
    run: Chosen = None


class MetricSettings(Config):
    """How masks are scored.

    Args:
        undefined: what stands for an undefined distance, see `multifocal.evaluation.summarize`.
        rules: fields of `ScoringOptions`, by name; those left out have their defaults.
    """

    undefined: Undefined = "skip"
    rules: dict[str, Any] = Field(default_factory=lambda: asdict(ScoringOptions()))

    @field_validator("rules")
    @classmethod
    def _rules(cls, rules: dict[str, Any]) -> dict[str, Any]:
        check_arguments(ScoringOptions, rules, where="rules")
        return asdict(ScoringOptions(**rules))


class Resources(Config):
    """What one cell needs.

    Args:
        cpus: cores, and its number of threads.
        memory_gib: memory in GiB.
        gpus: GPUs, 1 at most; a fraction lets cells share one.

    Example:
        >>> Resources(cpus=2, memory_gib=4, gpus=0.5).gpus
        0.5
    """

    cpus: int = Field(default=1, gt=0)
    memory_gib: float = Field(default=2.0, gt=0)
    gpus: float = Field(default=0, ge=0, le=1)


class Combination(Config):
    """What an ensemble's rule makes of the masks of other arms, which costs no training.

    Args:
        of: the arms, two or more, in the order that the rule looks at them; also tuned ones, as `ARM+tuned`.
        combine: the rule, as in the recipe of an ensemble: one that reads masks.

    Example:
        >>> Combination(of=["blob-gdf", "gdf"], combine={"rule": "volume", "below_ml": 0.05}).combine.below_ml
        0.05
    """

    of: Annotated[tuple[Name, ...], Field(min_length=2)]
    combine: Annotated[Vote | ByVolume, Field(discriminator="rule")]

    @model_validator(mode="after")
    def _check(self) -> "Combination":
        self.combine.check(len(self.of))
        return self


class Published(Config):
    """What a paper reports.

    Args:
        source: the paper.
        data: what it was measured on.
        values: by arm, by the metric as it is printed there; null where it prints no number.

    Example:
        >>> Published(source="a paper", data="its cohort", values={"dice": {"Dice": 0.61}}).values["dice"]
        {'Dice': 0.61}
    """

    source: str
    data: str
    values: dict[Name, dict[str, float | None]]


class Study(Config):
    """Arms × folds × seeds.

    Args:
        name: of the study.
        description: one line.
        source: where the question comes from.
        recipe: the base of all arms, spelled out.
        set: values replaced in every arm.
        arms: by name, what differs from the base: anything that a recipe says.
        combined: by name, arms that are made of the masks of others.
        folds: which cases train, validate and test.
        seeds: of weights and training; every arm is trained with each.
        metrics: how masks are scored.
        resources: of one cell.
        tune: what stands between probability and mask, chosen for each fold on the test cases of the others; None
            leaves it as the recipes say.
        uncertainty: whether cells say how sure they are, and each arm is judged by whether that can be believed.
        published: numbers of a paper, shown beside the study's own.

    Example:
        >>> from multifocal import recipes
        >>> base = recipes.load("zadc-threshold").model_dump(mode="json")
        >>> study = Study(name="two limits", recipe=base, arms={"z2": None, "z3": {"below": -3.0}})
        >>> study.folds.number, study.seeds
        (5, (0,))
    """

    name: str
    description: str = ""
    source: str = ""
    recipe: dict[str, Any]
    set: dict[str, Any] = {}
    arms: dict[Name, dict[str, Any] | None] = Field(min_length=1)
    combined: dict[Name, Combination] = {}
    folds: Annotated[DrawnFolds | DatasetFolds | FileFolds, Field(discriminator="scheme")] = DrawnFolds(scheme="kfold")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    metrics: MetricSettings = MetricSettings()
    resources: Resources = Resources()
    tune: Tuning | None = None
    uncertainty: bool = False
    published: Published | None = None

    @property
    def trained(self) -> dict[str, str]:
        """The names under which arms that have cells may be scored, tuned ones too, and whose cells they are of."""
        names = ("", *([TUNED] if self.tune else []))
        return {f"{arm}{ending}": arm for arm in self.arms for ending in names}

    @property
    def scored(self) -> dict[str, tuple[str, ...]]:
        """The names under which arms may be scored, and those whose cells they are of."""
        trained = self.trained
        combined = {name: tuple(dict.fromkeys(trained[arm] for arm in one.of)) for name, one in self.combined.items()}
        return {name: (arm,) for name, arm in trained.items()} | combined

    @field_validator("arms", "combined")
    @classmethod
    def _names(cls, arms: dict[str, Any]) -> dict[str, Any]:
        for name in arms:
            if not FOLDER_NAME.fullmatch(name):
                raise ValueError(f"arm {name!r}: a name is a folder: letters, digits and . _ + - only, 100 at most")
        return arms

    @model_validator(mode="after")
    def _check(self) -> "Study":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)} names one twice")
        run = getattr(self.folds, "run", None)
        if run and len(set(run)) < len(run):
            raise ValueError(f"folds.run={list(run)} names one twice")
        for where, changes in {"set": self.set, **{f"arms.{name}": arm for name, arm in self.arms.items()}}.items():
            if "seed" in ((changes or {}).get("training") or {}):
                raise ValueError(f"{where}.training.seed: every arm is trained with each of `seeds`; name it there")
        if len(self.trained) < len(self.arms) * (1 if self.tune is None else 2):
            raise ValueError(f"arms: a name that ends in {TUNED} is that of a tuned arm; rename it, or leave tune out")
        for name, one in self.combined.items():
            if name in self.trained:
                raise ValueError(f"combined.{name}: an arm of this name is trained; rename one")
            if strange := [arm for arm in one.of if arm not in self.trained]:
                raise ValueError(
                    f"combined.{name}.of: there is no arm {strange[0]}; choose from {', '.join(self.trained)}"
                )
        folded: dict[str, str] = {}
        for name in (*self.arms, *self.combined):
            if (other := folded.setdefault(name.casefold(), name)) != name:
                raise ValueError(f"arms {other} and {name} would share a folder on some systems; rename one")
        for name in self.published.values if self.published else ():
            if name not in self.arms and name not in self.combined:
                raise ValueError(f"published.values.{name}: there is no such arm")
        return self
