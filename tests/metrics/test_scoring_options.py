"""The challenge's evaluation, its exchanged spacings included, rebuilt from the libraries that it uses."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from multifocal.errors import UserError
from multifocal.metrics import evaluate_case

PROTOCOL = "bonbid-2023"


def challenge(label, prediction, deepmind):
    """Score two SimpleITK images as the challenge does: arrays are [z, y, x], their spacing is given as [z, x, y]."""
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(label, prediction)
    true, predicted = (sitk.GetArrayFromImage(image) > 0 for image in (label, prediction))
    if not (true.any() and predicted.any()):
        both = not (true.any() or predicted.any())
        return {"dice": float(both), "masd": 0.0 if both else math.nan, "nsd": float(both)}
    x, y, z = label.GetSpacing()
    found = deepmind(predicted, true, spacing=(z, x, y), tolerance=2.0)
    return {"dice": measures.GetDiceCoefficient(), "masd": found["masd"], "nsd": found["nsd"]}


def scores(label, prediction, **options):
    arrays = [sitk.GetArrayFromImage(image).T for image in (prediction, label)]
    found = evaluate_case(*arrays, spacing=label.GetSpacing(), **options)
    return {name: found[name] for name in ("dice", "masd", "nsd")}


def same(found, expected):
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def image(mask, spacing):
    made = sitk.GetImageFromArray(mask.T.astype(np.uint8))
    made.SetSpacing(spacing)
    return made


@pytest.mark.parametrize("number", ["028", "010", "014", "405"])
def test_real_neonates(bonbid, deepmind, number):
    """Case 028 has different spacings in the plane: there, and only there, the right numbers are others."""
    (file,) = (bonbid / "3LABEL").glob(f"*_{number}-VISIT_01_lesion.mha")
    name = file.name.removesuffix("_lesion.mha")
    label = sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkUInt8)
    zadc = sitk.ReadImage(str(bonbid / "2Z_ADC" / f"Zmap_{name}-ADC_smooth2mm_clipped10.mha"))
    prediction = sitk.Cast(zadc < -2, sitk.sitkUInt8)
    prediction.CopyInformation(label)
    expected = challenge(label, prediction, deepmind)
    same(scores(label, prediction, protocol=PROTOCOL), expected)
    right = scores(label, prediction)
    assert right["dice"] == expected["dice"]
    if number == "028":
        x, y, _ = label.GetSpacing()
        assert abs(x - y) > 0.05 and abs(right["masd"] - expected["masd"]) > 1e-3
    else:
        same(right, expected)


def test_random_masks(mask_pairs, deepmind):
    for prediction, target, spacing in mask_pairs:
        if target.ndim == 3:
            label, predicted = image(target, spacing), image(prediction, spacing)
            same(scores(label, predicted, protocol=PROTOCOL), challenge(label, predicted, deepmind))


@pytest.mark.parametrize("empty", [(True, True), (True, False), (False, True)])
def test_empty_masks(empty, deepmind):
    full = np.zeros((4, 5, 6), bool)
    full[1:3, 1:4, 2:5] = True
    pair = [image(np.zeros_like(full) if gone else full, (1.0, 2.0, 3.0)) for gone in empty]
    same(scores(*pair, protocol=PROTOCOL), challenge(*pair, deepmind))


def test_volumes_and_lesions_keep_the_true_spacing():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 1:4, 2:5] = True
    options = {"spacing": (1.0, 2.0, 4.0), "min_size": 0.01}
    there, here = (
        evaluate_case(np.roll(mask, 1, 0), mask, protocol=protocol, **options) for protocol in (PROTOCOL, None)
    )
    measured = {"masd", "assd", "hd95", "nsd"}
    assert {name: there[name] for name in there if name not in measured} == {
        name: here[name] for name in here if name not in measured
    }
    assert there["masd"] != here["masd"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "bonbid-2024"}, "unknown protocol 'bonbid-2024'; did you mean 'bonbid-2023'"),
        ({"protocol": PROTOCOL, "tolerance": 1.0}, "measures surfels within 2 mm"),
        ({"protocol": PROTOCOL, "convention": "voxel"}, "measures surfels within 2 mm"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        evaluate_case(np.ones((2, 2, 2)), np.ones((2, 2, 2)), spacing=(1, 1, 1), **options)
    with pytest.raises(UserError, match="scores 3D scans; these are 2D"):
        evaluate_case(np.ones((2, 2)), np.ones((2, 2)), spacing=(1, 1), protocol=PROTOCOL)
