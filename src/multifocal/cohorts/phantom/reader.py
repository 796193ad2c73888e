"""How a reader outlines lesions who has the Z map before him: what is below about -2, made whole, without specks."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multifocal.instances import components

SMALL_ML = 0.4
"""What is larger nobody overlooks."""


@dataclass(frozen=True)
class Reader:
    """The habits of a reader, and how far they differ from scan to scan.

    Attributes:
        below: Z of what counts as lesion.
        grown: how far above that the border of a lesion may lie.
        closed: whether holes and notches of a voxel are filled in.
        whole: share of the lesions that are outlined as a whole, whatever their Z.
        missed: share of the small lesions (below `SMALL_ML`) that are left out.
        taken: share of what is low without an injury that is outlined all the same.
        least_ml: what is smaller is a speck, and left out.
    """

    below: float
    grown: float
    closed: bool
    whole: float
    missed: float
    taken: float
    least_ml: float


def draw_reader(rng: np.random.Generator) -> Reader:
    """Return a reader.

    Args:
        rng: source of all chance.

    Returns:
        Its habits.
    """
    return Reader(
        below=float(rng.normal(-2.0, 0.1)),
        grown=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.35 else 0.0,
        closed=bool(rng.random() < 0.5),
        whole=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.12 else 0.0,
        missed=float(rng.uniform(0, 0.4)),
        taken=float(rng.uniform(0, 0.3)),
        least_ml=float(rng.uniform(0.045, 0.06)),
    )


def outline(
    rng: np.random.Generator,
    reader: Reader,
    *,
    zadc: np.ndarray,
    injury: np.ndarray,
    inside: np.ndarray,
    voxel_ml: float,
) -> np.ndarray:
    """Return the lesions that a reader outlines: never none where there is an injury.

    Args:
        rng: source of all chance.
        reader: who reads.
        zadc: the Z map.
        injury: 0 to 1, how far each voxel is injured; 0 outside the brain.
        inside: where lesions may be.
        voxel_ml: volume of a voxel.

    Returns:
        Boolean, of the same shape.
    """
    low = inside & (zadc < reader.below)
    suspect = injury > 0.1
    found = low & suspect
    if reader.taken:
        found |= _some(rng, low & ~ndimage.binary_dilation(suspect), share=reader.taken)
        suspect |= found
    if reader.grown:
        near = ndimage.binary_dilation(found) & inside
        found |= near & (zadc < reader.below + reader.grown)
        suspect |= found
    if reader.whole:
        found |= _some(rng, injury > 0.6, share=reader.whole)
    if reader.closed:
        # Within slices: readers see one at a time.
        found |= ndimage.binary_closing(found, np.ones((3, 3, 1))) & inside
    labels, count = components(found, connectivity="full")
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * voxel_ml
    kept = (sizes >= reader.least_ml) & ((sizes > SMALL_ML) | (rng.random(count + 1) >= reader.missed))
    kept[0] = False
    if not kept.any():
        return _largest(found if count else injury >= 0.5 * injury.max())
    return kept[labels]


def _some(rng: np.random.Generator, mask: np.ndarray, *, share: float) -> np.ndarray:
    labels, count = components(mask, connectivity="full")
    chosen = rng.random(count + 1) < share
    chosen[0] = False
    return chosen[labels]


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, _ = components(mask, connectivity="full")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()
