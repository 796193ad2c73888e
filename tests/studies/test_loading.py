"""What a study may say, and what is said about one that cannot be."""

import json
import subprocess
import sys
from types import SimpleNamespace

import hypothesis
import pytest
import torch
import yaml
from hypothesis import strategies as st

from multifocal import losses, recipes, studies
from multifocal.cohorts import Fold
from multifocal.errors import UserError
from multifocal.studies.grid import Cell, Grid
from multifocal.studies.loading import merged

BASE = """
name: mine
recipe: hie-small
arms:
  one: {loss: {name: dice}}
  two: {training: {epochs: 2}}
"""


@pytest.fixture
def load(tmp_path):
    def load(text=BASE, *overrides):
        (tmp_path / "mine.yaml").write_text(text)
        return studies.load(tmp_path / "mine.yaml", overrides=overrides)

    return load


def test_arms_are_the_recipe_with_what_they_change(load):
    study = load(BASE + "set: {training: {epochs: 7}, optimizer: {lr: 0.5}}\n")
    default = recipes.load("hie-small", overrides=["training.epochs=7", "optimizer.lr=0.5", "training.seed=4"])
    one, two = (studies.resolve(study, arm, seed=4) for arm in ("one", "two"))
    assert one == default.model_copy(update={"loss": one.loss}) and one.loss.name == "dice"
    assert two == default.model_copy(update={"training": two.training}) and two.training.epochs == 2


def test_a_cell_is_told_the_recipe_that_its_arm_is(load, small_recipe):
    study = load(BASE + f"  three: {{recipe: {small_recipe}}}\n  four: {{recipe: zadc-threshold}}\n")
    for arm in study.arms:
        recipe = studies.resolve(study, arm, seed=1)
        assert recipes.parse(json.loads(recipe.model_dump_json()), where="job") == recipe


def test_an_arm_may_have_a_base_of_its_own(load, small_recipe):
    study = load(
        BASE + f"  three: {{recipe: {small_recipe}, optimizer: {{lr: 1.0}}}}\n  four: {{recipe: zadc-threshold}}\n"
    )
    three, four = (studies.resolve(study, arm, seed=1) for arm in ("three", "four"))
    assert (three.name, three.optimizer.lr, three.training.seed) == ("small", 1.0, 1)
    assert four == recipes.load("zadc-threshold")


def test_paths_are_relative_to_the_study(load, small_recipe, tmp_path):
    (tmp_path / "base.yaml").write_text(small_recipe.read_text())
    study = load(BASE.replace("hie-small", "base.yaml"))
    assert study.recipe == recipes.load(small_recipe).model_dump(mode="json")


def test_weights_to_start_from_are_relative_to_the_study(load, tmp_path):
    study = load(
        BASE.replace("{loss: {name: dice}}", "{training: {start_from: runs/1}}"), "set.training.start_from=../runs/0"
    )
    starts = [studies.resolve(study, arm, seed=0).training.start_from for arm in ("one", "two")]
    assert starts == [str(tmp_path / "runs/1"), str(tmp_path / "../runs/0")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("loss: {name: dice}", "lost: {name: dice}", "arm one: unknown key 'lost'; did you mean 'loss'?"),
        ("loss: {name: dice}", "loss: {name: dise}", "arm one: loss: unknown loss 'dise'; did you mean 'dice'?"),
        ("epochs: 2", "epoch: 2", "arm two: training: unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs: 2", "epochs: two", "arm two: training.epochs: Input should be a valid integer"),
        ("epochs: 2", "seed: 2", r"arms.two.training.seed: every arm is trained with each of `seeds`"),
        ("  two:", "  one:", "line 5: key 'one' stands twice in one section"),
        ("  two:", "  One:", "arms one and One would share a folder on some systems; rename one"),
        ("  two:", "  ../two:", "arm '../two': a name is a folder"),
        ("  two:", "  a b:", "arm 'a b': a name is a folder"),
        ("recipe: hie-small", "recipe: hie-smal", "unknown recipe 'hie-smal'; did you mean 'hie-small'?"),
        ("recipe: hie-small", "recipe: 3", "recipe: Input should be a"),
        ("name: mine", "nam: mine", "unknown key 'nam'; did you mean 'name'?"),
        ("{loss: {name: dice}}", "{recipe: 3}", "arms.one.recipe: expected a recipe, found 3"),
        ("{loss: {name: dice}}", "3", "arms.one: Input should be a"),
    ],
)  # fmt: skip
def test_mistakes_are_named(load, old, new, message):
    assert old in BASE
    with pytest.raises(UserError, match=message):
        load(BASE.replace(old, new))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("arms={}", "arms: Dictionary should have at least 1 item"),
        ("seeds=[]", "seeds: .* at least 1 item"),
        ("seeds=[1,1]", r"seeds=\[1, 1\] names one twice"),
        ("seeds=[-1]", "seeds.0: Input should be greater than or equal to 0"),
        ("folds={scheme: kfold, run: [1, 1]}", r"folds.run=\[1, 1\] names one twice"),
        ("folds={scheme: other}", "unknown scheme 'other'; choose from: kfold, nested, dataset, file"),
        ("folds={scheme: file}", "folds.path is missing"),
        ("folds={scheme: dataset, number: 3}", "folds: unknown key 'number'"),
        ("resources.cpus=0", "resources.cpus: Input should be greater than 0"),
        ("resources.gpus=2", "resources.gpus: Input should be less than or equal to 1"),
        ("metrics.rules.tolerence=1.0", "unknown key 'tolerence'; did you mean 'tolerance'?"),
        ("metrics.rules.tolerance=-1.0", "tolerance is -1.0"),
        ("metrics.undefined=zero", "metrics.undefined: Input should be 'skip' or 'diagonal'"),
        (
            "published={source: s, data: d, values: {three: {Dice: 1.0}}}",
            "published.values.three: there is no such arm",
        ),
        ("set.training.epochs=0", "arm one: training.epochs: Input should be greater than 0"),
        ("nothing", "--set nothing: expected key=value"),
    ],
)
def test_values_that_cannot_be_are_named(load, override, message):
    with pytest.raises(UserError, match=message):
        load(BASE, override)


def test_a_name_that_is_no_study():
    with pytest.raises(UserError, match="unknown study 'hie-loses'; did you mean 'hie-losses'?"):
        studies.load("hie-loses")


def test_a_study_comes_back_as_it_was_written_down(load, tmp_path):
    study = load(BASE + "  false: {}\nseeds: [3, 1]\nfolds: {scheme: nested, run: [2]}\n")
    (tmp_path / "again.yaml").write_text(studies.dump(study))
    assert studies.load(tmp_path / "again.yaml") == study
    assert yaml.safe_load(studies.dump(study))["metrics"]["rules"]["tolerance"] == 2.0


@pytest.mark.parametrize("name", studies.names())
def test_every_study_of_the_package_says_what_it_is_and_where_numbers_are_from(name):
    study = studies.load(name)
    assert study.name == name and study.description and study.source
    assert study.published is None or (study.published.source and study.published.data and study.published.values)
    for arm in study.arms:
        recipe = studies.resolve(study, arm, seed=0)
        assert recipe.kind != "network" or losses.build(recipe.loss.name, **recipe.loss.options)


def test_the_studies_of_the_package_have_the_arms_of_the_papers():
    arms = {name: list(studies.load(name).arms) for name in studies.names()}
    assert len(arms["hie-losses"]) == 6 and len(arms["hie-inputs"]) == 4 and len(arms["hie-2d-losses"]) == 5
    nuclei = ["gdf", "blob-gdf", "ici", "false", "proximity"]
    assert arms["instance-losses-nuclei"] == nuclei and arms["instance-losses"][:5] == nuclei
    table_4 = {"dice", "dice-ce", "generalized-dice", "focal", "gdf", "tversky", "inverse-weighted-dice", "blob-dice"}
    assert table_4 < set(arms["instance-losses"])
    combined = studies.load("instance-losses").combined
    assert {name: one.of for name, one in combined.items()} == {
        f"{arm}+blob-gdf": ("blob-gdf", arm) for arm in ("gdf", "ici", "false", "proximity")
    }
    assert {(one.combine.rule, one.combine.below_ml) for one in combined.values()} == {("volume", 0.05)}
    inputs = studies.load("hie-inputs")
    channels = [len(studies.resolve(inputs, arm, seed=0).preprocessing.channels) for arm in inputs.arms]
    assert channels == [1, 1, 2, 3]
    attention = studies.load("hie-2d-losses")
    assert [studies.resolve(attention, arm, seed=0).network.options["attention"] for arm in attention.arms] == [
        None,
        None,
        "scse",
        None,
        None,
    ]


@pytest.mark.parametrize("name", ["hie-compound-weights", "hie-tlhf-weights", "hie-2d-losses", "hie-inputs"])
def test_the_studies_of_hie_run_on_the_form_for_a_cpu(name):
    small = {"hie-compound-weights": "hie-unet3d-cpu"}.get(name, "hie-sparseg-cpu")
    study = studies.load(name, overrides=[f"recipe={small}"])
    assert {studies.resolve(study, arm, seed=0).name for arm in study.arms} == {small}


def built(study, arm):
    loss = studies.resolve(study, arm, seed=0).loss
    return losses.build(loss.name, **loss.options)


def test_the_weights_of_the_compounds_are_those_of_their_names():
    torch.manual_seed(0)
    batch = torch.randn(2, 1, 8, 9), (torch.rand(2, 1, 8, 9) < 0.2).float()
    study = studies.load("hie-compound-weights")
    for arm in study.arms:
        name, alpha, beta = arm.rsplit("-", 2)
        alpha, beta = float(alpha), float(beta)
        assert 0.5 <= alpha <= 0.9 and 0.1 <= beta <= 0.5
        terms = losses.build(f"{name}-hausdorff").terms(*batch)
        region = terms["tversky"] if name == "tversky" else 0.5 * (terms["dice"] + terms["focal"])
        expected = alpha * region + beta * terms["log-hausdorff-dt"]
        assert built(study, arm)(*batch).item() == pytest.approx(expected.item(), rel=1e-6)


def test_each_weight_of_tlhf_moves_by_a_fifth_alone():
    study = studies.load("hie-tlhf-weights")
    centre, *others = (built(study, arm).weights for arm in study.arms)
    moved = []
    for weights in others:
        [name] = [name for name in centre if weights[name] != centre[name]]
        ratio = weights[name][0] / centre[name][0] if name == "focal" else weights[name] / centre[name]
        assert name != "focal" or weights[name][1] / centre[name][1] == pytest.approx(ratio)
        moved.append((name, round(ratio, 6)))
    terms = ("tversky", "log-hausdorff-dt", "focal")
    assert moved == [(name, ratio) for name in terms for ratio in (0.8, 1.2)]


@pytest.mark.parametrize(
    ("combined", "message"),
    [
        ("{one: {of: [one, two], combine: {rule: vote}}}", "combined.one: an arm of this name is trained"),
        ("{ONE: {of: [one, two], combine: {rule: vote}}}", "arms one and ONE would share a folder"),
        (
            "{both: {of: [one, three], combine: {rule: vote}}}",
            "combined.both.of: there is no arm three; choose from one",
        ),
        ("{both: {of: [one], combine: {rule: vote}}}", "combined.both.of"),
        ("{both: {of: [one, two], combine: {rule: mean}}}", "combined.both.combine"),
        ("{both: {of: [one, two, one], combine: {rule: volume}}}", "between 2 systems, not 3"),
        ("{a/b: {of: [one, two], combine: {rule: vote}}}", "arm 'a/b': a name is a folder"),
    ],
)
def test_combined_arms_that_cannot_be(load, combined, message):
    with pytest.raises(UserError, match=message):
        load(BASE + f"combined: {combined}\n")


SETTINGS = st.recursive(
    st.integers() | st.none(), lambda inner: st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
)


@hypothesis.given(st.dictionaries(st.sampled_from("ab"), SETTINGS), st.dictionaries(st.sampled_from("ab"), SETTINGS))
@hypothesis.settings(max_examples=50)
def test_merging_keeps_what_is_not_named_and_can_be_repeated(base, changes):
    before = repr((base, changes))
    result = merged(base, changes)
    assert repr((base, changes)) == before
    assert merged(result, changes) == result and merged(base, {}) == base and merged({}, changes) == changes
    for key in base.keys() - changes.keys():
        assert result[key] == base[key]


@pytest.mark.parametrize("kind", ["name", "kind"])
def test_another_kind_of_thing_replaces_all_of_it(kind):
    base = {"loss": {kind: "tversky", "options": {"alpha": 0.3}}, "lr": 1}
    assert merged(base, {"loss": {kind: "dice"}}) == {"loss": {kind: "dice"}, "lr": 1}
    assert merged(base, {"loss": {"options": {"beta": 1}}})["loss"]["options"] == {"alpha": 0.3, "beta": 1}


def test_a_study_is_read_without_any_extra():
    extras = ("lightning", "monai", "tensorboard", "torchmetrics", "ray", "jinja2", "matplotlib")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({extras})); from multifocal import studies; studies.load('demo')"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


FROZEN = """
name: frozen
recipe: hie-unet3d-2025
arms:
  network: {training: {epochs: 2}}
  threshold: {recipe: zadc-threshold}
  ensemble:
    recipe:
      {kind: ensemble, name: two, members: [{run: /runs/0}, {run: /runs/1}], combine: {rule: mean, threshold: 0.4}}
  cascade:
    recipe:
      kind: cascade
      name: both
      first: {run: /runs/0}
      brain: adc
      second: {kind: voxels, maps: [zadc, adc], map: zadc, below: -1.0}
      forest: {trees: 50}
folds: {scheme: nested, number: 3, run: [0]}
"""
# Computed by the package of format 1, before recipes had hysteresis and a least volume; the cascade's, before trees
# were boosted.
FINGERPRINTS = {
    "network": "0b5a3857bbdbb4c4f1096ea2c538d368c3cd866fb764e01b52e7ab99a6050172",
    "threshold": "6e7f8b26710053821a69d213b730e85dcfe38c5a422f4dea0ed2dc8b520a8862",
    "ensemble": "477a386e3ee29fa168afde6f40421eb8d19ba1b28f121990a6cb4a438ac649a9",
    "cascade": "904bddae118defe495b2b56da5dbdc5621f10a8cbf83d72cee7272988faaabfa",
}


@pytest.fixture
def fingerprint_of(load):
    def fingerprint_of(arm, *overrides):
        study = load(FROZEN, *overrides)
        fold = Fold(train=("a", "b"), validation=("c",), test=("d",))
        recipe = {(arm, 1): studies.resolve(study, arm, seed=1)}
        return Grid(study, None, SimpleNamespace(folds=[fold]), "data", recipe).fingerprint_of(Cell(0, 1, 0, arm))

    return fingerprint_of


@pytest.mark.parametrize("arm", FINGERPRINTS)
def test_a_key_that_recipes_gain_changes_no_fingerprint_while_it_is_neutral(fingerprint_of, arm):
    assert fingerprint_of(arm) == FINGERPRINTS[arm]


@pytest.mark.parametrize(
    ("arm", "override"),
    [
        ("network", "arms.network.inference.hysteresis=0.3"),
        ("network", "arms.network.inference.min_size_ml=0.1"),
        ("network", "arms.network.inference.min_size_voxels=3"),
        ("network", "arms.network.inference.min_size_dimensions=2"),
        ("network", "arms.network.inference.largest_only=true"),
        ("network", "arms.network.inference.temperature=2"),
        ("network", "arms.network.inference.tune={threshold: [0.4, 0.5]}"),
        ("network", "arms.network.optimizer={name: sgd, momentum: 0.9}"),
        ("network", "arms.network.optimizer={name: sgd, momentum: 0.9, nesterov: true}"),
        ("network", "arms.network.optimizer={name: adamw, clip: 1, clip_by: value}"),
        ("network", "arms.network.optimizer={name: adamw, clip: 1, clip_value: 1}"),
        ("network", "arms.network.augmentation.affine={p: 0.5}"),
        ("network", "arms.network.training.accumulation=sum"),
        ("network", "arms.network.training.ema=0.999"),
        ("network", "arms.network.training.loggers=[wandb]"),
        ("network", "arms.network.sampling.crop=[64, 64, 32]"),
        ("network", "arms.network.sampling.per_case=2"),
        ("network", "arms.network.sampling.empty=drop"),
        ("network", "arms.network.sampling.weights=burden"),
        ("network", "arms.network={network: {name: unetpp}, sampling: {slices: 4}}"),
        ("threshold", "arms.threshold.min_size_ml=0.1"),
        ("threshold", "arms.threshold.min_size_voxels=3"),
        ("threshold", "arms.threshold.largest_only=true"),
        ("ensemble", "arms.ensemble.combine={rule: mean, threshold: 0.4, hysteresis: 0.3}"),
        ("ensemble", "arms.ensemble.combine={rule: mean, threshold: 0.4, largest_only: true}"),
        ("cascade", "arms.cascade.forest={method: boosted}"),
        ("cascade", "arms.cascade.second={window: scales}"),
        ("cascade", "arms.cascade.second={window: scales, levels: [-2.0]}"),
    ],
)
def test_a_key_that_recipes_gain_counts_where_it_says_something(fingerprint_of, arm, override):
    assert fingerprint_of(arm, override) != FINGERPRINTS[arm]


def test_weights_to_start_from_count_by_their_contents(fingerprint_of, tmp_path):
    override, found = f"arms.network.training.start_from={tmp_path / 'mine.safetensors'}", []
    for contents in (b"one", b"two", b"one"):
        (tmp_path / "mine.safetensors").write_bytes(contents)
        found.append(fingerprint_of("network", override))
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("where", ["affine={p: 0.5, ", "one_of=[{p: 1, members: [{}, {affine: {p: 1, "])
def test_a_key_that_a_section_gains_counts_wherever_it_stands(fingerprint_of, where):
    ends = "}" + "}]}]" * where.startswith("one_of")
    said = [
        "degrees: [-10, 10]",
        "translations: [0, 0], rotate_about: null",
        "translations: [-1, 1]",
        "rotate_about: [2]",
    ]
    found = [fingerprint_of("network", f"arms.network.augmentation.{where}{each}{ends}") for each in said]
    assert found[0] == found[1] and len(set(found)) == 3


DENOISE = "training: {denoise: {}, monitor: null, epochs: 3}, network: {options: {prior: null}}"
STAGES = f"{{recipe: hie-small, set: {{{DENOISE}}}}}"


def test_a_recipe_to_start_from_counts_by_what_it_says(fingerprint_of):
    said = f"arms.network.training.start_from={STAGES}"
    longer = said.replace("epochs: 3", "epochs: 4")
    neutral = said.replace("epochs: 3", "epochs: 3, ema: null")  # a key that recipes have gained
    found = [fingerprint_of("network", override) for override in (said, longer, neutral)]
    assert len({FINGERPRINTS["network"], *found}) == 3 and found[0] == found[2]


def test_the_seed_of_a_recipe_to_start_from_moves_with_the_studys(load, tmp_path):
    says = recipes.load("hie-small", overrides=["training.seed=3", f"training.start_from={STAGES}"])
    (tmp_path / "own.yaml").write_text(recipes.dump(says))
    members = "{kind: ensemble, name: two, members: {recipe: own.yaml, seeds: [3, 4]}}"
    arms = f"arms:\n  one: {{recipe: own.yaml}}\n  both: {{recipe: {members}}}\n"
    study = load(f"name: mine\nrecipe: hie-small\nset: {{training: {{epochs: 7}}}}\n{arms}")
    one, first = studies.resolve(study, "one", seed=5).trainings
    assert (one.training.seed, first.training.seed) == (5, 2)
    assert (one.training.epochs, first.training.epochs) == (
        7,
        3,
    )  # the study's changes are not those of what was before
    assert studies.resolve(study, "one", seed=0).start.training.seed >= 0
    both = studies.resolve(study, "both", seed=2)
    ((start, numbers),) = both.shared_starts
    assert numbers == (0, 1) and start.training.seed == 2000
    assert [member.training.seed for _, member in both.fitted] == [2003, 2004]


def test_members_named_in_a_study_take_its_seed_and_changes(load, tmp_path):
    (tmp_path / "own.yaml").write_text(recipes.dump(recipes.load("hie-small", overrides=["training.seed=5"])))
    members = "{kind: ensemble, name: two, members: [own.yaml, {recipe: hie-small, set: {training: {seed: 1}}}]}"
    second = "{kind: voxels, maps: [zadc]}"
    cascade = f"{{kind: cascade, name: then, first: own.yaml, brain: adc, second: {second}}}"
    arms = f"arms:\n  both: {{recipe: {members}}}\n  then: {{recipe: {cascade}}}\n"
    study = load(f"name: mine\nrecipe: hie-small\nset: {{training: {{epochs: 7}}}}\n{arms}")
    for arm, seeds in (("both", {2005, 2001}), ("then", {2005})):
        trainings = [one.training for one in studies.resolve(study, arm, seed=2).trainings]
        assert ({one.seed for one in trainings}, {one.epochs for one in trainings}) == (seeds, {7})
    assert studies.resolve(study, "then", seed=2).forest.seed == 2000
