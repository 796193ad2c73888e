"""A promptable segmenter: boxes from candidates, and what SAM-2, with random weights, makes of them."""

import json

import numpy as np
import pytest
import torch

from multifocal import recipes
from multifocal.cohorts import Case, ImageFile
from multifocal.errors import UserError
from multifocal.systems import load_model, predict_cohort
from multifocal.systems.promptable import PromptableSystem, Track, segment_boxes, segment_video
from multifocal.volumes import Geometry, Volume, write

NAME = "hie-sam2-zeroshot"
SIZE = (20, 16, 6)


def made(folder, *lesions, size=SIZE, direction=None):
    """A case of brain everywhere but in the border, whose Z-ADC is -3 in boxes of slices, and 0 elsewhere."""
    adc, zadc = np.zeros(size, np.float32), np.zeros(size, np.float32)
    adc[tuple(slice(1, -1) for _ in size)] = 1000
    for lesion in lesions:
        zadc[lesion] = -3
    eye = direction or tuple(np.eye(len(size)).ravel())
    images = {}
    for name, array in (("adc", adc), ("zadc", zadc)):
        write(folder / f"{name}.mha", Volume(array, Geometry(size, (1.0,) * len(size), (0.0,) * len(size), eye)))
        images[name] = ImageFile(folder / f"{name}.mha")
    return Case("a", "a", images)


def mask(case, *changes):
    return load_model(NAME, overrides=[f"answer={changes[0]}", *changes[1:]]).predict(case).mask.array


LESION = (slice(4, 7), slice(5, 9), slice(2, 4))
SMALL = (slice(12, 13), slice(5, 8), slice(2, 3))


def test_candidates_and_boxes_are_those_of_the_components(tmp_path):
    case = made(tmp_path, LESION, SMALL)
    expected = np.zeros(SIZE, bool)
    expected[LESION] = True
    assert np.array_equal(mask(case, "candidates"), expected)
    assert np.array_equal(mask(case, "boxes", "candidates.margin=0"), expected)
    both = expected.copy()
    both[SMALL] = True
    assert np.array_equal(mask(case, "candidates", "candidates.min_size_voxels=3"), both)
    wide = np.zeros(SIZE, bool)
    wide[3:8, 4:10, 2:4] = True
    assert np.array_equal(mask(case, "boxes"), wide)


def test_an_axis_order_of_its_own_comes_back_as_it_was(tmp_path):
    turned = (0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0)  # the first axis runs from the feet to the head
    size, lesion = (6, 16, 20), (slice(2, 4), slice(5, 9), slice(4, 7))
    expected = np.zeros(size, bool)
    expected[2:4, 4:10, 3:8] = True
    assert np.array_equal(mask(made(tmp_path, lesion, size=size, direction=turned), "boxes"), expected)


def test_boxes_end_at_the_image_and_masks_at_the_brain(tmp_path):
    case = made(tmp_path, (slice(0, 4), slice(0, 4), slice(2, 3)))
    expected = np.zeros(SIZE, bool)
    expected[1:5, 1:5, 2] = True
    assert np.array_equal(mask(case, "boxes"), expected)


def test_an_image_of_two_dimensions_is_one_slice(tmp_path):
    case = made(tmp_path, (slice(4, 7), slice(5, 9)), size=(20, 16))
    expected = np.zeros((20, 16), bool)
    expected[3:8, 4:10] = True
    assert np.array_equal(mask(case, "boxes"), expected)


def test_no_box_is_an_empty_mask_and_a_warning(tmp_path):
    says = r"case a: no 4 voxels together with zadc below -2, so no box; its mask is empty \(.* raise candidates.below"
    with pytest.warns(UserWarning, match=says):
        assert not mask(made(tmp_path, SMALL), "boxes").any()


class Recorder(torch.nn.Module):
    """A model that remembers what it is asked, and answers that all of each box is lesion."""

    def __init__(self, side):
        super().__init__()
        from types import SimpleNamespace as Space

        self.weight, self.calls = torch.nn.Parameter(torch.zeros(1)), []
        self.config, self.answer = Space(prompt_encoder_config=Space(image_size=side)), Space

    def forward(self, *, pixel_values, input_boxes, multimask_output):
        assert not multimask_output
        self.calls.append((pixel_values, input_boxes))
        step = 4
        side = pixel_values.shape[-1] // step
        centres = step * (torch.arange(side) + 0.5)
        masks = torch.full((1, input_boxes.shape[1], 1, side, side), -20.0)
        for number, (left, top, right, bottom) in enumerate(input_boxes[0] + 0.5):
            rows, columns = (centres > top) & (centres < bottom), (centres > left) & (centres < right)
            masks[0, number, 0, rows[:, None] & columns] = 20.0
        return self.answer(pred_masks=masks)


def test_the_model_is_asked_once_a_slice_in_its_own_pixels(tmp_path):
    model = Recorder(256)
    recipe = recipes.load(NAME, overrides=["candidates.margin=0"])
    case = made(tmp_path, LESION, (slice(12, 16), slice(11, 13), slice(3, 4)))
    found = PromptableSystem(recipe, model).predict(case)
    assert [boxes.shape for _, boxes in model.calls] == [(1, 1, 4), (1, 2, 4)]
    # The brain's box begins at 1 and has 18×14 voxels.
    expected = np.array([3 / 18, 4 / 14, 6 / 18, 8 / 14]) * 256 - 0.5
    assert np.allclose(model.calls[0][1][0, 0], expected, atol=1e-4)
    image = model.calls[0][0]
    assert image.shape == (1, 3, 256, 256)
    assert np.allclose(image[0, :, 99, 99], (0.5 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], atol=1e-4)
    # What it is asked with is what it would answer without a model, and is no part where it is the answer.
    assert list(found.parts) == ["candidates", "boxes"]
    for name, part in found.parts.items():
        alone = load_model(NAME, overrides=[f"answer={name}", "candidates.margin=0"])
        expected = alone.predict(case)
        assert np.array_equal(part.mask.array, expected.mask.array) and not alone.parts and not expected.parts
        assert np.array_equal(part.probability.array, expected.probability.array)
    # A model that gives boxes back gives the boxes back.
    assert np.array_equal(found.mask.array, mask(case, "boxes", "candidates.margin=0"))
    assert found.probability.array.max() > 0.99


def test_left_and_top_are_the_first_axes_of_the_image():
    model = Recorder(32)
    colours = np.zeros((3, 16, 8), np.float32)
    colours[:, 12:, :2] = 1  # right, top
    found = segment_boxes(model, colours, np.array([[12, 0, 16, 2]]))
    assert np.array_equal(found > 0.5, colours[0] > 0)
    seen = model.calls[0][0][0, 0]
    assert seen[0, -1] == seen.max() and seen[-1, 0] == seen.min()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """SAM-2 as small as it gets, with random weights, for images and for videos."""
    transformers = pytest.importorskip("transformers")
    hiera = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 2, 2, 2],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[2, 2],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=128,
    )
    config = transformers.Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=transformers.Sam2VideoPromptEncoderConfig(hidden_size=128, image_size=64),
        mask_decoder_config=transformers.Sam2VideoMaskDecoderConfig(
            hidden_size=128, mlp_dim=32, iou_head_hidden_dim=32
        ),
        image_size=64,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam2")
    model = transformers.Sam2VideoModel(config)
    for name, parameter in model.named_parameters():
        # As they start, answers hardly depend on what is asked, and not at all on what is remembered.
        parameter.data = parameter * (5 if parameter.ndim > 1 else 1) + 0.1 * torch.randn(parameter.shape)
        if name == "mask_decoder.pred_obj_score_head.proj_out.bias":
            parameter.data += 100  # there is always something
    model.save_pretrained(folder)
    return folder


def videos(weights):
    return pytest.importorskip("transformers").Sam2VideoModel.from_pretrained(weights).eval()


def test_sam2_segments_a_cohort_and_answers_by_its_prompts(weights, small_cohort, tmp_path):
    from multifocal.cohorts import open_cohort

    cohort = open_cohort(small_cohort)
    cohort = cohort.subset([cohort.cases[0].name])
    model = load_model(NAME, overrides=[f"weights={weights}", "candidates={map: zadc, below: -1, min_size_voxels: 2}"])
    predict_cohort(model, cohort, tmp_path / "masks", probabilities=True)
    (case,) = cohort
    found = model.predict(case)
    assert not found.mask.geometry.differences(case.images["adc"].geometry())
    outside = case.images["adc"].read().array == 0
    assert not found.probability.array[outside].any() and found.probability.array.max() > 0
    # Each box alone has the mask that it has among others.
    colours, boxes = np.random.default_rng(0).random((3, 40, 30)), np.array([[5, 5, 12, 14], [20, 8, 28, 16]])
    alone = [segment_boxes(model.model, colours, boxes[[number]]) for number in (0, 1)]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    assert np.allclose(segment_boxes(model.model, colours, boxes), np.maximum(*alone), atol=1e-5)


@pytest.mark.slow
def test_a_report_shows_the_boxes_beside_what_the_model_makes_of_them(weights, small_cohort, run_parts_study, tmp_path):
    from multifocal.cohorts import open_cohort
    from multifocal.reports import write_report

    asked = {"recipe": NAME, "weights": str(weights), "candidates": {"map": "zadc", "below": -1}}
    arms = {"images": asked, "video": {**asked, "video": {}}, "prompts": {**asked, "answer": "boxes"}}
    cohort = open_cohort(small_cohort)
    page = write_report(run_parts_study(cohort, tmp_path / "study", f"arms={json.dumps(arms)}"), cohort)
    text = page.read_text(encoding="utf-8")
    section = text[text.index('id="parts"') : text.index('id="cases"')]
    assert [section.count(f'<th scope="row">{part}') for part in ("candidates", "boxes", "prompts")] == [2, 2, 0]
    case = (page.parent / "cases/S_4-VISIT_01.html").read_text(encoding="utf-8")
    assert all(f">{arm}/{part}</option>" in case for arm in ("images", "video") for part in ("candidates", "boxes"))


def test_an_image_of_the_models_own_size_goes_in_as_it_is(weights):
    model = load_model(NAME, overrides=[f"weights={weights}"], device="cpu").model
    colours = np.random.default_rng(1).integers(0, 256, (3, 64, 64)).astype(np.float32)
    box = np.array([[10, 20, 30, 44]])
    pixels = (
        torch.from_numpy(colours.transpose(0, 2, 1) / 255) - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    ) / (torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
    with torch.inference_mode():
        said = model(
            pixel_values=pixels[None].float(),
            input_boxes=torch.tensor([[[9.5, 19.5, 29.5, 43.5]]]),
            multimask_output=False,
        )
        logits = torch.nn.functional.interpolate(said.pred_masks[0], (64, 64), mode="bilinear", align_corners=False)
    expected = logits[0, 0].sigmoid().T.numpy()
    assert np.allclose(segment_boxes(model, colours / 255, box), expected, atol=1e-4)


def test_another_size_is_taken(weights):
    small = load_model(NAME, overrides=[f"weights={weights}", "size=128"], device="cpu")
    found = segment_boxes(small.model, np.zeros((3, 20, 20), np.float32), np.array([[2, 2, 9, 9]]))
    assert found.shape == (20, 20) and np.isfinite(found).all()
    assert small.model.backbone_feature_sizes == [[32, 32], [16, 16], [8, 8]]


COLOURS = np.random.default_rng(2).random((3, 40, 30, 8)).astype(np.float32)
TRACKS = [Track(3, (5, 5, 16, 18), 1, 5), Track(3, (18, 12, 28, 24), 3, 4), Track(5, (2, 14, 20, 28), 4, 7)]


def test_a_box_is_answered_in_its_slice_and_followed_to_the_ends_of_its_track(weights):
    found = segment_video(videos(weights), COLOURS, TRACKS[:1])
    assert found.dtype == np.float32 and found.shape == (40, 30, 8)
    assert not found[..., [0, 6, 7]].any() and all(np.ptp(found[..., number]) > 0.05 for number in range(1, 6))
    images = load_model(NAME, overrides=[f"weights={weights}"], device="cpu").model
    alone = segment_boxes(images, COLOURS[..., 3], np.array([TRACKS[0].box]))
    assert np.allclose(found[..., 3], alone, atol=1e-5)
    # What is remembered counts: asked anew, a slice further on has another answer.
    assert np.abs(segment_boxes(images, COLOURS[..., 4], np.array([TRACKS[0].box])) - found[..., 4]).max() > 0.05


def test_objects_are_followed_together_as_each_alone(weights):
    model = videos(weights)
    alone = [segment_video(model, COLOURS, [track]) for track in TRACKS]
    assert np.allclose(segment_video(model, COLOURS, TRACKS), np.maximum.reduce(alone), atol=1e-5)
    assert np.allclose(segment_video(model, COLOURS, TRACKS[::-1]), np.maximum.reduce(alone), atol=1e-5)
    assert not segment_video(model, COLOURS, []).any()


def test_up_and_down_are_alike(weights):
    model = videos(weights)
    turned = [Track(7 - track.slice, track.box, 7 - track.last, 7 - track.first) for track in TRACKS]
    assert np.allclose(
        segment_video(model, COLOURS[..., ::-1], turned)[..., ::-1], segment_video(model, COLOURS, TRACKS), atol=1e-5
    )


def test_in_a_video_a_component_has_one_box_in_its_largest_slice(tmp_path):
    small, large = (slice(4, 6), slice(5, 9), slice(1, 2)), (slice(4, 7), slice(5, 9), slice(2, 5))
    case = made(tmp_path, small, large)
    expected = np.zeros(SIZE, bool)
    expected[3:8, 4:10, 3] = True  # the middle one of the three that are largest
    assert np.array_equal(mask(case, "boxes", "video={}"), expected)


@pytest.mark.parametrize(("reach", "slices"), [(0, [2, 3]), (1, [1, 2, 3, 4]), (9, [1, 2, 3, 4])])
def test_a_video_is_followed_as_far_as_the_component_reaches_and_the_slices_beyond(weights, tmp_path, reach, slices):
    # The brain has slices 1 to 4.
    model = load_model(NAME, overrides=[f"weights={weights}", f"video.reach={reach}", "size=64"], device="cpu")
    found = model.predict(made(tmp_path, LESION))
    assert np.flatnonzero(found.probability.array.any((0, 1))).tolist() == slices
    assert list(found.parts) == ["candidates", "boxes"]


def test_a_video_has_another_size(weights):
    small = load_model(NAME, overrides=[f"weights={weights}", "size=128", "video={reach: 2}"], device="cpu").model
    assert small.image_size == 128 and small.config.memory_attention_rope_feat_sizes == [8, 8]
    found = segment_video(small, COLOURS, TRACKS)
    assert np.isfinite(found).all() and found.any()


def test_weights_of_images_alone_have_nothing_to_follow_with(weights, tmp_path):
    load_model(NAME, overrides=[f"weights={weights}"], device="cpu").model.save_pretrained(tmp_path / "images")
    with pytest.raises(UserError, match=r"weights of SAM-2 are missing \(.*\); give whole ones"):
        load_model(NAME, overrides=[f"weights={tmp_path / 'images'}", "video={}"], device="cpu")


def test_weights_that_are_not_there_are_one_line(weights, tmp_path):
    with pytest.raises(UserError, match="set download=true") as caught:
        load_model(NAME, overrides=["weights=facebook/no-such-model"], device="cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="it needs config.json and model.safetensors"):
        load_model(NAME, overrides=[f"weights={tmp_path}"], device="cpu")
    (tmp_path / "sam2.pt").touch()
    with pytest.raises(
        UserError, match=r"multifocal convert-sam2 .*sam2.pt --out FOLDER makes a folder of a published"
    ):
        load_model(NAME, overrides=[f"weights={tmp_path / 'sam2.pt'}"], device="cpu")


def test_a_pickle_is_not_opened_and_lacking_weights_are_named(weights, tmp_path):
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_text((weights / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(NAME, overrides=[f"weights={tmp_path}"], device="cpu")
    state = load_file(weights / "model.safetensors")
    save_file({k: v for k, v in state.items() if "iou_prediction" not in k}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="weights of SAM-2 are missing"):
        load_model(NAME, overrides=[f"weights={tmp_path}"], device="cpu")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("size=100", "size"),
        ("answer=sam", "answer: Input should be 'model', 'boxes' or 'candidates'"),
        ("candidates.min_size_voxels=0", "min_size_voxels"),
        ("channels=[{map: adc}]", "channels"),
        ("video.reach=-1", "video.reach"),
        ("video={frames: 3}", "video"),
    ],
)
def test_what_a_recipe_may_say(override, message):
    with pytest.raises(UserError, match=message):
        recipes.load(NAME, overrides=[override])


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("multifocal.versions.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"recipe hie-sam2-zeroshot needs transformers: pip install 'multifocal\[sam2\]'"
    ):
        load_model(NAME, device="cpu")
