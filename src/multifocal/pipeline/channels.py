"""The values of the network's input channels."""

import numpy as np

from multifocal.errors import UserError
from multifocal.pipeline.settings import Channel


def make_channel(values: np.ndarray, inside: np.ndarray | None, settings: Channel, *, where: str) -> np.ndarray:
    """Return one float32 channel from a map, as the recipe says.

    Args:
        values: the map on the prepared grid, `(*spatial)`.
        inside: brain mask on the same grid, or None when the recipe names no brain.
        settings: what to do.
        where: the map's file, for messages.

    Raises:
        UserError: the map is constant and cannot be normalised.
    """
    values = values.astype(np.float32)
    if settings.below is not None:
        prior = values < settings.below
        return (prior if inside is None else prior & inside).astype(np.float32)
    if settings.clip is not None:
        values = np.clip(values, *settings.clip)
    if settings.range is not None:
        low, high = settings.range
        values = (values - low) / (high - low)
    if settings.zscore is not None:
        within = inside if settings.zscore == "brain" else None
        values = _zscore(values, within, where=where)
    return np.ascontiguousarray(values, np.float32)


def _zscore(values: np.ndarray, inside: np.ndarray | None, *, where: str) -> np.ndarray:
    """Return `(x - mean) / std` over the image, or over the brain with 0 outside."""
    sample = (values if inside is None else values[inside]).astype(np.float64)
    mean, std = sample.mean(), sample.std()
    # The spread of a constant image is rounding noise, which must not be blown up to unit variance.
    if std <= 1e-6 * abs(mean):
        raise UserError(
            f"{where}: is constant ({mean:g}) and cannot be normalised; check that the file is the right one"
        )
    scaled = ((values - mean) / std).astype(np.float32)
    return scaled if inside is None else np.where(inside, scaled, np.float32(0))
