import pytest
import yaml

from multifocal import recipes
from multifocal.errors import UserError
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.systems.threshold import ThresholdRecipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_of_the_package_loads_and_survives_a_round_trip(name):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.source and recipe.description
    text = recipes.dump(recipe)
    again = recipes.parse(yaml.safe_load(text), where="again")
    assert again == recipe
    assert recipes.dump(again) == text


def test_the_names():
    names = recipes.names()
    assert names[0] == "default" and list(names) == sorted(names)
    known = {"hie-nnunet-2023", "hie-sam2-zeroshot", "hie-sparseg-2025", "hie-unet3d-2025", "nuclei-default"}
    assert known | {"nuclei-otsu", "wmh-default", "zadc-threshold"} <= set(names)
    with pytest.raises(UserError, match="unknown recipe 'defalt'; did you mean 'default'"):
        recipes.load("defalt")


def test_a_file_in_capitals_is_a_file(tmp_path):
    (tmp_path / "MINE.YML").write_text(recipes.dump(recipes.load("zadc-threshold")))
    assert recipes.load(tmp_path / "MINE.YML") == recipes.load("zadc-threshold")


def test_a_dump_spells_out_every_default():
    dumped = yaml.safe_load(recipes.dump(recipes.load("hie-small")))
    assert set(dumped) == set(NetworkRecipe.model_fields)
    assert dumped["training"]["accumulate"] == 1
    assert dumped["augmentation"]["elastic"] is None


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("training.epochs=3", lambda r: r.training.epochs == 3),
        ("optimizer.lr=1e-4", lambda r: r.optimizer.lr == 1e-4),
        ("training.precision=32", lambda r: r.training.precision == "32"),
        ("training.precision=bf16", lambda r: r.training.precision == "bf16"),
        ("preprocessing.channels.0.map=t2", lambda r: r.preprocessing.channels[0].map == "t2"),
        ("preprocessing.channels.1={map: t2}", lambda r: r.preprocessing.channels[1].map == "t2"),
        ("inference.window=[8, 8, 4]", lambda r: r.inference.window == (8, 8, 4)),
        ("augmentation.elastic={}", lambda r: r.augmentation.elastic.p == 0.5),
        ("augmentation.elastic.p=0.3", lambda r: r.augmentation.elastic.p == 0.3),
        ("augmentation.noise=null", lambda r: r.augmentation.noise is None),
        ("network.options.norm=instance", lambda r: r.network.options["norm"] == "instance"),
        ("schedule={name: exponential, gamma: 0.5}", lambda r: r.schedule.gamma == 0.5),
        ("description=a=b", lambda r: r.description == "a=b"),
    ],
)
def test_overrides(override, found):
    assert found(recipes.load("hie-small", overrides=[override]))


def test_later_overrides_win():
    assert recipes.load("hie-small", overrides=["training.seed=1", "training.seed=2"]).training.seed == 2


def test_what_a_recipe_switches_off_can_be_switched_on(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(recipes.dump(recipes.load("hie-small", overrides=["augmentation.noise=null"])))
    assert recipes.load(path, overrides=["augmentation.noise.p=0.1"]).augmentation.noise.p == 0.1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "--set training.epochs: expected key=value"),
        ("=3", "--set =3: expected key=value"),
        ("training.epoch=3", "hie-small: training: unknown key 'epoch'; did you mean 'epochs'?"),
        ("trainin.epochs=3", "hie-small: unknown key 'trainin'; did you mean 'training'?"),
        ("training.epochs.x=3", "'epochs' is a value, not a section"),
        ("training.epochs=", "hie-small: training.epochs: Input should be a valid integer, found None"),
        ("training.epochs=[", "--set training.epochs: not valid YAML"),
        ("training.epochs=!!python/name:os.system x", "could not determine a constructor"),
        ("preprocessing.channels.3.map=adc", "expected a position from 0 to 2, found '3'"),
        ("preprocessing.channels.-1.map=adc", "expected a position from 0 to 2, found '-1'"),
        ("preprocessing.channels.²=adc", "expected a position from 0 to 2, found '²'"),
        ("preprocessing.channels.x=3", "expected a position from 0 to 2, found 'x'"),
        ("preprocessing.kind=brainbox", "preprocessing: unknown kind 'brainbox'; did you mean 'brain-box'?"),
        ("kind=netwrk", "hie-small: unknown kind 'netwrk'; did you mean 'network'?"),
        ("kind=[network]", "hie-small: unknown kind"),
        ("..=3", "unknown key ''"),
    ],
)
def test_bad_overrides_are_named(override, message):
    with pytest.raises(UserError) as caught:
        recipes.load("hie-small", overrides=[override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_yours(tmp_path):
    folder = tmp_path / "my recipes"
    folder.mkdir()
    path = folder / "my own.yml"
    path.write_text(recipes.dump(recipes.load("zadc-threshold")))
    recipe = recipes.load(path, overrides=["below=-2.5"])
    assert isinstance(recipe, ThresholdRecipe)
    assert (recipe.below, recipe.brain) == (-2.5, "adc")


@pytest.mark.parametrize("content", ["", "text", "[1, 2]"])
def test_a_file_without_settings_is_named(content, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match="my.yaml: expected a mapping"):
        recipes.load(path, overrides=["training.epochs=3"])


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="none.yaml: no such file"):
        recipes.load(tmp_path / "none.yaml")


def test_a_recipe_that_names_itself_is_told_so(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("{kind: ensemble, name: one, members: [zadc-clean, zadc-clean, one.yaml]}")
    with pytest.raises(UserError, match=r"one.yaml: names itself as a recipe within it; name another one there"):
        recipes.load(one)
    one.write_text("{kind: ensemble, name: one, members: [zadc-clean, {recipe: ./other.yaml}]}")
    other.write_text(f"{{kind: cascade, name: other, first: {one}}}")
    with pytest.raises(UserError, match=r"one.yaml: names itself as a recipe within it, by way of other.yaml; name"):
        recipes.load(one)
    with pytest.raises(UserError, match=r"other.yaml: names itself as a recipe within it, by way of one.yaml; name"):
        recipes.load(other)
    one.write_text("{kind: threshold, name: one, map: zadc, below: -2.0}")
    other.write_text("{kind: ensemble, name: other, members: [one.yaml, one.yaml], combine: {rule: vote}}")
    assert len(recipes.load(other).members) == 2  # twice in one another is none within itself


def test_a_first_stage_that_is_the_recipe_itself_is_told_so(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        f"{recipes.dump(recipes.load('hie-small'))}\n".replace("start_from: null", "start_from: {recipe: mine.yaml}")
    )
    with pytest.raises(UserError, match=r"mine.yaml: names itself as a recipe within it"):
        recipes.load(mine)
