"""Compare CC-Dice with ccmetrics, in an environment of its own.

    python -m venv ccmetrics && ccmetrics/bin/pip install ccmetrics==0.0.3
    python tools/parity_ccmetrics.py --python ccmetrics/bin/python

Cells are counted in voxels there (no spacing), and so are ours.
"""

import json
from pathlib import Path

import numpy as np
from parity_pairs import main


def ours(prediction, target, spacing):
    from multifocal.metrics import evaluate_case

    return {"cc_dice": evaluate_case(prediction, target, spacing=spacing)["cc_dice"]}


def theirs(folder: Path) -> None:
    from CCMetrics import CCDiceMetric

    found = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as masks:
            pair = [np.stack([~masks[name], masks[name]]).astype(np.uint8)[None] for name in ("prediction", "target")]
        metric = CCDiceMetric(cc_reduction="patient")
        metric(y_pred=pair[0], y=pair[1])
        found.append({"cc_dice": float(metric.cc_aggregate()[0])})
    (folder / "theirs.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(ours, theirs, script=__file__, description=__doc__)
