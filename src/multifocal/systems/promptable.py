"""A segmenter that takes prompts, SAM-2, asked for what is in boxes around low values of a map: slices, or a video."""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from multifocal.errors import UserError, first_line, within_memory
from multifocal.instances import components
from multifocal.pipeline.prepare import prepare
from multifocal.pipeline.settings import BrainBox, Channel
from multifocal.recipes import KINDS, Recipe, once
from multifocal.systems.postprocess import Postprocess, postprocess
from multifocal.systems.sam2_checkpoint import STRIDE, set_size
from multifocal.systems.system import Prediction, System
from multifocal.versions import check_installed
from multifocal.volumes import Volume, restore

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


class Video(Config):
    """Slices as a video: a box in a component's largest slice alone, whose answer is followed up and down from there.

    Args:
        reach: slices that are looked at beyond each end of a component.
    """

    reach: int = Field(default=1, ge=0)


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
        video: how slices are followed as a video; None: they are images, with a box for each slice of a component.
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
    video: Video | None = None
    answer: Literal["model", "boxes", "candidates"] = "model"
    inference: Postprocess = Postprocess(within_brain=True)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return once(self.brain, self.candidates.map, *(name for channel in self.channels for name in channel.maps))


@KINDS.register("promptable")
class PromptableSystem(System):
    """A segmenter asked for what is in boxes around candidates: all boxes of a slice in one call, or as a video.

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
                f"{candidates.below:g}, so no box; its mask is empty (should it have one, raise candidates.below or "
                "lower candidates.min_size_voxels)",
                stacklevel=2,
            )

        def answered(answer: str) -> Prediction:
            with within_memory("set a smaller size in the recipe", where=f"case {case.name}"):
                found = self._answer(answer, colours, labels)
            back = np.moveaxis(found, -1, axial).reshape(prepared.inside.shape)
            native = restore(Volume(back, prepared.geometry), prepared.native, interpolation="linear")
            return Prediction(*postprocess(native, recipe.inference, brain=prepared.native_brain))

        return replace(answered(recipe.answer), parts={name: answered(name) for name in self.parts})

    def _answer(self, answer: str, colours: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the probability, (X, Y, Z), of colours, (3, X, Y, Z), and of candidates, (X, Y, Z), by number."""
        if answer == "candidates":
            return (labels > 0).astype(np.float32)
        tracks, found = self._tracks(labels), np.zeros(labels.shape, np.float32)
        if answer == "boxes":
            for track in tracks:
                left, top, right, bottom = track.box
                found[left:right, top:bottom, track.slice] = 1
        elif self.recipe.video:
            found = segment_video(self.model, colours, tracks)
        else:
            for number, some in _by_slice(tracks).items():
                boxes = np.array([track.box for track in some])
                found[..., number] = segment_boxes(self.model, colours[..., number], boxes)
        return found

    def _tracks(self, labels: np.ndarray) -> list["Track"]:
        """Return what the model is asked with: a box for each slice of a component, or for its largest in a video."""
        video, margin, (width, height, slices) = self.recipe.video, self.recipe.candidates.margin, labels.shape
        tracks = []
        for number, place in enumerate(ndimage.find_objects(labels), 1):
            if place is None:
                continue
            first, last = place[2].start, place[2].stop - 1
            areas = (labels[place] == number).sum((0, 1))
            largest = np.flatnonzero(areas == areas.max())
            for step in (largest[len(largest) // 2],) if video else np.flatnonzero(areas):
                key = first + int(step)
                ((x, y),) = ndimage.find_objects((labels[..., key] == number).astype(np.uint8))
                box = max(0, x.start - margin), max(0, y.start - margin), x.stop + margin, y.stop + margin
                ends = (max(0, first - video.reach), min(slices - 1, last + video.reach)) if video else (key, key)
                tracks.append(Track(key, (*box[:2], min(width, box[2]), min(height, box[3])), *ends))
        return tracks

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


@dataclass(frozen=True)
class Track:
    """A box in a slice, and the slices in which what is in it is looked for.

    Args:
        slice: where the box is, from 0.
        box: left, top, right and bottom edges in voxels: a box around all is 0, 0, X, Y.
        first: the first slice that is looked at.
        last: the last.
    """

    slice: int
    box: tuple[int, int, int, int]
    first: int
    last: int


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
    side = model.config.prompt_encoder_config.image_size
    pixels = _pixels(model, colours)
    width, height = colours.shape[1:]
    asked = pixels.new_tensor(_edges(boxes, colours.shape[1:], side))[None]
    with torch.inference_mode():
        said = model(pixel_values=pixels, input_boxes=asked, multimask_output=False)
        return _probability(said.pred_masks[0, :, 0], (width, height)).amax(0).numpy()


def segment_video(model: Any, colours: np.ndarray, tracks: Sequence[Track]) -> np.ndarray:
    """Return the highest probability over boxes that are followed through slices as through a video.

    Each box is an object of its own, followed from its slice upwards and, begun anew, downwards; what it is on the way
    the model remembers. Objects whose boxes are in one slice are followed together, and what the model sees in a slice
    is kept for both ways and all objects.

    Args:
        model: a `transformers.Sam2VideoModel`.
        colours: float (3, X, Y, Z), from 0 to 1; X is from left to right, Y from top to bottom, Z is time.
        tracks: the boxes, and how far each is followed.

    Returns:
        Float32 (X, Y, Z), from 0 to 1; 0 where no box is followed.

    Source:
        Ma et al., MedSAM2: Segment Anything in 3D Medical Images and Videos (2025), arXiv:2504.03600: boxes in a key
        slice, followed one way and then, begun anew, the other.
    """
    from transformers import Sam2VideoInferenceSession

    found = np.zeros(colours.shape[1:], np.float32)
    if not tracks:
        return found
    side, (width, height, slices) = model.config.prompt_encoder_config.image_size, colours.shape[1:]
    video = torch.cat([_pixels(model, colours[..., number]) for number in range(slices)])
    groups = _by_slice(tracks)
    ends = {number: (min(t.first for t in some), max(t.last for t in some)) for number, some in groups.items()}
    session = Sam2VideoInferenceSession(
        video=video,
        video_height=height,
        video_width=width,
        inference_device=video.device,
        inference_state_device=video.device,
        video_storage_device=video.device,
        dtype=video.dtype,
        max_vision_features_cache_size=max(last - first + 1 for first, last in ends.values()),
    )
    corners = torch.tensor([[[2, 3]]], dtype=torch.int32)  # the model's labels of the two corners of a box
    for number, some in groups.items():
        first, last = ends[number]
        for reverse, steps in ((False, last - number), (True, number - first)):
            if reverse and not steps:
                continue
            session.reset_tracking_data()
            for name, track in enumerate(some):
                edges = _edges(np.array([track.box]), (width, height), side).reshape(1, 1, 2, 2)
                session.add_point_inputs(
                    session.obj_id_to_idx(name),
                    number,
                    {"point_coords": video.new_tensor(edges), "point_labels": corners},
                )
            session.obj_with_new_inputs = list(range(len(some)))
            for said in model.propagate_in_video_iterator(session, number, steps, reverse):
                seen = [track.first <= said.frame_idx <= track.last for track in some]
                if any(seen):
                    each = _probability(said.pred_masks[seen, 0], (width, height)).amax(0).numpy()
                    np.maximum(found[..., said.frame_idx], each, out=found[..., said.frame_idx])
    return found


def _by_slice(tracks: Sequence[Track]) -> dict[int, list[Track]]:
    groups = defaultdict(list)
    for track in sorted(tracks, key=lambda track: track.slice):
        groups[track.slice].append(track)
    return groups


def _pixels(model: Any, colours: np.ndarray) -> torch.Tensor:
    """Return (1, 3, S, S) as the model takes it, of colours, (3, X, Y)."""
    parameter, side = next(model.parameters()), model.config.prompt_encoder_config.image_size
    image = torch.from_numpy(np.ascontiguousarray(colours.transpose(0, 2, 1))).to(parameter.device, parameter.dtype)
    stretched = interpolate(image[None], (side, side), mode="bilinear", align_corners=False, antialias=True)
    mean, std = (stretched.new_tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
    return (stretched - mean) / std


def _edges(boxes: np.ndarray, shape: tuple[int, ...], side: int) -> np.ndarray:
    """Return boxes, (N, 4), of an image of (X, Y) voxels in pixels of the model."""
    # The model counts from the centres of pixels, and adds half a pixel to come to its edges.
    return boxes * np.array([side / shape[0], side / shape[1]] * 2) - 0.5


def _probability(logits: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Return probabilities, (N, X, Y), on the CPU, of the model's answers, (N, rows, columns)."""
    large = interpolate(logits[:, None].float(), shape[::-1], mode="bilinear", align_corners=False, antialias=True)
    return large[:, 0].sigmoid().transpose(1, 2).cpu()


def _model(recipe: PromptableRecipe) -> Any:
    """Return the segmenter with the recipe's weights, on the CPU."""
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()  # that a model of videos is taken for images is what is wanted
    logging.disable_progress_bar()
    weights, local = recipe.weights, Path(recipe.weights).is_dir() or not recipe.download
    names = ("Sam2VideoConfig", "Sam2VideoModel") if recipe.video else ("Sam2Config", "Sam2Model")
    configured, modelled = (getattr(transformers, name) for name in names)
    try:
        config: Any = configured.from_pretrained(weights, local_files_only=local)
        if recipe.size is not None:
            set_size(config, recipe.size)
        options: dict[str, Any] = {"local_files_only": local, "use_safetensors": True, "dtype": torch.float32}
        model, told = modelled.from_pretrained(weights, config=config, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        if Path(weights).is_dir():
            cure = "it needs config.json and model.safetensors of a SAM-2 in the form of transformers"
        elif Path(weights).is_file():
            cure = f"multifocal convert-sam2 {weights} --out FOLDER makes a folder of a published checkpoint"
        else:
            cure = "give a folder in weights, or set download=true to fetch that name from the hub"
        raise UserError(f"weights {weights}: cannot be loaded ({first_line(error)}); {cure}") from error
    if lacking := [*told["missing_keys"], *told["mismatched_keys"]]:
        # Else those would start at random, and nobody would see it.
        raise UserError(
            f"weights {weights}: {len(lacking)} weights of SAM-2 are missing ({lacking[0]}); give whole ones"
        )
    return model
