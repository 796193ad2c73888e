"""Where a NIfTI header says that its voxels lie: it can say so three times, and the three may differ."""

import struct
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

Form = Literal["sform", "qform", "pixdim"]
_TO_MM = {1: 1000.0, 3: 0.001}  # metres, micrometres; everything else is taken for millimetres
_ORTHONORMAL = 1e-3
_ROUNDING = 1e-5  # relative; the header's numbers are float32
_SAME = 1e-3  # relative, of voxel sizes
_APART = 0.05  # of a voxel: what the rounding of a quaternion can make of a large image
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class NiftiForms:
    """The three ways of a NIfTI-1 header to say where voxels lie, as they are stored.

    The rule of the standard decides between them: an sform with a code above 0 holds, else such a qform, else the voxel
    sizes alone. One that is no grid (its axes sheared, or of length 0) is passed over where another one is left.

    Args:
        pixdim: qfac and the voxel size along x, y, z.
        units: `xyzt_units`.
        codes: of qform and sform; 0 says that there is none.
        quaternion: b, c, d and the offset in x, y, z of the qform.
        rows: the three rows of the sform, one after the other.

    Example:
        >>> forms = NiftiForms((1, 1, 1, 2), 2, (0, 1), (0,) * 6, (1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 4, 0))
        >>> forms.chosen(3), forms.differences((2, 2, 2))
        ('sform', ["pixdim's 1×1×2 mm are not the sform's 1×1×4 mm, which are used"])
    """

    pixdim: tuple[float, ...]
    units: int
    codes: tuple[int, int]
    quaternion: tuple[float, ...]
    rows: tuple[float, ...]

    @classmethod
    def unpack(cls, header: bytes, order: str) -> "NiftiForms":
        """Read the forms of a header.

        Args:
            header: its 348 bytes.
            order: of bytes, `<` or `>`.

        Returns:
            The forms.
        """

        def numbers(form: str, offset: int) -> tuple:
            return struct.unpack_from(f"{order}{form}", header, offset)

        return cls(numbers("4f", 76), header[123], numbers("2h", 252), numbers("6f", 256), numbers("12f", 280))

    def pack_into(self, header: bytearray) -> None:
        """Write the forms into a little-endian header.

        Args:
            header: its 348 bytes, or more.
        """
        struct.pack_into("<4f", header, 76, *self.pixdim)
        header[123] = self.units
        struct.pack_into("<2h18f", header, 252, *self.codes, *self.quaternion, *self.rows)

    def affine(self, form: Form) -> np.ndarray:
        """Return what one of the forms says, whether it holds or not.

        Args:
            form: which of them.

        Returns:
            (4, 4), from an index to the point in mm, LPS.
        """
        found = np.eye(4)
        if form == "sform":
            found[:3] = np.reshape(self.rows, (3, 4))
        elif form == "qform":
            found[:3, :3] = _rotation(*self.quaternion[:3]) * self.pixdim[1:]
            found[:3, 2] *= -1 if self.pixdim[0] < 0 else 1
            found[:3, 3] = self.quaternion[3:]
        else:
            found[:3, :3] = np.diag(self.pixdim[1:])
        found[:3] *= _TO_MM.get(self.units & 7, 1.0)
        return np.asarray(_RAS_TO_LPS @ found)

    def chosen(self, ndim: int) -> Form | None:
        """Return the form that holds.

        Args:
            ndim: number of axes of the image, 2 or 3.

        Returns:
            Its name; None where none of those that the header has is a grid.
        """
        return next((form for form in self._given() if self._is_grid(form, ndim)), None)

    def spacing(self, form: Form, ndim: int) -> tuple[float, ...]:
        """Return the voxel sizes of a form.

        Args:
            form: which of them.
            ndim: number of axes of the image.

        Returns:
            Sizes in mm; where the lengths of the sform's columns are pixdim's but for rounding, they are pixdim's.
        """
        said = np.abs(self.pixdim[1 : ndim + 1]) * _TO_MM.get(self.units & 7, 1.0)
        lengths = np.linalg.norm(self.affine(form)[:3, :ndim], axis=0)
        return tuple(np.where(np.abs(lengths - said) <= _ROUNDING * said, said, lengths).tolist())

    def differences(self, size: tuple[int, ...]) -> list[str]:
        """Return what in the header contradicts the form that holds, readable; [] where all say the same.

        Args:
            size: number of voxels along each axis.

        Returns:
            A text for each contradiction.
        """
        ndim, form = len(size), self.chosen(len(size))
        if form is None:
            return []
        spacing = self.spacing(form, ndim)
        found = [
            f"the {other} is no grid and passed over; the {form} is used"
            for other in self._given()[: self._given().index(form)]
        ]
        said = np.array(self.pixdim[1 : ndim + 1]) * _TO_MM.get(self.units & 7, 1.0)
        if (np.abs(said - spacing) > _SAME * np.array(spacing)).any():
            found.append(f"pixdim's {_times(said)} mm are not the {form}'s {_times(spacing)} mm, which are used")
        elif form == "sform" and self.codes[0] > 0:
            ends = np.array(list(product(*((0, n - 1) for n in (*size, 1)[:3]), (1,)))).T
            apart = np.linalg.norm((self.affine("sform") - self.affine("qform")) @ ends, axis=0).max()
            if apart > _APART * min(spacing):
                found.append(f"its qform places it up to {apart:.3g} mm from its sform, which is used")
        return found

    def _given(self) -> list[Form]:
        forms: list[Form] = ["sform"] if self.codes[1] > 0 else []
        return [*forms, "qform"] if self.codes[0] > 0 else forms or ["pixdim"]

    def _is_grid(self, form: Form, ndim: int) -> bool:
        if form != "sform" and min(self.pixdim[1 : ndim + 1]) <= 0:
            return False
        axes = self.affine(form)[:3, :ndim]
        lengths = np.linalg.norm(axes, axis=0)
        if not (lengths > 0).all():
            return False
        axes = axes / lengths
        return bool(np.abs(axes.T @ axes - np.eye(ndim)).max() <= _ORTHONORMAL)


def forms_of(affine: np.ndarray) -> NiftiForms:
    """Return the forms that say one thing: where the voxels lie in the scanner.

    Args:
        affine: (3, 3) of a 2D or (4, 4) of a 3D image, orthogonal, from an index to the point in mm, LPS.

    Returns:
        The forms, both with the code of the scanner's coordinates.

    Example:
        >>> forms_of(np.diag([-1.0, -1.0, 3.0, 1.0])).pixdim
        (1.0, 1.0, 1.0, 3.0)
    """
    from scipy.spatial.transform import Rotation

    n = len(affine) - 1
    full = np.eye(4)
    full[:n, :n], full[:n, 3] = affine[:n, :n], affine[:n, n]
    full = _RAS_TO_LPS @ full
    lengths = np.linalg.norm(full[:3, :3], axis=0)
    axes = full[:3, :3] / lengths
    qfac = 1.0 if np.linalg.det(axes) > 0 else -1.0
    axes[:, 2] *= qfac
    *turn, real = Rotation.from_matrix(axes).as_quat()
    turn = [-part for part in turn] if real < 0 else turn  # the standard keeps the real part above 0, and unsaid
    return NiftiForms(
        (qfac, *lengths.tolist()), 2, (1, 1), (*turn, *full[:3, 3].tolist()), tuple(full[:3].ravel().tolist())
    )


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    real = 1.0 - (b * b + c * c + d * d)
    return np.asarray(Rotation.from_quat([b, c, d, real**0.5 if real > 1e-7 else 0.0]).as_matrix())


def _times(values: np.ndarray | tuple[float, ...]) -> str:
    return "×".join(f"{value:g}" for value in values)  # as geometry.times, which imports this file
