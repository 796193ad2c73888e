"""A segmenter that takes prompts, SAM-2, asked slice by slice for what is in boxes around low values of a map."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from scipy import ndimage
from torch.nn.functional import interpolate

from multifocal.cohorts import Case
from multifocal.cohorts.seen import Seen
from multifocal.config import Config
from multifocal.device import choose_device
from multifocal.errors import UserError, within_memory
from multifocal.instances import components
from multifocal.pipeline.prepare import prepare
from multifocal.pipeline.settings import BrainBox, Channel
from multifocal.recipes import KINDS, Recipe, once
from multifocal.systems.postprocess import Postprocess, postprocess
from multifocal.systems.system import Prediction, System
from multifocal.versions import check_installed
from multifocal.volumes import Volume, restore

STRIDE = 32  # by how much the image encoder divides
# Those of ImageNet, which SAM-2 was trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PROMPTS = ("candidates", "boxes")  # what leads to the model's answer, as `answer` names it


class Candidates(Config):
    """Where boxes are put: around the components, in 3D, of what lies below a value of a map, inside the brain.

    Args:
        map: name of the map in the cohort.
        below: the value, in the map's unit.
        min_size_voxels: smaller components get no box.
        margin: voxels that a box reaches beyond its component, in the slice.
    """

    map: str
    below: float
    min_size_voxels: int = Field(default=4, ge=1)
    margin: int = Field(default=1, ge=0)


class PromptableRecipe(Recipe):
    """A promptable segmenter without training: boxes around candidates in, masks of what is in them out.

    Args:
        candidates: where the boxes are.
        brain: the map that is 0 outside the brain; None takes that of the candidates.
        channels: the three colours that the segmenter sees, from 0 to 1.
        weights: a folder with `config.json` and `model.safetensors` of SAM-2 in the form of `transformers`, relative to
            the working folder; or a name of the Hugging Face hub.
        download: whether a name is looked up on the hub; else it is taken from the hub's cache on this machine.
        size: side of the square that a slice of the brain's box is stretched to, in pixels, a multiple of 32; None
            takes the weights' own.
        answer: "model"; or, to see what the model adds, what it is asked with: the "boxes" as they are, or the
            "candidates" in them. These two need no weights.
        inference: how the probability becomes a mask.

    Example:
        >>> from multifocal import recipes
        >>> recipe = recipes.load("hie-sam2-zeroshot", overrides=["candidates.below=-2.5"])
        >>> recipe.candidates.below, recipe.needs_training
        (-2.5, False)
    """

    kind: Literal["promptable"] = "promptable"
    candidates: Candidates
    brain: str | None = None
    channels: tuple[Channel, Channel, Channel]
    weights: str
    download: bool = False
    size: int | None = Field(default=None, ge=STRIDE, multiple_of=STRIDE)
    answer: Literal["model", "boxes", "candidates"] = "model"
    inference: Postprocess = Postprocess(within_brain=True)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return once(self.brain, self.candidates.map, *(name for channel in self.channels for name in channel.maps))


@KINDS.register("promptable")
class PromptableSystem(System):
    """A segmenter asked for what is in boxes around candidates, all boxes of a slice in one call.

    Args:
        recipe: the boxes, the colours, and whose answer is taken.
        model: the segmenter, on its device; None where the recipe takes another answer.

    Source:
        Ravi et al., SAM 2: Segment Anything in Images and Videos (2024), arXiv:2408.00714.

    Example:
        >>> from multifocal.systems import load_model
        >>> load_model("hie-sam2-zeroshot", overrides=("answer=boxes",)).has_probabilities
        True
    """

    recipe_type = PromptableRecipe
    has_probabilities = True

    def __init__(self, recipe: PromptableRecipe, model: Any = None) -> None:
        super().__init__(recipe)
        self.model = model
        own = Channel(map=recipe.candidates.map, below=recipe.candidates.below)
        brain = recipe.brain or recipe.candidates.map
        self._preprocessing = BrainBox(kind="brain-box", brain=brain, channels=(own, *recipe.channels))

    @property
    def parts(self) -> Mapping[str, Seen]:
        """What the model is asked with; where that is the answer itself, there is no other part."""
        return dict.fromkeys(_PROMPTS, self.seen) if self.recipe.answer == "model" else {}

    def predict(self, case: Case) -> Prediction:
        """Return the mask of a case on its own grid; an empty one, with a warning, where no box is found.

        Args:
            case: with the maps that the recipe names.

        Returns:
            The mask, the highest probability over the boxes, and as parts the recipe's other two answers.

        Raises:
            UserError: a map is missing or cannot be read, or there is not enough memory.
        """
        recipe = self.recipe
        prepared = prepare(case, self._preprocessing, with_label=False)
        images = prepared.images if prepared.inside.ndim == 3 else prepared.images[..., None]
        axial = prepared.geometry.axial if prepared.inside.ndim == 3 else 2
        below, colours = np.moveaxis(images[0], axial, -1) > 0, np.moveaxis(images[1:], 1 + axial, -1)
        labels, count = components(below)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        labels[sizes[labels] < recipe.candidates.min_size_voxels] = 0
        if not labels.any():
            candidates = recipe.candidates
            warnings.warn(
                f"case {case.name}: no {candidates.min_size_voxels} voxels together with {candidates.map} below "
                f"{candidates.below:g}, so no box; its mask is empty",
                stacklevel=2,
            )

        def answered(answer: str) -> Prediction:
            found = np.zeros(labels.shape, np.float32)
            for number in np.flatnonzero(labels.any((0, 1))):
                with within_memory("set a smaller size in the recipe", where=f"case {case.name}"):
                    found[..., number] = self._answer(answer, colours[..., number], labels[..., number])
            back = np.moveaxis(found, -1, axial).reshape(prepared.inside.shape)
            native = restore(Volume(back, prepared.geometry), prepared.native, interpolation="linear")
            return Prediction(*postprocess(native, recipe.inference, brain=prepared.native_brain))

        return replace(answered(recipe.answer), parts={name: answered(name) for name in self.parts})

    def _answer(self, answer: str, colours: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the probability, (X, Y), of a slice of colours, (3, X, Y), and of candidates, (X, Y), by number."""
        if answer == "candidates":
            return (labels > 0).astype(np.float32)
        margin = self.recipe.candidates.margin
        spans = [
            [
                (max(0, span.start - margin), min(side, span.stop + margin))
                for span, side in zip(each, labels.shape, strict=True)
            ]
            for each in ndimage.find_objects(labels)
            if each is not None
        ]
        if answer == "boxes":
            inside = np.zeros(labels.shape, np.float32)
            for (left, right), (top, bottom) in spans:
                inside[left:right, top:bottom] = 1
            return inside
        return segment_boxes(self.model, colours, np.array([[x[0], y[0], x[1], y[1]] for x, y in spans]))

    @classmethod
    def load(cls, recipe: PromptableRecipe, folder: str | Path | None, *, device: str) -> Self:
        """Return the system of a recipe.

        Args:
            recipe: the boxes, the colours, the weights.
            folder: not used: nothing is trained.
            device: what to compute on.

        Returns:
            The system, ready to predict.

        Raises:
            UserError: `transformers` is not installed, the weights are not there or are not those of a SAM-2, or there
                is no such device.
        """
        del folder
        cls.check_installed(recipe)
        chosen = choose_device(device)
        return cls(recipe, _model(recipe).to(chosen).eval() if recipe.answer == "model" else None)

    @classmethod
    def check_installed(cls, recipe: PromptableRecipe) -> None:
        """Raise `UserError` where `transformers` is not installed.

        Args:
            recipe: of a model.

        Raises:
            UserError: it is not; other answers than a model's need it not.
        """
        if recipe.answer == "model":
            check_installed("transformers", what=f"recipe {recipe.name}")


def segment_boxes(model: Any, colours: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the highest probability over the boxes of one image, from one call of the model.

    The image is stretched to the model's square, and the logits back to the image (bilinear, with antialiasing).

    Args:
        model: a `transformers.Sam2Model`.
        colours: float (3, X, Y), from 0 to 1; X is from left to right, Y from top to bottom.
        boxes: (N, 4), left, top, right and bottom edges in voxels: a box around all is 0, 0, X, Y.

    Returns:
        Float32 (X, Y), from 0 to 1.
    """
    parameter, side = next(model.parameters()), model.config.prompt_encoder_config.image_size
    image = torch.from_numpy(np.ascontiguousarray(colours.transpose(0, 2, 1))).to(parameter.device, parameter.dtype)
    height, width = image.shape[1:]
    stretched = interpolate(image[None], (side, side), mode="bilinear", align_corners=False, antialias=True)
    mean, std = (stretched.new_tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
    # The model counts from the centres of pixels, and adds half a pixel to come to its edges.
    edges = boxes * np.array([side / width, side / height] * 2) - 0.5
    asked = torch.as_tensor(edges, device=image.device, dtype=image.dtype)[None]
    with torch.inference_mode():
        said = model(pixel_values=(stretched - mean) / std, input_boxes=asked, multimask_output=False)
        logits = interpolate(
            said.pred_masks[0].float(), (height, width), mode="bilinear", align_corners=False, antialias=True
        )
    return logits.amax((0, 1)).sigmoid().T.cpu().numpy()


def _model(recipe: PromptableRecipe) -> Any:
    """Return the segmenter with the recipe's weights, on the CPU."""
    from transformers import Sam2Config, Sam2Model
    from transformers.utils import logging

    logging.set_verbosity_error()  # that a model of videos is taken for images is what is wanted
    logging.disable_progress_bar()
    weights, local = recipe.weights, Path(recipe.weights).is_dir() or not recipe.download
    try:
        config: Any = Sam2Config.from_pretrained(weights, local_files_only=local)
        if recipe.size is not None:
            side = recipe.size
            config.prompt_encoder_config.image_size = side
            config.vision_config.backbone_config.image_size = [side, side]
            config.vision_config.backbone_feature_sizes = [[side // step, side // step] for step in (4, 8, 16)]
        options: dict[str, Any] = {"local_files_only": local, "use_safetensors": True, "dtype": torch.float32}
        loaded: Any = Sam2Model.from_pretrained(weights, config=config, output_loading_info=True, **options)
        model, told = loaded
    except (OSError, ValueError, RuntimeError) as error:
        cure = (
            "it needs config.json and model.safetensors of a SAM-2 in the form of transformers"
            if Path(weights).is_dir()
            else "give a folder in weights, or set download=true to fetch that name from the hub"
        )
        raise UserError(f"weights {weights}: cannot be loaded ({str(error).splitlines()[0]}); {cure}") from error
    if lacking := [*told["missing_keys"], *told["mismatched_keys"]]:
        # Else those would start at random, and nobody would see it.
        raise UserError(
            f"weights {weights}: {len(lacking)} weights of SAM-2 are missing ({lacking[0]}); give whole ones"
        )
    return model
