"""Where a scanner puts its voxels, and what it sees of a fine grid."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multifocal.cohorts.phantom.brain import STEP
from multifocal.cohorts.phantom.plan import Protocol
from multifocal.volumes import Geometry

AXIAL = np.eye(3)
CORONAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""Columns: where the array axes of an acquisition along the head's axes point to (LPS)."""


@dataclass(frozen=True)
class Scan:
    """A grid of voxels over a head: the geometry, the box that holds the brain, and the box's map to the fine grid.

    `matrix` and `offset` take an index inside the box to an index on the fine grid; `slabs` is the number of samples
    that one slice averages along its thickness.
    """

    geometry: Geometry
    lower: tuple[int, ...]
    shape: tuple[int, ...]
    matrix: np.ndarray
    offset: np.ndarray
    slabs: int

    def see(self, field: np.ndarray, *, drift: np.ndarray | None = None, fill: float = 0.0) -> np.ndarray:
        """Return what the box sees of a field on the fine grid, averaged over the thickness of each slice.

        `drift` (mm, in the head's axes) displaces the field: the error of a registration.
        """
        matrix, offset = self.matrix.copy(), self.offset.copy()
        if drift is not None:
            offset = offset + drift / STEP
        # Sample j of k in a slice lies (j - (k - 1) / 2) / k slices off its centre.
        offset = offset - matrix[:, 2] * (self.slabs - 1) / (2 * self.slabs)
        matrix[:, 2] /= self.slabs
        shape = (*self.shape[:2], self.shape[2] * self.slabs)
        fine = ndimage.affine_transform(field, matrix, offset, output_shape=shape, order=1, mode="constant", cval=fill)
        return fine.reshape(*self.shape, self.slabs).mean(axis=3)

    def covers(self, position: tuple[np.ndarray, np.ndarray, np.ndarray], *, middle: tuple[int, ...]) -> np.ndarray:
        """Return where the fine grid lies between the first and the last slice; `middle` is the index of 0 mm."""
        to_slice = np.linalg.inv(self.matrix)[2]
        start = float(to_slice @ (np.array(middle) - self.offset)) + self.lower[2]
        x, y, z = (p * np.float32(w / STEP) for p, w in zip(position, to_slice, strict=True))
        places = start + x + y + z
        return (places > 0) & (places < self.geometry.size[2] - 1)

    def paste(self, box: np.ndarray) -> np.ndarray:
        """Return the whole array with the box in its place and 0 around it."""
        whole = np.zeros(self.geometry.size, np.float32)
        whole[tuple(slice(low, low + n) for low, n in zip(self.lower, self.shape, strict=True))] = box
        return whole


def make_scan(rng: np.random.Generator, *, protocol: Protocol, tilt: float, inside: np.ndarray) -> Scan:
    """Return the scan of a head that lies tilted (degrees) about a random axis; `inside` is positive in the brain."""
    size = (protocol.matrix, protocol.matrix, int(rng.integers(protocol.slices[0], protocol.slices[1] + 1)))
    if not protocol.follows:
        tilt = min(tilt, 10.0)
    # Heads nod and roll more than they turn sideways.
    head = _rotation(rng.normal(0, 1, 3) * [1.0, 0.6, 0.5], degrees=tilt)
    axes = CORONAL if protocol.coronal else AXIAL
    if protocol.follows:
        axes = head @ _rotation(rng.normal(0, 1, 3), degrees=abs(rng.normal(0, 4))) @ axes
    direction = np.round(axes, 6)
    spacing = np.array(protocol.spacing)
    middle = (np.array(size) - 1) / 2
    # In the head's axes, the middle of the array lies a little off the middle of the brain.
    centre = np.array([0.0, 0.0, -4.0]) + rng.normal(0, 2, 3)
    origin = np.round(rng.normal(0, 12, 3) - direction @ (middle * spacing), 3)
    to_fine = head.T @ direction @ np.diag(spacing) / STEP
    offset = centre / STEP - to_fine @ middle + np.array(inside.shape) // 2
    lower, shape = _box(inside, to_fine, offset, size)
    return Scan(
        geometry=Geometry(
            size=size,
            spacing=protocol.spacing,
            origin=tuple(float(o) for o in origin),
            direction=tuple(float(d) for d in direction.ravel()),
        ),
        lower=lower,
        shape=shape,
        matrix=to_fine,
        offset=offset + to_fine @ np.array(lower),
        slabs=max(1, round(protocol.spacing[2] / 2)),
    )


def _rotation(axis: np.ndarray, *, degrees: float) -> np.ndarray:
    """The rotation by an angle about an axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _box(
    inside: np.ndarray, to_fine: np.ndarray, offset: np.ndarray, size: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The box of voxels that holds the brain, with a margin: its lower corner and its shape."""
    coarse = inside[::2, ::2, ::2] > 0
    index = np.linalg.solve(to_fine, 2.0 * np.argwhere(coarse).T - offset[:, None])
    lower = np.clip(np.floor(index.min(axis=1)) - 2, 0, None).astype(int)
    upper = np.clip(np.ceil(index.max(axis=1)) + 3, None, size).astype(int)
    return tuple(int(n) for n in lower), tuple(int(n) for n in upper - lower)
