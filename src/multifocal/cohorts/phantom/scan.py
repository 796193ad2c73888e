"""How a scanner acquires a head: its protocol, where it puts its voxels, and what it sees of the fine grid."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multifocal.cohorts.phantom.brain import STEP
from multifocal.volumes import Geometry


@dataclass(frozen=True)
class Protocol:
    """A way to acquire.

    Attributes:
        matrix: voxels along the first two axes.
        slices: least and most slices.
        spacing: in mm.
        noise: standard deviation in 1e-6 mm²/s.
        follows: whether the slices follow the head; where they do not, its tilt shows in the array.
        raw: values are not clipped to 1-4095: noise makes some of them negative.
        coronal: whether the slices are coronal.
        gap: the share of the third spacing that lies between slices and is not seen.
    """

    matrix: int
    slices: tuple[int, int]
    spacing: tuple[float, float, float]
    noise: float
    follows: bool = True
    raw: bool = False
    coronal: bool = False
    gap: float = 0.0


THIN = Protocol(128, (50, 60), (2.0, 2.0, 2.0), 75)
THICK = Protocol(160, (17, 28), (1.375, 1.375, 6.0), 42)
PROTOCOLS = (
    (THIN, 0.40),
    (Protocol(128, (50, 54), (1.953125, 1.953125, 2.0), 75), 0.05),
    (THICK, 0.325),
    (Protocol(160, (22, 25), (1.375, 1.375, 4.8), 45), 0.075),
    (Protocol(128, (23, 23), (1.5625, 1.5625, 4.0), 50, follows=False, raw=True), 0.1),
    (Protocol(128, (34, 36), (2.0, 2.0, 3.0), 60), 0.05),
)
"""The protocols and how often each is met."""

UNEVEN = Protocol(128, (23, 23), (1.473, 1.5625, 4.0), 50, follows=False, raw=True)
CORONAL = Protocol(160, (28, 32), (1.375, 1.375, 4.8), 45, coronal=True)

_AXIAL_AXES = np.eye(3)
_CORONAL_AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""Columns: where the array axes of an acquisition along the head's axes point to (LPS)."""


@dataclass(frozen=True)
class Scan:
    """A grid of voxels over a head: the geometry, the box that holds the brain, and the box's map to the fine grid.

    Attributes:
        geometry: the grid.
        lower: lower corner of the box.
        shape: of the box.
        matrix: with `offset`, takes an index inside the box to an index on the fine grid.
        offset: in voxels of the fine grid.
        slabs: samples along the third spacing.
        seen: how many of them, in the middle, a slice averages.
        step: spacing of the fine grid in mm.
    """

    geometry: Geometry
    lower: tuple[int, ...]
    shape: tuple[int, ...]
    matrix: np.ndarray
    offset: np.ndarray
    slabs: int
    seen: int
    step: float = STEP

    def see(self, field: np.ndarray, *, drift: np.ndarray | None = None, fill: float = 0.0) -> np.ndarray:
        """Return what the box sees of a field on the fine grid, averaged over the thickness of each slice.

        Args:
            field: on the fine grid.
            drift: displaces the field, in mm, in the head's axes: the error of a registration.
            fill: the value outside the field.

        Returns:
            An array of the box's shape.
        """
        matrix, offset = self.matrix.copy(), self.offset.copy()
        if drift is not None:
            offset = offset + drift / self.step
        # Sample j of k in a slice lies (j - (k - 1) / 2) / k slices off its centre; those in a gap come last.
        offset = offset - matrix[:, 2] * (self.seen - 1) / (2 * self.slabs)
        matrix[:, 2] /= self.slabs
        shape = (*self.shape[:2], self.shape[2] * self.slabs)
        fine = ndimage.affine_transform(field, matrix, offset, output_shape=shape, order=1, mode="constant", cval=fill)
        return fine.reshape(*self.shape, self.slabs)[..., : self.seen].mean(axis=3)

    def covers(self, position: tuple[np.ndarray, np.ndarray, np.ndarray], *, middle: tuple[int, ...]) -> np.ndarray:
        """Return where the fine grid lies between the first and the last slice.

        Args:
            position: the coordinates of its voxels in mm.
            middle: the index of 0 mm.

        Returns:
            Boolean, of the fine grid's shape.
        """
        to_slice = np.linalg.inv(self.matrix)[2]
        start = float(to_slice @ (np.array(middle) - self.offset)) + self.lower[2]
        x, y, z = (p * np.float32(w / self.step) for p, w in zip(position, to_slice, strict=True))
        places = start + x + y + z
        return (places > 0) & (places < self.geometry.size[2] - 1)

    def paste(self, box: np.ndarray) -> np.ndarray:
        """Return the whole array with the box in its place and 0 around it.

        Args:
            box: an array of the box's shape.

        Returns:
            float32, of the geometry's size.
        """
        whole = np.zeros(self.geometry.size, np.float32)
        whole[tuple(slice(low, low + n) for low, n in zip(self.lower, self.shape, strict=True))] = box
        return whole


def make_scan(
    rng: np.random.Generator, *, protocol: Protocol, tilt: float, inside: np.ndarray, step: float = STEP
) -> Scan:
    """Return the scan of a head that lies tilted about a random axis.

    Args:
        rng: source of all chance.
        protocol: how it is acquired.
        tilt: in degrees.
        inside: positive in the brain, on the fine grid.
        step: spacing of the fine grid in mm.

    Returns:
        The scan.
    """
    size = (protocol.matrix, protocol.matrix, int(rng.integers(protocol.slices[0], protocol.slices[1] + 1)))
    if not protocol.follows:
        tilt = min(tilt, 10.0)
    # Heads nod and roll more than they turn sideways.
    head = _rotation(rng.normal(0, 1, 3) * [1.0, 0.6, 0.5], degrees=tilt)
    axes = _CORONAL_AXES if protocol.coronal else _AXIAL_AXES
    if protocol.follows:
        axes = head @ _rotation(rng.normal(0, 1, 3), degrees=abs(rng.normal(0, 4))) @ axes
    direction = np.round(axes, 6)
    spacing = np.array(protocol.spacing)
    middle = (np.array(size) - 1) / 2
    # In the head's axes, the middle of the array lies a little off the middle of the brain.
    centre = np.array([0.0, 0.0, -4.0]) + rng.normal(0, 2, 3)
    origin = np.round(rng.normal(0, 12, 3) - direction @ (middle * spacing), 3)
    to_fine = head.T @ direction @ np.diag(spacing) / step
    offset = centre / step - to_fine @ middle + np.array(inside.shape) // 2
    lower, shape = _box(inside, to_fine, offset, size)
    # Gaps need samples that are finer than they.
    slabs = max(1, round(protocol.spacing[2] / (1 if protocol.gap else 2)))
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
        slabs=slabs,
        seen=max(1, slabs - round(protocol.gap * slabs)),
        step=step,
    )


def measure(rng: np.random.Generator, adc: np.ndarray, *, inside: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Return the ADC as stored: with the scanner's noise (more in fluid), rounded, 0 outside the brain only.

    Args:
        rng: source of all chance.
        adc: the true values, in 1e-6 mm²/s.
        inside: where the brain is.
        protocol: how it is acquired.

    Returns:
        float32, of the same shape.
    """
    noisy = adc + rng.normal(0, protocol.noise, adc.shape) * (0.6 + 0.4 * adc / 1300)
    if protocol.raw:
        edge = np.flatnonzero(inside & ~ndimage.binary_erosion(inside))
        dropped = rng.choice(edge, int(rng.integers(3, 40)), replace=False)
        noisy.ravel()[dropped] = rng.normal(-100, 250, dropped.size)
        noisy = np.rint(np.clip(noisy, -1200, 4479))
    else:
        noisy = np.rint(np.clip(noisy, 1, 4095))
    noisy[noisy == 0] = 1
    return np.where(inside, noisy, 0).astype(np.float32)


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
