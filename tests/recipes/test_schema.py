import pytest

from multifocal import recipes
from multifocal.errors import UserError

TWO_D = ["network={name: unetpp}", "inference.flips=[]", "augmentation={}"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.patience=5"], "patience needs a monitor"),
        (["training.monitor=dice", "training.patience=2", "training.validate_every=3"], "shorter than validate_every"),
        (["training.monitor=dic"], "training.monitor: Input should be 'dice', 'masd' or 'nsd'"),
        (["training.epochs=0"], "training.epochs: Input should be greater than 0"),
        (["training.seed=-1"], "training.seed"),
        (["schedule={name: plateau}"], "schedule plateau needs training.monitor"),
        (["schedule={name: plateau, factor: 1.0}"], "schedule.factor: Input should be less than 1"),
        (["optimizer.lr=0"], "optimizer.lr: Input should be greater than 0"),
        (["optimizer.lr=.inf"], "optimizer.lr: Input should be a finite number"),
        (["inference.threshold=1"], "inference.threshold: Input should be less than 1"),
        (["inference.window=[8, 8]"], r"inference.window=\[8, 8\] does not fit unet3d, a 3D network"),
        (["inference.window=[8, 8, 0]"], "inference.window.2: Input should be greater than 0"),
        (["sampling.crop=[8, 8]"], r"sampling.crop=\[8, 8\] does not fit unet3d, a 3D network"),
        (["sampling.slices=8"], r"sampling.slices is for 2D networks, and unet3d is 3D; set crop"),
        (["inference.flips=[3]"], r"inference.flips=\[3\] does not fit unet3d, whose axes are 0 to 2"),
        (["inference.flips=[-1]"], "inference.flips.0: Input should be greater than or equal to 0"),
        (["inference.flips=[1, 1]"], "names an axis twice"),
        ([*TWO_D, "inference.flips=[2]"], r"inference.flips=\[2\] does not fit unetpp, whose axes are 0 to 1"),
        ([*TWO_D, "augmentation.flip.axes=[2]"], r"augmentation.flip.axes=\[2\] does not fit unetpp"),
        ([*TWO_D, "augmentation.anisotropy.axes=[0, 2]"], "augmentation.anisotropy.axes"),
        ([*TWO_D, "augmentation.elastic.locked_axes=[2]"], "augmentation.elastic.locked_axes"),
        ([*TWO_D, "augmentation.quarter_turns.planes=[[0, 2]]"], "augmentation.quarter_turns.planes"),
        (
            [*TWO_D, "augmentation.one_of=[{members: [{}, {flip: {axes: [2]}}]}]"],
            r"augmentation.one_of.0.members.1.flip.axes=\[2\] does not fit unetpp",
        ),
        (
            ["augmentation.paste={p: 0.2}", "preprocessing.channels.0={map: adc, derive: mirror-difference}"],
            "augmentation.paste changes maps, but not their mirror image in a channel derived by mirror-difference",
        ),
        (
            [
                "augmentation.one_of=[{members: [{}, {paste: {}}]}]",
                "preprocessing.channels.0={map: adc, derive: mirror}",
            ],
            "augmentation.paste changes maps",
        ),
        (["network.name=unet"], "network: unknown network 'unet'"),
        (["network.options={feature: [8, 8]}"], "unknown key 'feature'; did you mean 'features'?"),
        (["network.options.features=[8, many]"], "features.1: Input should be a valid integer, found 'many'"),
        (["loss.name=dise"], "loss: unknown loss 'dise'; did you mean 'dice'?"),
        (["loss={name: tlhf, options: {gamma: 1}}"], "options of loss tlhf: unknown key 'gamma'; choose from"),
        (["loss.options.name=1"], "options of loss dice-ce: unknown key 'name'"),
        (["loss.options.activation=none"], "activation is no option of a recipe's loss"),
        (["loss.options.include_background=true"], "include_background is about softmax's channel"),
        (["loss.options.reduction=sum"], "reduction is no option of a recipe's loss: training needs one number"),
        (["loss.options.ignore=255"], "ignore is no option of a recipe's loss: which voxels are ignored"),
        (["loss.options.soft_labels=true"], "soft_labels is no option of a recipe's loss: its targets are masks"),
        (["loss.options.label_smoothing=1"], "label_smoothing: Input should be less than 1"),
        (["loss={name: dice, options: {label_smoothing: 0.1}}"], "dice has no cross-entropy or focal over the image"),
        (["loss.options.class_weights=[1, 2]"], r"class_weights=\[1, 2\] is not one number for each of .* channels, 1"),
        (
            ["labels={classes: {core: 1, edema: 2}}", "loss.options.class_weights=[1, 2]"],
            r"class_weights=\[1, 2\] is not one number for each of .* channels, 3",
        ),
        (["loss.options.class_weights=[0]"], r"class_weights=\(0.0,\); expected one above 0"),
        (["loss.options={spacing: [1.0, 1.0]}"], r"spacing=\[1.0, 1.0\] does not fit unet3d, a 3D network"),
        (["loss={name: tversky, options: {alpha: big}}"], "alpha: Input should be a valid number, found 'big'"),
        (
            [
                "preprocessing={kind: resize, size: [8, 8, 8], channels: [{map: adc}]}",
                "inference.within_brain=true",
            ],
            "inference.within_brain needs preprocessing.brain",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(overrides, message):
    with pytest.raises(UserError, match=message) as caught:
        recipes.load("hie-small", overrides=overrides)
    assert "\n" not in str(caught.value)


def test_the_same_2d_recipe_with_axes_that_fit_is_taken():
    recipe = recipes.load("hie-small", overrides=[*TWO_D, "augmentation.flip.axes=[0, 1]", "inference.flips=[1]"])
    assert recipe.inference.flips == (1,)


@pytest.mark.parametrize("key", ["map", "below", "name"])
def test_a_threshold_recipe_needs_its_keys(key):
    data = recipes.load("zadc-threshold").model_dump()
    del data[key]
    with pytest.raises(UserError, match=f"my.yaml: {key} is missing"):
        recipes.parse(data, where="my.yaml")


def test_a_networks_recipe_needs_a_name_and_its_maps():
    short = recipes.parse({"name": "mine", "preprocessing": {"channels": [{"map": "adc"}]}}, where="my.yaml")
    assert (short.preprocessing.kind, short.preprocessing.brain) == ("brain-box", "adc")
    assert (short.network.name, short.loss.name, short.training.epochs) == ("unet3d", "dice-ce", 60)
    assert recipes.parse(short.model_dump(mode="json"), where="my.yaml") == short
    with pytest.raises(UserError, match="my.yaml: preprocessing is missing$"):
        recipes.parse({"name": "mine"}, where="my.yaml")
    with pytest.raises(UserError, match="my.yaml: preprocessing.channels is missing$"):
        recipes.parse({"name": "mine", "preprocessing": {}}, where="my.yaml")


def test_a_first_channel_without_a_map_leaves_the_brain_to_the_next():
    channels = [{"derive": {"name": "coordinates", "axis": 2}}, {"map": "adc"}]
    assert (
        recipes.parse({"name": "mine", "preprocessing": {"channels": channels}}, where="x").preprocessing.brain == "adc"
    )


def test_the_loss_named_false_needs_no_quotes():
    assert recipes.load("hie-small", overrides=["loss.name=false"]).loss.name == "false"
