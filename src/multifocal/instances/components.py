"""What one lesion is: a connected component of a mask."""

from typing import Literal

import cc3d
import numpy as np

from multifocal.errors import unknown_name

Connectivity = Literal["full", "face"]
_NEIGHBOURS: dict[str, dict[int, Literal[4, 6, 8, 26]]] = {"full": {2: 8, 3: 26}, "face": {2: 4, 3: 6}}


def components(mask: np.ndarray, *, connectivity: Connectivity = "full") -> tuple[np.ndarray, int]:
    """Label the connected components of a 2D or 3D mask.

    Args:
        mask: boolean or integer array of zeros and ones.
        connectivity: "full" joins voxels that share a face, an edge or a corner (8 neighbours in 2D, 26 in 3D);
            "face" those that share a face (4 and 6).

    Returns:
        int32 labels of the mask's shape (0 is background, components are 1 ... count) and the count.

    Raises:
        ValueError: the array is not 2D or 3D, not boolean or integer, or holds other values than 0 and 1.

    Example:
        >>> labels, count = components(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]]))
        >>> count, labels.tolist()
        (2, [[1, 0, 0], [0, 1, 0], [0, 0, 0], [2, 2, 0]])
    """
    if connectivity not in _NEIGHBOURS:
        raise unknown_name("connectivity", connectivity, _NEIGHBOURS)
    if mask.ndim not in (2, 3):
        raise ValueError(f"mask has {mask.ndim} dimensions; expected 2 or 3")
    if mask.dtype != np.bool_ and not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"mask has dtype {mask.dtype}; expected bool or an integer type")
    if mask.size == 0:
        return np.zeros(mask.shape, np.int32), 0
    if mask.dtype != np.bool_ and (mask.min() < 0 or mask.max() > 1):
        raise ValueError(f"mask holds values from {mask.min()} to {mask.max()}; expected only 0 and 1")
    # Always contiguous uint8: cc3d 4.1 loses components of boolean arrays and fails on one-line negative strides.
    binary = mask.view(np.uint8) if mask.dtype == np.bool_ else mask.astype(np.uint8, copy=False)
    if not binary.flags.forc:
        binary = np.ascontiguousarray(binary)
    neighbours = _NEIGHBOURS[connectivity][mask.ndim]
    labels, count = cc3d.connected_components(binary, connectivity=neighbours, return_N=True, out_dtype=np.uint32)
    return labels.view(np.int32), int(count)
