"""What the recipe of a trained network may say."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from multifocal import networks
from multifocal.cohorts import Labels
from multifocal.config import Config, Name
from multifocal.losses import check_options as check_loss_options
from multifocal.pipeline.augment import Augmentation
from multifocal.pipeline.sampling import Sampling
from multifocal.pipeline.settings import Mirror, MirrorDifference, Preprocessing
from multifocal.recipes import Recipe, merged, parse
from multifocal.systems.instances import Watershed
from multifocal.systems.postprocess import Postprocess, Share, Threshold, check_thresholds
from multifocal.systems.tuning import Tuning

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Axis = Annotated[int, Field(ge=0)]
# YAML reads the name of a precision, 32, as a number.
Precision = Annotated[Literal["auto", "32", "bf16", "16"], BeforeValidator(lambda x: str(x) if type(x) is int else x)]


class NetworkSettings(Config):
    """Which network, and its options."""

    name: str = "unet3d"
    options: dict[str, Any] = {}
    init: Literal["default", "xavier"] = "default"

    @model_validator(mode="after")
    def _check(self) -> "NetworkSettings":
        networks.check_options(self.name, self.options)
        if self.init != "default" and self.options.get("weights") is not None:
            raise ValueError(f"init={self.init} would overwrite the pretrained weights; leave one of them out")
        return self


class LossSettings(Config):
    """Which loss, and its options."""

    name: Name = "dice-ce"
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> "LossSettings":
        if "activation" in self.options:
            raise ValueError("activation is no option of a recipe's loss: it follows from labels")
        if "reduction" in self.options:
            raise ValueError("reduction is no option of a recipe's loss: training needs one number of a batch")
        if "ignore" in self.options:
            raise ValueError("ignore is no option of a recipe's loss: which voxels are ignored, labels.ignore says")
        if "soft_labels" in self.options:
            raise ValueError("soft_labels is no option of a recipe's loss: its targets are masks; see label_smoothing")
        check_loss_options(self.name, self.options)
        return self


class OptimizerSettings(Config):
    """Gradient descent: `l1` adds `l1 · Σ|w|` to the loss.

    `clip` bounds the norm of the whole gradient, or, with `clip_by: value`, each of its values; `clip_value` bounds
    each of its values before `clip` does its norm.
    `momentum` and `nesterov` are those of `sgd`; Adam has moments of its own, and takes neither.
    """

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: float = Field(default=0.0, ge=0)
    l1: float = Field(default=0.0, ge=0)
    clip: Positive | None = None
    clip_by: Literal["norm", "value"] = "norm"
    clip_value: Positive | None = None
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _check(self) -> "OptimizerSettings":
        if self.name != "sgd" and (said := [name for name in ("momentum", "nesterov") if getattr(self, name)]):
            raise ValueError(f"{said[0]} is an option of sgd, not of {self.name}: leave it out, or set name to sgd")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0: set momentum, or nesterov to false")
        if self.clip_by == "value" and self.clip is None:
            raise ValueError("clip_by: value needs a clip, the largest value: set clip, or leave clip_by out")
        if self.clip_value is not None and self.clip_by == "value":
            raise ValueError("clip_value goes before a clip of the norm: with clip_by: value, clip alone says it")
        return self


class Constant(Config):
    """The learning rate stays as it is."""

    name: Literal["constant"] = "constant"


class Exponential(Config):
    """The learning rate is multiplied by `gamma` after every epoch."""

    name: Literal["exponential"]
    gamma: Annotated[float, Field(gt=0, le=1)]


class Cosine(Config):
    """A linear rise over `warmup` epochs, then half a cosine down towards zero after the last one."""

    name: Literal["cosine"]
    warmup: int = Field(default=0, ge=0)


class Polynomial(Config):
    """nnU-Net's: `(1 - epoch / epochs) ** power`, which would be 0 after the last epoch."""

    name: Literal["polynomial"]
    power: Positive = 0.9


class OneCycle(Config):
    """Half a cosine up from `lr` to `max_factor · lr` over a share of the epochs, then one down to `lr / 10000`.

    That is torch's `OneCycleLR`, an epoch a step, with `max_factor` as its `div_factor` and `warmup_share` as its
    `pct_start`; momentum stays as it is.
    """

    name: Literal["one-cycle"]
    max_factor: Annotated[float, Field(ge=1)] = 25.0
    warmup_share: Share = 0.3


class Plateau(Config):
    """The learning rate is multiplied by `factor` after `patience` validations without a better value."""

    name: Literal["plateau"]
    factor: Share = 0.1
    patience: int = Field(default=10, ge=0)


Schedule = Constant | Exponential | Cosine | Polynomial | OneCycle | Plateau


class Denoising(Config):
    """Pretraining: the network sees `√γ · x + √(1 - γ) · n` and learns the noise n, by its mean squared error.

    Its standard deviation is `lesion_std` in lesions grown by 0 to `margin` voxels (drawn for each image), and
    `other_std` elsewhere; images are as preprocessing leaves them.
    """

    lesion_std: Positive = 0.8
    other_std: Positive = 1.5
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.95
    margin: int = Field(default=5, ge=0)


class Start(Config):
    """A training that comes first, on the same cases: what begins with its weights.

    Args:
        recipe: of a network, spelled out; a recipe's name or file is read, and `set` taken, when the recipe that starts
            from it is.

    Raises:
        ValueError: it is no recipe, or not that of a network.

    Example:
        >>> from multifocal import recipes
        >>> noise = ["training.denoise={}", "training.monitor=null", "network.options.prior=null"]
        >>> first = recipes.load("hie-small", overrides=noise).model_dump(mode="json")
        >>> Start(recipe=first).resolved().is_pretraining
        True
    """

    recipe: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> "Start":
        self.resolved()
        return self

    def resolved(self) -> "NetworkRecipe":
        """Return the recipe, validated.

        Returns:
            The recipe.

        Raises:
            ValueError: it is no recipe, or not that of a network.
        """
        found = parse(self.recipe, where="recipe")
        if not isinstance(found, NetworkRecipe):
            raise ValueError(f"recipe {found.name} is a {found.kind}, and weights to start from are those of a network")
        return found


class TrainingSettings(Config):
    """How long, in what portions, and what counts as best.

    `monitor` is a metric of the validation cases in native space; `null` keeps the last epoch's weights. `precision`
    auto is bfloat16 where the processor computes in it, else 32 bits. `workers` load data beside the network, which
    then leaves one thread to each of them; 0 loads in between its steps. `deterministic` forbids operations whose
    results vary from run to run, which matters on a GPU. A step takes the `mean` of the gradients of `accumulate`
    batches, or their `sum`; a step of fewer, at an epoch's end, divides by `accumulate`, too. `ema` is the share that
    the average of the weights keeps of itself at every step; where it is set, the average is validated and kept.
    `start_from` is a run folder, a weights file or a model of the package, which a new run begins with, or a recipe,
    which is then trained first; a resumed run goes on from where it was.
    `loggers` are told every row of the log, too.
    `deep_supervision` is the weight of the loss of each of the network's outputs, the full one first; none is the full
    one alone.
    With `denoise` the network learns to find noise instead of lesions: a run for others to start from.
    """

    epochs: int = Field(default=60, gt=0)
    batch_size: int = Field(default=2, gt=0)
    accumulate: int = Field(default=1, gt=0)
    accumulation: Literal["mean", "sum"] = "mean"
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    monitor: Literal["dice", "masd", "nsd"] | None = "dice"
    patience: int | None = Field(default=None, gt=0)
    validate_every: int = Field(default=1, gt=0)
    precision: Precision = "auto"
    workers: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    deterministic: bool = False
    start_from: (
        Annotated[
            Annotated[str, Field(min_length=1), Tag("a path")] | Annotated[Start, Tag("a recipe")],
            Discriminator(lambda said: "a recipe" if isinstance(said, Mapping | Start) else "a path"),
        ]
        | None
    ) = None
    loggers: tuple[Literal["wandb", "mlflow"], ...] = ()
    deep_supervision: tuple[Positive, ...] = ()
    denoise: Denoising | None = None

    @model_validator(mode="after")
    def _check(self) -> "TrainingSettings":
        if self.denoise is not None:
            if self.monitor is not None:
                raise ValueError("denoise finds no lesions that monitor could score: set training.monitor to null")
            if said := [name for name in ("deep_supervision", "start_from") if getattr(self, name)]:
                raise ValueError(f"denoise does not go with {said[0]}: leave it out, and say it in the training after")
        if len(self.deep_supervision) == 1:
            raise ValueError("deep_supervision needs a weight for two outputs or more; leave it out for the full one")
        if self.patience is not None and self.monitor is None:
            raise ValueError("patience needs a monitor: set training.monitor, or patience to null")
        if self.monitor is not None and self.validate_every > self.epochs:
            raise ValueError("validate_every is longer than epochs: nothing would be validated, and no epoch best")
        if self.patience is not None and self.patience < self.validate_every:
            raise ValueError(
                "patience is shorter than validate_every: training would stop before it is validated twice"
            )
        return self


class InferenceSettings(Config):
    """From logits to a mask. `flips` averages over mirrored inputs.

    `window` null means the whole volume at once, as does one that is larger.

    `instances` makes label maps of instances that may touch; None makes masks.

    What stands between probability and mask is that of `multifocal.systems.Postprocess`; `tune` says what of it is
    chosen on the validation cases once training is done.
    """

    threshold: Threshold = 0.5
    window: tuple[Count, ...] | None = None
    overlap: float = Field(default=0.5, ge=0, lt=1)
    flips: tuple[Axis, ...] = ()
    within_brain: bool = False
    batch_size: int = Field(default=8, gt=0)
    hysteresis: Share | None = None
    min_size_ml: float = Field(default=0.0, ge=0)
    min_size_voxels: int = Field(default=0, ge=0)
    min_size_dimensions: Literal[2, 3] = 3
    largest_only: bool = False
    temperature: Positive = 1.0
    tune: Tuning | None = None
    instances: Watershed | None = None

    @property
    def postprocess(self) -> Postprocess:
        """What stands between probability and mask."""
        return Postprocess(**{name: getattr(self, name) for name in Postprocess.model_fields})

    @model_validator(mode="after")
    def _check(self) -> "InferenceSettings":
        check_thresholds(self.threshold, self.hysteresis)
        plain = Postprocess(within_brain=self.within_brain)
        if self.instances is not None and (self.postprocess != plain or self.tune is not None):
            raise ValueError("instances has its own threshold and min_size: leave those of masks, and tune, out")
        if self.tune is not None:
            self.tune.points(self.postprocess)
        if len(set(self.flips)) < len(self.flips):
            raise ValueError(f"flips={list(self.flips)} names an axis twice")
        return self


class NetworkRecipe(Recipe):
    """A network that is trained; only `name` and `preprocessing.channels` must be said, everything else has a default.

    Example:
        >>> from multifocal import recipes
        >>> recipes.load("hie-small").trainings[0].loss.name
        'dice-ce'
    """

    kind: Literal["network"] = "network"
    labels: Labels = Labels()
    preprocessing: Preprocessing
    sampling: Sampling = Sampling()
    augmentation: Augmentation = Augmentation()
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: Annotated[Schedule, Field(discriminator="name")] = Constant()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return self.preprocessing.maps

    @property
    def predicts_instances(self) -> bool:
        """Whether `inference.instances` makes label maps of its probabilities."""
        return self.inference.instances is not None

    def build_network(self, *, for_training: bool = True) -> networks.Padded:
        """Return the recipe's network with random weights, of as many channels as it has maps and classes.

        Args:
            for_training: whether options count that only say where training begins, such as pretrained weights.

        Returns:
            The network.

        Raises:
            UserError: an option's value is refused by the network.
        """
        name, options = self.network.name, self.network.options
        inputs = len(self.preprocessing.channels)
        outputs = self.labels.channels if self.training.denoise is None else inputs  # of each channel its noise
        chosen = options if for_training else networks.lasting(name, options)
        network = networks.build(name, in_channels=inputs, out_channels=outputs, **chosen)
        if self.labels.activation == "softmax" and (prior := chosen.get("prior")) is not None:
            networks.start_from_prior(network, prior, out_channels=outputs, softmax=True)
        return network

    @property
    def start(self) -> "NetworkRecipe | None":
        """What is trained first, for its own training to start from; None where nothing is."""
        start = self.training.start_from
        return start.resolved() if isinstance(start, Start) else None

    @property
    def is_tuned(self) -> bool:
        """Whether it, or what it starts from, is tuned on the validation cases."""
        return self.tune is not None or (self.start is not None and self.start.is_tuned)

    @property
    def trainings(self) -> "tuple[NetworkRecipe, ...]":
        """Itself, and what it starts from where that is a recipe."""
        return (self, *(() if self.start is None else self.start.trainings))

    @property
    def is_pretraining(self) -> bool:
        """Whether what it trains is for others to start from, and finds no lesions."""
        return self.training.denoise is not None

    @property
    def mask_section(self) -> str:
        """Where `postprocess` and `tune` are said."""
        return "inference"

    @property
    def postprocess(self) -> Postprocess | None:
        """What stands between probability and mask; None where that is not one probability and one mask."""
        return None if self.labels.several or self.predicts_instances else self.inference.postprocess

    @property
    def tune(self) -> Tuning | None:
        """What of it is chosen on the validation cases."""
        return self.inference.tune

    @classmethod
    def completed(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe's data; what they do not say is the brain's box, where the first channel's map is not 0.

        A first channel without a map, such as that of coordinates, leaves it to the next.

        Args:
            data: as a file has them, not validated yet.

        Returns:
            New data.
        """
        said = data.get("preprocessing")
        if not isinstance(said, Mapping):
            return dict(data)
        said = {"kind": "brain-box", **said}
        match said:
            case {"kind": "brain-box", "channels": [*channels]}:
                named = [one["map"] for one in channels if isinstance(one, Mapping) and isinstance(one.get("map"), str)]
                said = {"brain": named[0], **said} if named else said
            case {"kind": "brain-box"} if "channels" not in said:
                said = {"brain": "", **said}  # it is the channels that are missing
        return {**data, "preprocessing": said}

    @classmethod
    def changed(cls, data: Mapping[str, Any], changes: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
        """Return the recipe's data with the study's changes and its seed.

        Args:
            data: of the recipe, not validated yet.
            changes: nested settings that replace those of the recipe; a recipe that it starts from keeps its own.
            seed: of weights and training; the seed of a recipe that it starts from moves by as much.

        Returns:
            New data.
        """
        said, told = merged(data, changes), {"seed": seed}
        match said.get("training"):
            case {"start_from": {"recipe": Mapping() as first}}:
                moved = cls.changed(first, {}, seed=(_seed_of(first) + seed - _seed_of(said)) % 2**32)  # never below 0
                return merged(said, {"training": {**told, "start_from": {"recipe": moved}}})
        return merged(said, {"training": told})

    @model_validator(mode="after")
    def _check(self) -> "NetworkRecipe":
        dimensions = networks.dimensions(self.network.name)
        if "include_background" in self.loss.options and self.labels.activation != "softmax":
            raise ValueError(
                "loss.options.include_background is about softmax's channel of the background, which a network of "
                "classes apart has: name them in labels.classes, or leave it out"
            )
        if self.inference.tune is not None and self.labels.several:
            raise ValueError("inference.tune chooses for one class, and labels.classes has several; leave it out")
        divided = self.inference.instances
        if self.labels.border is not None and (divided is None or divided.border is None):
            raise ValueError(
                "labels.border finds borders for inference.instances: set that to {kind: watershed, border: border}"
            )
        if divided is not None and divided.border is not None and divided.border not in self.labels.names:
            raise ValueError(f"inference.instances.border={divided.border} is no class of labels; set labels.border")
        if divided is not None and divided.border is None and self.labels.several:
            raise ValueError("inference.instances without border divides one class: leave labels.classes out")
        spacing = self.loss.options.get("spacing")
        if spacing is not None and len(spacing) != dimensions:
            raise ValueError(
                f"loss.options.spacing={spacing} does not fit {self.network.name}, a {dimensions}D network"
            )
        class_weights = self.loss.options.get("class_weights")
        if class_weights is not None and len(class_weights) != self.labels.channels:
            raise ValueError(
                f"loss.options.class_weights={class_weights} is not one number for each of the network's channels, "
                f"{self.labels.channels}"
            )
        window, flips = self.inference.window, self.inference.flips
        if window is not None and len(window) != dimensions:
            raise ValueError(
                f"inference.window={list(window)} does not fit {self.network.name}, a {dimensions}D network"
            )
        if self.sampling.crop is not None and len(self.sampling.crop) != dimensions:
            raise ValueError(
                f"sampling.crop={list(self.sampling.crop)} does not fit {self.network.name}, a {dimensions}D network"
            )
        if self.sampling.slices is not None and dimensions != 2:
            raise ValueError(f"sampling.slices is for 2D networks, and {self.network.name} is {dimensions}D; set crop")
        augmented = [(f"augmentation.{key}", axes) for key, axes in self.augmentation.axes()]
        for key, axes in [("inference.flips", flips), *augmented]:
            if axes and max(axes) >= dimensions:
                raise ValueError(
                    f"{key}={list(axes)} does not fit {self.network.name}, whose axes are 0 to {dimensions - 1}"
                )
        for key, axes in self.augmentation.rotations():
            if dimensions == 2 and axes != (2,):
                raise ValueError(
                    f"augmentation.{key}={list(axes)}: a 2D network's images turn about axis 2 alone; say [2]"
                )
        if self.start is not None and self.start.labels != self.labels:
            raise ValueError("training.start_from has other labels than what starts from it: set the same in both")
        if self.training.denoise is not None and self.inference.tune is not None:
            raise ValueError("training.denoise finds noise, of which nothing is tuned: set inference.tune to null")
        if self.training.denoise is not None and self.network.options.get("prior") is not None:
            raise ValueError("training.denoise finds noise, which has no prior: set network.options.prior to null")
        outputs = networks.outputs(self.network.name, self.network.options)
        if len(self.training.deep_supervision) > outputs:
            many = f"{len(self.training.deep_supervision)} outputs, and {self.network.name} gives {outputs}"
            cure = "leave some out" if outputs > 1 else "leave it out, or choose a network such as unet3d or dynunet"
            raise ValueError(f"training.deep_supervision weighs {many}; {cure}")
        mirrored = [one for one in self.preprocessing.channels if isinstance(one.derive, Mirror | MirrorDifference)]
        if self.augmentation.pastes and mirrored:
            raise ValueError(
                f"augmentation.paste changes maps, but not their mirror image in a channel derived by "
                f"{mirrored[0].derive and mirrored[0].derive.name}; leave one of them out"
            )
        if isinstance(self.schedule, Plateau) and self.training.monitor is None:
            raise ValueError("schedule plateau needs training.monitor")
        if self.inference.within_brain and self.preprocessing.brain is None:
            raise ValueError("inference.within_brain needs preprocessing.brain: the map that is 0 outside the brain")
        return self


def _seed_of(data: Mapping[str, Any]) -> int:
    """Return the seed of a recipe's data, not validated yet; what is none counts as 0."""
    training = data.get("training")
    seed = training.get("seed") if isinstance(training, Mapping) else None
    return seed if isinstance(seed, int) else 0
