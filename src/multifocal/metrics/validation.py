"""What the metrics accept, checked once before anything is computed."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from multifocal.errors import UserError
from multifocal.volumes import bounding_box


def as_mask(values: ArrayLike, *, name: str) -> np.ndarray:
    """Return a 2D or 3D mask as booleans; zeros and ones of any real type are accepted (labels are often float32).

    Args:
        values: 2D or 3D mask.
        name: what the argument is called, for the message.

    Returns:
        Booleans, of the same shape.

    Raises:
        ValueError: not 2D or 3D, not numbers, or another value than 0 and 1 (NaN too); it names argument and value.

    Example:
        >>> as_mask(np.array([[0.0, 1.0]], np.float32), name="target").tolist()
        [[False, True]]
    """
    array = _array(values, name)
    if array.dtype == np.bool_:
        return array
    mask = array != 0
    _refuse(array != mask, array, name, "only 0 and 1")
    return mask


def as_labels(values: ArrayLike, *, name: str) -> np.ndarray:
    """Return a 2D or 3D label map as integers; whole numbers from 0 of any real type are accepted.

    Args:
        values: 2D or 3D label map.
        name: what the argument is called, for the message.

    Returns:
        Integers, of the same shape.

    Raises:
        ValueError: not 2D or 3D, not numbers, or a value that is no label (NaN too); it names argument and value.

    Example:
        >>> as_labels(np.array([[0.0, 7.0]]), name="target").tolist()
        [[0, 7]]
    """
    array = _array(values, name)
    wrong = array < 0
    if array.dtype.kind == "f":
        wrong |= ~(np.abs(array) < 2**31) | (array != np.trunc(array))
    _refuse(wrong, array, name, "whole numbers from 0")
    return array.astype(np.int64) if array.dtype.kind in "fb" else array


def without_ignored(
    prediction: ArrayLike, target: ArrayLike, ignore: ArrayLike | int | None
) -> tuple[ArrayLike, ArrayLike, np.ndarray | None]:
    """Return prediction and target with 0 in ignored voxels, whatever they hold there, and which voxels these are.

    Args:
        prediction: 2D or 3D mask or label map.
        target: the same, of the same shape.
        ignore: the target's value of ignored voxels, above 1; or a mask of them, of the same shape; None for none.

    Returns:
        Both sides, and a boolean mask; None where none was given.

    Raises:
        ValueError: the value is none above 1, the mask is no mask or of another shape, or the shapes differ.

    Example:
        >>> sides = without_ignored([[1, 1, 1]], [[0, 1, 255]], 255)
        >>> [side.tolist() for side in sides]
        [[[1, 1, 0]], [[0, 1, 0]], [[False, False, True]]]
    """
    if ignore is None:
        return prediction, target, None
    arrays = _array(prediction, "prediction"), _array(target, "target")
    check_pair(*arrays)
    if np.ndim(ignore) == 0:
        value = np.asarray(ignore)
        if value.dtype.kind not in "iu" or int(value) < 2:
            raise ValueError(f"ignore is {ignore!r}; expected a whole number above 1, or a mask")
        ignored = arrays[1] == int(value)
    else:
        ignored = as_mask(ignore, name="ignore")
    if ignored.shape != arrays[1].shape:
        raise ValueError(f"ignore has shape {ignored.shape} and target {arrays[1].shape}; expected the same grid")
    return np.where(ignored, 0, arrays[0]), np.where(ignored, 0, arrays[1]), ignored


def check_pair(prediction: np.ndarray, target: np.ndarray) -> None:
    """Raise `ValueError` unless both are of one shape.

    Args:
        prediction: predicted mask or label map.
        target: true one.

    Raises:
        ValueError: their dimensions or shapes differ.
    """
    shapes = prediction.shape, target.shape
    if len(shapes[0]) != len(shapes[1]):
        raise ValueError(f"prediction is {len(shapes[0])}D and target {len(shapes[1])}D; expected the same grid")
    if shapes[0] != shapes[1]:
        raise ValueError(f"prediction has shape {shapes[0]} and target {shapes[1]}; expected the same grid")


def mask_pair(prediction: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and target as booleans of one shape.

    Args:
        prediction: 2D or 3D mask of zeros and ones.
        target: the same.

    Returns:
        Both, as booleans.

    Raises:
        ValueError: either is not a mask, or their dimensions or shapes differ.
    """
    pair = as_mask(prediction, name="prediction"), as_mask(target, name="target")
    check_pair(*pair)
    return pair


def common_box(*masks: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest box that holds all of several masks; an empty one if they are empty.

    Args:
        *masks: boolean arrays of one shape.

    Returns:
        A slice along each axis.

    Example:
        >>> common_box(np.array([[0, 1, 0, 0]]), np.array([[0, 0, 1, 0]]))
        (slice(0, 1, None), slice(1, 3, None))
    """
    box = bounding_box(np.logical_or.reduce(masks))
    if box is None:
        return (slice(0, 0),) * masks[0].ndim
    return tuple(slice(a, b) for a, b in zip(*box, strict=True))


def as_spacing(spacing: Sequence[float], *, ndim: int) -> tuple[float, ...]:
    """Return the spacing as floats, one per array axis.

    Args:
        spacing: mm per voxel along each axis.
        ndim: how many axes there are.

    Returns:
        The spacing in mm.

    Raises:
        ValueError: not `ndim` numbers, or one of them is not positive and finite.

    Example:
        >>> as_spacing((2, 2, 4.8), ndim=3)
        (2.0, 2.0, 4.8)
    """
    try:
        sides = tuple(float(side) for side in spacing)
    except (TypeError, ValueError) as error:
        raise ValueError(f"spacing is {spacing!r}; expected {ndim} numbers, mm per voxel along each axis") from error
    if len(sides) != ndim:
        raise ValueError(f"spacing has {len(sides)} values {sides}; expected {ndim}, one for each axis of the masks")
    if not all(math.isfinite(side) and side > 0 for side in sides):
        raise ValueError(f"spacing is {sides}; expected positive, finite mm per voxel")
    return sides


def as_tolerance(tolerance: float) -> float:
    """Return the tolerance as a float.

    Args:
        tolerance: in mm.

    Returns:
        The tolerance in mm.

    Raises:
        UserError: it is negative or not finite.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UserError(f"tolerance is {tolerance}; expected finite mm, 0 or more")
    return float(tolerance)


def _array(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim not in (2, 3):
        raise ValueError(f"{name} has {array.ndim} dimensions (shape {array.shape}); expected 2 or 3")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {array.dtype}; expected bool, integers or floats")
    return array


def _refuse(wrong: np.ndarray, array: np.ndarray, name: str, expected: str) -> None:
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), array.shape))
        raise ValueError(f"{name} holds {array[place]} at {place}; expected {expected}")
