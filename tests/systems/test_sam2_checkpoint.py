"""Published checkpoints of SAM-2 in the form of `transformers`: names there and back, and the same answers."""

import pickle
import re

import numpy as np
import pytest
import torch

from multifocal.errors import UserError
from multifocal.systems import sam2_checkpoint
from multifocal.systems.promptable import Track, segment_boxes, segment_video
from multifocal.systems.sam2_checkpoint import ENCODERS, NAMES, convert_checkpoint, renamed

SMALL = {
    "hidden_size": 8,
    "embed_dim_per_stage": [8, 16, 32, 64],
    "blocks_per_stage": [1, 1, 2, 1],
    "num_attention_heads_per_stage": [1, 1, 2, 2],
    "window_size_per_stage": [4, 2, 2, 2],
    "global_attention_blocks": [3],
    "window_positional_embedding_background_size": [2, 2],
}


def published(state):
    """Return the names that facebookresearch/sam2 has for weights of `transformers`."""
    found = {}
    for name, tensor in state.items():
        if name == "shared_image_embedding.positional_embedding":
            continue
        if name == "prompt_encoder.point_embed.weight":
            found |= {f"sam_prompt_encoder.point_embeddings.{n}.weight": tensor[n : n + 1] for n in range(4)}
            continue
        for theirs, ours in NAMES.items():
            pattern = re.escape(ours).replace(r"\#", r"(\d+)") + r"(\.weight|\.bias)?"
            if matched := re.fullmatch(pattern, name):
                *numbers, leaf = matched.groups()
                for number in numbers:
                    theirs = theirs.replace("#", number, 1)
                found[theirs + (leaf or "")] = tensor
                break
        else:
            raise AssertionError(name)
    return found


def modelled(**changes):
    transformers = pytest.importorskip("transformers")
    vision = transformers.Sam2VisionConfig(
        backbone_config=transformers.Sam2HieraDetConfig(**SMALL), backbone_channel_list=[64, 32, 16, 8]
    )
    torch.manual_seed(0)
    return transformers.Sam2VideoModel(transformers.Sam2VideoConfig(vision_config=vision, **changes))


@pytest.fixture(scope="module")
def state():
    """Weights of a SAM-2.1 with a small image encoder, by their published names."""
    found = {name: torch.randn(tensor.shape) for name, tensor in modelled().state_dict().items()}
    return published(found)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(sam2_checkpoint, "ENCODERS", {(8, 5): SMALL})


def test_every_weight_of_transformers_has_a_published_name(state):
    # What the authors' own model has: 7 parameters, and modules as they are named there.
    assert {name for name in state if "." not in name} == {
        "maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial",
    }  # fmt: skip
    assert {name.split(".")[0] for name in state if "." in name} == {
        "image_encoder", "mask_downsample", "memory_attention", "memory_encoder", "sam_prompt_encoder",
        "sam_mask_decoder", "obj_ptr_proj", "obj_ptr_tpos_proj",
    }  # fmt: skip
    assert len(set(NAMES.values())) == len(NAMES)


def test_there_and_back_again(state):
    again = renamed(state, where="a")
    assert again.keys() == modelled().state_dict().keys()
    back = published(again)
    assert back.keys() == state.keys() and all(torch.equal(back[name], state[name]) for name in state)


def test_what_is_written_is_loaded_as_a_model_of_images_and_of_videos(state, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.save({"model": state, "epoch": 3}, tmp_path / "sam2.pt")
    said = convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights", size=512)
    assert re.fullmatch(r"[\d,]+ weights of SAM-2.1, for images of 512×512", said)
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["config.json", "model.safetensors"]
    options = {"output_loading_info": True, "local_files_only": True, "use_safetensors": True}
    for kind in (transformers.Sam2Model, transformers.Sam2VideoModel):
        model, told = kind.from_pretrained(tmp_path / "weights", **options)
        assert not told["missing_keys"] and not told["mismatched_keys"]
        expected = renamed(state, where="a")
        assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
        assert model.config.prompt_encoder_config.image_size == 512
    assert model.config.memory_attention_rope_feat_sizes == [32, 32] and model.config.image_size == 512


def test_the_first_sam_2_is_told_by_what_it_lacks(state, tmp_path):
    transformers = pytest.importorskip("transformers")
    lacks = ("obj_ptr_tpos_proj", "no_obj_embed_spatial")
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith(lacks)}, tmp_path / "sam2.pt")
    assert "of SAM-2, for" in convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights")
    config = transformers.Sam2VideoConfig.from_pretrained(tmp_path / "weights")
    assert not config.enable_occlusion_spatial_embedding and config.image_size == 1024
    assert not config.enable_temporal_pos_encoding_for_object_pointers


def test_safetensors_of_the_published_names_are_read_too(state, tmp_path):
    from multifocal.weights import write_weights

    write_weights(tmp_path / "sam2.safetensors", state)
    assert "SAM-2.1" in convert_checkpoint(tmp_path / "sam2.safetensors", tmp_path / "weights")


def test_a_folder_is_replaced_only_when_asked(state, tmp_path):
    torch.save(state, tmp_path / "sam2.pt")
    convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights")
    with pytest.raises(UserError, match="weights: exists already; choose another folder, or --overwrite"):
        convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights")
    convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights", overwrite=True)
    (tmp_path / "weights/mine.txt").touch()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for out in (
        "",
        "sam2.pt",
        "weights",
    ):  # what holds the checkpoint itself, what is a file, what holds something else
        with pytest.raises(UserError, match="is something else than converted weights, and is not replaced"):
            convert_checkpoint(tmp_path / "sam2.pt", tmp_path / out, overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_views_and_shared_tensors_are_weights_like_any_other(state, tmp_path):
    name = "sam_prompt_encoder.no_mask_embed.weight"
    turned = changed(state, **{name: state[name].t().contiguous().t(), "no_mem_embed": state["no_mem_pos_enc"]})
    torch.save(turned, tmp_path / "sam2.pt")
    convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights")
    assert (tmp_path / "weights/model.safetensors").is_file()


def test_the_command_says_what_it_wrote_where(state, tmp_path, capsys):
    from multifocal import cli

    torch.save(state, tmp_path / "sam2.pt")
    folder = tmp_path / "deep/weights"
    arguments = ["convert-sam2", str(tmp_path / "sam2.pt"), "--out", str(folder), "--size"]
    for size, code, says in (
        (500, 2, "size 500: is no multiple of 32"),
        (512, 0, "weights of SAM-2.1, for images of 512×512"),
        (512, 2, "exists already"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.run([*arguments, str(size)])
        said = " ".join("".join(capsys.readouterr()).split())
        assert ended.value.code == code and says in said
    assert (folder / "model.safetensors").is_file()


class Evil:
    """What would run when a pickle is opened without care."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize("protocol", [2, 5])
def test_nothing_of_a_pickle_is_run(tmp_path, protocol):
    torch.save({"model": {"a": Evil()}}, tmp_path / "zipped.pt", pickle_protocol=protocol)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil(), protocol=protocol))
    for name in ("zipped", "plain"):
        with pytest.raises(UserError, match=r"pt: is no pickle, or holds more than weights, which could run any code"):
            convert_checkpoint(tmp_path / f"{name}.pt", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def changed(state, **changes):
    return {name: tensor for name, tensor in {**state, **changes}.items() if tensor is not None}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (lambda state: [1, 2], "is no SAM-2: it does not hold weights by name"),
        (lambda state: {"model": {"a": 1}}, "is no SAM-2: it does not hold weights by name"),
        (lambda state: changed(state, other=torch.zeros(1)), "is no SAM-2: it has a weight 'other'"),
        (lambda state: changed(state, no_mem_embed=None), r"1 weights of SAM-2 are missing \(no_memory_embedding\)"),
        (lambda state: changed(state, no_mem_embed=torch.zeros(2)), "its no_memory_embedding has another shape"),
        (lambda state: {}, "its image encoder of 0 blocks and width 0 is none of SAM-2's"),
        (
            lambda state: changed(state, **{"image_encoder.trunk.pos_embed": torch.zeros(())}),
            "its image encoder of 5 blocks and width 0 is none of SAM-2's",
        ),
        (
            lambda state: changed(state, **{"sam_prompt_encoder.point_embeddings.1.weight": torch.zeros(1, 3)}),
            r"1 weights of SAM-2 are missing \(prompt_encoder.point_embed.weight\)",
        ),
        (lambda state: changed(state, no_mem_embed=torch.full((1,), torch.nan)), "no_mem_embed does not hold finite"),
        (lambda state: changed(state, no_mem_embed=torch.zeros(1, dtype=torch.complex64)), "does not hold finite real"),
        (lambda state: changed(state, no_mem_embed=torch.zeros(2).to_sparse()), "does not hold finite real"),
    ],
)
def test_what_is_no_sam_2_is_one_line(state, tmp_path, held, message):
    torch.save(held(state), tmp_path / "other.pt")
    with pytest.raises(UserError, match=message) as caught:
        convert_checkpoint(tmp_path / "other.pt", tmp_path / "weights")
    assert "\n" not in str(caught.value) and "other.pt: " in str(caught.value)
    assert not (tmp_path / "weights").exists()


def test_a_file_that_cannot_be_read_is_one_line(state, tmp_path):
    with pytest.raises(UserError, match=r"none.pt: no such file"):
        convert_checkpoint(tmp_path / "none.pt", tmp_path / "weights")
    torch.save(state, tmp_path / "cut.pt")
    whole = (tmp_path / "cut.pt").read_bytes()
    for held in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        (tmp_path / "cut.pt").write_bytes(held)
        with pytest.raises(UserError, match=r"cut.pt: (cannot be read|is no pickle)") as caught:
            convert_checkpoint(tmp_path / "cut.pt", tmp_path / "weights")
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def reference():
    """The authors' own SAM-2.1 (tiny) for images of 128×128, with random weights."""
    build_sam = pytest.importorskip("sam2.build_sam")
    sizes = ["++model.image_size=128"]
    for attention in ("self_attention", "cross_attention"):
        sizes.append(f"++model.memory_attention.layer.{attention}.feat_sizes=[8,8]")
    torch.manual_seed(0)
    model = build_sam.build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=sizes, fill_hole_area=0
    )
    for name, parameter in model.named_parameters():
        # As they start, answers hardly depend on what is asked, and not at all on some of the weights.
        spread = 0.05 if "gaussian" not in name else 1.0
        parameter.data += spread * torch.randn(parameter.shape)
    return model


def test_the_authors_own_model_answers_alike(reference, monkeypatch, tmp_path):
    transformers = pytest.importorskip("transformers")
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    monkeypatch.setattr(sam2_checkpoint, "ENCODERS", ENCODERS)
    torch.save({"model": reference.state_dict()}, tmp_path / "sam2.pt")
    convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights", size=128)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    boxes = np.array([[20, 30, 60, 90], [70, 10, 120, 50]])

    predictor = SAM2ImagePredictor(reference)
    predictor._bb_feat_sizes = [(32, 32), (16, 16), (8, 8)]  # it has those of 1024 pixels
    predictor.set_image(image)
    theirs, _, _ = predictor.predict(box=boxes - 0.5, multimask_output=False, return_logits=True)
    model = transformers.Sam2Model.from_pretrained(tmp_path / "weights").eval()
    ours = segment_boxes(model, image.transpose(2, 1, 0) / 255, boxes)
    expected = torch.from_numpy(theirs).amax((0, 1)).sigmoid().T.numpy()
    assert np.ptp(expected) > 0.1
    assert np.abs(ours - expected).max() < 1e-4


def test_the_authors_own_model_follows_alike(reference, monkeypatch, tmp_path):
    transformers = pytest.importorskip("transformers")
    from sam2 import sam2_video_predictor

    monkeypatch.setattr(sam2_checkpoint, "ENCODERS", ENCODERS)
    torch.save({"model": reference.state_dict()}, tmp_path / "sam2.pt")
    convert_checkpoint(tmp_path / "sam2.pt", tmp_path / "weights", size=128)
    model = transformers.Sam2VideoModel.from_pretrained(tmp_path / "weights").eval()
    colours = np.random.default_rng(0).random((3, 128, 128, 9)).astype(np.float32)
    tracks = [Track(4, (20, 30, 60, 90), 2, 7), Track(4, (70, 10, 120, 50), 4, 5), Track(6, (5, 60, 30, 100), 5, 8)]

    frames = torch.from_numpy(colours.transpose(3, 0, 2, 1).copy())
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    loaded = ((frames - mean) / std, 128, 128)
    monkeypatch.setattr(sam2_video_predictor, "load_video_frames", lambda **_: loaded)
    expected = np.zeros((128, 128, 9), np.float32)
    for track in tracks:
        for reverse, steps in ((False, track.last - track.slice), (True, track.slice - track.first)):
            told = reference.init_state("")
            reference.add_new_points_or_box(told, track.slice, 1, box=np.array(track.box) - 0.5, normalize_coords=True)
            for number, _, logits in reference.propagate_in_video(told, track.slice, steps, reverse):
                np.maximum(expected[..., number], logits[0, 0].sigmoid().T.numpy(), out=expected[..., number])
    assert all(np.ptp(expected[..., number]) > 0.1 for number in range(2, 9))
    assert np.abs(segment_video(model, colours, tracks) - expected).max() < 1e-4
