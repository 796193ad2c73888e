"""A trained network: from a prepared case to a probability, a mask, and back onto the case's own grid."""

import csv
import statistics
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from multifocal import networks
from multifocal.cohorts import Case
from multifocal.device import autocast_type, choose_device
from multifocal.errors import LESS_MEMORY, UserError, within_memory
from multifocal.metrics import METRICS
from multifocal.networks import Padded
from multifocal.pipeline.lesion_frequency import load_frequency
from multifocal.pipeline.prepare import Prepared, prepare
from multifocal.recipes import KINDS
from multifocal.systems.classes import segment
from multifocal.systems.forward import MEMORY_FORMATS, mirrored_forms, probabilities
from multifocal.systems.instances import label_map
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.systems.system import START, WEIGHTS, FitJob, Prediction, System
from multifocal.volumes import Volume, restore
from multifocal.weights import read_weights

LOG = "log.csv"


@KINDS.register("network")
class NetworkSystem(System):
    """A trained network with its recipe.

    Args:
        recipe: what it was trained by.
        network: with its weights.
        frequency: of lesions in its training cases, for the channel lesion-frequency.

    Example:
        >>> from multifocal import recipes
        >>> recipe = recipes.load("hie-small", overrides=["network.options.features=[2,4,4,4]"])
        >>> network = networks.build("unet3d", in_channels=3, **recipe.network.options)
        >>> NetworkSystem(recipe, network).dimensions
        3
    """

    recipe_type = NetworkRecipe
    has_probabilities = True
    changes_after_training = ("inference.",)

    def __init__(self, recipe: NetworkRecipe, network: Padded, *, frequency: np.ndarray | None = None) -> None:
        super().__init__(recipe)
        self.frequency = frequency
        self.dimensions = networks.dimensions(recipe.network.name)
        self.network = network.to(memory_format=MEMORY_FORMATS[self.dimensions]).eval()  # type: ignore[call-overload]

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid; with `inference.instances` the label map of its instances.

        Args:
            case: with the maps that the recipe names.

        Returns:
            The mask and the probability.

        Raises:
            UserError: a map is missing, cannot be read, or has other dimensions than the network; or there is not
                enough memory.
        """
        return self.predict_with(case, {})

    def predict_with(self, case: Case, prepared: MutableMapping[Any, Any]) -> Prediction:
        """Return the same as `predict`; a network of the same preprocessing may have prepared the case before.

        Args:
            case: as `predict` takes it.
            prepared: the case by preprocessing and lesion frequency; what is missing is added.

        Returns:
            What `predict` returns.
        """
        preprocessing, frequency = self.recipe.preprocessing, self.frequency
        key = preprocessing.model_dump_json(), None if frequency is None else frequency.tobytes()
        with within_memory(LESS_MEMORY, where=f"case {case.name}"):
            if key not in prepared:
                prepared[key] = self._prepared(case)
            found = self.predict_prepared(prepared[key])
        settings = self.recipe.inference.instances
        if settings is None or found.probability is None:
            return found
        border = None if settings.border is None else found.classes[settings.border]
        return replace(found, mask=label_map(found.probability, settings, border=border))

    @property
    def member_names(self) -> tuple[str, ...]:
        """The image as it is, and its mirrored forms: along `inference.flips`, or from left to right without any."""
        names = ("as-is" if not axes else f"flip-{''.join(map(str, axes))}" for axes in self._forms)
        return tuple(f"{number}-{name}" for number, name in enumerate(names))

    def members_of(self, case: Case, prediction: Prediction) -> Mapping[str, Prediction]:
        """Return what the network makes of the image and of each mirrored form.

        Args:
            case: as `predict` takes it.
            prediction: what `predict` returned for it.

        Returns:
            A prediction each, mirrored back.
        """
        del prediction
        with within_memory(LESS_MEMORY, where=f"case {case.name}"):
            prepared = self._prepared(case)
            found = (self.predict_prepared(prepared, mirrored=[axes]) for axes in self._forms)
            return dict(zip(self.member_names, found, strict=True))

    @property
    def _forms(self) -> list[tuple[int, ...]]:
        preprocessing = self.recipe.preprocessing
        across = next(axis for axis, letter in enumerate(preprocessing.axes) if letter in "LR")
        return mirrored_forms(self.recipe.inference.flips or (across,))

    def _prepared(self, case: Case) -> Prepared:
        return prepare(case, self.recipe.preprocessing, with_label=False, frequency=self.frequency)

    def predict_prepared(self, prepared: Prepared, *, mirrored: Sequence[Sequence[int]] | None = None) -> Prediction:
        """Return the mask of a prepared case on its source's own grid; of instances and their borders, their classes.

        Args:
            prepared: by this recipe's preprocessing.
            mirrored: the forms of the image over which the mean is taken, see
                `multifocal.systems.forward.probabilities`; None takes those of the recipe.

        Returns:
            The mask and the probability.

        Raises:
            UserError: it has other dimensions than the network, or the network answers with NaN or infinity.
        """
        if prepared.inside.ndim < self.dimensions:
            raise UserError(
                f"case {prepared.name}: is {prepared.inside.ndim}D, but the network {self.recipe.network.name} "
                f"is {self.dimensions}D"
            )
        device = next(self.network.parameters()).device
        found = probabilities(
            self.network,
            prepared,
            dimensions=self.dimensions,
            labels=self.recipe.labels,
            settings=self.recipe.inference,
            autocast=autocast_type(self.recipe.training.precision, device),
            mirrored=mirrored,
        )
        classes = [restore(Volume(one, prepared.geometry), prepared.native, interpolation="linear") for one in found]
        settings = self.recipe.inference.postprocess
        return segment(classes, self.recipe.labels, settings, brain=prepared.native_brain)

    @classmethod
    def load(cls, recipe: NetworkRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the network of a finished run folder.

        Args:
            recipe: the run's.
            folder: the run folder.
            device: what to compute on.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: the weights or the lesion frequency are no safetensors file, do not fit the recipe, or are those
                of a denoising.
        """
        if folder is None:
            raise UserError(f"recipe {recipe.name} needs training; `multifocal train` comes first")
        if recipe.is_pretraining:
            raise UserError(f"{folder}: finds noise, not lesions; train a recipe with training.start_from={folder}")
        network = recipe.build_network(for_training=False)
        state = read_weights(Path(folder) / WEIGHTS)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{Path(folder) / WEIGHTS}: does not fit the network of recipe.yaml") from error
        seen = recipe.preprocessing.lesion_frequency
        frequency = None if seen is None else load_frequency(folder, cells=seen.cells)
        return cls(recipe, network.to(choose_device(device)), frequency=frequency)

    @classmethod
    def fit(cls, recipe: NetworkRecipe, job: FitJob) -> None:
        """Train the network by gradient descent.

        Args:
            recipe: what to train.
            job: on what, where, and with what help.

        Raises:
            UserError: whatever training raises.
        """
        job.train_network(recipe)

    @classmethod
    def facts(cls, recipe: NetworkRecipe, folder: str | Path) -> Mapping[str, Any]:
        """Return what the log of a run says of its time, its epochs, and which of them was best.

        What the run starts from counts for its time alone, where it was trained with it.

        Args:
            recipe: the run's.
            folder: the run folder.

        Returns:
            `seconds`, `epochs`, `best_epoch` (None where the last one counts) and `step_ms` (median).
        """
        with (Path(folder) / LOG).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        own, first = sum(float(row["seconds"]) for row in rows), Path(folder) / START
        before = cls.facts(recipe.start, first)["seconds"] if recipe.start and (first / LOG).is_file() else 0.0
        best, monitor = None, recipe.training.monitor
        if monitor:
            scores = [(float(row[f"val/{monitor}"]), int(row["epoch"])) for row in rows if row.get(f"val/{monitor}")]
            sign = -1 if METRICS[monitor].best == "highest" else 1
            best = min(scores, key=lambda score: (sign * score[0], score[1]))[1]
        return {
            "seconds": before + own,
            "epochs": len(rows),
            "best_epoch": best,
            "step_ms": statistics.median(float(row["step_ms"]) for row in rows),
        }
