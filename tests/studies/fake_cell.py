"""A cell that trains nothing: it is done, or ends as it is told."""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main(told: str) -> None:
    job = json.loads(sys.stdin.readline())
    how = dict(each.split("=") for each in told.split(",") if each)
    does = how.get(f"{job['arm']}{job['fold']}", "done")
    folder = Path(job["study"]) / "cells" / job["arm"] / f"fold{job['fold']}-seed{job['seed']}"
    print("started")
    if does == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "error":
        sys.exit("error: scan.mha: is not an image; replace it")
    if does == "bug":
        raise RuntimeError("a bug")
    if does == "silent":
        sys.exit(0)
    if does == "hangs":
        (folder / "hangs").write_text(str(os.getpid()))
        time.sleep(600)
    keys = ("arm", "fold", "seed", "fingerprint")
    facts = {**{key: job[key] for key in keys}, "state": "done", "seconds": 1.0, "epochs": 3, "step_ms": 2.0}
    (folder / "cell.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
