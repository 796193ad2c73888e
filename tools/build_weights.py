"""Make the models of `src/multifocal/models` again: synthetic scans, training, packing. No patient's scan is looked at.

`python tools/build_weights.py` makes all of them, on one core in about half an hour; the same machine and commit make
the same bytes. What lies in --work already (scans, finished runs) is taken from there.

What is packed is the run folder without what only training needs, with a network's weights in half precision. The facts
at the head of a model's card.md are written anew, unless no file has changed; the words below them are left alone.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # sums of several threads depend on their number

import torch
import yaml

import multifocal
from multifocal import recipes
from multifocal.cohorts import Fold, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.files import read_json, write_json, write_text
from multifocal.models import CARD
from multifocal.systems.loading import ABOUT, RECIPE, load_model
from multifocal.systems.ranges import RANGES
from multifocal.systems.system import WEIGHTS, System
from multifocal.training import fit
from multifocal.weights import read_weights, write_weights

ROOT = Path(__file__).parents[1]
MODELS = ("hie-synthetic", "hie-synthetic-adc")  # each has a recipe of its name
CASES, SEED, DOMAIN = 200, 2, "random"
SCANS = f"data phantom --domain {DOMAIN} --cases {CASES} --seed {SEED}"
FENCE = "---\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--work", type=Path, default=Path("weights"), help="where scans and runs go (default: weights)")
    parser.add_argument("--out", type=Path, default=ROOT / "src/multifocal/models", help="where the models go")
    told = parser.parse_args()
    torch.set_num_threads(1)
    commit = clean_commit()
    scans = told.work / "scans"
    if not scans.exists():
        write_phantom(scans, cases=CASES, seed=SEED, domain=DOMAIN)
    cohort = open_cohort(scans)
    for name in told.models:
        run = told.work / name
        split = Fold(train=tuple(case.name for case in cohort), validation=(), test=())
        fit(recipes.load(name), cohort, split=split, out=run, cache=told.work / "cache", resume=True, device="cpu")
        print(f"{told.out / name}: {pack(run, told.out / name, commit=commit)}")


def clean_commit() -> str:
    """Return the commit that what is made here can be made from again."""
    git = ["git", "-C", str(ROOT)]
    changed = subprocess.run(
        [*git, "status", "--porcelain", "src", "tools", ":!src/multifocal/models"], capture_output=True, text=True
    ).stdout
    if changed:
        raise SystemExit(f"commit first, so that the cards can name what the weights are made from:\n{changed}")
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def pack(run: Path, out: Path, *, commit: str) -> str:
    """Write what prediction needs of a run into a model's folder, and say what has changed there."""
    with TemporaryDirectory() as held:
        new = Path(held)
        for weights in sorted(run.glob(f"**/{WEIGHTS}")):
            part = weights.parent.relative_to(run)
            (new / part).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(weights.parent / RECIPE, new / part / RECIPE)
            halve(weights, new / part / WEIGHTS, is_network=kind(weights.parent) == "network")
        for file in (RECIPE, RANGES):
            shutil.copyfile(run / file, new / file)
        digests = {file.relative_to(new).as_posix(): digest(file) for file in sorted(new.glob("**/*.*"))}
        if digests == {file: digest(out / file) for file in digests if (out / file).is_file()}:
            return "every file has the bytes it had"
        about = read_json(run / ABOUT)
        # The name of a folder of scans would make others' scans in a folder of that name known ones.
        about |= {"cohort": {**about["cohort"], "name": SCANS}, "commit": commit}
        write_json(new / ABOUT, about)
        for file in ("members", ABOUT, RANGES, RECIPE, WEIGHTS):
            there, fresh = out / file, new / file
            if there.is_dir():
                shutil.rmtree(there)
            else:
                there.unlink(missing_ok=True)
            if fresh.exists():
                out.mkdir(parents=True, exist_ok=True)
                shutil.move(fresh, there)
    write_card(out, about)
    return f"{sum(file.stat().st_size for file in out.glob('**/*.*')) / 1e6:.2f} MB written"


def kind(folder: Path) -> str:
    return str(recipes.load(folder / RECIPE).kind)


def halve(source: Path, target: Path, *, is_network: bool) -> None:
    """Copy weights, those of a network in half precision: docs/results.md has what that changes in masks."""
    state = read_weights(source)
    if is_network:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        strange = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
        if strange:
            raise SystemExit(f"{source}: {strange[0]} does not fit into half precision")
    write_weights(target, state, checksum=True)


def write_card(out: Path, about: dict[str, Any]) -> None:
    """Write the facts at the head of a model's card, and keep the words below them."""
    card = out / CARD
    words = card.read_text(encoding="utf-8").split(FENCE, 2)[2] if card.is_file() else f"\n# {out.name}\n"
    model = load_model(out, device="cpu")
    facts = {
        "license": "Apache-2.0",
        "name": out.name,
        "package": f"multifocal {multifocal.__version__}",
        "commit": about["commit"],
        "trained on": SCANS,
        "patients": 0,
        "torch": about["versions"]["torch"],
        "architecture": architecture(model),
        "sha256": {file.relative_to(out).as_posix(): digest(file) for file in sorted(out.glob(f"**/{WEIGHTS}"))},
    }
    write_text(card, f"{FENCE}{yaml.safe_dump(facts, sort_keys=False, width=200)}{FENCE}{words}")


def architecture(model: System) -> list[str]:
    """Return what a model is made of, a line each part."""
    found = []
    for system in getattr(model, "members", (model,)):
        network, forest = getattr(system, "network", None), getattr(system, "forest", None)
        if network is not None:
            count = sum(each.numel() for each in network.parameters())
            size = f"{system.recipe.network.name}, {count} weights, seed {system.recipe.training.seed}"
        elif forest is not None:
            grown = system.recipe.forest
            size = f"{grown.method} forest, {len(forest.roots)} trees, {len(forest.left)} nodes, seed {grown.seed}"
        else:
            size = system.recipe.kind
        found.append(f"{system.recipe.name}: {size}")
    return found


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
