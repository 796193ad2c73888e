"""Published checkpoints of SAM-2, and of models fine-tuned from it, as a folder that `transformers` loads."""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from multifocal.errors import UserError, first_line, within_memory
from multifocal.files import plain_file, swapped
from multifocal.versions import check_installed
from multifocal.weights import read_weights

# What cannot be told from the shapes of weights: the heads, the windows and where attention is global, of the four
# image encoders that there are, by width and number of blocks.
ENCODERS: Mapping[tuple[int, int], Mapping[str, Any]] = {
    (96, 12): {},  # tiny, which the classes have as their defaults
    (96, 16): {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},  # small
    (112, 24): {  # base-plus
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    (144, 48): {  # large
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}
SIZE = 1024  # of the images that SAM-2 was trained on; MedSAM2's have 512
_WEIGHTS = "model.safetensors"
_WRITTEN = ("config.json", _WEIGHTS)
PATCH, STRIDE = 16, 32  # pixels that a place of the image's coarsest features stands for; by what a side is divided


def _attention(published: str, ours: str) -> dict[str, str]:
    return {f"{published}.{one}_proj": f"{ours}.{'o' if one == 'out' else one}_proj" for one in ("q", "k", "v", "out")}


def _head(published: str, ours: str) -> dict[str, str]:
    steps = ("proj_in", "layers.0", "proj_out")
    return {f"{published}.layers.{number}": f"{ours}.{step}" for number, step in enumerate(steps)}


_TRUNK, _BACKBONE = "image_encoder.trunk", "vision_encoder.backbone"
_MEMORY, _LAYER = "memory_encoder.mask_downsampler", "memory_attention.layers.#"
_DECODER, _DECODES = "sam_mask_decoder", "mask_decoder"
_TWO_WAY, _WAYS = f"{_DECODER}.transformer.layers.#", f"{_DECODES}.transformer.layers.#"
NAMES: Mapping[str, str] = {
    "maskmem_tpos_enc": "memory_temporal_positional_encoding",
    "no_mem_embed": "no_memory_embedding",
    "no_mem_pos_enc": "no_memory_positional_encoding",
    "no_obj_ptr": "no_object_pointer",
    "no_obj_embed_spatial": "occlusion_spatial_embedding_parameter",
    "mask_downsample": "mask_downsample",
    "obj_ptr_tpos_proj": "temporal_positional_encoding_projection_layer",
    **_head("obj_ptr_proj", "object_pointer_proj"),
    # the image encoder
    f"{_TRUNK}.pos_embed": f"{_BACKBONE}.pos_embed",
    f"{_TRUNK}.pos_embed_window": f"{_BACKBONE}.pos_embed_window",
    f"{_TRUNK}.patch_embed.proj": f"{_BACKBONE}.patch_embed.projection",
    f"{_TRUNK}.blocks.#.norm#": f"{_BACKBONE}.blocks.#.layer_norm#",
    f"{_TRUNK}.blocks.#.attn.qkv": f"{_BACKBONE}.blocks.#.attn.qkv",
    f"{_TRUNK}.blocks.#.attn.proj": f"{_BACKBONE}.blocks.#.attn.proj",
    f"{_TRUNK}.blocks.#.mlp.layers.0": f"{_BACKBONE}.blocks.#.mlp.proj_in",
    f"{_TRUNK}.blocks.#.mlp.layers.1": f"{_BACKBONE}.blocks.#.mlp.proj_out",
    f"{_TRUNK}.blocks.#.proj": f"{_BACKBONE}.blocks.#.proj",
    "image_encoder.neck.convs.#.conv": "vision_encoder.neck.convs.#",
    # the memory
    **_attention(f"{_LAYER}.self_attn", f"{_LAYER}.self_attn"),
    **_attention(f"{_LAYER}.cross_attn_image", f"{_LAYER}.cross_attn_image"),
    f"{_LAYER}.linear#": f"{_LAYER}.linear#",
    f"{_LAYER}.norm#": f"{_LAYER}.layer_norm#",
    "memory_attention.norm": "memory_attention.layer_norm",
    **{f"{_MEMORY}.encoder.{3 * step}": f"{_MEMORY}.layers.{step}.conv" for step in range(4)},
    **{f"{_MEMORY}.encoder.{3 * step + 1}": f"{_MEMORY}.layers.{step}.layer_norm" for step in range(4)},
    f"{_MEMORY}.encoder.12": f"{_MEMORY}.final_conv",
    "memory_encoder.pix_feat_proj": "memory_encoder.feature_projection",
    "memory_encoder.fuser.layers.#.gamma": "memory_encoder.memory_fuser.layers.#.scale",
    "memory_encoder.fuser.layers.#.dwconv": "memory_encoder.memory_fuser.layers.#.depthwise_conv",
    "memory_encoder.fuser.layers.#.norm": "memory_encoder.memory_fuser.layers.#.layer_norm",
    "memory_encoder.fuser.layers.#.pwconv#": "memory_encoder.memory_fuser.layers.#.pointwise_conv#",
    "memory_encoder.out_proj": "memory_encoder.projection",
    # what encodes prompts
    "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (
        "prompt_encoder.shared_embedding.positional_embedding"
    ),
    "sam_prompt_encoder.point_embeddings.#": "prompt_encoder.point_embed.#",
    "sam_prompt_encoder.not_a_point_embed": "prompt_encoder.not_a_point_embed",
    "sam_prompt_encoder.no_mask_embed": "prompt_encoder.no_mask_embed",
    "sam_prompt_encoder.mask_downscaling.0": "prompt_encoder.mask_embed.conv1",
    "sam_prompt_encoder.mask_downscaling.1": "prompt_encoder.mask_embed.layer_norm1",
    "sam_prompt_encoder.mask_downscaling.3": "prompt_encoder.mask_embed.conv2",
    "sam_prompt_encoder.mask_downscaling.4": "prompt_encoder.mask_embed.layer_norm2",
    "sam_prompt_encoder.mask_downscaling.6": "prompt_encoder.mask_embed.conv3",
    # what decodes masks
    **_attention(f"{_TWO_WAY}.self_attn", f"{_WAYS}.self_attn"),
    **_attention(f"{_TWO_WAY}.cross_attn_token_to_image", f"{_WAYS}.cross_attn_token_to_image"),
    **_attention(f"{_TWO_WAY}.cross_attn_image_to_token", f"{_WAYS}.cross_attn_image_to_token"),
    **_attention(
        f"{_DECODER}.transformer.final_attn_token_to_image", f"{_DECODES}.transformer.final_attn_token_to_image"
    ),
    f"{_TWO_WAY}.norm#": f"{_WAYS}.layer_norm#",
    f"{_TWO_WAY}.mlp.layers.0": f"{_WAYS}.mlp.proj_in",
    f"{_TWO_WAY}.mlp.layers.1": f"{_WAYS}.mlp.proj_out",
    f"{_DECODER}.transformer.norm_final_attn": f"{_DECODES}.transformer.layer_norm_final_attn",
    **{f"{_DECODER}.{one}": f"{_DECODES}.{one}" for one in ("iou_token", "mask_tokens", "obj_score_token")},
    **{f"{_DECODER}.{one}": f"{_DECODES}.{one}" for one in ("conv_s0", "conv_s1")},
    f"{_DECODER}.output_upscaling.0": f"{_DECODES}.upscale_conv1",
    f"{_DECODER}.output_upscaling.1": f"{_DECODES}.upscale_layer_norm",
    f"{_DECODER}.output_upscaling.3": f"{_DECODES}.upscale_conv2",
    **_head(f"{_DECODER}.output_hypernetworks_mlps.#", f"{_DECODES}.output_hypernetworks_mlps.#"),
    **_head(f"{_DECODER}.iou_prediction_head", f"{_DECODES}.iou_prediction_head"),
    **_head(f"{_DECODER}.pred_obj_score_head", f"{_DECODES}.pred_obj_score_head"),
}
"""Names of modules and parameters as published, and in `transformers`; # is any number, the same in both."""

_POINTS, _PLACES = "prompt_encoder.point_embed", "prompt_encoder.shared_embedding.positional_embedding"
_CURE = "give a checkpoint of SAM-2 or SAM-2.1 as its authors publish it, or of a model fine-tuned from it"


def convert_checkpoint(path: str | Path, out: str | Path, *, size: int = SIZE, overwrite: bool = False) -> str:
    """Write a published checkpoint as `config.json` and `model.safetensors`, which `transformers` loads.

    A pickle (`.pt`) is read by a reader that makes tensors, numbers, text and containers of these alone, and refuses
    whatever else the file asks for; no code of the file runs.

    Args:
        path: a checkpoint with the names of facebookresearch/sam2, as MedSAM2's has too: a `.pt` whose "model", or
            which itself, holds the weights, or a `.safetensors` of them.
        out: the folder to write.
        size: side of the images that it was trained on, in pixels: it does not show in the weights. A multiple of 32.
        overwrite: whether a folder that is there is replaced.

    Returns:
        What was converted, in words.

    Raises:
        UserError: `transformers` is not installed, the file is no such checkpoint, or the folder is there already.

    Source:
        Names as published: facebookresearch/sam2 (Apache-2.0).

    Example:
        >>> convert_checkpoint("MedSAM2_latest.pt", "weights/medsam2", size=512)  # doctest: +SKIP
        '38,962,498 weights of SAM-2.1, for images of 512×512'
    """
    check_installed("transformers", what="the conversion of a checkpoint")
    if size < STRIDE or size % STRIDE:
        raise UserError(f"size {size}: is no multiple of {STRIDE}; SAM-2 takes {SIZE}, MedSAM2 512")
    out = Path(out)
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists already; choose another folder, or --overwrite to replace it")
    if out.exists() and (not out.is_dir() or {file.name for file in out.iterdir()} - set(_WRITTEN)):
        raise UserError(f"{out}: is something else than converted weights, and is not replaced; choose another folder")
    with within_memory("free some, or convert it on another machine", where=str(path)):
        published = _read(path)
        state = renamed(published, where=str(path))
        config = _config(state, size=size, where=str(path))
        _check(state, config, where=str(path))
        with swapped(out.parent, [out.name]) as new:
            config.save_pretrained(new / out.name)
            (new / out.name / _WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))
    version = "SAM-2.1" if config.enable_occlusion_spatial_embedding else "SAM-2"
    count = sum(tensor.numel() for tensor in published.values())
    return f"{count:,} weights of {version}, for images of {size}×{size}"


def renamed(published: Mapping[str, torch.Tensor], *, where: str) -> dict[str, torch.Tensor]:
    """Return weights by their names in `transformers`.

    Args:
        published: by their names in facebookresearch/sam2.
        where: what they are of, for the message.

    Returns:
        The same numbers in float32, with the four embeddings of points as one, and places in an image a second time,
        by the name that the image has them by.

    Raises:
        UserError: a name is none of SAM-2's.

    Example:
        >>> renamed({"image_encoder.trunk.blocks.3.norm1.bias": torch.zeros(8)}, where="sam2.pt").keys()
        dict_keys(['vision_encoder.backbone.blocks.3.layer_norm1.bias'])
    """
    # Weights may be transposed views, or one tensor under two names; neither can be written as it is.
    state = {_rename(name, where): tensor.float().contiguous().clone() for name, tensor in published.items()}
    points = [state.pop(name) for number in range(4) if (name := f"{_POINTS}.{number}.weight") in state]
    if points and len({point.shape for point in points}) == 1 and points[0].ndim == 2:  # else a shape is refused later
        state[f"{_POINTS}.weight"] = torch.cat(points)
    if _PLACES in state:
        state["shared_image_embedding.positional_embedding"] = state[_PLACES].clone()
    return state


def _rename(name: str, where: str) -> str:
    for pattern, theirs in _patterns():
        if found := pattern.fullmatch(name):
            *numbers, leaf = found.groups()
            for number in numbers:
                theirs = theirs.replace("#", number, 1)
            return theirs + (leaf or "")
    raise UserError(f"{where}: is no SAM-2: it has a weight {name!r}; {_CURE}")


def _patterns() -> Iterator[tuple[re.Pattern[str], str]]:
    for published, theirs in NAMES.items():
        yield re.compile(re.escape(published).replace(r"\#", r"(\d+)") + r"(\.weight|\.bias)?"), theirs


def _read(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint by their published names."""
    if not (path := plain_file(path)).is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # what is refused says so itself
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: is no pickle, or holds more than weights, which could run any code and is not read; {_CURE}"
        ) from error
    except (
        OSError,
        RuntimeError,
        EOFError,
        LookupError,
        ValueError,
        AttributeError,
        TypeError,
        AssertionError,
    ) as error:
        raise UserError(
            f"{path}: cannot be read ({type(error).__name__}: {first_line(error)}); copy it again"
        ) from error
    state = held.get("model", held) if isinstance(held, dict) else held
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path}: is no SAM-2: it does not hold weights by name; {_CURE}")
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex() or not tensor.isfinite().all():
            raise UserError(f"{path}: {name} does not hold finite real numbers; copy the file again, or {_CURE}")
    return {str(name): tensor for name, tensor in state.items()}


def _check(state: Mapping[str, torch.Tensor], config: Any, *, where: str) -> None:
    """Raise `UserError` where these are not all weights of the model of videos, which is also the one of images."""
    from transformers import Sam2VideoModel

    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in Sam2VideoModel(config).state_dict().items()}
    if lacking := sorted(expected.keys() - state.keys()):
        raise UserError(f"{where}: {len(lacking)} weights of SAM-2 are missing ({lacking[0]}); {_CURE}")
    if other := [name for name in sorted(state) if expected.get(name) != state[name].shape]:
        raise UserError(f"{where}: is no SAM-2: its {other[0]} has another shape; {_CURE}")


def _config(state: Mapping[str, torch.Tensor], *, size: int, where: str) -> Any:
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoPromptEncoderConfig, Sam2VisionConfig

    blocks = {name.split(".")[3] for name in state if name.startswith(f"{_BACKBONE}.blocks.")}
    places = state.get(f"{_BACKBONE}.pos_embed", torch.zeros(0))
    width = places.shape[1] if places.ndim == 4 else 0
    if (width, len(blocks)) not in ENCODERS:
        raise UserError(
            f"{where}: its image encoder of {len(blocks)} blocks and width {width} is none of SAM-2's (tiny, small, "
            f"base-plus, large); {_CURE}"
        )
    hiera: Any = Sam2HieraDetConfig(**ENCODERS[width, len(blocks)], image_size=[size, size])
    vision = Sam2VisionConfig(backbone_config=hiera, backbone_channel_list=hiera.embed_dim_per_stage[::-1])
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(),
        enable_temporal_pos_encoding_for_object_pointers="temporal_positional_encoding_projection_layer.weight"
        in state,
        enable_occlusion_spatial_embedding="occlusion_spatial_embedding_parameter" in state,
    )
    set_size(config, size)
    return config


def set_size(config: Any, size: int) -> None:
    """Set the side of the images that a model takes, wherever its configuration has it.

    Args:
        config: a `transformers.Sam2Config` or `Sam2VideoConfig`; it is changed.
        size: in pixels, a multiple of 32.
    """
    config.prompt_encoder_config.image_size = size
    config.vision_config.backbone_config.image_size = [size, size]
    config.vision_config.backbone_feature_sizes = [[size // step, size // step] for step in (4, 8, PATCH)]
    if hasattr(config, "memory_attention_rope_feat_sizes"):
        config.image_size = size
        config.memory_attention_rope_feat_sizes = [size // PATCH, size // PATCH]
