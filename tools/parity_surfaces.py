"""Compare surface metrics with surface-distance and MONAI, and Dice with SimpleITK.

    python tools/parity_surfaces.py

"surfel" columns are against surface-distance, "voxel" columns against MONAI, which computes in single precision.
"""

import json
import math
import warnings
from pathlib import Path

import numpy as np
from parity_pairs import main


def ours(prediction, target, spacing):
    from multifocal.metrics import evaluate_case

    surfel = evaluate_case(prediction, target, spacing=spacing)
    voxel = evaluate_case(prediction, target, spacing=spacing, convention="voxel")
    return {
        "dice": surfel["dice"],
        **{f"surfel {name}": surfel[name] for name in ("masd", "hd95", "nsd")},
        **{f"voxel {name}": voxel[name] for name in ("masd", "assd", "hd95", "nsd")},
    }


def theirs(folder: Path) -> None:
    warnings.simplefilter("ignore")
    found = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as stored:
            masks = stored["prediction"], stored["target"]
            spacing = stored["spacing"].tolist()
        values = {"dice": _simpleitk(*masks)}
        # Neither has values for empty masks that would be worth comparing: distances are infinite or undefined there.
        for convention, scores in (("surfel", _surface_distance), ("voxel", _monai)):
            known = scores(*masks, spacing) if masks[0].any() and masks[1].any() else {}
            names = ("masd", "assd", "hd95", "nsd") if convention == "voxel" else ("masd", "hd95", "nsd")
            values |= {f"{convention} {name}": known.get(name, math.nan) for name in names}
        found.append({name: float(value) if math.isfinite(value) else None for name, value in values.items()})
    (folder / "theirs.json").write_text(json.dumps(found))


def _simpleitk(prediction, target):
    import SimpleITK as sitk

    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, target)))
    return measures.GetDiceCoefficient() if prediction.any() or target.any() else math.nan


def _surface_distance(prediction, target, spacing):
    import surface_distance

    found = surface_distance.compute_surface_distances(target, prediction, spacing)
    return {
        "masd": np.mean(surface_distance.compute_average_surface_distance(found)),
        "hd95": surface_distance.compute_robust_hausdorff(found, 95),
        "nsd": surface_distance.compute_surface_dice_at_tolerance(found, 2.0),
    }


def _monai(prediction, target, spacing):
    import torch
    from monai import metrics

    masks = [torch.from_numpy(np.ascontiguousarray(mask))[None, None].float() for mask in (prediction, target)]
    options = {"include_background": True, "spacing": spacing}
    there, back = (metrics.compute_average_surface_distance(*pair, **options) for pair in (masks, masks[::-1]))
    return {
        "masd": float(there.double() + back.double()) / 2,
        "assd": float(metrics.compute_average_surface_distance(*masks, symmetric=True, **options)),
        "hd95": float(metrics.compute_hausdorff_distance(*masks, percentile=95, **options)),
        "nsd": float(metrics.compute_surface_dice(*masks, class_thresholds=[2.0], **options)),
    }


if __name__ == "__main__":
    main(ours, theirs, script=__file__, description=__doc__)
