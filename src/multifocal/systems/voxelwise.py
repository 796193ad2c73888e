"""A logistic regression for each voxel of a template brain: one map, and where in the brain it is looked at."""

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy import special

from multifocal import losses
from multifocal.cohorts import Case
from multifocal.device import choose_device
from multifocal.errors import UserError
from multifocal.files import read_json, write_csv, write_json
from multifocal.pipeline.prepare import Prepared, prepare
from multifocal.pipeline.settings import BrainBox, Channel
from multifocal.recipes import KINDS, Recipe, once
from multifocal.systems.postprocess import MaskSettings, Postprocess, postprocess
from multifocal.systems.system import WEIGHTS, FitJob, Prediction, System
from multifocal.systems.tuning import Tuning
from multifocal.volumes import Geometry, Volume, restore
from multifocal.volumes.registration import Registration, RegistrationSettings, by_moments, moments, register
from multifocal.volumes.template import mean_brain, template_grid
from multifocal.weights import read_tree, read_weights, write_tree, write_weights

GRID, STAGES, RESUME = "template.json", "stages.csv", "resume.safetensors"
Positive = Annotated[float, Field(gt=0)]
Steps = Annotated[int, Field(ge=0)]
_MARGIN = 2  # voxels around a brain, so that its edge is seen


class VoxelwiseInference(MaskSettings):
    """From the probability to a mask: `MaskSettings`, and `tune`, what of it is chosen on the validation cases."""

    tune: Tuning | None = None

    @model_validator(mode="after")
    def _points(self) -> "VoxelwiseInference":
        if self.tune is not None:
            self.tune.points(self.postprocess)
        return self

    @property
    def postprocess(self) -> Postprocess:
        """What stands between probability and mask."""
        return Postprocess(**{name: getattr(self, name) for name in MaskSettings.model_fields})


class VoxelwiseRecipe(Recipe):
    """A logistic regression for each voxel of a template that is made of the training cases.

    Args:
        brain: the map that brains are registered by; 0 outside the brain.
        map: the map that the regression looks at.
        spacing: of the template, in mm.
        rounds: how often all cases are registered to the template and it is made anew; the first time by affine maps
            alone.
        lesion_below: voxels of the brain whose `brain` lies below are left out of the force of a registration, as are
            those that the label names; None for the label alone.
        registration: how long a registration takes, and how smooth it is.
        shared_steps: steps of the regression that all voxels share.
        steps: steps of each voxel's own, which begin with the shared one.
        lr: learning rate of both (Adam).
        ridge: λ of `λ · mean((w_v - w)² + (b_v - b)²)`, which draws each voxel's own to the shared one.
        inference: from the probability to a mask.

    Example:
        >>> from multifocal import recipes
        >>> says = {"kind": "voxelwise", "name": "mine", "brain": "adc", "map": "zadc"}
        >>> recipes.parse(says, where="mine.yaml").ridge
        0.1
    """

    kind: Literal["voxelwise"] = "voxelwise"
    brain: Annotated[str, Field(min_length=1)]
    map: Annotated[str, Field(min_length=1)]
    spacing: Positive = 2.0
    rounds: Annotated[int, Field(ge=1)] = 3
    lesion_below: float | None = None
    registration: RegistrationSettings = RegistrationSettings()
    shared_steps: Steps = 200
    steps: Steps = 200
    lr: Positive = 0.1
    ridge: Annotated[float, Field(ge=0)] = 0.1
    inference: VoxelwiseInference = VoxelwiseInference()

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return once(self.brain, self.map)

    @property
    def needs_training(self) -> bool:
        """It does."""
        return True

    @property
    def mask_section(self) -> str:
        """Where `postprocess` and `tune` are said."""
        return "inference"

    @property
    def postprocess(self) -> Postprocess:
        """What stands between probability and mask."""
        return self.inference.postprocess

    @property
    def tune(self) -> Tuning | None:
        """What of it is chosen on the validation cases."""
        return self.inference.tune

    @property
    def preprocessing(self) -> BrainBox:
        """How a case comes to a registration: both maps in the brain's box at the template's spacing."""
        channels = (Channel(map=self.brain), Channel(map=self.map))
        return BrainBox(
            kind="brain-box", brain=self.brain, spacing=(self.spacing,) * 3, margin=_MARGIN, channels=channels
        )


@dataclass(frozen=True, eq=False)
class Template:
    """What is fitted: a mean brain, and the regression of each of its voxels.

    Args:
        brain: the mean of the training cases' brains, 0 outside, float32 `(X, Y, Z)`.
        weight: of the map, float32 of the same shape; the shared one outside the brain.
        bias: likewise.
        shared: weight and bias that all voxels share, float32 `(2,)`.
        geometry: where the voxels lie; the brain's centre is at 0.

    Example:
        >>> grid = Geometry((2, 2, 2), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        >>> flat = np.ones((2, 2, 2), np.float32)
        >>> Template(flat, -flat, -4 * flat, np.array([-1.0, -4.0]), grid).geometry.size
        (2, 2, 2)
    """

    brain: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    shared: np.ndarray
    geometry: Geometry


@KINDS.register("voxelwise")
class VoxelwiseSystem(System):
    """`p(x) = sigmoid(w(T(x)) · m(x) + b(T(x)))`: m is the map of a case, T(x) where a voxel lies in the template.

    Args:
        recipe: what it was fitted by.
        template: what was fitted.

    Source:
        UNEImage, BONBID-HIE 2023 (supplement, S8): a template of affine maps and SyN, lesions masked; a logistic
        regression on Z-ADC for each voxel after a shared one. Demons in the place of SyN, and the ridge, are ours.

    Example:
        >>> VoxelwiseSystem.recipe_type.__name__, VoxelwiseSystem.has_probabilities
        ('VoxelwiseRecipe', True)
    """

    recipe_type = VoxelwiseRecipe
    has_probabilities = True
    changes_after_training = ("inference.",)

    def __init__(self, recipe: VoxelwiseRecipe, template: Template) -> None:
        super().__init__(recipe)
        self.template = template

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid.

        Args:
            case: with the maps that the recipe names.

        Returns:
            The mask and the probability, which is 0 outside the brain.

        Raises:
            UserError: a map is missing or cannot be read, or the brain cannot be registered.
        """
        prepared = prepare(case, self.recipe.preprocessing, with_label=False)
        brain, lesion = _brain(prepared, self.recipe)
        fitted, native = self.template, prepared.native
        mean = Volume(fitted.brain, fitted.geometry)
        found = _registered(brain, mean, self.recipe.registration, case.name, fixed_lesion=lesion)
        weight, bias = (
            found.pull(Volume(array, fitted.geometry), brain.geometry, fill=float(shared)).array
            for array, shared in zip((fitted.weight, fitted.bias), fitted.shared, strict=True)
        )
        # As coarse as in the fit: a map's noise at its own spacing would be taken for lesion.
        here = special.expit(weight * prepared.images[1] + bias).astype(np.float32)
        probability = restore(Volume(here, brain.geometry), native, interpolation="linear")
        inside = Volume(probability.array * prepared.native_brain, native)
        mask, counts = postprocess(inside, self.recipe.postprocess)
        return Prediction(mask, counts)

    @classmethod
    def load(cls, recipe: VoxelwiseRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the system of a finished run folder.

        Args:
            recipe: the run's.
            folder: the run folder.
            device: not used: registrations are computed by the processor; yet a wrong one is a mistake.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: a file is missing or damaged, or they do not fit one another.
        """
        choose_device(device)
        if folder is None:
            raise UserError(f"recipe {recipe.name} needs training; `multifocal train` comes first")
        state, said = read_weights(Path(folder) / WEIGHTS), read_json(Path(folder) / GRID)
        try:
            geometry = Geometry(**said)
            brain, weight, bias, shared = (state[name].numpy() for name in ("brain", "weight", "bias", "shared"))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder}: {WEIGHTS} and {GRID} are not those of a template; train again") from error
        if any(array.shape != geometry.size for array in (brain, weight, bias)) or shared.shape != (2,):
            raise UserError(f"{folder}: {WEIGHTS} does not fit the grid of {GRID}; copy both again, or train again")
        return cls(recipe, Template(brain, weight, bias, shared, geometry))

    @classmethod
    def fit(cls, recipe: VoxelwiseRecipe, job: FitJob) -> None:
        """Make the template round by round, each of which is kept, and fit the regressions.

        Args:
            recipe: what to fit.
            job: on what, where, and with what help.

        Raises:
            UserError: a case cannot be read or registered, a file cannot be written, or what was begun is damaged.
        """
        device = choose_device(job.device)
        cases = [prepare(job.cohort.case(name), recipe.preprocessing) for name in job.split.train]
        job.begin()
        state = _template(cases, recipe, job.out / RESUME)
        started = time.monotonic()
        template, loss = _regressions(cases, state, recipe, device)
        stages = [*state.stages, {"stage": "regressions", "seconds": time.monotonic() - started, "loss": loss}]
        write_csv(job.out / STAGES, stages, columns=["stage", "seconds", "loss"])
        write_json(job.out / GRID, {key: list(value) for key, value in asdict(template.geometry).items() if value})
        arrays = {name: getattr(template, name) for name in ("brain", "weight", "bias", "shared")}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        write_weights(job.out / WEIGHTS, tensors, checksum=True)
        (job.out / RESUME).unlink(missing_ok=True)
        job.validate(cls.load(recipe, job.out, device=job.device))

    @classmethod
    def facts(cls, recipe: VoxelwiseRecipe, folder: str | Path) -> Mapping[str, Any]:
        """Return how long the stages took.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            `seconds`.
        """
        with (Path(folder) / STAGES).open(newline="", encoding="utf-8") as file:
            return {"seconds": sum(float(row["seconds"]) for row in csv.DictReader(file))}


@dataclass(eq=False)
class _State:
    """A template after some rounds: the mean brain, and where each of its points lies in each case."""

    geometry: Geometry
    brain: np.ndarray
    found: list[Registration]
    stages: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        affines = torch.from_numpy(np.stack([each.affine for each in self.found]))
        fields = torch.from_numpy(np.stack([each.displacement for each in self.found]))
        write_tree(path, {"affines": affines, "fields": fields, "stages": self.stages})


def _template(cases: Sequence[Prepared], recipe: VoxelwiseRecipe, kept: Path) -> _State:
    """Return the template, from the round on that was the last to be kept."""
    parts = [_brain(case, recipe) for case in cases]
    standard = [moments(brain) for brain, _ in parts]
    spread = np.mean([deviation for _, deviation in standard], axis=0)
    geometry = template_grid(spread, recipe.spacing)
    still = np.zeros((*geometry.size, 3), np.float32)
    found = [Registration(by_moments(brain, np.zeros(3), spread), still, geometry) for brain, _ in parts]
    stages: list[dict[str, Any]] = []
    if kept.is_file():
        tree = read_tree(kept)
        if tree["fields"].shape != (len(cases), *still.shape):
            raise UserError(f"{kept}: is not of these cases; delete it, and --resume begins anew")
        pairs = zip(tree["affines"].numpy(), tree["fields"].numpy(), strict=True)
        found, stages = [Registration(*pair, geometry) for pair in pairs], tree["stages"]
    state = _State(geometry, mean_brain(parts, found, geometry), found, stages)
    for number in range(len(stages), recipe.rounds):
        started, settings = time.monotonic(), recipe.registration
        if number == 0:
            settings = settings.model_copy(update={"demons_iterations": 0})
        mean = Volume(state.brain, geometry)
        state.found = [
            _registered(mean, brain, settings, case.name, moving_lesion=lesion, start=before.affine)
            for case, (brain, lesion), before in zip(cases, parts, state.found, strict=True)
        ]
        state.brain = mean_brain(parts, state.found, geometry)
        state.stages.append({"stage": f"round {number + 1}", "seconds": time.monotonic() - started})
        state.save(kept)
    return state


def _brain(prepared: Prepared, recipe: VoxelwiseRecipe) -> tuple[Volume, np.ndarray]:
    """Return the map to register by, 0 outside the brain, and where it is not to be looked at."""
    values = np.where(prepared.inside, prepared.images[0], np.float32(0))
    lesion = np.zeros(values.shape, bool) if prepared.target is None else prepared.target > 0
    if recipe.lesion_below is not None:
        lesion = lesion | (prepared.inside & (values < recipe.lesion_below))
    return Volume(values, prepared.geometry), lesion


def _registered(fixed: Volume, moving: Volume, settings: RegistrationSettings, name: str, **how: Any) -> Registration:
    try:
        return register(fixed, moving, settings, **how)
    except ValueError as error:  # UserError is one, too
        raise UserError(f"case {name}: {error}; look at the map of its brain") from error


def _regressions(
    cases: Sequence[Prepared], state: _State, recipe: VoxelwiseRecipe, device: torch.device
) -> tuple[Template, float]:
    """Return the template with the regressions of its voxels, and the last value of the loss."""
    where = state.brain != 0

    def pulled(arrays: Sequence[np.ndarray]) -> torch.Tensor:
        volumes = (Volume(array, case.geometry) for array, case in zip(arrays, cases, strict=True))
        found = (one.pull(volume, state.geometry).array for one, volume in zip(state.found, volumes, strict=True))
        return torch.from_numpy(np.stack([array[where] for array in found]))[:, None, :, None].to(device)

    values = pulled([case.images[1] for case in cases])
    target = (pulled([np.asarray(case.target, np.float32) for case in cases]) >= 0.5).float()
    outside = pulled([case.inside for case in cases]) < 0.5
    loss, shared = losses.build("dice-ce"), torch.zeros(2, device=device)

    def descend(weight: torch.Tensor, bias: torch.Tensor, *, steps: int, ridge: float) -> float:
        parameters = [weight.requires_grad_(), bias.requires_grad_()]
        optimizer, value = torch.optim.Adam(parameters, lr=recipe.lr), torch.zeros(())
        for _ in range(steps):
            optimizer.zero_grad()
            value = loss(weight * values + bias, target, ignore=outside)
            apart = (weight - shared[0]).square().mean() + (bias - shared[1]).square().mean()
            (value + ridge * apart).backward()
            optimizer.step()
        return float(value.detach())

    ends = torch.zeros(1, device=device), torch.zeros(1, device=device)
    last = descend(*ends, steps=recipe.shared_steps, ridge=0.0)
    shared = torch.cat(ends).detach()
    own = [torch.full((int(where.sum()), 1), float(number), device=device) for number in shared]
    last = descend(own[0], own[1], steps=recipe.steps, ridge=recipe.ridge) if recipe.steps else last
    maps = []
    for number, voxels in zip(shared.cpu().numpy(), own, strict=True):
        whole = np.full(state.geometry.size, number, np.float32)
        whole[where] = voxels.detach().cpu().numpy()[:, 0]
        maps.append(whole)
    return Template(state.brain, maps[0], maps[1], shared.cpu().numpy(), state.geometry), last
