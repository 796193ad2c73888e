"""Compare PQ, SQ, RQ and the counts behind them with panoptica, which needs an environment of its own.

    python -m venv panoptica && panoptica/bin/pip install panoptica==2.1.7
    python tools/parity_panoptica.py --python panoptica/bin/python

Lesions are connected components that share corners, matched one to one from an IoU of 0.5 on.
"""

import json
import math
from pathlib import Path

import numpy as np
from parity_pairs import main

NAMES = {"pq": "pq", "sq": "sq", "rq": "rq", "tp": "tp", "false": "fp", "missed": "fn"}
NAMES_WITH_DICE = {"pq (Dice)": "pq_dsc", "sq (Dice)": "sq_dsc"}


def ours(prediction, target, spacing):
    from multifocal.metrics import evaluate_case

    scores = evaluate_case(prediction, target, spacing=spacing, matching="iou", threshold=0.5)
    with_dice = evaluate_case(prediction, target, spacing=spacing, matching="iou", threshold=0.5, score="dice")
    return {name: scores[name] for name in NAMES} | {name: with_dice[name[:2]] for name in NAMES_WITH_DICE}


def theirs(folder: Path) -> None:
    from panoptica import (
        CCABackend,
        ConnectedComponentsInstanceApproximator,
        InputType,
        Metric,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
        disable_citation_reminder,
    )

    disable_citation_reminder()
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(cca_backend=CCABackend.cc3d),
        instance_matcher=NaiveThresholdMatching(matching_metric=Metric.IOU, matching_threshold=0.5),
        instance_metrics=[Metric.IOU, Metric.DSC],
        global_metrics=[],
    )
    found = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as masks:
            pair = masks["prediction"].astype(np.uint8), masks["target"].astype(np.uint8)
        result = evaluator.evaluate(*pair, verbose=False)["ungrouped"]
        values = {name: float(getattr(result, attribute)) for name, attribute in (NAMES | NAMES_WITH_DICE).items()}
        found.append({name: None if math.isnan(value) else value for name, value in values.items()})
    (folder / "theirs.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(ours, theirs, script=__file__, description=__doc__)
