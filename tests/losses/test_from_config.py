"""What can be written in Python can be written as data, and the other way round."""

import inspect

import pytest
import torch
import yaml

from multifocal import losses
from multifocal.errors import UserError
from multifocal.losses import (
    Center,
    CriterionSum,
    Dice,
    Focal,
    GeneralizedDice,
    Hausdorff,
    LinearRamp,
    Proximity,
    StepWeights,
    Tversky,
    gdf,
)
from multifocal.losses.from_config import TERMS
from multifocal.losses.loss import Term
from multifocal.losses.regions import REGIONS

PUBLIC = {name: getattr(losses, name) for name in losses.__all__}


def test_the_same_terms_in_python_and_in_yaml():
    classes = {kind for kind in PUBLIC.values() if inspect.isclass(kind) and issubclass(kind, Term)}
    made = {
        f for f in PUBLIC.values() if inspect.isfunction(f) and inspect.signature(f).return_annotation is CriterionSum
    }
    assert {kind for kind in classes if not inspect.isabstract(kind)} | made == set(TERMS.values())


BOTH = [
    (0.9 * Tversky(alpha=0.3, beta=0.7), "{term: tversky, weight: 0.9, options: {alpha: 0.3, beta: 0.7}}"),
    (GeneralizedDice(weighting="normalized"), "{term: generalized-dice, options: {weighting: normalized}}"),
    (Hausdorff(alpha=1.0, empty="zero"), "{term: hausdorff-dt, options: {alpha: 1.0, empty: zero}}"),
    (Dice().over("image", batch=True), "{term: dice, over: {partition: image, options: {batch: true}}}"),
    (Dice().over("blobs"), "{term: dice, over: blobs}"),
    (
        gdf(gamma=3.0).over("instances", pool="image"),
        "{term: gdf, options: {gamma: 3}, over: {partition: instances, options: {pool: image}}}",
    ),
    (losses.dice_ce().over("prediction-cells"), "{term: dice-ce, over: prediction-cells}"),
    (Center(side=5), "{term: center, options: {side: 5}}"),
    (
        Center(criterion=Tversky(beta=0.9)),
        "{term: center, options: {criterion: {term: tversky, options: {beta: 0.9}}}}",
    ),
    (Proximity(), "{term: proximity}"),
    (Proximity(criterion=gdf(), combine="sum"), "{term: proximity, options: {criterion: gdf, combine: sum}}"),
    (
        CriterionSum("mine", ((Dice(), 1.0), (Focal(gamma=3.0), 2.0))).over("cells"),
        "{term: mix, over: cells, options: {name: mine, parts: [dice, {term: focal, weight: 2, options: {gamma: 3}}]}}",
    ),
    (losses.FalseDiscoveryRate() + losses.FalseNegativeRate(), "{term: false}, {term: missed}"),
    (losses.MSSSIM() + losses.CrossEntropy(), "{term: ms-ssim}, {term: ce}"),
    (losses.Jaccard() + losses.LogHausdorff(), "{term: jaccard}, {term: log-hausdorff-dt}"),
    (losses.DoubleSigmoidFocal(gamma=3.0), "{term: double-sigmoid-focal, options: {gamma: 3}}"),
    (LinearRamp(2.0, 4.0) * Dice(), "{term: dice, weight: [2, 4]}"),
    ((2.0, 4.0) * Dice(), "{term: dice, weight: {first: 2, last: 4}}"),
    (
        StepWeights(starts=(0.0, 0.5), values=(0.0, 1.0)) * Dice(),
        "{term: dice, weight: {starts: [0, 0.5], values: [0, 1]}}",
    ),
]


@pytest.mark.parametrize(("expression", "text"), BOTH, ids=[text for _, text in BOTH])
def test_the_same_loss_in_python_and_in_yaml(expression, text, batch):
    python = expression.build(threshold=0.4)
    data = losses.build("compound", terms=yaml.safe_load(f"[{text}]"), threshold=0.4)
    assert list(python.weights) == list(data.weights)
    for progress in (0.0, 0.75):
        python.progress = data.progress = progress
        assert python(*batch).item() == data(*batch).item()


def test_every_term_and_every_partition_is_written_somewhere():
    text = " ".join(text for _, text in BOTH)
    # Not what another test, or somebody's package, registers.
    terms, regions = ({name for name, thing in kind.items() if thing.__module__.startswith("multifocal.losses.")}
                      for kind in (TERMS, REGIONS))  # fmt: skip
    assert {name for name in terms if f"term: {name}" not in text} <= {"dice-ce"}
    assert {name for name in regions if name not in text} <= {"predictions", "inverse-weighted"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least 1 item"),
        ("{term: dise}", "unknown term 'dise'; did you mean 'dice'"),
        ("{term: dice, weigth: 1}", "unknown key 'weigth'; did you mean 'weight'"),
        ("{term: dice, over: blob}", "unknown partition 'blob'; did you mean 'blobs'"),
        ("{term: dice, over: {partition: instances, options: {pol: image}}}", "partition instances: unknown key 'pol'"),
        ("{term: dice, over: {partition: instances, options: {pool: slice}}}", "partition instances: pool"),
        ("{term: dice, over: {name: blobs}}", "over"),
        ("{term: hausdorff-dt, over: blobs}", "distances are those of the whole image"),
        ("{term: missed, over: blobs}", "expected a criterion"),
        ("{term: focal, options: {gama: 1}}", "options of term focal: unknown key 'gama'; did you mean 'gamma'"),
        ("{term: focal, options: {gamma: -1}}", "options of term focal: Focal: gamma=-1; expected a number greater"),
        ("{term: gdf, options: {weighting: x}}", "options of term gdf: GeneralizedDice: weighting='x'; expected"),
        ("{term: proximity, options: {criterion: dise}}", "options of term proximity: unknown term 'dise'"),
        ("{term: proximity, options: {criterion: log-hausdorff-dt}}", "term proximity: Proximity: criterion="),
        ("{term: proximity, options: {criterion: 3}}", "term proximity: 3 is no term; expected a name"),
        ("{term: proximity, options: {criterion: missed}}", "expected an instance of Criterion"),
        ("{term: center, options: {criterion: {term: dice, weight: 2}}}", "unknown key 'weight'"),
        ("{term: mix, options: {parts: [dice]}}", "options of term mix: name is missing"),
        ("{term: mix, options: {name: mine, parts: dice}}", "Mix: parts='dice'; expected a tuple"),
        ("{term: dice, weight: [0, 1, 2]}", r"weight=\[0, 1, 2\]; expected a number, a pair of numbers for a ramp"),
        ("{term: dice, weight: [a, 1]}", "Linear: first='a'; expected a number"),
        ("{term: dice, weight: {first: 1}}", "expected a number, a pair of numbers"),
        ("{term: dice, weight: {starts: [0], values: [1, 2]}}", "expected as many"),
        ("{term: dice, weight: true}", "weight=True; expected a number"),
        ("{term: dice, weight: .inf}", "finite number"),
    ],
)
def test_what_is_written_wrong(text, message):
    for check in (losses.check_options, lambda name, options: losses.build(name, **options)):
        with pytest.raises(UserError, match=message) as caught:
            check("compound", {"terms": yaml.safe_load(f"[{text}]")})
        assert "\n" not in str(caught.value)


def test_options_of_every_loss_go_beside_the_terms(random_batch):
    logits, _ = random_batch((1, 2, 9, 8))
    target = torch.zeros(1, 1, 9, 8)
    target[..., 2:4, 2:4] = 1
    loss = losses.build("compound", terms=[{"term": "dice"}], activation="softmax", include_background=False)
    assert loss(logits, target).item() == Dice().build(activation="softmax", include_background=False)(logits, target)
