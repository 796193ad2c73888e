"""Dice and volumes against SimpleITK's LabelOverlapMeasures, also on oblique grids."""

import numpy as np
import pytest
import SimpleITK as sitk

from multifocal.metrics import evaluate_case


def overlap_measures(prediction, target, spacing):
    images = [sitk.GetImageFromArray(mask.T.astype(np.uint8)) for mask in (prediction, target)]
    for image in images:
        image.SetSpacing(spacing)
        if target.ndim == 3:
            image.SetDirection((0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*images)
    return measures


def check(prediction, target, spacing):
    measures = overlap_measures(prediction, target, spacing)
    found = evaluate_case(prediction, target, spacing=spacing)
    assert found["dice"] == pytest.approx(measures.GetDiceCoefficient(1), abs=1e-12)
    assert found["sensitivity"] == pytest.approx(1 - measures.GetFalseNegativeError(1), abs=1e-12)
    assert found["precision"] == pytest.approx(1 - measures.GetFalseDiscoveryRate(1), abs=1e-12)
    assert found["specificity"] == pytest.approx(1 - measures.GetFalsePositiveError(1), abs=1e-12, nan_ok=True)


def test_random_masks(mask_pairs):
    for prediction, target, spacing in mask_pairs:
        if not target.all():  # SimpleITK calls 0 / 0 zero
            check(prediction, target, spacing)


def test_real_neonates(bonbid):
    for file in sorted((bonbid / "3LABEL").iterdir())[1::8]:
        name = file.name.removesuffix("_lesion.mha")
        label = sitk.ReadImage(str(file))
        zadc = sitk.ReadImage(str(bonbid / "2Z_ADC" / f"Zmap_{name}-ADC_smooth2mm_clipped10.mha"))
        target, prediction = sitk.GetArrayFromImage(label).T > 0, sitk.GetArrayFromImage(zadc).T < -2
        if target.any() and prediction.any():
            check(prediction, target, label.GetSpacing())
