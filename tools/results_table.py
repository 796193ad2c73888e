"""Print evaluations as one Markdown table: mean Dice, MASD and NSD by stratum.

    python tools/results_table.py default=scores/default zadc-threshold=scores/z2

In brackets behind a MASD: in how many cases it is undefined and therefore left out of the mean.
"""

import sys
from pathlib import Path

from multifocal.files import read_json

METRICS = {"dice": "Dice", "masd": "MASD mm", "nsd": "NSD"}


def main(arguments: list[str]) -> None:
    """Print the table of `name=folder` arguments."""
    print("| system | stratum | cases | " + " | ".join(METRICS.values()) + " |\n" + "|---" * (3 + len(METRICS)) + "|")
    for argument in arguments:
        name, _, folder = argument.partition("=")
        summary = read_json(Path(folder) / "summary.json")
        for stratum, group in {**summary["strata"], "**all**": summary["overall"]}.items():
            if group["cases"]:
                cells = " | ".join(_cell(metric, group["metrics"][metric]) for metric in METRICS)
                print(f"| {name} | {stratum} | {group['cases']} | {cells} |")


def _cell(metric: str, values: dict) -> str:
    mean = "–" if values["mean"] is None else f"{values['mean']:.3f}"
    return f"{mean} ({values['undefined']})" if metric == "masd" else mean


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
