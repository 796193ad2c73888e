"""Masks of several classes, such as the labels 1, 2 and 4 of BraTS: one binary mask a class or region."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from multifocal.errors import UserError
from multifocal.metrics.scoring_options import ScoringOptions
from multifocal.metrics.validation import as_labels

Labels = Mapping[str, int | Iterable[int]] | Iterable[int]
Classes = dict[str, tuple[int, ...]]


def as_classes(labels: Labels) -> Classes:
    """Return the label values of each class by name.

    Args:
        labels: values by name, one or several for a region that joins them; or values alone, which name themselves.

    Returns:
        The values by class name.

    Raises:
        UserError: no class, a class without a value, or a value that is not a whole number above 0.

    Example:
        >>> as_classes([1, 2, 4])
        {'1': (1,), '2': (2,), '4': (4,)}
        >>> as_classes({"core": (1, 4), "enhancing": 4})
        {'core': (1, 4), 'enhancing': (4,)}
    """
    named = labels if isinstance(labels, Mapping) else {str(value): value for value in labels}
    classes = {}
    for name, values in named.items():
        members = tuple(values) if isinstance(values, Iterable) else (values,)
        if not members or not all(isinstance(value, int | np.integer) and value > 0 for value in members):
            raise UserError(f"label {name!r} has the values {members}; expected whole numbers above 0")
        classes[str(name)] = tuple(int(value) for value in members)
    if not classes:
        raise UserError("labels is empty; expected at least one class")
    return classes


def chosen_classes(labels: Labels | None, *, options: ScoringOptions) -> Classes | None:
    """Return the classes to score one by one, if any.

    Args:
        labels: what the user gave, see `as_classes`.
        options: how cases are scored.

    Returns:
        The label values by class name; None for a binary mask.

    Raises:
        UserError: classes do not go with label maps; or what `as_classes` raises.
    """
    if labels is None:
        return None
    if options.has_label_maps:
        raise UserError(f"label_maps is {options.label_maps!r}, and labels names classes; choose one of the two")
    return as_classes(labels)


def known_values(classes: Classes) -> list[int]:
    """Return every value that some class has, and 0.

    Args:
        classes: label values by class name.

    Returns:
        The values, sorted.

    Example:
        >>> known_values({"all": (1, 4), "core": (4,)})
        [0, 1, 4]
    """
    return sorted({0, *(value for members in classes.values() for value in members)})


def class_masks(values: ArrayLike, *, classes: Classes, name: str) -> dict[str, np.ndarray]:
    """Return the boolean mask of each class.

    Args:
        values: 2D or 3D label map.
        classes: label values by class name.
        name: what the argument is called, for the message.

    Returns:
        Masks of the same shape by class name.

    Raises:
        ValueError: the values are no label map, or hold one that no class has; it names argument and value.

    Example:
        >>> masks = class_masks([[0, 1, 4]], classes={"all": (1, 4), "core": (4,)}, name="target")
        >>> {name: mask.tolist() for name, mask in masks.items()}
        {'all': [[False, True, True]], 'core': [[False, False, True]]}
    """
    labels = as_labels(values, name=name)
    known = known_values(classes)
    wrong = ~np.isin(labels, known)
    if wrong.any():
        raise ValueError(f"{name} holds {labels[wrong][0]}; expected only {', '.join(map(str, known))}")
    return {name: np.isin(labels, members) for name, members in classes.items()}
