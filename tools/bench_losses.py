"""Time and memory of each loss, forward and backward, beside MONAI's in the same run. Prints Markdown tables.

    python tools/bench_losses.py [--input NAME ...] [--loss NAME ...] [--threads N] [--repeats N] [--write PAGE]

Inputs: slices-48 and slices-4 (B, 1, 256, 256) with 0-15 lesions and 10-40 predicted components a slice; volumes-4
(4, 1, 192, 192, 32) and volume-1 (1, 1, 128, 128, 64) with 5-60; options: what those of every loss cost;
paper: the mini-batch of Rachmadi, Byra, Skibbe 2024, slices-48, beside the times that they print;
growth: one image with 10 to 400 lesions; masks: the real masks of `ms-lesion-masks` with degraded predictions; memory:
(4, 1, 192, 192, 64). Losses take turns, so that what else the machine does meets them all alike; a time is the median
of its turns. Memory is the growth of the peak resident set over one step, in a process of its own (Linux). `--write`
puts each table between its markers in a page.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from bench_inputs import INPUTS, Batch, crowded, masks, synthetic

from multifocal import losses
from multifocal.files import write_text
from multifocal.instances import components

MONAI = {
    "dice": "DiceLoss",
    "generalized-dice": "GeneralizedDiceLoss",
    "focal": "FocalLoss",
    "tversky": "TverskyLoss",
    "dice-focal": "DiceFocalLoss",
    "dice-ce": "DiceCELoss",
    "gdf": "GeneralizedDiceFocalLoss",
    "hausdorff-dt": "HausdorffDTLoss",
    "log-hausdorff-dt": "LogHausdorffDTLoss",
}
LESION = ("blob-dice", "blob-gdf", "ici", "false", "proximity", "cc-dice", "cc-dice-ce", "bicc-dice-ce")
# Rows that are given what depends on the target alone.
GIVEN = {
    "hausdorff-dt, target's distances given": ("hausdorff-dt", "distances", losses.target_distances),
    "cc-dice-ce, target's cells given": ("cc-dice-ce", "cells", losses.target_cells),
    "bicc-dice-ce, target's cells given": ("bicc-dice-ce", "cells", losses.target_cells),
}
# What options cost: how the loss is built, and what it is called with besides.
OPTIONS: dict[str, tuple[dict[str, Any], Callable[[torch.Tensor], dict[str, Any]]]] = {
    "a tenth ignored": ({}, lambda target: {"ignore": tenth(target)}),
    "class_weights": ({"class_weights": (2.0,)}, lambda target: {}),
    "soft_labels": ({"soft_labels": True}, lambda target: {}),
    "label_smoothing": ({"label_smoothing": 0.1}, lambda target: {}),
    "reduction none": ({"reduction": "none"}, lambda target: {}),
}
# Rachmadi, Byra, Skibbe 2024, table 3: ms a mini-batch of 48 slices of 256×256, without and with the connected
# components of the target made beforehand.
PUBLISHED: dict[str, tuple[float, float | None]] = {
    "dice": (1.58, None),
    "dice-ce": (5.99, None),
    "generalized-dice": (2.55, None),
    "focal": (2.23, None),
    "tversky": (0.62, None),
    "gdf": (20.95, None),
    "blob-dice": (1625.74, 660.62),
    "blob-gdf": (1734.02, 771.01),
    "ici": (18312.64, 17668.82),
    "false": (18475.02, 17970.53),
    "proximity": (24592.12, 23638.50),
}
COMPONENTS = ", target's components given"
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def monai_loss(name: str) -> Loss:
    """Return MONAI's loss of this name."""
    import monai.losses

    options = {} if name == "focal" else {"sigmoid": True}
    options |= {"include_background": True} if "hausdorff" in name else {}
    options |= {"alpha": 0.3, "beta": 0.7} if name == "tversky" else {}
    return getattr(monai.losses, MONAI[name])(**options)


def loss_of(row: str, target: torch.Tensor) -> Loss:
    """Return the loss of a row: "monai NAME", NAME, or one of `GIVEN`."""
    if row.startswith("monai "):
        return monai_loss(row.removeprefix("monai "))
    name, _, option = row.partition(" with ")
    if option:
        built, make_given = OPTIONS[option]
        made, beside = losses.build(name, **built), make_given(target)
        return lambda x, y: made(x, y, **beside).sum()
    if row.endswith(COMPONENTS):
        of_lesions, labels = losses.build(row.removesuffix(COMPONENTS)), lesions(target)
        return lambda x, y: of_lesions(x, y, instances=labels)
    if row not in GIVEN:
        return losses.build(row)
    name, argument, make = GIVEN[row]
    loss, given = losses.build(name), {argument: make(target)}
    return lambda x, y: loss(x, y, **given)


def step(loss: Loss, batch: Batch, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of one forward and backward pass."""
    x = batch[0].detach().requires_grad_()
    started = clock()
    loss(x, batch[1]).backward()
    return clock() - started


def timed(rows: list[str], batch: Batch, options: argparse.Namespace, *, most: int = sys.maxsize) -> dict[str, float]:
    """Return the median milliseconds of each row, taking turns, in another order each time."""
    made = {row: loss_of(row, batch[1]) for row in rows}
    times: dict[str, list[float]] = {row: [] for row in rows}
    clock = time.process_time if options.processor_time else time.perf_counter
    for turn in range(min(options.repeats, most) + 1):
        for row, loss in random.Random(turn).sample(list(made.items()), len(made)):
            step(loss, batch)  # what the row before left in caches and in memory is not counted
            seconds = step(loss, batch, clock)
            if turn:  # the first one warms up
                times[row].append(1000 * seconds)
    return {row: median(values) for row, values in times.items()}


def speed(name: str, names: list[str], options: argparse.Namespace) -> str:
    """Return one input's table."""
    batch = synthetic(name)
    ours = names + [row for row, (loss, *_) in GIVEN.items() if loss in names]
    theirs = [f"monai {loss}" for loss in MONAI if loss in {*names, "gdf"}]
    took = timed(theirs + ours, batch, options)
    text = f"### {name}: {'×'.join(map(str, batch[0].shape))}\n\n"
    text += "| loss | ms | MONAI's, ms | of MONAI's | of MONAI's gdf |\n|---|---|---|---|---|\n"
    for row in ours:
        same = took.get("monai " + row.split(",")[0])
        beside = f"{same:.1f} | {took[row] / same:.2f}" if same else " | "
        text += f"| {row} | {took[row]:.1f} | {beside} | {took[row] / took['monai gdf']:.2f} |\n"
    return text


def lesions(target: torch.Tensor) -> torch.Tensor:
    """Return the connected components of each image of a target."""
    found = [components(image.numpy() > 0)[0].astype(np.int64) for image in target.flatten(0, 1)]
    return torch.from_numpy(np.stack(found)).view(target.shape)


def paper(names: list[str], options: argparse.Namespace) -> str:
    """Return the table of the paper, ours beside theirs; the ratios are to each one's own gdf."""
    names = [name for name in names if name in PUBLISHED]
    batch = synthetic("slices-48")
    given = [name + COMPONENTS for name in names if PUBLISHED[name][1] is not None]
    took = timed(list(dict.fromkeys([*names, *given, "gdf"])), batch, options)
    text = f"### A mini-batch of Rachmadi et al. 2024, {'×'.join(map(str, batch[0].shape))}\n\n"
    text += "| loss | ms | theirs | given: ms | theirs | of gdf | theirs | given: of gdf | theirs |\n"
    text += f"|---|{'---|' * 8}\n"
    for name in names:
        pairs = zip((took[name], took.get(name + COMPONENTS)), PUBLISHED[name], strict=True)
        times = [number for ours, theirs in pairs for number in (ours, theirs)]
        of_gdf = [n and n / (PUBLISHED["gdf"][0] if i % 2 else took["gdf"]) for i, n in enumerate(times)]
        cells = [*(_digits(number, 1) for number in times), *(_digits(number, 2) for number in of_gdf)]
        text += f"| {name} | {' | '.join(cells)} |\n"
    return text


def _digits(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def tenth(target: torch.Tensor) -> torch.Tensor:
    """Return a mask of the first tenth of the first axis of each image."""
    mask = torch.zeros(target.shape, dtype=torch.bool)
    mask[:, :, : max(1, target.shape[2] // 10)] = True
    return mask


def of_options(names: list[str], options: argparse.Namespace) -> str:
    """Return what the options of every loss cost, as ratios to the loss without."""
    batch = synthetic("volumes-4")
    shown = ("dice", "dice-ce", "blob-gdf", "ici", "tversky-hausdorff", "cc-dice-ce")
    names = [name for name in shown if name in names]
    smoothed = {name for name in names if name in ("dice-ce", "blob-gdf", "ici")}
    rows = {
        name: {o: f"{name} with {o}" for o in OPTIONS if o != "label_smoothing" or name in smoothed} for name in names
    }
    took = timed([*names, *(row for of in rows.values() for row in of.values())], batch, options)
    text = f"### Options, {'×'.join(map(str, batch[0].shape))}: time over that without\n\n"
    text += f"| loss | ms | {' | '.join(OPTIONS)} |\n|---|---|{'---|' * len(OPTIONS)}\n"
    for name, of in rows.items():
        cells = [f"{took[of[o]] / took[name]:.2f}" if o in of else "" for o in OPTIONS]
        text += f"| {name} | {took[name]:.1f} | {' | '.join(cells)} |\n"
    return text


def growth(names: list[str], options: argparse.Namespace) -> str:
    """Return how time grows with the number of lesions on one image."""
    names = [name for name in names if name in LESION]
    few, many = (timed(names, crowded((192, 192, 64), count), options) for count in (10, 400))
    text = "### Growth with the number of lesions, 1×1×192×192×64\n\n"
    text += "| loss | 10, ms | 400, ms | ratio |\n|---|---|---|---|\n"
    return text + "".join(f"| {n} | {few[n]:.1f} | {many[n]:.1f} | {many[n] / few[n]:.2f} |\n" for n in names)


def real(names: list[str], options: argparse.Namespace) -> str:
    """Return the ratios to MONAI's generalized Dice + focal over the real masks: median and worst."""
    names = [name for name in names if name in LESION]
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for batch in masks(options.masks):
        took = timed(["monai gdf", *names], batch, options, most=3)
        for name in names:
            ratios[name].append(took[name] / took["monai gdf"])
    count = len(next(iter(ratios.values())))
    text = f"### {count} real masks: time over that of MONAI's gdf\n\n| loss | median | worst |\n|---|---|---|\n"
    return text + "".join(f"| {name} | {median(of):.2f} | {max(of):.2f} |\n" for name, of in ratios.items() if of)


def memory(names: list[str], options: argparse.Namespace) -> str:
    """Return how much the peak resident set grows over a step, in units of the logits."""
    batch = synthetic("memory")
    text = f"### Memory, {'×'.join(map(str, batch[0].shape))}\n\n"
    text += "| loss | growth of the resident set, in logits | MONAI's |\n|---|---|---|\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batch.npy"
        np.save(path, torch.stack(batch).numpy())
        for name in names:
            rows = [name, f"monai {name}"] if name in MONAI and "hausdorff" not in name else [name]
            found = [f"{grown(row, path, options.threads):.1f}" for row in rows]
            text += f"| {name} | {' | '.join([*found, ''][:2])} |\n"
    return text


def grown(row: str, path: Path, threads: int) -> float:
    """Return the growth that a process of its own measures."""
    command = [sys.executable, __file__, "--threads", str(threads), "--grow", row, str(path)]
    # Large blocks of memory go back as soon as they are free, so that none is there to be used again unseen.
    settings = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def grow(row: str, path: Path) -> None:
    """Print the growth of this process's peak resident set over a step, in units of the logits."""
    logits, target = torch.from_numpy(np.load(path))
    loss = loss_of(row, target)
    step(loss, (logits[..., :48, :48, :48].contiguous(), target[..., :48, :48, :48].contiguous()))  # loads all code
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    step(loss, (logits, target))
    print((resident("VmHWM") - before) / (logits.numel() * logits.element_size()))


def resident(field: str) -> int:
    """Return a size of this process in bytes, as Linux tells it."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(field)).split()[1])


def write_section(page: Path, name: str, text: str) -> None:
    """Put a text between a page's markers of this name."""
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    old = page.read_text(encoding="utf-8")
    if first not in old or last not in old:
        raise SystemExit(f"{page} has no {first.strip()} ... {last}")
    head, rest = old.split(first, 1)
    write_text(page, head + first + text + last + rest.split(last, 1)[1])


SECTIONS = {name: None for name in INPUTS if name != "memory"} | {
    "paper": paper,
    "options": of_options,
    "growth": growth,
    "masks": real,
    "memory": memory,
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", action="append", choices=SECTIONS)
    parser.add_argument("--loss", action="append", choices=losses.names())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="of all threads together, instead of the wall clock's: for busy machines",
    )
    parser.add_argument("--masks", type=Path, default=Path("../shared/data/ms-lesion-masks"))
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--grow", nargs=2, metavar=("ROW", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    if options.grow:
        grow(options.grow[0], Path(options.grow[1]))
        return
    for name in options.input or SECTIONS:
        if name == "masks" and not options.masks.is_dir():
            print(f"masks: no folder {options.masks}")
            continue
        make = SECTIONS[name]
        names = options.loss or list(losses.names())
        text = make(names, options) if make else speed(name, names, options)
        command = f"python tools/bench_losses.py --input {name} --threads {options.threads} --repeats {options.repeats}"
        command += " --processor-time" if options.processor_time else ""
        text += f"\n`{command}`\n"
        print(text)
        if options.write:
            write_section(options.write, name, text)


if __name__ == "__main__":
    main()
