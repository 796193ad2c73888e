"""Draw the pictures of docs/which-loss.md and fill in its tables: what each loss says of images, and how it pushes.

    python tools/make_which_loss.py docs/which-loss.md

Toy images: five predictions of equal Dice, with as many false and as many missing pixels, that differ in lesions.
Gradients: one slice of the synthetic cohort, with a lesion missed, a false one, and the others found but for their
borders.
"""

import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from scipy import ndimage

from multifocal import losses
from multifocal.cohorts.phantom import phantom_case
from multifocal.instances import components
from multifocal.volumes import orient

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLORS = {"found": (0.15, 0.68, 0.38), "missed": (0.95, 0.61, 0.07), "false": (0.91, 0.30, 0.24)}
CONFIDENCE = 0.95
LARGE, SIDE = (slice(2, 10), slice(2, 10)), 20
SMALL = [
    (slice(3, 5), slice(13, 15)),
    (slice(3, 5), slice(17, 19)),
    (slice(14, 16), slice(4, 6)),
    (slice(14, 16), slice(13, 15)),
]
FALSE = [(slice(17, 19), slice(9, 11)), (slice(9, 11), slice(16, 18))]
# What each prediction adds to the target, and what it leaves out.
TOYS = {
    "A: all found": ([(slice(2, 10), slice(1, 2))], [(slice(2, 10), slice(9, 10))]),
    "B: two missed": ([(slice(2, 10), slice(10, 11))], SMALL[2:]),
    "C: two false": (FALSE, [(slice(2, 10), slice(9, 10))]),
    "D: two missed, two false": (FALSE, SMALL[2:]),
    "E: two merged": ([(slice(3, 5), slice(15, 17)), (slice(4, 8), slice(1, 2))], [(slice(2, 10), slice(9, 10))]),
}
CASE, SLICE, WINDOW = {"seed": 0, "index": 3, "cases": 10}, 10, (slice(40, 88), slice(42, 90))


def main(page: Path) -> None:
    """Draw both pictures beside the page and put both tables into it."""
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    target, predictions = toys()
    draw_toys(target, predictions, folder / "toys.png")
    scene, hopeless = Scene(), Scene(missed=-7.0)
    maps, later = ({name: one.push(name) for name in losses.names()} for one in (scene, hopeless))
    draw_maps(scene, maps, folder / "gradients.png")
    text = fill(page.read_text(), "toys", toy_table(target, predictions))
    page.write_text(fill(text, "gradients", share_table(scene, maps, later)))


def fill(text: str, name: str, rows: list[str]) -> str:
    """Replace what stands between the page's marks of a table."""
    found = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m: m[1] + "\n".join(rows) + "\n" + m[2], text, flags=re.S
    )
    if found[1] != 1:
        sys.exit(f"the page has no marks <!-- {name} --> and <!-- end -->")
    return found[0]


def toys() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the target and the predicted masks."""
    target = np.zeros((SIDE, SIDE), bool)
    for place in (LARGE, *SMALL):
        target[place] = True
    predictions = {}
    for name, (added, left_out) in TOYS.items():
        mask = predictions[name] = target.copy()
        for place in added:
            mask[place] = True
        for place in left_out:
            mask[place] = False
        if (mask & target).sum() != 72 or mask.sum() != 80:
            sys.exit(f"{name}: Dice differs from the others'")
    return target, predictions


def value(name: str, mask: np.ndarray, target: np.ndarray) -> float:
    """Return a loss of a mask whose every pixel is equally sure, in the middle of training."""
    p = torch.from_numpy(np.where(mask, CONFIDENCE, 1 - CONFIDENCE))[None, None]
    loss = losses.build(name)
    loss.progress = 0.5
    return loss(torch.logit(p), torch.from_numpy(target)[None, None]).item()


def toy_table(target: np.ndarray, predictions: dict[str, np.ndarray]) -> list[str]:
    """Return the losses of each prediction, 0 for a perfect mask and 100 for an empty one."""
    columns = [name.split(":")[0] for name in predictions]
    rows = [f"| loss | {' | '.join(columns)} | perfect | empty |", f"|---|{'---|' * len(columns)}---|---|"]
    for name in losses.names():
        perfect, empty = (value(name, mask, target) for mask in (target, np.zeros_like(target)))
        found = [100 * (value(name, mask, target) - perfect) / (empty - perfect) for mask in predictions.values()]
        # In bold what the loss tells from A, of the same pixels.
        cells = [f"**{x:.1f}**" if abs(x - found[0]) > 0.05 else f"{x:.1f}" for x in found]
        rows.append(f"| `{name}` | {' | '.join(cells)} | {perfect:.3f} | {empty:.3f} |")
    return rows


def draw_toys(target: np.ndarray, predictions: dict[str, np.ndarray], picture: Path) -> None:
    """Draw the target and each prediction in the colours of found, missed and false pixels."""
    figure, axes = plt.subplots(1, 1 + len(predictions), figsize=(13.2, 2.9))
    for axis, (name, mask) in zip(axes, {"target": target, **predictions}.items(), strict=True):
        image = np.ones((SIDE, SIDE, 3))
        parts = {"found": mask & target, "missed": target & ~mask, "false": mask & ~target}
        for kind, part in parts.items():
            image[part] = COLORS[kind] if name != "target" else (0.35, 0.45, 0.6)
        axis.imshow(image, interpolation="nearest")
        outline(axis, target, color="black", linewidth=1.2)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=10.5)
    handles = [plt.Line2D([], [], marker="s", ls="", color=color, label=name) for name, color in COLORS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, fontsize=10)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def outline(axis: plt.Axes, mask: np.ndarray, **style: object) -> None:
    """Draw the pixel borders of a mask."""
    for along in (0, 1):
        edges = np.diff(np.pad(mask, 1).astype(int), axis=along)
        for i, j in np.argwhere(edges):
            x, y = ([j - 1.5, j - 0.5], [i - 0.5] * 2) if along == 0 else ([j - 0.5] * 2, [i - 1.5, i - 0.5])
            axis.plot(x, y, solid_capstyle="round", **style)


class Scene:
    """A slice of the synthetic cohort and the logits of a network that is halfway there."""

    def __init__(self, *, missed: float = -2.0) -> None:
        """`missed` is the logit in the missed lesion."""
        case = phantom_case(**CASE)
        self.adc, label = (orient(volume).array[..., SLICE].T for volume in (case.adc, case.label))
        self.target = label > 0
        lesions, count = components(self.target)
        sizes = np.bincount(lesions.ravel(), minlength=count + 1)[1:]
        self.missed = lesions == 1 + int(np.argsort(sizes, kind="stable")[3])  # the fourth smallest of eight
        self.false = self._far_from_lesions()
        # Lesions are found a pixel to the left of where they are: one border is false, the other is missing.
        self.predicted = np.roll(self.target & ~self.missed, -1, axis=1) | self.false
        inside, outside = (ndimage.distance_transform_edt(mask) for mask in (self.predicted, ~self.predicted))
        logits = np.where(self.predicted, 3 * np.tanh(inside / 2), -7 * np.tanh(outside / 2))
        logits[self.missed] = missed
        logits[self.adc == 0] = -12.0
        self.logits = torch.from_numpy(logits).float()[None, None]

    def _far_from_lesions(self) -> np.ndarray:
        """Return a disc as far from lesions as can be in the window."""
        room = np.zeros(self.target.shape)
        inner = tuple(slice(side.start + 5, side.stop - 5) for side in WINDOW)
        room[inner] = ndimage.distance_transform_edt(~self.target)[inner]
        i, j = np.unravel_index(room.argmax(), room.shape)
        rows, columns = np.ogrid[: room.shape[0], : room.shape[1]]
        return (rows - i) ** 2 + (columns - j) ** 2 <= 4

    def push(self, name: str) -> np.ndarray:
        """Return by how much a step moves each logit, up or down, in percent of all that it moves."""
        logits = self.logits.clone().requires_grad_()
        loss = losses.build(name)
        loss.progress = 0.5
        loss(logits, torch.from_numpy(self.target)[None, None]).backward()
        step = -logits.grad[0, 0].numpy()
        return 100 * step / np.abs(step).sum()


def share_table(scene: Scene, maps: dict[str, np.ndarray], later: dict[str, np.ndarray]) -> list[str]:
    """Return the share of each loss's push that goes where, and what the missed lesion gets where it has p = 0.001."""
    near = ndimage.binary_dilation(scene.target, iterations=2) & ~scene.missed
    heads = ("loss", "missed lesion, up", "the same at p = 0.001", "false lesion, down", "other lesions and borders")
    rows = [f"| {' | '.join(heads)} | elsewhere |", "|---" * (len(heads) + 1) + "|"]
    for name, step in maps.items():
        up, down, others = step[scene.missed].sum(), -step[scene.false].sum(), np.abs(step[near]).sum()
        rest = np.abs(step).sum() - np.abs(step[scene.missed | scene.false | near]).sum()
        cells = (up, later[name][scene.missed].sum(), down, others, rest)
        rows.append(f"| `{name}` | {' | '.join(f'{cell:.1f}' for cell in cells)} |")
    return rows


def draw_maps(scene: Scene, maps: dict[str, np.ndarray], picture: Path) -> None:
    """Draw the slice, and the push of every loss in one scale of colours: the root, so that small ones show."""
    figure, axes = plt.subplots(4, 6, figsize=(13.2, 10.3))
    first, *others = axes.flat
    first.imshow(scene.adc[WINDOW], cmap="gray", vmin=500, vmax=2200)
    first.set_title("the slice", fontsize=11)
    for name, mask, shift in (("missed", scene.missed, (9, -8)), ("false", scene.false, (-10, -3))):
        i, j = (float(np.mean(where)) - side.start for where, side in zip(np.nonzero(mask), WINDOW, strict=True))
        arrow = {"arrowstyle": "->", "color": COLORS[name]}
        label = {"color": COLORS[name], "weight": "bold", "bbox": {"facecolor": "black", "lw": 0, "pad": 1.5}}
        first.annotate(name, (j, i), (j + shift[1], i + shift[0]), arrowprops=arrow, ha="center", va="center", **label)
    limit = np.sqrt(3.0)
    for axis, (name, step) in zip(others, maps.items(), strict=True):
        shown = axis.imshow(
            np.sign(step[WINDOW]) * np.sqrt(np.abs(step[WINDOW])), cmap="RdBu_r", vmin=-limit, vmax=limit
        )
        axis.set_title(name, fontsize=11)
    for axis in axes.flat:
        outline(axis, scene.predicted[WINDOW], color="limegreen", linewidth=0.9)
        outline(axis, scene.target[WINDOW], color="black", linewidth=0.9)
        axis.set(xticks=[], yticks=[])
    figure.subplots_adjust(left=0.01, right=0.99, top=0.97, bottom=0.1, wspace=0.05, hspace=0.14)
    ticks = np.array([-3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3])
    bar = figure.colorbar(shown, cax=figure.add_axes((0.2, 0.06, 0.6, 0.018)), orientation="horizontal")
    bar.set_ticks(np.sign(ticks) * np.sqrt(np.abs(ticks)), labels=[f"{tick:g} %" for tick in ticks])
    bar.set_label(
        "share of the whole push on a pixel: red up, blue down. Black: true lesions; green: predicted otherwise"
    )
    figure.savefig(picture, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
